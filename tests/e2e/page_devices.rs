//! The pages of devices, and the first page where there are thousands of them.

use roost_tests::{
    Broker, Chromium, Roost, Site, guest,
    http::{get, post, text},
};
use serde_json::{Value, json};

use crate::{NOON, job};

/// Devices with two jobs each: too many jobs for lists.
const MANY: usize = 6_000;
const FAULTY: usize = 52;

/// Installs devices that have two jobs each, which are due at noon and in the hours after it.
pub(crate) fn many(site: &Site, devices: usize) {
    let jobs = 2 * devices;
    let shared = format!("[config]\ntotal = {jobs}\nt0_ms = {NOON}\nspread_ms = 36000000\ntopic = \"many\"\n");
    let device = |number: usize| {
        format!("[[device]]\nname = \"valve-{number}\"\nconfig = {{ first = {}, jobs = 2 }}\n", 2 * number)
    };
    site.settings("many", &(shared + &(0..devices).map(device).collect::<String>()));
    site.drop_in(&guest("burst"), "many");
}

/// Installs doors that do not confirm that they are closed.
pub(crate) fn faulty(site: &Site) {
    let door = |number: usize| {
        format!(
            "[[device]]\nname = \"door-{number}\"\n[[device.config.jobs]]\nid = \"close\"\ntrigger = {{ in_ms = 0 }}\n\
             policy = {{ attempts = 1 }}\nsteps = [{{ topic = \"doors/{number}/set\", payload = \"close\", \
             confirm = {{ topic = \"doors/{number}/state\", bytes = \"closed\", within_ms = 300 }} }}]\n"
        )
    };
    site.settings("doors", &(0..FAULTY).map(door).collect::<String>());
    site.drop_in(&guest("declared"), "doors");
}

/// Waits until all doors have failed.
pub(crate) fn wait_for_faults(host: &Roost, address: &str) {
    host.until("52 faults", || (get(address, "/api/v1/faults")["groups"][0]["count"] == FAULTY).then_some(()));
}

/// Returns the bytes of the page and all that it loads, before compression, and the number of requests.
fn weight(browser: &mut Chromium) -> (u64, u64) {
    let sizes = browser.eval(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
            .filter((entry) => entry.initiatorType !== 'other').map((entry) => entry.decodedBodySize)",
    );
    let sizes: Vec<u64> = sizes.as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    (sizes.iter().sum(), sizes.len() as u64)
}

