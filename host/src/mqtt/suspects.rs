//! Suspects: topics at which the broker may have ended a connection. They are held back and tried one at a time, alone
//! on the connection, until the denied topic is found.
//!
//! Some brokers close the connection without a reason when their access rules deny a message (Mosquitto 2.0.11 does if
//! `max_queued_messages` is 0). Without suspects, one such topic would repeatedly interrupt the messages of all plugins
//! (I7).

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    time::Duration,
};

use roost_scheduler::body::Body;
use tokio::time::Instant;

use super::{failure::Failure, limits};

/// The topic of a packet, and whether it publishes or subscribes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A message to a topic.
    Publish(Box<str>),
    /// A subscription to a topic.
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

/// All suspects, across connections.
#[derive(Debug)]
pub(super) struct Suspects {
    known: HashMap<Subject, Suspect>,
    /// The recent subjects of the last connection. They become suspects only if the next connection succeeds at once;
    /// otherwise the broker or the network was down.
    candidates: Vec<Subject>,
    /// When the next trial may begin.
    next_trial: Instant,
    /// The latest turn that was given to a deferred message.
    next_turn: Instant,
}

#[derive(Debug)]
struct Suspect {
    /// The number of trials at which the broker ended the connection.
    denials: u32,
    /// When the next trial of this suspect may begin.
    not_before: Instant,
}

impl Suspects {
    pub(super) fn new(now: Instant) -> Self {
        Self { known: HashMap::new(), candidates: Vec::new(), next_trial: now, next_turn: now }
    }

    /// Records the subjects at which a connection may have ended. Returns whether any of them is new, so that the next
    /// connection may last longer.
    pub(super) fn nominate(&mut self, subjects: Vec<Subject>) -> bool {
        let room = limits::SUSPECTS.saturating_sub(self.known.len());
        self.candidates = subjects.into_iter().filter(|subject| !self.known.contains_key(subject)).take(room).collect();
        !self.candidates.is_empty()
    }

    /// Records a new connection: the candidates become suspects if it was established at once. Returns the new
    /// suspects.
    pub(super) fn connected(&mut self, at_once: bool, now: Instant) -> Vec<Subject> {
        let mut candidates = std::mem::take(&mut self.candidates);
        if !at_once {
            candidates.clear();
        }
        for subject in &candidates {
            self.known.insert(subject.clone(), Suspect { denials: 0, not_before: now });
        }
        candidates
    }

    /// Makes all suspects ready, because the broker's rules may have changed: a connection ended for another reason, or
    /// this is another broker.
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

    /// Checks whether the broker has ended a connection at a trial of the subject.
    pub(super) fn is_denied(&self, subject: &Subject) -> bool {
        self.known.get(subject).is_some_and(|suspect| suspect.denials > 0)
    }

    /// Returns when the trial of a subject may begin.
    pub(super) fn ready_at(&self, subject: &Subject) -> Instant {
        self.known.get(subject).map_or(self.next_trial, |suspect| suspect.not_before.max(self.next_trial))
    }

    /// Returns how long to defer a message that cannot be tried now. Each message gets its own turn.
    pub(super) fn wait(&mut self, subject: &Subject, now: Instant) -> Duration {
        let ready = self.ready_at(subject);
        self.next_turn = self.next_turn.max(ready).max(now) + limits::TURN;
        // Messages beyond the latest turn share it, and are deferred again.
        let latest = ready.max(now) + limits::LAST_TURN;
        self.next_turn = self.next_turn.min(latest);
        self.next_turn.duration_since(now)
    }

    /// Removes a suspect at which the broker kept the connection, after a trial that took `took`. Returns whether it
    /// was denied before.
    pub(super) fn clear(&mut self, subject: &Subject, took: Duration, now: Instant) -> bool {
        self.pause(took, now);
        self.known.remove(subject).is_some_and(|suspect| suspect.denials > 0)
    }

    /// Postpones the next trial of a suspect after one without a result.
    pub(super) fn postpone(&mut self, subject: &Subject, took: Duration, now: Instant) {
        self.pause(took, now);
        if let Some(suspect) = self.known.get_mut(subject) {
            suspect.not_before = now + limits::UNDECIDED;
        }
    }

