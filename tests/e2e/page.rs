//! The page, in a real browser.

use roost_tests::{Broker, Chromium, Roost, Site, guest};

use crate::job;

/// Starts a host with a door that closes once a day, and a browser the size of a phone at its page.
fn door() -> (Broker, Site, Roost, Chromium) {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("coop-door", &job("close", r#"cron = "30 22 * * *""#, "coop-door/set"));
    site.drop_in(&guest("declared"), "coop-door");
    let host = site.start(&broker);
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    browser.open(&format!("http://{}/", host.address()));
    (broker, site, host, browser)
}

#[test]
fn a_job_is_run_skipped_and_paused_where_it_is_shown() {
    let (_broker, _site, host, mut browser) = door();
    browser.wait_for("coop-door/set");
    browser.click("button", "Run coop-door/coop-door/close now");
    browser.wait_for("coop-door/coop-door/close runs now.");
    browser.wait_for("● succeeded");
    for (button, undo) in [
        ("Skip the next run of coop-door/coop-door/close", "Do not skip the next run of coop-door/coop-door/close"),
        ("Pause coop-door/coop-door/close", "Resume coop-door/coop-door/close"),
    ] {
        browser.click("button", button);
        browser.wait_for_role("button", undo);
        // The focus stays, and the report is in view however far the page is scrolled.
        browser.until("the focus to stay", |browser| {
            (browser.eval("document.activeElement.getAttribute('aria-label')") == undo).then_some(())
        });
        let top = browser.eval("scrollTo(0, 9999), document.getElementById('report').getBoundingClientRect().top");
        assert!(top.as_f64().is_some_and(|top| (0.0..740.0).contains(&top)), "{top}");
        browser.click("button", undo);
        browser.wait_for_role("button", button);
    }
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360, "nothing is wider than the screen");
    assert!(host.stop().success());
}

#[test]
fn what_another_client_does_is_shown_without_a_reload() {
    let (_broker, site, host, mut browser) = door();
    browser.wait_for("coop-door/set");
    browser.eval("window.isTheSame = true");
    site.roost(&["run-now", "coop-door/coop-door/close"]);
    browser.wait_for("● succeeded");
    assert_eq!(browser.eval("window.isTheSame"), true);
    assert!(host.stop().success());
    wait_until_away(&mut browser);
}

#[test]
fn why_is_answered_in_place_and_the_focus_returns() {
    let (_broker, _site, host, mut browser) = door();
    browser.wait_for("coop-door/set");
    let name = browser.eval("document.querySelector('a.why').getAttribute('aria-label')");
    let name = name.as_str().unwrap();
    assert!(name.starts_with("Why coop-door/coop-door/close at 22:30"), "{name}");
    browser.click("link", name);
    browser.wait_for_role("dialog", "Why coop-door/coop-door/close?");
    browser.wait_for("it has not run yet: it is due");
    browser.escape();
    browser.until("the focus to return", |browser| {
        let focused = browser.eval("document.activeElement.getAttribute('aria-label')");
        (focused == name).then_some(())
    });
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}

/// Waits until the page shows that the host is away, with all that follows from it.
fn wait_until_away(browser: &mut Chromium) {
    browser.wait_for("The host does not answer.");
    assert!(!browser.text().contains("Connected"), "{}", browser.text());
    let buttons = browser.eval("[...document.querySelectorAll('button[data-path]')].map((button) => button.disabled)");
    let buttons = buttons.as_array().unwrap();
    assert!(!buttons.is_empty() && buttons.iter().all(|disabled| disabled == true), "{buttons:?}");
}

#[test]
fn a_host_that_hangs_is_away_and_links_keep_what_is_known_until_it_is_back() {
    let (_broker, _site, host, mut browser) = door();
    browser.wait_for("coop-door/set");
    browser.eval("window.isTheSame = true");
    // Its connections stay open, as those of a machine that has lost its power do.
    host.suspend();
    wait_until_away(&mut browser);
    browser.click("link", "Devices");
    browser.wait_for("so this page stays");
    assert_eq!((browser.eval("location.pathname"), browser.eval("window.isTheSame")), ("/".into(), true.into()));
    browser.wait_for("coop-door/set");

    host.resume();
    browser.wait_for("Connected");
    browser.click("button", "Run coop-door/coop-door/close now");
    browser.wait_for("● succeeded");
    assert_eq!(browser.eval("window.isTheSame"), true);
    browser.click("link", "Devices");
    browser.wait_for_role("heading", "Devices");
    assert!(host.stop().success());
}
