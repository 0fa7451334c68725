//! The forms of tasks on the page.

use roost_tests::Chromium;

use crate::steering::garden;

#[test]
fn a_task_is_called_by_its_form_and_its_run_has_its_name() {
    let (_broker, site, _listener, host) = garden();
    let mut browser = Chromium::start(site.path());
    browser.resize(360, 740);
    let address = format!("http://{}", host.address());
    browser.open(&format!("{address}/devices/sprinkler/garden/tasks"));
    browser.wait_for("It needs zone, minutes.");
    browser.fill("zone", "9");
    browser.fill("minutes", "0.1");
    browser.click("button", "Call sprinkler/garden/water");
    // The error names the task, not what the host calls in the plugin.
    browser.wait_for("task `water`: args `zone`: there is no such zone, they are (from 1 on) lawn, beds");
    browser.fill("zone", "lawn");
    browser.click("button", "Call sprinkler/garden/water");
    browser.wait_for("It is called.");

    // Its run waits for the step that closes the valve.
    browser.open(&format!("{address}/runs"));
    browser.until("the label", |browser| {
        (browser.eval("document.querySelector('ul.rows > li a.name + span')?.innerText") == "water").then_some(())
    });
    assert!(host.stop().success());
}
