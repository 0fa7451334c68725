//! `/faults`, and devices by their faults.

use roost_tests::{
    Broker, Device, Listener, Roost, Site, guest,
    http::{ask, get, post, text},
};
use serde_json::{Value, json};

/// Waits until the first group of faults has that many, and returns it.
fn group_of(host: &Roost, address: &str, count: usize) -> Value {
    host.until(&format!("{count} faults"), || {
        let faults = get(address, "/api/v1/faults");
        (faults["complete"] == true && faults["groups"][0]["count"] == count).then(|| faults["groups"][0].clone())
    })
}

fn count(address: &str, path: &str) -> usize {
    get(address, path)["items"].as_array().unwrap().len()
}

#[test]
fn doors_that_fail_for_one_reason_are_one_fault_until_they_work_again() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let door = |number: usize| {
        format!(
            "[[device]]\nname = \"door-{number}\"\n[[device.config.jobs]]\nid = \"close\"\ntrigger = {{ in_ms = 0 }}\n\
             policy = {{ attempts = 1 }}\nsteps = [{{ topic = \"declared/{number}/set\", payload = \"close\", \
             confirm = {{ topic = \"declared/{number}/state\", bytes = \"closed\", within_ms = 300 }} }}]\n"
        )
    };
    site.settings("declared", &(0..52).map(door).collect::<String>());
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    let address = host.address();
    let group = group_of(&host, &address, 52);
    assert_eq!((text(&group, "kind"), text(&group, "state")), ("run", "failed"));
    assert_eq!(
        text(&group, "reason"),
        "step … was given up after … attempt: the device did not confirm the step within …"
    );
    assert_eq!((group["devices"].as_u64(), group["first"].as_array().unwrap().len()), (Some(52), 5));
    let first = &group["first"][0];
    assert_eq!(get(&address, text(first, "href"))["state"], "failed");
    // The same reason is that of each device.
    let devices = get(&address, "/api/v1/devices?fault=true&limit=30");
    assert_eq!((devices["items"].as_array().unwrap().len(), devices["next"].is_string()), (30, true));
    assert_eq!(devices["items"][0]["last"]["state"], "failed");
    let reason = text(&group, "reason").replace(' ', "%20").replace('…', "%E2%80%A6");
    assert_eq!(count(&address, &format!("/api/v1/devices?reason={reason}&limit=1000")), 52);
    assert_eq!(count(&address, "/api/v1/devices?reason=another"), 0);
    let door = get(&address, "/api/v1/devices/declared/door-7");
    assert_eq!((text(&door["fault"], "state"), &door["fault"], door["due"].is_null()), ("failed", &door["last"], true));
    let (status, missing) = ask(&address, "GET", "/api/v1/devices/declared/dor-7", "", "");
    assert_eq!((status, text(&missing, "hint")), (404, "did you mean `declared/door-7`?"));
    assert_eq!(count(&address, "/api/v1/devices?q=D%2FDOOR-5"), 3);
    assert_eq!(count(&address, "/api/v1/devices?q=door-51&fault=false"), 0);
    assert_eq!(count(&address, "/api/v1/runs?state=failed,missed,denied&limit=1000"), 52);
    site.roost(&["pause", "declared/door-7"]);
    assert_eq!(count(&address, "/api/v1/devices?paused=true"), 1);
    // It works again, and the others are still known after a restart.
    let _door = Device::answering(&broker, &listener, "declared/0/set", "declared/0/state", "closed");
    assert_eq!(post(&address, "/api/v1/runs/replay", &json!({"run": text(first, "run")})).0, 200);
    group_of(&host, &address, 51);
    assert!(host.stop().success());
    let host = site.start(&broker);
    group_of(&host, &host.address(), 51);
    assert!(host.stop().success());
}
