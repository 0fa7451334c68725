//! Trials: sends one suspect at a time, alone on the connection, to find out whether the broker ends the connection at
//! it.

use std::sync::Arc;

use roost_scheduler::{
    event::{self, AttemptId, Event, WatchId},
    model::Confirm,
};
use rumqttc::v5::mqttbytes::v5::{Packet, PingReq};
use tokio::time::Instant;

use super::{CarriedState, Connection};
use crate::{
    config::grant::{Access, how_broker_allows},
    mqtt::{
        failure::Failure,
        limits,
        message::message,
        suspects::{Subject, Suspects},
        wire::{self, Version},
    },
    report::Report,
};

/// A trial that is under way. Nothing else is sent until it ends.
#[derive(Debug)]
pub(super) struct Trial {
    subject: Subject,
    tried: Tried,
    /// When the trial began, and other orders started to wait.
    since: Instant,
    /// Set once the suspect has been sent.
    sent: Option<Sent>,
}

/// The packet that is tried.
#[derive(Debug)]
enum Tried {
    Attempt(Box<event::Publish>),
    Watch(WatchId, Arc<Confirm>),
    Status,
}

/// The suspect has been sent, followed by a PINGREQ: its PINGRESP shows that the broker has processed the suspect.
#[derive(Debug)]
struct Sent {
    at: Instant,
    /// The mark right after the suspect's packet.
    mark: u64,
    /// Whether the broker has processed the suspect.
    is_passed: bool,
    /// Whether the broker has answered the suspect.
    is_answered: bool,
    /// The answer to the attempt, kept until it is known that the connection continues.
    answer: Option<Event>,
}

/// What the end of a connection shows about the packets that were sent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Diagnosis {
    /// The broker ended the connection at the suspect on trial.
    Denied,
    /// One of the recent packets may be the cause: their topics become suspects.
    Suspected,
    /// The connection ended right after CONNACK, before anything was sent.
    Rejected,
    /// The end is not related to any packet.
    Unrelated,
}

impl<S> Connection<S> {
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// Returns when the trial must be checked or the next one can begin, if nothing else wakes the task before.
    pub(super) fn trial_at(&self) -> Option<Instant> {
        if let Some(trial) = &self.trial {
            return Some(trial.sent.as_ref().map_or(trial.since, |sent| sent.at) + limits::TRIAL);
        }
        if self.suspects.is_empty() {
            return None;
        }
        let status = self.status_subject().filter(|_| self.status_pending);
        let watches = self.held.iter().map(|(_, confirm)| of_watch(confirm));
        status.into_iter().chain(watches).map(|subject| self.suspects.ready_at(&subject)).min()
    }

    /// Holds a message back if its topic is a suspect: begins its trial, or defers it. Returns whether it did.
    pub(super) fn hold_back(&mut self, attempt: &event::Publish) -> bool {
        if self.suspects.is_empty() {
            return false;
        }
        let subject = Subject::Publish(attempt.message().topic().into());
        if !self.suspects.contains(&subject) {
            return false;
        }
        let now = Instant::now();
        if self.trial.is_none() && self.suspects.ready_at(&subject) <= now {
            self.begin_trial(subject, Tried::Attempt(Box::new(attempt.clone())), now);
        } else {
            self.defer(&subject, attempt.attempt, now);
        }
        true
    }

    fn defer(&mut self, subject: &Subject, attempt: AttemptId, now: Instant) {
        let wait_ms = self.suspects.wait(subject, now).as_millis() as i64;
        self.pending.push(Event::Deferred { link: self.link, attempt, wait_ms });
    }

