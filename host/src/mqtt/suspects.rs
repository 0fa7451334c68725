//! Topics at which the broker ended a connection: they are held back, and tried one at a time, alone, until it is known
//! which of them it was.
//!
//! Some brokers close the connection on a message that their access rules deny, and say nothing (Mosquitto 2.0.11 does, where
//! `max_queued_messages` is 0). Without this, one such topic would take everybody's messages along, again and again (I7).

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::Duration,
};

use roost_scheduler::body::Body;
use tokio::time::Instant;

use super::{failure::Failure, limits};

/// What a packet was about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Messages to a topic.
    Publish(Box<str>),
    /// Listening to a topic.
    Subscribe(Box<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(topic) => write!(f, "the message to `{topic}`"),
            Self::Subscribe(topic) => write!(f, "the subscription to `{topic}`"),
        }
    }
}

/// All suspects, over all connections.
#[derive(Debug)]
pub(super) struct Suspects {
    known: HashMap<Subject, Suspect>,
    /// Named by the last connection; they are suspects only if the broker lets us in again at once. Else it was the broker
    /// that went away, or the network.
    named: Vec<Subject>,
    /// When the next trial may begin.
    next_trial: Instant,
    /// The turns that were given to messages that have to wait for theirs.
    next_turn: Instant,
}

#[derive(Debug)]
struct Suspect {
    /// Trials at which the broker ended the connection.
    convictions: u32,
    /// Until then it is not tried again.
    not_before: Instant,
}

impl Suspects {
    pub(super) fn new(now: Instant) -> Self {
        Self { known: HashMap::new(), named: Vec::new(), next_trial: now, next_turn: now }
    }

    /// A connection ended at one of these. Whether any of them is new, so that the next connection will be a better one.
    pub(super) fn name(&mut self, subjects: Vec<Subject>) -> bool {
        let room = limits::SUSPECTS.saturating_sub(self.known.len());
        self.named = subjects.into_iter().filter(|subject| !self.known.contains_key(subject)).take(room).collect();
        !self.named.is_empty()
    }

    /// There is a connection again: those that were named are suspects, if it was made at once. Those that are from then on.
    pub(super) fn connected(&mut self, at_once: bool, now: Instant) -> Vec<Subject> {
        let mut named = std::mem::take(&mut self.named);
        if !at_once {
            named.clear();
        }
        for subject in &named {
            self.known.insert(subject.clone(), Suspect { convictions: 0, not_before: now });
        }
        named
    }

