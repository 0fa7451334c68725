//! One suspect at a time, alone on the connection: does the broker end it?

use std::sync::Arc;

use roost_scheduler::{
    event::{self, AttemptId, Event, WatchId},
    model::Confirm,
};
use rumqttc::v5::mqttbytes::v5::{Packet, PingReq};
use tokio::time::Instant;

use super::{Connection, Memory};
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

/// A trial that is under way: nothing else is sent until it ends.
#[derive(Debug)]
pub(super) struct Trial {
    subject: Subject,
    of: Of,
    /// Since when others wait for it.
    since: Instant,
    sent: Option<Sent>,
}

#[derive(Debug)]
enum Of {
    Attempt(Box<event::Publish>),
    Watch(WatchId, Arc<Confirm>),
    Status,
}

/// It has been written, and a PINGREQ behind it: its PINGRESP says that the broker has got past it.
#[derive(Debug)]
struct Sent {
    at: Instant,
    /// Behind the packet, in what was written.
    mark: u64,
    is_passed: bool,
    is_answered: bool,
    /// The answer to the attempt, until it is known that the connection goes on.
    answer: Option<Event>,
}

/// What the end of a connection says of what was sent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Verdict {
    /// It was the suspect.
    Convicted,
    /// It was one of those that are suspects now.
    Named,
    /// It came right after CONNACK, before anything was sent.
    Unwelcome,
    Nothing,
}

impl<S> Connection<S> {
    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// When a trial is to be looked at, if nothing happens before.
    pub(super) fn trial_at(&self) -> Option<Instant> {
        if let Some(trial) = &self.trial {
            return Some(trial.sent.as_ref().map_or(trial.since, |sent| sent.at) + limits::TRIAL);
        }
        if self.suspects.is_empty() {
            return None;
        }
        let status = self.status_subject().filter(|_| self.owes_status);
        let watches = self.held.iter().map(|(_, confirm)| of_watch(confirm));
        status.into_iter().chain(watches).map(|subject| self.suspects.ready_at(&subject)).min()
    }

    /// Keeps a message back if its topic is a suspect's: it is tried now, or deferred.
    pub(super) fn holds_back(&mut self, attempt: &event::Publish) -> bool {
        if self.suspects.is_empty() {
            return false;
        }
        let subject = Subject::Publish(attempt.message().topic().into());
        if !self.suspects.contains(&subject) {
            return false;
        }
        let now = Instant::now();
        if self.trial.is_none() && self.suspects.ready_at(&subject) <= now {
            self.begin_trial(subject, Of::Attempt(Box::new(attempt.clone())), now);
        } else {
            self.defer(&subject, attempt.attempt, now);
        }
        true
    }

    fn defer(&mut self, subject: &Subject, attempt: AttemptId, now: Instant) {
        let wait_ms = self.suspects.wait(subject, now).as_millis() as i64;
        self.untold.push(Event::Deferred { link: self.link, attempt, wait_ms });
    }

