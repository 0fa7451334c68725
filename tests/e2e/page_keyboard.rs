//! The pages by keyboard alone, and the narrowest screens with the longest contents.

use roost_tests::{Broker, Chromium, guest};

use crate::{
    job,
    login::{code, with_token},
    page_accessibility::{PAGES, samples},
};

/// What Tab stops at, in the order of the page, where the focus is, and whether that can be seen.
const LOOK: &str = "(() => {
    const stops = [...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
        .filter((one) => !one.disabled && one.tabIndex >= 0 && one.type !== 'hidden' && one.checkVisibility({ visibilityProperty: true }));
    const active = document.activeElement;
    const { outlineStyle, outlineWidth } = getComputedStyle(active);
    const { left, right, top, bottom } = active.getBoundingClientRect();
    return {
        count: stops.length,
        at: stops.indexOf(active),
        name: `${active.tagName} ${active.getAttribute('aria-label') ?? active.textContent.trim().slice(0, 60)}`,
        missed: stops.map((one) => `${one.tagName} ${one.getAttribute('aria-label') ?? one.textContent.trim().slice(0, 60)}`),
        isMarked: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
        isInView: bottom > 0 && top < innerHeight && right > 0 && left < innerWidth,
    };
})()";

#[test]
fn tab_leads_through_each_page_in_its_order_and_is_always_seen() {
    let (_broker, _site, host, mut browser) = samples();
    browser.resize(360, 740);
    for (path, _) in PAGES {
        browser.open(&format!("http://{}{path}", host.address()));
        let mut next = 0;
        loop {
            browser.press("Tab", 9);
            let seen = browser.eval(LOOK);
            let count = seen["count"].as_i64().unwrap();
            if next == count {
                // Behind the last one is the browser itself, and then the page begins again.
                assert!(seen["at"] == -1 || seen["at"] == 0, "{path}: {seen}");
                break;
            }
            assert_eq!(seen["at"], next, "{path}: {seen}");
            assert!(seen["isMarked"] == true && seen["isInView"] == true, "{path}: {seen}");
            next += 1;
        }
        assert!(next > 4, "{path}: {next}");
    }
    assert!(host.stop().success());
}

#[test]
fn a_dialog_is_opened_left_and_closed_by_keys() {
    let (_broker, _site, host, mut browser) = samples();
    browser.resize(360, 740);
    browser.open(&format!("http://{}/", host.address()));
    browser.wait_for("coop-door/north");
    browser.eval("document.querySelector('a.why').focus()");
    let name = browser.eval("document.activeElement.getAttribute('aria-label')");
    browser.press("Enter", 13);
    browser.until("the dialog", |browser| (browser.eval("document.getElementById('why').open") == true).then_some(()));
    for _ in 0..12 {
        browser.press("Tab", 9);
        let inside =
            browser.eval("document.activeElement === document.body || !!document.activeElement.closest('dialog')");
        assert_eq!(inside, true, "the page behind it takes no focus");
    }
    browser.escape();
    browser.until("the focus to return", |browser| {
        (browser.eval("document.activeElement.getAttribute('aria-label')") == name).then_some(())
    });
    assert_eq!(browser.eval("document.querySelectorAll('dialog[open]').length"), 0);
    assert!(host.stop().success());
}

#[test]
fn long_topics_of_a_check_fit_the_narrowest_screen() {
    let (broker, site) = (Broker::new(), with_token());
    site.settings("declared", &job("tick", r#"cron = "30 22 * * *""#, "declared/set"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("jobs of `declared`: ");
    let address = host.address();
    let mut browser = Chromium::start(site.path());
    browser.resize(320, 640);
    browser.open(&format!("http://{address}/login?next=/plugins/declared/settings#{}", code(&site)));
    browser.wait_for("Settings of declared");
    let topic = format!("declared/{}", "a-topic-without-any-place-to-break-it".repeat(6));
    browser.fill("plugins/declared.toml", &job("tick", r#"cron = "30 22 * * *""#, &topic));
    browser.click("button", "Check");
    browser.wait_for("a-topic-without");
    browser.wait_for_role("button", "Save the settings of declared");
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 320, "{}", browser.text());
    assert!(host.stop().success());
}
