//! The pictures of `docs/page.md`. They are drawn in each test run, and kept with `UPDATE_PICTURES=1`.

use std::{env, fs};

use roost_tests::{Broker, Chromium, Site, root};

use crate::{
    NOON,
    page_accessibility::{install_samples, wait_for_samples},
    page_devices::{faulty, many, wait_for_faults},
};

/// A winter's evening, shortly before the doors are closed: 2027-12-01T16:30:00Z.
const EVENING: i64 = 1_827_678_600_000;
/// The largest picture: it is part of the tree.
const BYTES: usize = 150 << 10;

/// Draws what the window shows, and keeps it if asked to.
fn draw(browser: &mut Chromium, name: &str) {
    let png = browser.picture();
    assert!(png.starts_with(b"\x89PNG") && png.len() <= BYTES, "{name}: {} bytes", png.len());
    assert_eq!(browser.complaints(), [] as [String; 0]);
    let folder = match env::var_os("UPDATE_PICTURES") {
        Some(_) => root().join("docs/pictures"),
        None => root().join("target/pictures"),
    };
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.png")), png).unwrap();
}

#[test]
fn the_first_page_on_a_phone_and_the_timeline_on_a_desktop() {
    let (broker, site) = (Broker::new(), Site::new());
    install_samples(&site);
    let settings = "time_zone = \"Europe/London\"\nlatitude = 51.4779\nlongitude = -0.0015\n";
    fs::write(site.path().join("roost.toml"), settings).unwrap();
    let host = site.start_at(&broker, EVENING);
    wait_for_samples(&host);
    let address = host.address();
    for job in ["coop-door/south/close", "greenhouse/tomatoes/lamps-on"] {
        site.roost(&["run-now", job]);
    }
    site.roost(&["skip", "greenhouse/tomatoes/lamps-off"]);
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("Close the door");
    draw(&mut browser, "phone");
    browser.resize(1_280, 800);
    browser.open(&format!("http://{address}/timeline"));
    browser.wait_for("Mist all zones");
    draw(&mut browser, "desktop");
}

#[test]
fn the_first_page_of_ten_thousand_devices() {
    let (broker, site) = (Broker::new(), Site::new());
    many(&site, 10_000);
    faulty(&site);
    let host = site.start_at(&broker, NOON - 3_600_000);
    host.wait_for_log("jobs of `many`: 20000 new");
    let address = host.address();
    wait_for_faults(&host, &address);
    let mut browser = Chromium::start(site.path());
    browser.resize(1_280, 800);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("✕ failed: 52");
    draw(&mut browser, "many");
}

/// Checks that the close of each door is on the first screen, above the menu, and returns where the last of them ends.
fn closes_end_at(browser: &mut Chromium, state: &str) -> f64 {
    let ends = browser.eval(
        "[...document.querySelectorAll('ul.rows > li')].filter((row) => row.innerText.includes('Close the door'))
            .slice(0, 2).map((row) => row.querySelector('.row').getBoundingClientRect().bottom)",
    );
    let ends: Vec<f64> = ends.as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect();
    let menu = browser.eval("document.querySelector('nav.menu').getBoundingClientRect().top").as_f64().unwrap();
    fs::write(root().join(format!("target/pictures/first-{state}.png")), browser.picture()).unwrap();
    assert_eq!(ends.len(), 2, "{state}: {}", browser.text());
    assert!(ends.iter().all(|end| *end <= menu), "{state}: {ends:?} of {menu}: {}", browser.text());
    ends[1]
}

#[test]
fn a_banner_leaves_the_closes_of_tonight_on_the_first_screen() {
    let (mut broker, site) = (Broker::new(), Site::new());
    install_samples(&site);
    let settings = "time_zone = \"Europe/London\"\nlatitude = 51.4779\nlongitude = -0.0015\n";
    fs::write(site.path().join("roost.toml"), settings).unwrap();
    fs::create_dir_all(root().join("target/pictures")).unwrap();
    let host = site.start_at(&broker, EVENING);
    wait_for_samples(&host);
    host.wait_for_log("connected to the broker");
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    browser.open(&format!("http://{}/", host.address()));
    browser.wait_for("Close the door");
    browser.wait_for("Connected");
    let without = closes_end_at(&mut browser, "well");
    // A component that is none is refused: one fault.
    fs::write(site.plugin("broken.wasm"), "no component").unwrap();
    browser.wait_for("What is wrong");
    closes_end_at(&mut browser, "fault");
    fs::remove_file(site.plugin("broken.wasm")).unwrap();
    browser.until("the fault to be gone", |browser| (!browser.text().contains("What is wrong")).then_some(()));
    broker.stop();
    browser.wait_for("Not connected to the broker");
    closes_end_at(&mut browser, "broker");
    assert!(host.stop().success());
    browser.wait_for("The host does not answer.");
    assert!(closes_end_at(&mut browser, "away") >= without);
}
