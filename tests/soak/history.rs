//! Runs a host that is killed at random moments, and records everything.

use std::{
    collections::HashMap,
    fs, thread,
    time::{Duration, Instant as Clock},
};

use roost_scheduler::{names::RunId, time::Instant};
use roost_tests::{Broker, Listener, Message, Roost, Site, guest, now_ms};

use crate::{
    disk::{Row, rows},
    ends::Ends,
    load::{DEVICES, STATUS, settings, settings_of_host},
    rng::Rng,
};

/// How long the host lives in a round.
const LIFE_MS: (u64, u64) = (300, 3_000);
/// How long it lives if it is killed during its start.
const SHORT_LIFE_MS: (u64, u64) = (0, 100);
/// How long jobs remain due after the last kill.
pub(crate) const AFTERMATH_MS: i64 = 2_500;
/// How long the last host may take until one more occurrence has ended; on a slow machine many are left.
const STUCK: Duration = Duration::from_secs(60);
/// The message that is published when all runs have ended.
const LAST: &str = "last";

/// The record of a soak test, as observed from outside.
pub(crate) struct History {
    /// When all jobs had been accepted.
    pub(crate) since: Instant,
    /// Up to here, every occurrence has had time to end.
    pub(crate) until: Instant,
    /// The kills, each of the host of that number; the last host was not killed. Where several hosts share a database, a
    /// host counts as another one with each connection that it makes to the broker, and as killed by its end.
    pub(crate) kills: Vec<Kill>,
    pub(crate) rows: Vec<Row>,
    /// The messages, in the broker's order.
    pub(crate) messages: Vec<Received>,
    /// Faults of the host.
    pub(crate) faults: Vec<String>,
    /// What else happened, and when, in seconds since the epoch.
    pub(crate) events: Vec<(f64, String)>,
}

/// A received message.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Its place in the order of all messages.
    pub(crate) place: usize,
    /// The number of the host that sent it.
    pub(crate) host: usize,
    pub(crate) message: Message,
}

/// A kill of a host.
pub(crate) struct Kill {
    /// When the host still ran, and when it no longer did.
    pub(crate) within: (Instant, Instant),
    /// The runs on disk after it, with which the next host began; none if it is not known.
    pub(crate) disk: Option<HashMap<RunId, Kept>>,
}

/// The state of a run on disk.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    /// Whether it had started.
    pub(crate) is_known: bool,
    /// How many of its steps were done.
    pub(crate) steps_done: usize,
    /// Whether its next step is marked `once`, and may have been sent.
    pub(crate) armed: bool,
}

impl Kill {
    /// Checks whether a run may have been under way.
    pub(crate) fn is_during(&self, run: &Row) -> bool {
        let (Some(started), Some(ended)) = (run.started, run.ended) else { return false };
        started <= self.within.1 && self.within.0 <= ended
    }
}

impl From<&Row> for Kept {
    fn from(row: &Row) -> Self {
        Self { is_known: row.started.is_some(), steps_done: row.steps_done, armed: row.armed }
    }
}

impl Rng {
    /// Draws a duration between two numbers of milliseconds.
    pub(crate) fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below::<u64>(most_ms - least_ms + 1))
    }
}

