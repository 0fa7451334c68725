//! A host that is killed at moments that nobody has chosen, and what was seen of that.

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
    rng::Dice,
};

/// For how long the host lives in a round.
const LIFE_MS: (u64, u64) = (300, 3_000);
/// For how long it lives where it is killed as it starts.
const SHORT_LIFE_MS: (u64, u64) = (0, 100);
/// For how much longer jobs are due after the last kill.
const AFTERMATH_MS: i64 = 2_500;
/// How long the last host has for all that was due.
const END: Duration = Duration::from_secs(60);
/// What is published when all has ended.
const LAST: &str = "last";

/// What was seen from outside.
pub(crate) struct History {
    /// All jobs were accepted by then.
    pub(crate) since: Instant,
    /// What was due before has had its time.
    pub(crate) until: Instant,
    pub(crate) kills: Vec<Kill>,
    pub(crate) rows: Vec<Row>,
    /// What the broker had, in its order.
    pub(crate) heard: Vec<Message>,
    /// What the host did that no host does.
    pub(crate) faults: Vec<String>,
}

/// A host was killed.
pub(crate) struct Kill {
    /// In seconds since the epoch, as for messages.
    pub(crate) at: f64,
    /// What it left on disk, by the run.
    pub(crate) disk: HashMap<RunId, Kept>,
}

/// What the disk knew of a run.
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

impl Dice {
    /// From one number of milliseconds to another.
    fn between(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.roll(most_ms - least_ms + 1))
    }
}

/// Lets a host live and die.
pub(crate) fn live(mut dice: Dice, rounds: u64) -> History {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::persistent(broker.port, "soak");
    fs::write(site.path().join("roost.toml"), HOST).expect("a file");
    site.settings("soak", &settings());
    site.drop_in(&guest("soak"), "soak");
    let mut faults = Vec::new();
    let mut kills = Vec::new();
    let mut host = site.start(&broker);
    listener.wait("each device's first message", |heard| {
        DEVICES.iter().all(|(name, _)| heard.iter().any(|message| message.topic == format!("soak/{name}/feed")))
    });
    let since = now();
    for _ in 0..rounds {
        thread::sleep(dice.between(LIFE_MS.0, LIFE_MS.1));
        kills.push(kill(host, &site, &mut faults));
        if dice.one_in(4) {
            for _ in 0..2 {
                host = site.start(&broker);
                thread::sleep(dice.between(SHORT_LIFE_MS.0, SHORT_LIFE_MS.1));
                kills.push(kill(host, &site, &mut faults));
            }
        }
        host = site.start(&broker);
    }
    let until = now().plus_ms(AFTERMATH_MS);
    settle(&site, since, until);
    look_at_log(&host, &mut faults);
    let status = host.stop();
    if !status.success() {
        faults.push(format!("the host was asked to stop, and ended with {status}"));
    }
    let heard = all_that_was_heard(&listener, broker.port);
    History { since, until, kills, rows: rows(site.path()), heard, faults }
}

/// `kill -9`, and a look at what is left.
fn kill(mut host: Roost, site: &Site, faults: &mut Vec<String>) -> Kill {
    if host.has_ended() {
        faults.push("the host ended by itself".into());
    }
    look_at_log(&host, faults);
    let at = now().millis() as f64 / 1_000.0;
    host.kill();
    let kept = |row: Row| (row.run, Kept { is_known: row.started.is_some(), steps_done: row.steps_done });
    Kill { at, disk: rows(site.path()).into_iter().map(kept).collect() }
}

/// A host may warn, but not fail.
fn look_at_log(host: &Roost, faults: &mut Vec<String>) {
    let is_bad = |line: &String| line.contains("panicked") || line.contains("ERROR") || line.starts_with("error");
    faults.extend(host.log.all().into_iter().filter(is_bad).map(|line| format!("the host says: {line}")));
}

/// Waits until everything that was due has ended, but not for ever: what has not is lost.
#[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
fn settle(site: &Site, since: Instant, until: Instant) {
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

/// The broker hands out what it has in its order, so what is published now comes last.
fn all_that_was_heard(listener: &Listener, port: u16) -> Vec<Message> {
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", LAST, "-m", LAST])
        .status()
        .expect("mosquitto_pub is not installed: run `make setup`");
    assert!(status.success(), "the broker does not take the last message");
    listener.wait_for(LAST);
    let heard = listener.heard();
    heard.into_iter().filter(|message| message.topic.starts_with("soak/")).collect()
}

fn now() -> Instant {
    Instant::from_millis_clamped(now_ms())
}
