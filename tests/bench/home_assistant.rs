//! A thousand devices described to Home Assistant: the effect on due messages, and how soon a press is carried out.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use roost_tests::{Broker, Listener, Site, figure::Figure, retained};

use crate::{
    clock::{in_ms, ms_between, now_ns, sleep_until},
    subscriber::{Subscriber, lateness},
    ticks::{due_between, ticks},
    work::Work,
};

const DEVICES: u32 = 1_000;
/// Their jobs are due during the day after tomorrow.
const FAR_MS: i64 = 48 * 3_600_000;
const DAY_MS: u32 = 86_400_000;
const ROUNDS: usize = 3;

/// Measures due messages while a broker that has lost all descriptions gets them again, and before.
pub(crate) fn thousand_described() -> Vec<Figure> {
    let broker = Broker::new();
    let site = Site::new();
    fs::write(site.path().join("roost.toml"), "[home_assistant]\n").expect("a file");
    let host = site.start(&broker);
    let many = Work { plugin: "many", jobs: DEVICES, spread_ms: DAY_MS, per_device: 1, then_ms: None };
    many.drop_into(&site, FAR_MS);
    many.planned(&host);
    let last = format!("homeassistant/device/roost_many_at-{}/config", DEVICES - 1);
    let client = fs::read_to_string(site.path().join("data/client-id")).expect("the host has made it");
    let background = format!("{}-background", client.trim());
    let (mut alone, mut beside, mut took, mut pressed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for plugin in ["tick", "tick-2", "tick-3"].into_iter().take(ROUNDS) {
        host.until("the last device", || retained(broker.port, &last));
        let subscriber = Subscriber::new(broker.port, &format!("{plugin}/#"));
        let t0_ns = ticks(plugin, 40).drop_into(&site, 2_000);
        ticks(plugin, 40).planned(&host);
        sleep_until(t0_ns + 5_000_000_000);
        alone.push(lateness(&due_between(&subscriber.so_far(), t0_ns, now_ns() - 500_000_000)));

        forget(broker.port);
        let listener = Listener::new(broker.port);
        let begun = now_ns();
        // A second client with its id ends the connection of what may wait, and no other.
        mosquitto_pub(broker.port, &["-i", &background, "-t", "bench/none", "-m", "x"]);
        listener.wait_for("homeassistant/device/roost_many_at-0/config");
        let press_ns = now_ns();
        mosquitto_pub(broker.port, &["-t", &format!("roost/set/many/at-{}/enabled", DEVICES / 2), "-m", "OFF"]);
        let paused = format!("roost/state/many/at-{}", DEVICES / 2);
        listener.wait("the press", |messages| {
            messages.iter().any(|message| message.topic == paused && message.payload.contains("\"paused\":true"))
        });
        pressed.push(ms_between(press_ns, now_ns()));
        listener.wait("all descriptions", |messages| messages.iter().any(|message| message.topic == last));
        let done = now_ns();
        took.push(ms_between(begun, done) / 1e3);
        mosquitto_pub(broker.port, &["-t", &format!("roost/set/many/at-{}/enabled", DEVICES / 2), "-m", "ON"]);
        thread::sleep(Duration::from_millis(500));
        beside.push(lateness(&due_between(&subscriber.so_far(), begun, done)));
        sleep_until(t0_ns.max(in_ms(0)));
    }
    let late = |rounds: &[[f64; 3]], part: usize| rounds.iter().map(|round| round[part]).collect::<Vec<f64>>();
    let ratio = late(&beside, 1).iter().zip(late(&alone, 1)).map(|(beside, alone)| beside / alone).collect();
    vec![
        Figure::lower("described again", "s", took),
        Figure::lower("100/s alone: lateness, p99", "ms", late(&alone, 1)),
        Figure::lower("100/s beside it: lateness, p99", "ms", late(&beside, 1)),
        Figure::lower("beside it to alone, p99", "", ratio),
        Figure::lower("100/s beside it: lateness, largest", "ms", late(&beside, 2)),
        Figure::lower("a press beside it", "ms", pressed),
    ]
}

/// Makes the broker forget all descriptions. Not the states: the host publishes one that another client removes.
fn forget(port: u16) {
    let mut process = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "--remove-retained", "--retained-only", "-W", "3"])
        .args(["-t", "homeassistant/#"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto_sub is not installed: run `make setup`");
    let _ = process.wait();
}

fn mosquitto_pub(port: u16, arguments: &[&str]) {
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"])
        .args(arguments)
        .status()
        .expect("mosquitto_pub is not installed: run `make setup`");
    assert!(status.success(), "mosquitto_pub {arguments:?}");
}
