//! The pages for everybody: assistive technology, keyboards, small screens, dark rooms, and browsers without script.

use std::fs;

use roost_tests::{Broker, Chromium, Roost, Site, root, sample};
use serde_json::{Value, json};

const SAMPLES: [&str; 3] = ["coop-door", "greenhouse", "sprinkler"];
/// Each page, with its title.
pub(crate) const PAGES: &[(&str, &str)] = &[
    ("/", "Tonight"),
    ("/timeline", "Timeline"),
    ("/devices/coop-door/north", "coop-door/north"),
    ("/devices", "Devices"),
    ("/why/coop-door/north/close", "Why coop-door/north/close?"),
    ("/runs?plugin=coop-door&state=failed", "History"),
    ("/jobs/coop-door/north/close", "coop-door/north/close"),
    ("/devices/sprinkler/garden/tasks", "Tasks of sprinkler/garden"),
    ("/plugins", "Plugins"),
    ("/plugins/coop-door", "coop-door"),
    ("/plugins/coop-door/settings", "Settings of coop-door"),
    ("/logs", "Log of all plugins"),
];
const PHONE: (u32, u32) = (360, 740);
const DESKTOP: (u32, u32) = (1280, 800);

/// Installs the samples with their settings.
pub(crate) fn install_samples(site: &Site) {
    for name in SAMPLES {
        site.settings(name, &fs::read_to_string(root().join(format!("plugins/{name}.toml"))).unwrap());
        site.drop_in(&sample(name), name);
    }
}

/// Waits until the samples have planned.
pub(crate) fn wait_for_samples(host: &Roost) {
    for name in SAMPLES {
        host.wait_for_log(&format!("jobs of `{name}`: "));
    }
}

/// Starts a host with the samples, and a browser.
pub(crate) fn samples() -> (Broker, Site, Roost, Chromium) {
    let (broker, site) = (Broker::new(), Site::new());
    install_samples(&site);
    let host = site.start(&broker);
    wait_for_samples(&host);
    let browser = Chromium::start(site.path());
    (broker, site, host, browser)
}

/// Returns axe-core, which `make browser` fetches.
#[allow(clippy::print_stderr, reason = "a test that checks less says so")]
fn axe() -> Option<String> {
    let file = root().join("target/axe/axe.min.js");
    let axe = fs::read_to_string(&file).ok();
    if axe.is_none() {
        eprintln!("`{}` is not there: accessibility is not checked. `make browser` fetches it", file.display());
    }
    axe
}

/// Returns the serious and critical violations of the page that is open.
fn violations(browser: &mut Chromium, axe: &str) -> Vec<String> {
    browser.eval(&format!("{axe}; 0"));
    let found = browser.eval(
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations }) =>
            violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) =>
                `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`))",
    );
    found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Shows pages in a light or a dark room.
fn prefer(browser: &mut Chromium, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    browser.call("Emulation.setEmulatedMedia", json!({ "features": features }));
}

#[test]
fn no_page_has_a_serious_violation() {
    let Some(axe) = axe() else { return };
    let (_broker, _site, host, mut browser) = samples();
    let address = host.address();
    for (width, height) in [PHONE, DESKTOP] {
        browser.resize(width, height);
        for scheme in ["light", "dark"] {
            prefer(&mut browser, scheme);
            for (path, _) in PAGES {
                browser.open(&format!("http://{address}{path}"));
                let found = violations(&mut browser, &axe);
                assert_eq!(found, [] as [String; 0], "{path}, {scheme}, {width} pixels");
            }
        }
    }
    browser.open(&format!("http://{address}/"));
    browser.eval("document.querySelector('a.why').click()");
    browser.wait_for("it has not run yet");
    assert_eq!(violations(&mut browser, &axe), [] as [String; 0], "the dialog is open");
    assert!(host.stop().success());
    browser.wait_for("The host does not answer.");
    assert_eq!(violations(&mut browser, &axe), [] as [String; 0], "the host is away");
}

#[test]
fn each_page_fits_the_smallest_screen_and_its_targets_a_finger() {
    let (_broker, _site, host, mut browser) = samples();
    browser.resize(320, 640);
    for (path, title) in PAGES {
        browser.open(&format!("http://{}{path}", host.address()));
        assert_eq!(browser.eval("document.title"), format!("{title} – Roost"));
        assert_eq!(browser.eval("document.querySelectorAll('h1').length"), 1, "{path}");
        assert_eq!(browser.eval("document.documentElement.scrollWidth"), 320, "{path}");
        let small = browser.eval(
            "[...document.querySelectorAll('button, summary, nav a')].filter((one) => one.checkVisibility())
                .filter((one) => { const { width, height } = one.getBoundingClientRect(); return width < 24 || height < 24 })
                .map((one) => one.outerHTML)",
        );
        assert_eq!(small, json!([]), "{path}");
    }
    assert_eq!(browser.complaints(), [] as [String; 0]);
}

#[test]
fn each_page_can_be_read_without_script() {
    let (_broker, _site, host, mut browser) = samples();
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    for (path, title) in PAGES {
        browser.open(&format!("http://{}{path}", host.address()));
        let heading = browser.eval("document.querySelector('h1').innerText");
        assert!(heading.as_str().is_some_and(|heading| title.starts_with(heading)), "{path}: {heading}");
        browser.wait_for("need JavaScript");
        let hidden: Value = browser.eval("document.querySelectorAll('main [hidden]').length");
        assert_eq!(hidden, 0, "{path}");
    }
}
