//! Pauses in a browser: a rain delay, and a pause until a date and time.

use roost_tests::{Broker, Chromium, Site, http::get, sample};
#[test]
fn a_rain_delay_is_set_and_undone_and_a_device_is_paused_until_a_date() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("sprinkler", "[[device]]\nname = \"garden\"\n[device.config]\nstart = \"05:30\"\nzones = [{ name = \"lawn\", water = \"1m\" }]\n");
    site.drop_in(&sample("sprinkler"), "sprinkler");
    let host = site.start(&broker);
    host.wait_for_log("sprinkler loaded");
    let mut page = Chromium::start(site.path());
    page.resize(360, 740);
    page.open(&format!("http://{}/", host.address()));
    page.click("DisclosureTriangle", "Rain delay…");
    page.click("button", "Pause it for 48 hours");
    page.wait_for("Everything is ◌ paused until");
    let pause = get(&host.address(), "/api/v1/status")["pause"].clone();
    assert_eq!((pause["by"].as_str(), pause["reason"].as_str()), (Some("all"), Some("rain")));
    assert!(pause["until"].is_string(), "{pause}");
    page.click("button", "Undo: It is paused for 48 hours.");
    page.until("the end of the pause", |_| get(&host.address(), "/api/v1/status").get("pause").is_none().then_some(()));

    page.open(&format!("http://{}/devices/sprinkler/garden", host.address()));
    page.click("DisclosureTriangle", "Pause sprinkler/garden for a while");
    page.eval("document.querySelector('#pause-for [name=until]').value = '2100-07-01T08:00'");
    page.eval("document.querySelector('#pause-for [name=reason]').value = 'holidays <b>'");
    page.click("button", "Pause sprinkler/garden until that date and time");
    page.wait_for("◌ paused until 08:00 1 July 2100: holidays <b>. What falls due in it is skipped.");
    let device = get(&host.address(), "/api/v1/devices/sprinkler/garden");
    assert_eq!(device["pause"]["until"], "2100-07-01T08:00:00+01:00");
    page.click("DisclosureTriangle", "Pause sprinkler/garden for a while");
    page.click("button", "Pause sprinkler/garden for 24 hours");
    page.wait_for("sprinkler/garden is paused. It replaces what was paused before; Undo restores that.");
    let reason = || get(&host.address(), "/api/v1/devices/sprinkler/garden")["pause"]["reason"].clone();
    assert_ne!(reason(), "holidays <b>");
    page.click("button", "Undo: sprinkler/garden is paused.");
    page.until("the pause of before", |_| (reason() == "holidays <b>").then_some(()));
    assert_eq!(page.complaints(), [] as [String; 0]);
}