    /// The broker's rules may be different now: a connection ended for another reason, or this is another broker.
    pub(super) fn retry_all(&mut self, now: Instant) {
        self.next_turn = now;
        for suspect in self.known.values_mut() {
            suspect.not_before = now;
        }
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        !self.known.is_empty() && self.known.contains_key(subject)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether the broker has ended a connection at it when it was alone.
    pub(super) fn is_convicted(&self, subject: &Subject) -> bool {
        self.known.get(subject).is_some_and(|suspect| suspect.convictions > 0)
    }

    /// When it may be tried.
    pub(super) fn ready_at(&self, subject: &Subject) -> Instant {
        self.known.get(subject).map_or(self.next_trial, |suspect| suspect.not_before.max(self.next_trial))
    }

    /// For a message that cannot be tried now: how long it waits. Each gets a turn of its own.
    pub(super) fn wait(&mut self, subject: &Subject, now: Instant) -> Duration {
        let ready = self.ready_at(subject);
        self.next_turn = self.next_turn.max(ready).max(now) + limits::TURN;
        // Turns that are far ahead are those of many; each comes and asks again.
        let latest = ready.max(now) + limits::LAST_TURN;
        self.next_turn = self.next_turn.min(latest);
        self.next_turn.duration_since(now)
    }

    /// The broker took it and kept the connection.
    pub(super) fn acquit(&mut self, subject: &Subject, took: Duration, now: Instant) -> bool {
        self.pause(took, now);
        self.known.remove(subject).is_some_and(|suspect| suspect.convictions > 0)
    }

    /// It could not be found out.
    pub(super) fn put_off(&mut self, subject: &Subject, took: Duration, now: Instant) {
        self.pause(took, now);
        if let Some(suspect) = self.known.get_mut(subject) {
            suspect.not_before = now + limits::UNDECIDED;
        }
    }

    /// Trials take a tenth of the time at most: nothing else is sent meanwhile.
    fn pause(&mut self, took: Duration, now: Instant) {
        self.next_trial = now + (took * 9).max(limits::TURN);
    }

    /// The broker ended the connection when it was alone; how often it has done so, and how long it is left alone now.
    pub(super) fn convict(&mut self, subject: &Subject, longest: Duration, now: Instant) -> (u32, Duration) {
        self.next_trial = now + limits::AFTER_CONVICTION;
        let suspect = self.known.entry(subject.clone()).or_insert_with(|| Suspect { convictions: 0, not_before: now });
        let doubled = limits::FIRST_PAUSE.saturating_mul(1 << suspect.convictions.min(16));
        let pause = doubled.min(longest);
        suspect.convictions = suspect.convictions.saturating_add(1);
        suspect.not_before = now + pause;
        (suspect.convictions, pause)
    }

    /// The topics at which the broker ends connections, the first ones by name, and how many there are.
    pub(super) fn convicted(&self) -> (Vec<String>, usize) {
        let convicted = self.known.iter().filter(|(_, suspect)| suspect.convictions > 0);
        let mut topics: Vec<String> = convicted
            .map(|(subject, _)| match subject {
                Subject::Publish(topic) | Subject::Subscribe(topic) => topic.to_string(),
            })
            .collect();
        topics.sort_unstable();
        topics.dedup();
        let count = topics.len();
        topics.truncate(limits::TOPICS_SHOWN);
        (topics, count)
    }
}

/// Packets that were written on one connection, as long as it may be them that the broker ends it at: those after the last
/// one that it answered to, and that one. Brokers read a connection's packets in their order.
#[derive(Debug, Default)]
pub(super) struct Recent {
    packets: VecDeque<Packet>,
    /// How many were written before the first of them.
    gone: u64,
}

#[derive(Debug)]
struct Packet {
    written: Instant,
    id: Option<u16>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A step's message.
    Step(Body, usize),
    Other(Subject),
}

impl Recent {
    pub(super) fn step(&mut self, body: &Body, step: usize, id: Option<u16>, written: Instant) {
        self.push(Packet { written, id, what: What::Step(body.clone(), step) });
    }

    pub(super) fn other(&mut self, subject: Subject, id: Option<u16>, written: Instant) {
        self.push(Packet { written, id, what: What::Other(subject) });
    }

    fn push(&mut self, packet: Packet) {
        if self.packets.len() >= limits::RECENT_PACKETS {
            self.packets.pop_front();
            self.gone += 1;
        }
        self.packets.push_back(packet);
    }

    /// Behind all that was written so far.
    pub(super) fn mark(&self) -> u64 {
        self.gone + self.packets.len() as u64
    }

    /// The broker has answered to a packet: it has got past those before it.
    pub(super) fn answered(&mut self, id: u16) {
        if let Some(place) = self.packets.iter().position(|packet| packet.id == Some(id)) {
            self.forget(place);
        }
    }

    /// The topic of the message that the broker has just answered to, and which step of its run it is, counted from 0.
    pub(super) fn step_of(&self, id: u16) -> Option<(&str, usize)> {
        let packet = self.packets.front().filter(|packet| packet.id == Some(id))?;
        match &packet.what {
            What::Step(body, step) => Some((body.step(*step)?.topic(), *step)),
            What::Other(_) => None,
        }
    }

    /// The broker has got past a mark.
    pub(super) fn passed(&mut self, mark: u64) {
        let count = mark.saturating_sub(self.gone).min(self.packets.len() as u64);
        self.forget(usize::try_from(count).unwrap_or(usize::MAX));
    }

    fn forget(&mut self, count: usize) {
        self.packets.drain(..count);
        self.gone += count as u64;
    }

    /// What the broker may have ended the connection at, each once.
    pub(super) fn suspects(&self, now: Instant) -> Vec<Subject> {
        let is_recent = |packet: &&Packet| now.duration_since(packet.written) <= limits::SUSPECT_WITHIN;
        let mut seen = std::collections::HashSet::new();
        let recent = self.packets.iter().filter(is_recent);
        let subjects = recent.filter_map(|packet| match &packet.what {
            What::Step(body, step) => Some(Subject::Publish(body.step(*step)?.topic().into())),
            What::Other(subject) => Some(subject.clone()),
        });
        subjects.filter(|subject| seen.insert(subject.clone())).collect()
    }
}

impl Failure {
    /// Whether it may be the broker's answer to something that it was sent.
    pub(super) fn may_be_an_answer(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Broken(error) => {
                use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
                matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
            }
            Self::Disconnected(reason) => reason.is_about_a_packet(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