#[test]
fn a_device_is_paused_and_its_jobs_are_run_where_they_are_shown() {
    let (broker, site) = (Broker::new(), Site::new());
    let tomorrow = NOON + 86_400_000;
    let mist = |number: i64| job(&format!("mist-{number}"), &format!("at_ms = {}", tomorrow + number), "house/mist");
    site.settings(
        "house",
        &(job("vents", r#"cron = "30 22 * * *""#, "house/vents") + &(0..7).map(mist).collect::<String>()),
    );
    site.drop_in(&guest("declared"), "house");
    let host = site.start_at(&broker, NOON);
    host.wait_for_log("jobs of `house`: 8 new");
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    let address = host.address();
    browser.open(&format!("http://{address}/devices"));
    browser.click("link", "house/house");
    browser.wait_for("mist-*");
    browser.wait_for("7 jobs");
    browser.click("button", "Pause house/house");
    browser.wait_for("◌ paused. What falls due in it is skipped.");
    browser.click("button", "Resume house/house");
    browser.wait_for_role("button", "Pause house/house");
    browser.click("button", "Run house/house/vents now");
    browser.wait_for("● succeeded");
    browser.click("button", "Pause house/house/vents");
    browser.wait_for_role("button", "Resume house/house/vents");
    browser.click("link", "All its runs");
    browser.wait_for("house/house/vents");

    // A device of which a job is paused is found and marked.
    assert_eq!(get(&address, "/api/v1/devices?paused=false")["items"], json!([]));
    let device = &get(&address, "/api/v1/devices?paused=true")["items"][0];
    assert_eq!((&device["paused"], &device["paused_jobs"]), (&json!(false), &json!(1)), "{device}");
    browser.open(&format!("http://{address}/devices?paused=true"));
    browser.wait_for("◌ paused: 1 job");
    assert_eq!(browser.complaints(), [] as [String; 0]);

    browser.open(&format!("http://{address}/devices/house/hous"));
    browser.wait_for("did you mean `house/house`?");
    browser.click("link", "Search for “hous”");
    browser.wait_for_role("link", "house/house");
    assert!(host.stop().success());
}

/// Pauses the faulty doors by the button of their group, one of which is paused before, and undoes that.
fn pause_all_and_undo(address: &str, browser: &mut Chromium) {
    let paused = || get(address, "/api/v1/devices?paused=true&limit=1000")["items"].as_array().unwrap().len();
    let devices = |verb: &str, body: &Value| post(address, &format!("/api/v1/devices/{verb}"), body);
    let holidays = || get(address, "/api/v1/devices/doors/door-7")["pause"]["reason"].as_str() == Some("holidays");
    let before = json!({ "devices": ["doors/door-7"], "reason": "holidays" });
    assert_eq!(devices("pause", &before).1, json!({ "devices": ["doors/door-7"] }));
    let reason = &get(address, "/api/v1/faults")["groups"][0]["reason"];
    browser.click("button", &format!("Pause the 52 devices: {}", reason.as_str().unwrap()));
    browser.wait_for("Paused: the 52 devices. It replaces what was paused before; Undo restores that.");
    assert_eq!((paused(), holidays()), (FAULTY, false));
    browser.click("button", "Undo: Paused: the 52 devices.");
    browser.wait_for("It is undone.");
    assert_eq!((paused(), holidays()), (1, true));
    for (body, status) in [
        (json!({ "devices": ["doors/door-1", "doors/door-99"] }), 404),
        (json!({ "devices": ["door-1"] }), 400),
        (json!({ "devices": ["doors/door-1"], "fault": "x" }), 400),
        (json!({}), 400),
        (json!({ "devices": ["doors/door-1"], "end": "2100-07-01" }), 400),
        (json!({ "devices": vec!["doors/door-1"; 1_001] }), 422),
    ] {
        assert_eq!(devices("pause", &body).0, status, "{body}");
        assert_eq!(paused(), 1);
    }
    assert_eq!(devices("resume", &json!({ "fault": reason })).1, json!({ "devices": ["doors/door-7"] }));
    assert_eq!(paused(), 0);
}

#[test]
fn of_thousands_of_devices_the_faulty_ones_are_one_line_and_each_is_found_by_a_part_of_its_name() {
    let (broker, site) = (Broker::new(), Site::new());
    many(&site, MANY);
    faulty(&site);
    let host = site.start_at(&broker, NOON - 3_600_000);
    host.wait_for_log(&format!("jobs of `many`: {} new", 2 * MANY));
    let address = host.address();
    wait_for_faults(&host, &address);
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("✕ failed: 52");
    let nodes = browser.eval("document.querySelectorAll('*').length").as_u64().unwrap();
    let (bytes, requests) = weight(&mut browser);
    assert!(
        nodes <= 3_000 && bytes <= 250 << 10 && requests <= 15,
        "{nodes} nodes, {bytes} bytes, {requests} requests"
    );
    pause_all_and_undo(&address, &mut browser);
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360, "nothing is wider than the screen");
    // The hour after noon has a tenth of the runs.
    browser.click("DisclosureTriangle", "The same as numbers");
    browser.wait_for("1,200");

    browser.fill("Part of the device's name", "VALVE-4242");
    browser.click("button", "Find");
    browser.wait_for("many/valve-4242");
    assert_eq!(browser.eval("document.querySelectorAll('main ul.rows > li').length"), 1);
    let found = get(&address, "/api/v1/devices/many/valve-4242");
    assert_eq!(found["jobs"], 2);
    assert!(text(&found, "due").starts_with("2027-07-01T"), "{found}");
    assert_eq!(browser.complaints(), [] as [String; 0]);
    assert!(host.stop().success());
}
