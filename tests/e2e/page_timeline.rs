//! The picture of the timeline, in a real browser.

use roost_tests::{Broker, Chromium, Roost, Site, guest, http::get};

use crate::{hour_ahead, job, timeline::samples};

/// Opens a path of the page.
fn open(site: &Site, host: &Roost, (width, height): (u32, u32), path: &str) -> Chromium {
    let mut browser = Chromium::start(site.path());
    browser.resize(width, height);
    browser.open(&format!("http://{}{path}", host.address()));
    browser
}

/// Waits until the picture begins at an instant, as its address says.
fn from(browser: &mut Chromium, expected: &str) {
    // The link to the span that is shown is there when the picture is.
    let shown = "[location, document.querySelector('.moves [aria-current]')].map((link) => new URL(link.href).searchParams.get('from')).join()";
    browser.until(expected, |browser| (browser.eval(shown) == format!("{expected},{expected}")).then_some(()));
}

#[test]
fn the_picture_has_the_devices_and_the_sunset_of_the_api() {
    let (_broker, site, host) = samples();
    let path = "/timeline?from=2027-06-01T12:00:00Z";
    let mut browser = open(&site, &host, (360, 740), path);
    let list = "The list “The same as a list” holds the same.";
    browser.wait_for_role("image", &format!("Picture of 5 devices from 13:00 to 13:00 tomorrow. {list}"));
    for device in
        ["coop-door/north", "coop-door/south", "greenhouse/tomatoes", "sprinkler/garden", "sprinkler/seedlings"]
    {
        browser.wait_for_role("link", device);
    }
    let sun = get(
        &host.address(),
        "/api/v1/sun?plugin=coop-door&device=north&from=2027-06-01T12:00:00Z&to=2027-06-02T12:00:00Z",
    );
    let day = sun["bands"].as_array().unwrap().iter().find(|band| band["light"] == "day").unwrap();
    let sunset = day["to"].as_str().unwrap();
    let off = browser.eval(&format!(
        "(() => {{ const [plot, dusk] = ['.plot', '.back .civil-twilight'].map((part) => \
         document.querySelector(part).getBoundingClientRect()); \
         return Date.parse('2027-06-01T12:00:00Z') + (dusk.left - plot.left) / plot.width * 86400000 \
         - Date.parse('{sunset}'); }})()"
    ));
    assert!(off.as_f64().unwrap().abs() < 60_000.0, "off by {off} ms");
    // The 1,440 mists are one line, in the picture and in the list.
    assert_eq!(browser.text().matches("Mist all zones: every minute, 1,440 times").count(), 2);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360, "nothing is wider than the screen");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}

#[test]
fn it_is_moved_and_zoomed_by_links_and_by_keys_without_a_reload() {
    let (_broker, site, host) = samples();
    let mut browser = open(&site, &host, (1280, 900), "/timeline?from=2027-06-01T12:00:00Z");
    browser.wait_for_role("link", "coop-door/north");
    browser.eval("window.isTheSame = true");
    browser.press("ArrowRight", 39);
    from(&mut browser, "2027-06-02T00:00:00Z");
    browser.click("link", "Earlier");
    from(&mut browser, "2027-06-01T12:00:00Z");
    // A sign is a command only where the focus is in the picture, which the link has.
    browser.press("-", 189);
    browser.until("three days", |browser| (browser.eval("location.search.includes('span=3d')") == true).then_some(()));
    from(&mut browser, "2027-05-31T20:00:00Z");
    browser.press("+", 187);
    from(&mut browser, "2027-06-01T12:00:00Z");
    browser.eval("history.back()");
    from(&mut browser, "2027-05-31T20:00:00Z");
    assert_eq!(browser.eval("window.isTheSame"), true);
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}

#[test]
fn a_mark_answers_why_and_tonight_has_the_picture_below_what_will_be_sent() {
    let (_broker, site, host) = samples();
    let mut browser = open(&site, &host, (360, 740), "/");
    let mark = "a.mark[href^=\"/why/coop-door/north/close\"]";
    let has_mark = format!("document.querySelector('{mark}') !== null");
    browser.until("the picture", |browser| (browser.eval(&has_mark) == true).then_some(()));
    let top = |part: &str| format!("document.querySelector('{part}').getBoundingClientRect().top");
    let below = format!("{} > {}", top(".picture"), top("ul.rows li:last-child"));
    assert_eq!(browser.eval(&below), true, "the next runs come first on a phone");
    browser.eval(&format!(
        "document.querySelector('{mark} use').dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true }}))"
    ));
    browser.wait_for_role("dialog", "Why coop-door/north/close?");
    browser.escape();
    browser.click("link", "Timeline");
    browser.wait_for("The same as a list");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}

#[test]
fn of_more_than_twenty_devices_there_is_a_page_of_lanes_at_a_time_below_what_all_do() {
    let (broker, site) = (Broker::new(), Site::new());
    let daily = format!("cron = \"30 {} * * *\"", hour_ahead());
    let door =
        |number: usize| format!("[[device]]\nname = \"door-{number:02}\"\n") + &job("close", &daily, "doors/set");
    let doors: String = (1..=21).map(door).collect();
    site.settings("doors", &doors.replace("[[config.jobs]]", "[[device.config.jobs]]"));
    site.drop_in(&guest("declared"), "doors");
    let host = site.start(&broker);
    host.wait_for_log("doors loaded");
    let mut browser = open(&site, &host, (1280, 900), "/timeline");
    let lanes = "document.querySelectorAll('.lanes a[href^=\"/devices/\"]').length";
    assert_eq!(browser.eval(lanes), 20);
    // 21 closes, in one lane for the plugin.
    browser.wait_for_role("link", "doors");
    browser.wait_for("0 ended, 21 to come");
    browser.click("link", "Next lanes");
    browser.wait_for_role("link", "doors/door-21");
    assert_eq!(browser.eval(lanes), 1);
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}
