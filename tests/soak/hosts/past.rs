//! What the hosts have done, as observed from outside.

use roost_scheduler::time::Instant;
use roost_tests::Message;

use super::{machine::epoch, trouble::Trouble};
use crate::{
    disk::Row,
    history::{History, Kill, Received},
    load::STATUS,
    story::seconds,
};

/// How long after trouble a host may connect again because of it: another host may have had to wait for its clock, or
/// the database for its log.
const AFTER_MS: i64 = 20_000;

/// The record of a soak test of several hosts.
pub(crate) struct Past {
    pub(crate) rows: Vec<Row>,
    /// All messages, in the broker's order; each topic begins with the machine of its sender, as in `m1/…`.
    pub(crate) messages: Vec<Message>,
    /// What each machine's hosts have logged.
    pub(crate) logs: Vec<Vec<String>>,
    pub(crate) troubles: Vec<Trouble>,
    /// Faults of hosts.
    pub(crate) faults: Vec<String>,
}

/// A connection of a host to the broker.
pub(crate) struct Session {
    pub(crate) machine: usize,
    /// When the subscriber heard of it.
    pub(crate) at: f64,
}

impl Past {
    /// Returns the history as that of one host that is killed: each connection to the broker counts as a host.
    pub(crate) fn history(&self, since: Instant, until: Instant) -> History {
        let mut faults = self.faults.clone();
        faults.extend(self.bad_lines());
        let (mut sessions, mut messages): (Vec<Session>, Vec<Received>) = (Vec::new(), Vec::new());
        for (place, message) in self.messages.iter().enumerate() {
            let Some((machine, topic)) = sender(message) else { continue };
            if topic.starts_with(STATUS) && message.payload == "online" {
                sessions.push(Session { machine, at: message.at });
            } else if topic.starts_with("soak/") {
                let Some(session) = sessions.last() else { continue };
                if session.machine != machine {
                    let session = session.machine;
                    faults.push(format!("host {machine} sent after host {session} had connected: {message:?}"));
                }
                messages.push(Received { place, host: sessions.len() - 1, message: message.clone() });
            }
        }
        let kills = self.kills(&sessions, &mut faults);
        faults.extend(self.check_epochs(&sessions));
        let rows = self.rows.clone();
        History { since, until, kills, rows, messages, faults, events: self.events(&sessions) }
    }

    /// Returns the ends of all sessions but the last, each from the trouble that explains it to the next session.
    fn kills(&self, sessions: &[Session], faults: &mut Vec<String>) -> Vec<Kill> {
        let explain = |session: &Session| {
            let at = Instant::from_millis_clamped((session.at * 1e3) as i64);
            let trouble = self.troubles.iter().rev().find(|trouble| trouble.begun <= at);
            let begun = trouble.filter(|trouble| at <= trouble.ended.plus_ms(AFTER_MS)).map(|trouble| trouble.begun);
            if begun.is_none() {
                faults.push(format!("host {} connected without trouble before it, at {at}", session.machine));
            }
            Kill { within: (begun.unwrap_or(at), at), disk: None }
        };
        sessions.iter().skip(1).map(explain).collect()
    }

    /// Checks that each claim has an epoch of its own, and that sessions come in the order of their epochs.
    fn check_epochs(&self, sessions: &[Session]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut claims: Vec<(i64, usize)> = Vec::new();
        for (machine, log) in self.logs.iter().enumerate() {
            let epochs: Vec<i64> = log.iter().filter_map(|line| epoch(line)).collect();
            if !epochs.is_sorted() {
                faults.push(format!("the epochs of host {machine} went back: {epochs:?}"));
            }
            claims.extend(epochs.iter().map(|epoch| (*epoch, machine)));
        }
        claims.sort_unstable();
        if let Some(pair) = claims.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            faults.push(format!("two hosts had epoch {}: {} and {}", pair[0].0, pair[0].1, pair[1].1));
        }
        let mut rest = claims.iter();
        let mut now = rest.next();
        for session in sessions {
            while now.is_some_and(|(_, machine)| *machine != session.machine) {
                now = rest.next();
            }
        }
        if now.is_none() {
            let order: Vec<_> = sessions.iter().map(|session| session.machine).collect();
            faults.push(format!("the hosts connected in the order {order:?}, and claimed the cell so: {claims:?}"));
        }
        faults
    }

    /// Returns what must not be in a log.
    fn bad_lines(&self) -> impl Iterator<Item = String> {
        // A host that loses its cell or its database says so.
        let known = [
            "this host has lost its cell, and begins anew",
            "a commit failed",
            "the lease was not renewed",
            "this host takes over nothing: its clock is",
        ];
        let is_bad = move |line: &&String| {
            let is_error = line.contains("ERROR") && !known.iter().any(|known| line.contains(known));
            line.contains("panicked") || line.starts_with("error") || is_error
        };
        let logs = self.logs.iter().enumerate();
        logs.flat_map(move |(number, log)| {
            log.iter().filter(is_bad).map(move |line| format!("host {number} logged: {line}"))
        })
    }

    fn events(&self, sessions: &[Session]) -> Vec<(f64, String)> {
        let begun = self.troubles.iter().map(|trouble| (seconds(trouble.begun), trouble.what.clone()));
        let online = sessions.iter().map(|session| (session.at, format!("host {} connects", session.machine)));
        begun.chain(online).collect()
    }
}

/// Parses the topic of a message into the number of its machine and the rest.
fn sender(message: &Message) -> Option<(usize, &str)> {
    let (machine, topic) = message.topic.strip_prefix('m')?.split_once('/')?;
    Some((machine.parse().ok()?, topic))
}
