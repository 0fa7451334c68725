//! What was published of the host or a device, and when the next message of it may be.

use bytes::Bytes;
use roost_scheduler::zone::Zone;
use tokio::time::Instant;

use super::{
    broker::Broker,
    description::{Description, Platforms},
    device_view::Next,
    limits,
    state::{DeviceState, Urgent},
    tokens::Tokens,
};

/// What was published of one subject.
pub(super) struct Described {
    /// Those of its last description.
    platforms: Platforms,
    /// When the next description may be published, and the next state.
    description_from: Instant,
    state_from: Instant,
    /// When it may be looked at again because of an event: a device may have thousands of jobs.
    look_from: Instant,
    urgent: Option<Urgent>,
    /// The device's next run, and its time zone.
    next: Option<(Next, Zone)>,
    changes: Tokens,
    /// Whether a run has begun of which the first message may not have been sent yet: no event says when it is.
    awaits_run: bool,
    /// Since when it is gone.
    gone: Option<Instant>,
    /// Whether another host has published its state since the connection was made, or before and last of all.
    is_of_other_host: bool,
}

impl Described {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            platforms: Platforms::new(),
            description_from: now,
            state_from: now,
            look_from: now,
            urgent: None,
            next: None,
            changes: Tokens::full(limits::BURST),
            awaits_run: false,
            gone: None,
            is_of_other_host: false,
        }
    }

    pub(super) fn is_described(&self) -> bool {
        !self.platforms.is_empty()
    }

    pub(super) const fn look_from(&self) -> Instant {
        self.look_from
    }

    pub(super) const fn next(&self) -> Option<&(Next, Zone)> {
        self.next.as_ref()
    }

    pub(super) const fn is_of_other_host(&self) -> bool {
        self.is_of_other_host
    }

    pub(super) const fn set_of_other_host(&mut self, is_of_other_host: bool) {
        self.is_of_other_host = is_of_other_host;
    }

    pub(super) const fn set_awaits_run(&mut self, awaits_run: bool) {
        self.awaits_run = awaits_run;
    }

    /// Takes in what an earlier life of the host or another one has described.
    pub(super) fn set_platforms(&mut self, platforms: Platforms) {
        self.platforms = platforms;
    }

    /// Takes in that the device was looked at and is there. Returns whether it is to be looked at again soon, because a
    /// run of it has begun.
    pub(super) fn on_look(&mut self, is_running: bool, now: Instant) -> bool {
        self.gone = None;
        self.look_from = now + limits::BETWEEN_STATES;
        self.awaits_run &= !is_running;
        self.awaits_run
    }

    /// Sets the next run. Returns whether it is another one.
    pub(super) fn set_next(&mut self, next: Option<(Next, Zone)>) -> bool {
        let is_other = self.next != next;
        self.next = next;
        is_other
    }

    /// Publishes the description if it differs. Returns when it is to be done again, if it could not be done now, or if
    /// components are gone.
    pub(super) fn describe(
        &mut self,
        topic: String,
        description: &Description,
        (broker, now): (&mut Broker, Instant),
    ) -> Option<Instant> {
        let (payload, platforms) = (Bytes::from(description.write(&self.platforms)), description.platforms());
        // What was named by its platform alone is left out next time.
        let is_any_gone = self.platforms.keys().any(|key| !platforms.contains_key(key));
        let is_same = self.platforms == platforms && !broker.lacks(&topic, &payload);
        if is_same || broker.leaves_out(&topic) {
            return None;
        }
        if self.description_from > now {
            return Some(self.description_from);
        }
        self.description_from = now + limits::BETWEEN_DESCRIPTIONS;
        self.platforms = platforms;
        broker.retain(topic, payload);
        is_any_gone.then_some(self.description_from)
    }

    /// Publishes the state of the device if it differs. Returns when it is to be done again, if it could not be done now.
    pub(super) fn publish_state(
        &mut self,
        topic: String,
        state: DeviceState,
        (broker, now): (&mut Broker, Instant),
    ) -> Option<Instant> {
        let payload = Bytes::from(state.write());
        if !broker.lacks(&topic, &payload) {
            return None;
        }
        let is_urgent = self.urgent.as_ref() != Some(&state.urgent) || !broker.has(&topic);
        let from = match self.changes.next() {
            Some(next) if !is_urgent => next,
            _ => self.state_from,
        };
        if from > now {
            return Some(from);
        }
        if !is_urgent {
            self.changes.take();
        }
        self.state_from = now + limits::BETWEEN_STATES;
        self.urgent = Some(state.urgent);
        broker.retain(topic, payload);
        None
    }

    /// Returns when the state of the host may be published, if not now. `is_loading`: devices may be missing still.
    pub(super) fn delay_of_host(&mut self, is_loading: bool, now: Instant) -> Option<Instant> {
        if is_loading {
            self.state_from = now + limits::BETWEEN_STATES;
        }
        if self.state_from > now {
            return Some(self.state_from);
        }
        self.state_from = now + limits::BETWEEN_HOST_STATES;
        None
    }

    /// Removes the messages of what has been gone for a while, unless another host has it as well. Returns when that is to
    /// be done again, until it is over.
    pub(super) fn remove(
        &mut self,
        (description, state): (String, String),
        may_come_back: bool,
        (broker, now): (&mut Broker, Instant),
    ) -> Option<Instant> {
        let since = *self.gone.get_or_insert(now);
        if may_come_back || now.duration_since(since) < limits::GONE {
            return Some(now + limits::GONE);
        }
        // What has no state may be another host's, of which the broker has dropped the state.
        if !self.is_of_other_host && broker.has(&state) {
            broker.remove(description);
            broker.remove(state);
            // Remembered for a while, in case it is back soon.
            self.platforms.clear();
            self.description_from = now + limits::BETWEEN_DESCRIPTIONS;
        } else {
            broker.forget(&description);
            broker.forget(&state);
        }
        (self.description_from > now).then_some(self.description_from)
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::zone::Zone;

    use super::{
        super::{device_view::DeviceView, topics::Topics},
        *,
    };
    use crate::mqtt::background::Order;

    const STATE: &str = "roost/state/a/b";
    const DESCRIPTION: &str = "homeassistant/device/roost_a_b/config";

    fn broker() -> Broker {
        Broker::new(Topics { own: "roost".into(), discovery: "homeassistant".into() })
    }

    fn state(is_paused: bool) -> DeviceState {
        let mut view = DeviceView::new(Zone::UTC);
        view.is_paused = is_paused;
        DeviceState::new("roost-1", &view)
    }

    fn topics() -> (String, String) {
        (DESCRIPTION.into(), STATE.into())
    }

    #[test]
    fn a_state_that_changes_again_waits_and_one_that_does_not_is_not_published() {
        let (mut broker, now) = (broker(), Instant::now());
        let mut described = Described::new(now);
        let mut publish = |is_paused, now| {
            let from = described.publish_state(STATE.into(), state(is_paused), (&mut broker, now));
            (from, broker.next_order().is_some())
        };
        let later = now + limits::BETWEEN_STATES;
        assert_eq!(publish(false, now), (None, true));
        assert_eq!(publish(false, now), (None, false));
        assert_eq!(publish(true, now), (Some(later), false));
        assert_eq!(publish(true, later), (None, true));
    }

    #[test]
    fn what_is_gone_for_a_while_is_removed_and_what_is_of_another_host_is_left() {
        for is_of_other_host in [false, true] {
            let (mut broker, now) = (broker(), Instant::now());
            let mut described = Described::new(now);
            described.set_of_other_host(is_of_other_host);
            broker.on_retained(DESCRIPTION, b"{}");
            broker.on_retained(STATE, b"{}");
            let mut remove = |may_come_back, now| described.remove(topics(), may_come_back, (&mut broker, now));
            let later = now + limits::GONE;
            assert_eq!(remove(false, now), Some(later));
            assert_eq!(remove(true, later), Some(later + limits::GONE));
            let remembered = (!is_of_other_host).then_some(later + limits::BETWEEN_DESCRIPTIONS);
            assert_eq!(remove(false, later), remembered);
            assert_eq!(remove(false, later + limits::BETWEEN_DESCRIPTIONS), None);
            assert!(!broker.has(DESCRIPTION) && !broker.has(STATE));
            let orders: Vec<_> = std::iter::from_fn(|| broker.next_order()).collect();
            let removed = [DESCRIPTION, STATE].map(|topic| Order::remove(topic.into()));
            assert_eq!(orders, if is_of_other_host { vec![] } else { removed.to_vec() });
        }
    }
}