    /// Keeps a subscription back if its topic is a suspect's.
    pub(super) fn holds_back_watch(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> bool {
        let subject = of_watch(confirm);
        if !self.suspects.contains(&subject) {
            return false;
        }
        if self.suspects.is_convicted(&subject) && self.suspects.ready_at(&subject) > Instant::now() {
            // The core asks again.
            let refused = Some(format!("the broker had ended the connection at {subject}"));
            self.untold.push(Event::Watching { link: self.link, watch, refused });
        } else {
            self.held.push_back((watch, confirm.clone()));
        }
        true
    }

    fn begin_trial(&mut self, subject: Subject, of: Of, now: Instant) {
        self.trial = Some(Trial { subject, of, since: now, sent: None });
    }

    /// Does what is to be done for a trial, or begins one.
    pub(super) fn go_on_trying(&mut self) -> Result<(), Failure> {
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
                self.acquit(now);
                Ok(())
            }
            None if now.duration_since(trial.since) >= limits::TRIAL => {
                self.put_off(now);
                Ok(())
            }
            Some(sent) if now.duration_since(sent.at) >= limits::TRIAL => {
                self.put_off(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nothing is under way that the broker could end the connection at.
    fn is_quiet(&self) -> bool {
        self.ledger.attempts() == 0
            && self.ledger.subscriptions() == 0
            && self.outgoing.unacknowledged() == 0
            && self.outgoing.is_idle()
    }

    /// What no order brings.
    fn begin_waiting_trial(&mut self) {
        let now = Instant::now();
        if self.owes_status
            && let Some(subject) = self.status_subject()
            && self.suspects.ready_at(&subject) <= now
        {
            return self.begin_trial(subject, Of::Status, now);
        }
        let is_ready = |(_, confirm): &(WatchId, Arc<Confirm>)| self.suspects.ready_at(&of_watch(confirm)) <= now;
        if let Some(place) = self.held.iter().position(is_ready)
            && let Some((watch, confirm)) = self.held.remove(place)
        {
            self.begin_trial(of_watch(&confirm), Of::Watch(watch, confirm), now);
        }
    }

    fn send_suspect(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(mut trial) = self.trial.take() else { return Ok(()) };
        // What is on the connection is alone: what was there before has been answered.
        self.recent.passed(self.recent.mark());
        let (mut is_answered, mut answer) = (false, None);
        match &trial.of {
            Of::Attempt(attempt) => {
                let asked = attempt.message();
                let mut publish = message(attempt);
                let packet_id = self.ledger.admit(attempt.attempt, &attempt.run, asked.qos);
                publish.pkid = packet_id.unwrap_or(0);
                self.outgoing.push(&Packet::Publish(publish))?;
                self.is_sent(attempt, packet_id);
                if packet_id.is_none() {
                    is_answered = true;
                    answer = Some(Event::Acked { link: self.link, attempt: attempt.attempt, no_subscriber: false });
                }
            }
            Of::Watch(watch, confirm) => self.subscribe(*watch, confirm)?,
            Of::Status => {
                is_answered = true;
                self.say_online()?;
            }
        }
        let mark = self.recent.mark();
        self.ping()?;
        trial.sent = Some(Sent { at: now, mark, is_passed: false, is_answered, answer });
        self.trial = Some(trial);
        Ok(())
    }

    /// A message is on its way.
    pub(super) fn is_sent(&mut self, attempt: &event::Publish, packet_id: Option<u16>) {
        self.recent.step(&attempt.body, attempt.step, packet_id, Instant::now());
        if self.limits.version == Version::Three {
            let message = attempt.message();
            let is_heard = self.watches.is_heard(message.topic());
            self.echoes.sent(message.topic(), message.payload, message.retain, is_heard);
        }
    }

    /// PINGREQ.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        self.pings.push_back(self.recent.mark());
        self.outgoing.push(&Packet::PingReq(PingReq))
    }

    /// PINGRESP: the broker has got past everything that was written before the PINGREQ.
    pub(super) fn ponged(&mut self) {
        let Some(mark) = self.pings.pop_front() else { return };
        self.recent.passed(mark);
        if let Some(sent) = self.trial.as_mut().and_then(|trial| trial.sent.as_mut()) {
            sent.is_passed |= mark >= sent.mark;
        }
    }

    /// Tells the core what became of an attempt; of the one on trial, when it is known that the connection goes on.
    pub(super) fn answered(&mut self, attempt: AttemptId, event: Event) {
        if let Some(Trial { of: Of::Attempt(tried), sent: Some(sent), .. }) = &mut self.trial
            && tried.attempt == attempt
        {
            (sent.is_answered, sent.answer) = (true, Some(event));
        } else {
            self.untold.push(event);
        }
    }

    /// The broker has answered to a subscription.
    pub(super) fn watch_answered(&mut self, watch: WatchId) {
        if let Some(Trial { of: Of::Watch(tried, _), sent: Some(sent), .. }) = &mut self.trial {
            sent.is_answered |= *tried == watch;
        }
    }

    /// Nobody wants to listen there any more.
    pub(super) fn forget_watch(&mut self, watch: WatchId) {
        self.held.retain(|(held, _)| *held != watch);
        if let Some(Trial { of: Of::Watch(tried, _), sent, .. }) = &mut self.trial
            && *tried == watch
        {
            match sent {
                None => self.trial = None,
                Some(sent) => sent.is_answered = true,
            }
        }
    }

    fn acquit(&mut self, now: Instant) {
        let Some(Trial { subject, since, sent, .. }) = self.trial.take() else { return };
        self.untold_answer(sent);
        if self.suspects.acquit(&subject, now.duration_since(since), now) {
            tracing::info!("the broker takes {subject} now, and keeps the connection");
            self.info.hold_back(self.suspects.convicted());
        } else {
            tracing::debug!("the broker took {subject}, and kept the connection");
        }
        self.acquitted = Some((subject, now));
    }

    /// The broker takes its time: others are not held up any longer.
    fn put_off(&mut self, now: Instant) {
        let Some(Trial { subject, of, since, sent }) = self.trial.take() else { return };
        self.suspects.put_off(&subject, now.duration_since(since), now);
        match (of, sent) {
            (_, Some(sent)) => self.untold_answer(Some(sent)),
            (Of::Attempt(attempt), None) => self.defer(&subject, attempt.attempt, now),
            (Of::Watch(watch, confirm), None) => self.held.push_back((watch, confirm)),
            (Of::Status, None) => {}
        }
    }

    fn untold_answer(&mut self, sent: Option<Sent>) {
        if let Some(answer) = sent.and_then(|sent| sent.answer) {
            self.untold.push(answer);
        }
    }

    /// The connection has ended: what that says of what was sent on it.
    pub(in crate::mqtt) fn judge(&mut self, failure: &Failure) -> Verdict {
        let now = Instant::now();
        let trial = self.trial.take();
        if !failure.may_be_an_answer() {
            self.suspects.retry_all(now);
            return Verdict::Nothing;
        }
        match trial {
            Some(Trial { subject, of, sent: Some(sent), .. }) if !sent.is_passed => {
                self.convict(&subject, failure, now);
                match (of, sent.answer) {
                    // It says so itself, and nothing has arrived.
                    (Of::Attempt(_), Some(refused @ Event::Refused { .. })) => self.untold.push(refused),
                    (Of::Attempt(attempt), _) => {
                        let (link, attempt, how) = (self.link, attempt.attempt, failure.to_string());
                        self.untold.push(Event::EndedLink { link, attempt, how });
                    }
                    (Of::Watch(watch, _), _) => {
                        let refused = Some(format!("the broker ended the connection at {subject}: {failure}"));
                        self.untold.push(Event::Watching { link: self.link, watch, refused });
                    }
                    (Of::Status, _) => {}
                }
                return Verdict::Convicted;
            }
            Some(Trial { sent, .. }) => self.untold_answer(sent),
            None => {}
        }
        let named = self.recent.suspects(now);
        let is_nothing_out = named.is_empty();
        match self.acquitted.take() {
            // It thought about it.
            Some((subject, at)) if is_nothing_out && now.duration_since(at) <= limits::TRIAL => {
                self.convict(&subject, failure, now);
                return Verdict::Convicted;
            }
            _ => {}
        }
        if self.suspects.name(named) {
            return Verdict::Named;
        }
        self.suspects.retry_all(now);
        let is_young = now.duration_since(self.began) <= limits::TRIAL;
        if is_nothing_out && is_young { Verdict::Unwelcome } else { Verdict::Nothing }
    }

    fn convict(&mut self, subject: &Subject, failure: &Failure, now: Instant) {
        let is_status = self.status_subject().as_ref() == Some(subject);
        let longest = if is_status { limits::LONGEST_STATUS_PAUSE } else { limits::LONGEST_PAUSE };
        let (convictions, pause) = self.suspects.convict(subject, longest, now);
        self.info.hold_back(self.suspects.convicted());
        let what = format!("the broker ends the connection at {subject}, which was alone on it");
        let next = format!("it is tried again in {} s at the earliest; all others go on", pause.as_secs());
        let report = Report::new(what).cause(failure).cause(next).hint(how_to_allow(subject, is_status));
        if convictions == 1 {
            tracing::warn!("{report}");
        } else {
            tracing::info!("{report}");
        }
    }

    /// What goes on to the next connection.
    pub(in crate::mqtt) fn take_memory(&mut self) -> Memory {
        let suspects = std::mem::replace(&mut self.suspects, Suspects::new(Instant::now()));
        let mut echoes = std::mem::take(&mut self.echoes);
        echoes.end();
        Memory { suspects, echoes, info: self.info.clone() }
    }

    fn status_subject(&self) -> Option<Subject> {
        self.status_topic.as_ref().map(|topic| Subject::Publish(topic.as_str().into()))
    }

    /// `online` at once, unless the broker may end the connection at it.
    pub(super) fn greet_others(&mut self) -> Result<(), Failure> {
        let Some(subject) = self.status_subject() else { return Ok(()) };
        self.owes_status = self.suspects.contains(&subject);
        if self.owes_status { Ok(()) } else { self.say_online() }
    }

    fn say_online(&mut self) -> Result<(), Failure> {
        let Some(topic) = &self.status_topic else { return Ok(()) };
        self.outgoing.push(&wire::status(topic, "online", self.limits.retain))?;
        self.recent.other(Subject::Publish(topic.as_str().into()), None, Instant::now());
        self.owes_status = false;
        Ok(())
    }
}

fn of_watch(confirm: &Confirm) -> Subject {
    Subject::Subscribe(confirm.topic.as_str().into())
}

/// What an operator of the broker can do.
fn how_to_allow(subject: &Subject, is_status: bool) -> String {
    let how = match subject {
        Subject::Publish(topic) => how_broker_allows(topic, Access::Publish),
        Subject::Subscribe(topic) => how_broker_allows(topic, Access::Read),
    };
    if is_status { format!("{how}; or set `status_topic = \"off\"` in `[mqtt]`") } else { how }
}
