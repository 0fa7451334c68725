//! End-to-end tests with the real binary, a real broker and real plugins.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::too_many_lines, reason = "snapshots are in their tests")]

mod api;
mod attacks;
mod brokers;
mod browser;
mod built_in_broker;
mod calendars;
mod certificates;
mod clocks;
mod commands;
mod crashes;
mod delivery;
mod devices;
mod docs;
mod fairness;
mod faults;
mod files;
mod grants;
mod guests;
mod home_assistant;
mod hostile;
mod hosts;
mod login;
mod makers;
mod moved_hosts;
mod moving;
mod operations;
mod other_brokers;
mod outages;
mod page;
mod page_accessibility;
mod page_addresses;
mod page_devices;
mod page_keyboard;
mod page_pauses;
mod page_pictures;
mod page_plugins;
mod page_runs;
mod page_tasks;
mod page_timeline;
mod pauses;
mod plugins;
mod readiness;
mod settings;
mod simulate;
mod steering;
mod stream;
mod tasks;
mod timeline;
mod timers;
mod uploads;
mod wakes;
mod why;
mod zones;

use roost_tests::{Broker, Listener, Message, Roost, Site, guest};

const SECOND: i64 = 1_000;
/// How far ahead jobs are, in milliseconds: all is loaded before they are due, and then the clock is set to shortly
/// before it.
const SOON: i64 = 600 * SECOND;
/// 2027-07-01T12:00:00Z: when such jobs are due.
const NOON: i64 = 1_814_443_200_000;

/// Returns a job of the guest `declared`, as TOML: one message on a topic.
fn job(id: &str, trigger: &str, topic: &str) -> String {
    format!(
        "[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ {trigger} }}\n\
         steps = [{{ topic = \"{topic}\", payload = \"{id}\" }}]\n"
    )
}

/// Returns an hour of the day that is some hours ahead, so that a daily job is due once, and not soon.
fn hour_ahead() -> i64 {
    (roost_tests::now_ms() / 3_600_000 + 6) % 24
}

/// Starts a broker, a listener, and a host with a plugin `name` that publishes each second, and waits for its first
/// messages.
fn ticking(name: &str) -> (Broker, Site, Listener, Roost) {
    ticking_in(Site::new(), name)
}

/// As [`ticking`], in a site that has settings already.
fn ticking_in(site: Site, name: &str) -> (Broker, Site, Listener, Roost) {
    let broker = Broker::new();
    let listener = Listener::new(broker.port);
    site.settings(name, &job("tick", "every_ms = 1000", &format!("{name}/tick")));
    site.drop_in(&guest("declared"), name);
    let roost = site.start(&broker);
    listener.wait_for(&format!("{name}/tick"));
    // The first message may come before the line about the jobs: what follows looks at the lines after it.
    roost.wait_for_log(&format!("jobs of `{name}`: "));
    (broker, site, listener, roost)
}

/// Waits for more messages on a topic.
fn more(listener: &Listener, topic: &str) {
    let count = |messages: &[Message]| messages.iter().filter(|message| message.topic == topic).count();
    let so_far = count(&listener.messages());
    listener.wait("more of them", |messages| count(messages) > so_far + 1);
}
