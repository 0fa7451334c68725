//! Runs a host that is killed at random moments, and records everything.

use std::{
    collections::HashMap,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant as Clock},
};

use roost_scheduler::{names::RunId, time::Instant};
use roost_tests::{Broker, Listener, Message, Roost, Site, guest, now_ms};

use crate::{
    disk::{Row, rows},
    ends::Ends,
    load::{DEVICES, HOST, settings},
    rng::Rng,
};

/// How long the host lives in a round.
const LIFE_MS: (u64, u64) = (300, 3_000);
/// How long it lives if it is killed during its start.
const SHORT_LIFE_MS: (u64, u64) = (0, 100);
/// How long jobs remain due after the last kill.
const AFTERMATH_MS: i64 = 2_500;
/// How long the last host has to end all runs.
const END: Duration = Duration::from_secs(60);
/// The message that is published when all runs have ended.
const LAST: &str = "last";

/// The record of a soak test, as observed from outside.
pub(crate) struct History {
    /// When all jobs had been accepted.
    pub(crate) since: Instant,
    /// Up to here, every occurrence has had time to end.
    pub(crate) until: Instant,
    pub(crate) kills: Vec<Kill>,
    pub(crate) rows: Vec<Row>,
    /// The messages, in the broker's order.
    pub(crate) messages: Vec<Message>,
    /// Faults of the host.
    pub(crate) faults: Vec<String>,
}

/// A kill of a host.
pub(crate) struct Kill {
    /// When it happened, in seconds since the epoch, as for messages.
    pub(crate) at: f64,
    /// The runs on disk at that moment.
    pub(crate) disk: HashMap<RunId, Kept>,
}

/// The state of a run on disk.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    /// Whether it had started.
    pub(crate) is_known: bool,
    /// How many of its steps were done.
    pub(crate) steps_done: usize,
}

impl Kill {
    pub(crate) fn at_instant(&self) -> Instant {
        Instant::from_millis_clamped((self.at * 1_000.0) as i64)
    }
}

impl Rng {
    /// Draws a duration between two numbers of milliseconds.
    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below::<u64>(most_ms - least_ms + 1))
    }
}

/// Runs a host and kills it in each round.
pub(crate) fn live(mut rng: Rng, rounds: u64) -> History {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::persistent(broker.port, "soak");
    fs::write(site.path().join("roost.toml"), HOST).expect("a file");
    site.settings("soak", &settings());
    site.drop_in(&guest("soak"), "soak");
    let mut faults = Vec::new();
    let mut kills = Vec::new();
    let mut host = site.start(&broker);
    listener.wait("each device's first message", |messages| {
        DEVICES.iter().all(|(name, _)| messages.iter().any(|message| message.topic == format!("soak/{name}/feed")))
    });
    let since = now();
    for _ in 0..rounds {
        thread::sleep(rng.between(LIFE_MS.0, LIFE_MS.1));
        kills.push(kill(host, &site, &mut faults));
        if rng.one_in(4) {
            for _ in 0..2 {
                host = site.start(&broker);
                thread::sleep(rng.between(SHORT_LIFE_MS.0, SHORT_LIFE_MS.1));
                kills.push(kill(host, &site, &mut faults));
            }
        }
        host = site.start(&broker);
    }
    let until = now().plus_ms(AFTERMATH_MS);
    wait_for_ends(&site, since, until);
    check_log(&host, &mut faults);
    let status = host.stop();
    if !status.success() {
        faults.push(format!("the host was stopped with SIGTERM, and ended with {status}"));
    }
    let messages = all_messages(&listener, broker.port);
    History { since, until, kills, rows: rows(site.path()), messages, faults }
}

/// Kills the host, and records the state on disk.
fn kill(mut host: Roost, site: &Site, faults: &mut Vec<String>) -> Kill {
    if host.has_ended() {
        faults.push("the host ended by itself".into());
    }
    check_log(&host, faults);
    let at = now().millis() as f64 / 1_000.0;
    host.kill();
    let kept = |row: Row| (row.run, Kept { is_known: row.started.is_some(), steps_done: row.steps_done });
    Kill { at, disk: rows(site.path()).into_iter().map(kept).collect() }
}

/// Adds errors in the log to the faults; warnings are allowed.
fn check_log(host: &Roost, faults: &mut Vec<String>) {
    let is_bad = |line: &String| line.contains("panicked") || line.contains("ERROR") || line.starts_with("error");
    faults.extend(host.log.all().into_iter().filter(is_bad).map(|line| format!("the host logged: {line}")));
}

/// Waits, within a limit, until every occurrence has ended; the others count as lost.
#[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
fn wait_for_ends(site: &Site, since: Instant, until: Instant) {
    let end = Clock::now() + END;
    while Clock::now() < end {
        thread::sleep(Duration::from_millis(200));
        if now() < until {
            continue;
        }
        let rows = rows(site.path());
        let has_ended = rows.iter().all(|row| row.has_ended() || row.run.occurrence >= until);
        if has_ended && Ends::of(&rows).unaccounted(since, until).is_empty() {
            return;
        }
    }
}

/// Returns the messages, after a last one has arrived, because the broker keeps their order.
fn all_messages(listener: &Listener, port: u16) -> Vec<Message> {
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", LAST, "-m", LAST])
        .status()
        .expect("mosquitto_pub is not installed: run `make setup`");
    assert!(status.success(), "the broker does not accept the last message");
    listener.wait_for(LAST);
    let messages = listener.messages();
    messages.into_iter().filter(|message| message.topic.starts_with("soak/")).collect()
}

fn now() -> Instant {
    Instant::from_millis_clamped(now_ms())
}
