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