    /// Limits trials to a tenth of the time, because nothing else is sent meanwhile.
    fn pause(&mut self, took: Duration, now: Instant) {
        self.next_trial = now + (took * 9).max(limits::TURN);
    }

    /// Records that the broker ended the connection at a trial. Returns the number of such trials and the pause until
    /// the next one.
    pub(super) fn mark_denied(&mut self, subject: &Subject, longest: Duration, now: Instant) -> (u32, Duration) {
        self.next_trial = now + limits::AFTER_DENIAL;
        let suspect = self.known.entry(subject.clone()).or_insert_with(|| Suspect { denials: 0, not_before: now });
        let doubled = limits::FIRST_PAUSE.saturating_mul(1 << suspect.denials.min(16));
        let pause = doubled.min(longest);
        suspect.denials = suspect.denials.saturating_add(1);
        suspect.not_before = now + pause;
        (suspect.denials, pause)
    }

    /// Returns the first topics, in alphabetical order, at which the broker ends connections, and the number of all of
    /// them.
    pub(super) fn denied(&self) -> (Vec<String>, usize) {
        let denied = self.known.iter().filter(|(_, suspect)| suspect.denials > 0);
        let mut topics: Vec<String> = denied
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

/// The packets of one connection that the broker may not have processed: the last one that it answered, and those after
/// it. Brokers process a connection's packets in order.
#[derive(Debug, Default)]
pub(super) struct Recent {
    packets: VecDeque<Packet>,
    /// The number of packets that were written before the first of them.
    gone: u64,
}

#[derive(Debug)]
struct Packet {
    written: Instant,
    id: Option<u16>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A step's message.
    Step(Body, usize),
    Other(Subject),
}

impl Recent {
    /// Records the message of a step.
    pub(super) fn step(&mut self, body: &Body, step: usize, id: Option<u16>, written: Instant) {
        self.push(Packet { written, id, content: Content::Step(body.clone(), step) });
    }

    /// Records another packet.
    pub(super) fn other(&mut self, subject: Subject, id: Option<u16>, written: Instant) {
        self.push(Packet { written, id, content: Content::Other(subject) });
    }

    fn push(&mut self, packet: Packet) {
        if self.packets.len() >= limits::RECENT_PACKETS {
            self.packets.pop_front();
            self.gone += 1;
        }
        self.packets.push_back(packet);
    }

    /// Returns the mark after all packets that were written so far.
    pub(super) fn mark(&self) -> u64 {
        self.gone + self.packets.len() as u64
    }

    /// Records the answer to a packet: the broker has processed those before it.
    pub(super) fn answered(&mut self, id: u16) {
        if let Some(index) = self.packets.iter().position(|packet| packet.id == Some(id)) {
            self.forget(index);
        }
    }

    /// Returns the topic of the message that the broker has just answered, and the index of its step in the run.
    pub(super) fn step_of(&self, id: u16) -> Option<(&str, usize)> {
        let packet = self.packets.front().filter(|packet| packet.id == Some(id))?;
        match &packet.content {
            Content::Step(body, step) => Some((body.step(*step)?.topic(), *step)),
            Content::Other(_) => None,
        }
    }

    /// Records that the broker has processed all packets before a mark.
    pub(super) fn passed(&mut self, mark: u64) {
        let count = mark.saturating_sub(self.gone).min(self.packets.len() as u64);
        self.forget(usize::try_from(count).unwrap_or(usize::MAX));
    }

    fn forget(&mut self, count: usize) {
        self.packets.drain(..count);
        self.gone += count as u64;
    }

    /// Returns the subjects at which the broker may have ended the connection, without duplicates.
    pub(super) fn suspects(&self, now: Instant) -> Vec<Subject> {
        let is_recent = |packet: &&Packet| now.duration_since(packet.written) <= limits::SUSPECT_WITHIN;
        let mut seen = std::collections::HashSet::new();
        let recent = self.packets.iter().filter(is_recent);
        let subjects = recent.filter_map(|packet| match &packet.content {
            Content::Step(body, step) => Some(Subject::Publish(body.step(*step)?.topic().into())),
            Content::Other(subject) => Some(subject.clone()),
        });
        subjects.filter(|subject| seen.insert(subject.clone())).collect()
    }
}

impl Failure {
    /// Checks whether the failure may be the broker's answer to a packet.
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
