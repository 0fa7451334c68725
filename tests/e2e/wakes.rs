//! An owner that wakes up while another host works.

use std::fs;

use roost_tests::{Network, Postgres, Proxy, now_ms};

use super::*;

/// How many steps are due while it is suspended.
const STEPS: usize = 10_000;
/// How many jobs are due in each second.
const EACH_SECOND: i64 = 1_500;
/// For how long they are.
const FOR_S: i64 = 20;
/// How far ahead the first one is, so that all are planned before.
const AHEAD_MS: i64 = 12_000;
/// A packet by which a client shows that it is there. MQTT 5.0, section 3.12.
const PING: [u8; 2] = [0xc0, 0];

#[test]
fn an_owner_that_wakes_up_sends_none_of_ten_thousand_steps_that_were_due_meanwhile() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    let listener = Listener::new(broker.port);
    let sites = [Site::new(), Site::new()];
    for site in &sites {
        let text = format!("[rates]\nburst = 100000\n[store]\nurl = \"{database}\"\n");
        fs::write(site.path().join("roost.toml"), text).unwrap();
    }
    // What the owner sends is seen here, whatever the broker does with it.
    let network = Proxy::to(broker.port);
    let owner = sites[0].start_with(&["--mqtt", &format!("mqtt://127.0.0.1:{}", network.port)]);
    owner.wait_for_log("connected to the broker");
    sites[0].settings("burst", &burst(now_ms() + AHEAD_MS));
    sites[0].drop_in(&guest("burst"), "burst");
    sites[0].roost(&["adopt", "plugins"]);
    let standby = sites[1].start(&broker);
    standby.wait_for_log("another host owns the cell: this one is a standby");

    listener.wait("the first steps", |messages| messages.iter().any(is_step));
    owner.suspend();
    let asleep = now_ms();
    // The broker ends its connection when the standby connects, and it does not notice: only its lease keeps it from sending.
    network.set(Network { blocks_answers: true, ..Network::default() });
    standby.wait_for_log("this host owns the cell");
    listener.wait("steps that are due meanwhile", |messages| {
        messages.iter().filter(|message| is_step(message) && due_ms(message) > asleep).count() >= STEPS
    });
    network.take_sent();
    owner.resume();
    owner.wait_for_log("this host has lost its cell, and begins anew");
    let anew = owner.log.all().iter().position(|line| line.contains("begins anew")).unwrap();
    owner.log.wait_for(anew, "another host owns the cell: this one is a standby");
    let sent = network.take_sent();
    assert!(sent.chunks(PING.len()).all(|packet| packet == PING), "it sent {} bytes: {sent:?}", sent.len());
}

/// Returns the settings of the guest `burst`, whose first job is due at an instant.
fn burst(first_ms: i64) -> String {
    let (total, per_device) = (EACH_SECOND * FOR_S, 10_000);
    let spread_ms = FOR_S * 1_000;
    let mut text =
        format!("[config]\ntotal = {total}\nt0_ms = {first_ms}\nspread_ms = {spread_ms}\ntopic = \"burst\"\n");
    for first in (0..total).step_by(per_device) {
        text += &format!("[[device]]\nname = \"at-{first}\"\nconfig = {{ first = {first}, jobs = {per_device} }}\n");
    }
    text
}

fn is_step(message: &Message) -> bool {
    message.topic.starts_with("burst/")
}

/// Returns when a step was due, from a payload such as `1800000000000000000:42`.
fn due_ms(message: &Message) -> i64 {
    let (due_ns, _) = message.payload.split_once(':').unwrap();
    due_ns.parse::<i64>().unwrap() / 1_000_000
}