    /// Holds a subscription back if its topic is a suspect. Returns whether it did.
    pub(super) fn hold_back_watch(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> bool {
        let subject = of_watch(confirm);
        if !self.suspects.contains(&subject) {
            return false;
        }
        if self.suspects.is_denied(&subject) && self.suspects.ready_at(&subject) > Instant::now() {
            // The core retries.
            let refused = Some(format!("the broker ended an earlier connection at {subject}"));
            self.pending.push(Event::Watching { link: self.link, watch, refused });
        } else {
            self.held.push_back((watch, confirm.clone()));
        }
        true
    }

    fn begin_trial(&mut self, subject: Subject, tried: Tried, now: Instant) {
        self.trial = Some(Trial { subject, tried, since: now, sent: None });
    }

    /// Advances the trial that is under way, or begins one.
    pub(super) fn advance_trial(&mut self) -> Result<(), Failure> {
        if self.trial.is_none() {
            if self.suspects.is_empty() {
                return Ok(());
            }
            self.begin_waiting_trial();
        }
        let is_quiet = self.is_quiet();
        let Some(trial) = &self.trial else { return Ok(()) };
        let now = Instant::now();
        match &trial.sent {
            None if is_quiet => self.send_suspect(now),
            Some(sent) if sent.is_passed && sent.is_answered => {
                self.clear(now);
                Ok(())
            }
            None if now.duration_since(trial.since) >= limits::TRIAL => {
                self.postpone(now);
                Ok(())
            }
            Some(sent) if now.duration_since(sent.at) >= limits::TRIAL => {
                self.postpone(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Checks that no packet is under way at which the broker could end the connection.
    fn is_quiet(&self) -> bool {
        self.in_flight.attempts() == 0
            && self.in_flight.subscriptions() == 0
            && self.outgoing.unacknowledged() == 0
            && self.outgoing.is_idle()
    }

    /// Begins the trial of the status topic or of a held subscription, if one is ready. Messages come with orders.
    fn begin_waiting_trial(&mut self) {
        let now = Instant::now();
        if self.status_pending
            && let Some(subject) = self.status_subject()
            && self.suspects.ready_at(&subject) <= now
        {
            return self.begin_trial(subject, Tried::Status, now);
        }
        let is_ready = |(_, confirm): &(WatchId, Arc<Confirm>)| self.suspects.ready_at(&of_watch(confirm)) <= now;
        if let Some(index) = self.held.iter().position(is_ready)
            && let Some((watch, confirm)) = self.held.remove(index)
        {
            self.begin_trial(of_watch(&confirm), Tried::Watch(watch, confirm), now);
        }
    }

    fn send_suspect(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(mut trial) = self.trial.take() else { return Ok(()) };
        // Everything sent before has been answered, so that the suspect is alone on the connection.
        self.recent.passed(self.recent.mark());
        let (mut is_answered, mut answer) = (false, None);
        match &trial.tried {
            Tried::Attempt(attempt) => {
                let mut publish = message(attempt);
                let packet_id = self.in_flight.admit(attempt.attempt, &attempt.run, attempt.message().qos);
                publish.pkid = packet_id.unwrap_or(0);
                self.outgoing.push(&Packet::Publish(publish))?;
                self.record_sent(attempt, packet_id);
                if packet_id.is_none() {
                    is_answered = true;
                    answer = Some(Event::Acked { link: self.link, attempt: attempt.attempt, no_subscriber: false });
                }
            }
            Tried::Watch(watch, confirm) => self.subscribe(*watch, confirm)?,
            Tried::Status => {
                is_answered = true;
                self.publish_online()?;
            }
        }
        let mark = self.recent.mark();
        self.ping()?;
        trial.sent = Some(Sent { at: now, mark, is_passed: false, is_answered, answer });
        self.trial = Some(trial);
        Ok(())
    }

    /// Records a message that was queued for the socket.
    pub(super) fn record_sent(&mut self, attempt: &event::Publish, packet_id: Option<u16>) {
        self.recent.step(&attempt.body, attempt.step, packet_id, Instant::now());
        if self.limits.version == Version::Three {
            let message = attempt.message();
            let is_watched = self.watches.is_watched(message.topic());
            self.echoes.sent(message.topic(), message.payload, message.retain, is_watched);
        }
    }

    /// Sends PINGREQ.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        self.pings.push_back(self.recent.mark());
        self.outgoing.push(&Packet::PingReq(PingReq))
    }

    /// Handles PINGRESP: the broker has processed everything that was written before the PINGREQ.
    pub(super) fn on_pong(&mut self) {
        let Some(mark) = self.pings.pop_front() else { return };
        self.recent.passed(mark);
        if let Some(sent) = self.trial.as_mut().and_then(|trial| trial.sent.as_mut()) {
            sent.is_passed |= mark >= sent.mark;
        }
    }

    /// Queues the answer to an attempt for the core. The answer to the attempt on trial is kept until it is known that
    /// the connection continues.
    pub(super) fn answered(&mut self, attempt: AttemptId, event: Event) {
        if let Some(Trial { tried: Tried::Attempt(tried), sent: Some(sent), .. }) = &mut self.trial
            && tried.attempt == attempt
        {
            (sent.is_answered, sent.answer) = (true, Some(event));
        } else {
            self.pending.push(event);
        }
    }

    /// Records that the broker has answered a subscription.
    pub(super) fn watch_answered(&mut self, watch: WatchId) {
        if let Some(Trial { tried: Tried::Watch(tried, _), sent: Some(sent), .. }) = &mut self.trial {
            sent.is_answered |= *tried == watch;
        }
    }

    /// Drops a held subscription, or its trial, because the watch has ended.
    pub(super) fn forget_watch(&mut self, watch: WatchId) {
        self.held.retain(|(held, _)| *held != watch);
        if let Some(Trial { tried: Tried::Watch(tried, _), sent, .. }) = &mut self.trial
            && *tried == watch
        {
            match sent {
                None => self.trial = None,
                Some(sent) => sent.is_answered = true,
            }
        }
    }

    /// Ends a trial at which the broker kept the connection.
    fn clear(&mut self, now: Instant) {
        let Some(Trial { subject, since, sent, .. }) = self.trial.take() else { return };
        self.push_answer(sent);
        if self.suspects.clear(&subject, now.duration_since(since), now) {
            tracing::info!("the broker accepts {subject} again and keeps the connection");
            self.info.set_held_back(self.suspects.denied());
        } else {
            tracing::debug!("the broker accepted {subject} and kept the connection");
        }
        self.cleared = Some((subject, now));
    }

    /// Ends a trial without a result, because the broker takes too long and other orders wait.
    fn postpone(&mut self, now: Instant) {
        let Some(Trial { subject, tried, since, sent }) = self.trial.take() else { return };
        self.suspects.postpone(&subject, now.duration_since(since), now);
        match (tried, sent) {
            (_, Some(sent)) => self.push_answer(Some(sent)),
            (Tried::Attempt(attempt), None) => self.defer(&subject, attempt.attempt, now),
            (Tried::Watch(watch, confirm), None) => self.held.push_back((watch, confirm)),
            (Tried::Status, None) => {}
        }
    }

    fn push_answer(&mut self, sent: Option<Sent>) {
        if let Some(answer) = sent.and_then(|sent| sent.answer) {
            self.pending.push(answer);
        }
    }

    /// Returns what the end of the connection shows about the packets that were sent on it, and updates the suspects.
    pub(in crate::mqtt) fn diagnose(&mut self, failure: &Failure) -> Diagnosis {
        let now = Instant::now();
        let trial = self.trial.take();
        if !failure.may_be_an_answer() {
            self.suspects.retry_all(now);
            return Diagnosis::Unrelated;
        }
        match trial {
            Some(Trial { subject, tried, sent: Some(sent), .. }) if !sent.is_passed => {
                self.mark_denied(&subject, failure, now);
                match (tried, sent.answer) {
                    // The broker's own reason is more precise.
                    (Tried::Attempt(_), Some(refused @ Event::Refused { .. })) => self.pending.push(refused),
                    (Tried::Attempt(attempt), _) => {
                        let (link, attempt, how) = (self.link, attempt.attempt, failure.to_string());
                        self.pending.push(Event::EndedLink { link, attempt, how });
                    }
                    (Tried::Watch(watch, _), _) => {
                        let refused = Some(format!("the broker ended the connection at {subject}: {failure}"));
                        self.pending.push(Event::Watching { link: self.link, watch, refused });
                    }
                    (Tried::Status, _) => {}
                }
                return Diagnosis::Denied;
            }
            Some(Trial { sent, .. }) => self.push_answer(sent),
            None => {}
        }
        let candidates = self.recent.suspects(now);
        let is_nothing_sent = candidates.is_empty();
        match self.cleared.take() {
            // The broker closed the connection with a delay.
            Some((subject, at)) if is_nothing_sent && now.duration_since(at) <= limits::TRIAL => {
                self.mark_denied(&subject, failure, now);
                return Diagnosis::Denied;
            }
            _ => {}
        }
        if self.suspects.nominate(candidates) {
            return Diagnosis::Suspected;
        }
        self.suspects.retry_all(now);
        let is_young = now.duration_since(self.began) <= limits::TRIAL;
        if is_nothing_sent && is_young { Diagnosis::Rejected } else { Diagnosis::Unrelated }
    }

    /// Records and logs that the broker ended the connection at a suspect.
    fn mark_denied(&mut self, subject: &Subject, failure: &Failure, now: Instant) {
        let is_status = self.status_subject().as_ref() == Some(subject);
        let longest = if is_status { limits::LONGEST_STATUS_PAUSE } else { limits::LONGEST_PAUSE };
        let (denials, pause) = self.suspects.mark_denied(subject, longest, now);
        self.info.set_held_back(self.suspects.denied());
        let what = format!("the broker ends the connection at {subject}, which was the only packet under way");
        let next = format!("Roost retries it after {} s; other topics are not affected", pause.as_secs());
        let report = Report::new(what).cause(failure).cause(next).hint(how_to_allow(subject, is_status));
        if denials == 1 {
            tracing::warn!("{report}");
        } else {
            tracing::info!("{report}");
        }
    }

    /// Takes the state that is carried over to the next connection.
    pub(in crate::mqtt) fn take_carried(&mut self) -> CarriedState {
        let suspects = std::mem::replace(&mut self.suspects, Suspects::new(Instant::now()));
        let mut echoes = std::mem::take(&mut self.echoes);
        echoes.end();
        CarriedState { suspects, echoes, info: self.info.clone() }
    }

    fn status_subject(&self) -> Option<Subject> {
        self.status_topic.as_ref().map(|topic| Subject::Publish(topic.as_str().into()))
    }

    /// Publishes `online` at once, unless the status topic is a suspect.
    pub(super) fn announce_online(&mut self) -> Result<(), Failure> {
        let Some(subject) = self.status_subject() else { return Ok(()) };
        self.status_pending = self.suspects.contains(&subject);
        if self.status_pending { Ok(()) } else { self.publish_online() }
    }

    fn publish_online(&mut self) -> Result<(), Failure> {
        let Some(topic) = &self.status_topic else { return Ok(()) };
        self.outgoing.push(&wire::status(topic, "online", self.limits.retain))?;
        self.recent.other(Subject::Publish(topic.as_str().into()), None, Instant::now());
        self.status_pending = false;
        Ok(())
    }
}

fn of_watch(confirm: &Confirm) -> Subject {
    Subject::Subscribe(confirm.topic.as_str().into())
}

/// Returns the hint how the operator of the broker can allow the topic.
fn how_to_allow(subject: &Subject, is_status: bool) -> String {
    let how = match subject {
        Subject::Publish(topic) => how_broker_allows(topic, Access::Publish),
        Subject::Subscribe(topic) => how_broker_allows(topic, Access::Read),
    };
    if is_status { format!("{how}; or set `status_topic = \"off\"` in `[mqtt]`") } else { how }
}