/// Runs a host and kills it in each round.
pub(crate) fn live(mut rng: Rng, rounds: u64, site: &Site) -> History {
    let broker = Broker::new();
    let listener = Listener::persistent(broker.port, "soak");
    site.settings("soak", &settings());
    site.drop_in(&guest("soak"), "soak");
    let mut faults = Vec::new();
    let mut kills = Vec::new();
    let mut host = start(0, site, &broker);
    listener.wait("each device's first message", |messages| {
        DEVICES.iter().all(|(name, _)| messages.iter().any(|message| message.topic == format!("soak/{name}/feed")))
    });
    let since = now();
    for _ in 0..rounds {
        thread::sleep(rng.between(LIFE_MS.0, LIFE_MS.1));
        kills.push(kill(host, kills.len(), site, &mut faults));
        if rng.one_in(4) {
            for _ in 0..2 {
                host = start(kills.len(), site, &broker);
                thread::sleep(rng.between(SHORT_LIFE_MS.0, SHORT_LIFE_MS.1));
                kills.push(kill(host, kills.len(), site, &mut faults));
            }
        }
        host = start(kills.len(), site, &broker);
    }
    let until = now().plus_ms(AFTERMATH_MS);
    wait_for_ends(|| rows(site.path()), since, until);
    check_log(&host, kills.len(), site, &mut faults);
    let status = host.stop();
    if !status.success() {
        faults.push(format!("the host was stopped with SIGTERM, and ended with {status}"));
    }
    let messages = all_messages(&listener, &broker);
    History { since, until, kills, rows: rows(site.path()), messages, faults, events: Vec::new() }
}

/// Starts a host.
fn start(number: usize, site: &Site, broker: &Broker) -> Roost {
    fs::write(site.path().join("roost.toml"), settings_of_host(number)).expect("a file");
    site.start(broker)
}

/// Kills the host, and records the state on disk.
fn kill(mut host: Roost, number: usize, site: &Site, faults: &mut Vec<String>) -> Kill {
    if host.has_ended() {
        faults.push(format!("host {number} ended by itself"));
    }
    check_log(&host, number, site, faults);
    let from = now();
    host.kill();
    let within = (from, now());
    let disk = rows(site.path()).into_iter().map(|row| (row.run.clone(), Kept::from(&row))).collect();
    Kill { within, disk: Some(disk) }
}

/// Keeps a host's log, and adds the errors in it to the faults; warnings are allowed.
fn check_log(host: &Roost, number: usize, site: &Site, faults: &mut Vec<String>) {
    let lines = host.log.all();
    fs::write(site.path().join(format!("host-{number}.log")), lines.join("\n")).expect("a file");
    let is_bad = |line: &String| line.contains("panicked") || line.contains("ERROR") || line.starts_with("error");
    faults.extend(lines.into_iter().filter(is_bad).map(|line| format!("host {number} logged: {line}")));
}

/// Waits until every occurrence has ended. If none ends for a while, those that are left count as lost.
#[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
pub(crate) fn wait_for_ends(rows: impl Fn() -> Vec<Row>, since: Instant, until: Instant) {
    let (mut fewest, mut end) = (usize::MAX, Clock::now() + STUCK);
    while Clock::now() < end {
        thread::sleep(Duration::from_millis(200));
        if now() < until {
            continue;
        }
        let rows = rows();
        let has_to_end = |row: &&Row| !row.has_ended() && row.run.occurrence < until;
        let left = rows.iter().filter(has_to_end).count() + Ends::of(&rows).unaccounted(since, until).len();
        if left == 0 {
            return;
        }
        if left < fewest {
            (fewest, end) = (left, Clock::now() + STUCK);
        }
    }
}

/// Returns all messages, after a last one has arrived, because the broker keeps their order.
pub(crate) fn record(listener: &Listener, broker: &Broker) -> Vec<Message> {
    broker.publish(&["-q", "1", "-t", LAST, "-m", LAST]);
    listener.wait_for(LAST);
    listener.messages()
}

/// Returns the messages, each with its host.
fn all_messages(listener: &Listener, broker: &Broker) -> Vec<Received> {
    let (mut host, mut received) = (0, Vec::new());
    for (place, message) in record(listener, broker).into_iter().enumerate() {
        if let Some(number) = message.topic.strip_prefix(STATUS).filter(|_| message.payload == "online") {
            host = number.parse().expect("the number of a host");
        } else if message.topic.starts_with("soak/") {
            received.push(Received { place, host, message });
        }
    }
    received
}

pub(crate) fn now() -> Instant {
    Instant::from_millis_clamped(now_ms())
}
