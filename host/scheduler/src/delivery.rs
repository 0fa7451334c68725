//! The link to the broker: the runs that could be sent, and what is in flight.

mod fair_queue;

use std::{collections::BTreeMap, mem};

use self::fair_queue::FairQueue;
use crate::{
    event::{AttemptId, CallId, LinkId, WatchId},
    keys::{Rank, RunSlot},
    mutants::{Mutation, mutated},
    names::PluginName,
    rate::{Rate, Rates},
    time::Instant,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Delivery {
    ready: FairQueue,
    link: Option<Link>,
    /// When the link last came up: earlier runs were held up by the missing link.
    link_since: Instant,
    /// Attempts in flight on the link; `None` if the run has ended.
    attempts: BTreeMap<AttemptId, Option<RunSlot>>,
    /// Runs that wait for their plugin's reply.
    calls: BTreeMap<CallId, RunSlot>,
    /// Runs that are subscribed to reports of their device.
    watches: BTreeMap<WatchId, RunSlot>,
    /// The last id of an attempt, a call or a subscription.
    last_id: u64,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    /// How many more attempts may be in flight.
    credit: u32,
}

/// The queue of runs that could be sent.
impl Delivery {
    pub(crate) fn new(rates: Rates, now: Instant) -> Self {
        Self {
            ready: FairQueue::new(rates),
            link: None,
            link_since: now,
            attempts: BTreeMap::new(),
            calls: BTreeMap::new(),
            watches: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// Moves measured times after the clock was set.
    pub(crate) fn clock_set(&mut self, now: Instant, by_ms: i64) {
        self.ready.shift(by_ms);
        self.link_since = self.link_since.min(now);
    }

    /// Adds a run. Returns its plugin's rate if it allows fewer messages now than are queued.
    pub(crate) fn push(&mut self, now: Instant, plugin: &PluginName, rank: Rank) -> Option<Rate> {
        self.ready.push(now, plugin, rank)
    }

    pub(crate) fn remove(&mut self, plugin: &PluginName, rank: Rank) {
        self.ready.remove(plugin, rank);
    }

    /// Removes and returns the run that is served next, if the link has room.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<RunSlot> {
        if self.has_room() { self.ready.pop(now) } else { None }
    }

    /// Returns when the rates of plugins allow the next message, if the link has room for it.
    pub(crate) fn rates_allow_at(&self) -> Option<Instant> {
        self.ready.wake().filter(|_| self.has_room())
    }

    /// Returns the number of runs that could be sent.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Drops what is kept of plugins that have nothing to send.
    pub(crate) fn forget_idle(&mut self, now: Instant) {
        self.ready.forget_idle(now);
    }
}

/// The link, and attempts on it.
impl Delivery {
    pub(crate) const fn has_link(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn link(&self) -> Option<LinkId> {
        self.link.as_ref().map(|link| link.id)
    }

    /// Returns when the link last came up, or when the host started.
    pub(crate) const fn link_since(&self) -> Instant {
        self.link_since
    }

    fn has_room(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.credit > 0)
    }

    pub(crate) const fn link_up(&mut self, now: Instant, id: LinkId, credit: u32) {
        self.link = Some(Link { id, credit });
        self.link_since = now;
    }

    /// Ends the link. Returns the runs whose attempts were in flight.
    pub(crate) fn link_down(&mut self) -> Vec<RunSlot> {
        self.link = None;
        mem::take(&mut self.attempts).into_values().flatten().collect()
    }

    /// Reserves credit and rate for a message that is about to be sent.
    pub(crate) fn reserve(&mut self, now: Instant, plugin: &PluginName) {
        if let Some(link) = &mut self.link {
            link.credit -= 1;
        }
        self.ready.reserve(now, plugin);
    }

    /// Returns what was reserved for a message that is not sent.
    pub(crate) fn cancel_reservation(&mut self, plugin: &PluginName) {
        self.return_credit();
        self.ready.cancel_reservation(plugin);
    }

    /// Begins the attempt of a run that has a reservation.
    pub(crate) fn begin_attempt(
        &mut self,
        now: Instant,
        plugin: &PluginName,
        slot: RunSlot,
    ) -> Option<(LinkId, AttemptId)> {
        let link = self.link()?;
        self.ready.spend(now, plugin);
        let attempt = self.new_id();
        self.attempts.insert(attempt, Some(slot));
        Some((link, attempt))
    }

    /// Ends an attempt, and returns its run; none if the run or the link has ended.
    pub(crate) fn end_attempt(&mut self, link: LinkId, attempt: AttemptId) -> Option<RunSlot> {
        self.link().filter(|up| *up == link)?;
        let slot = self.attempts.remove(&attempt)?;
        if !mutated(Mutation::CreditIsNotReturned) {
            self.return_credit();
        }
        slot
    }

    /// Detaches an attempt from its run; the broker's answer still returns the credit.
    pub(crate) fn detach_attempt(&mut self, attempt: AttemptId) {
        if let Some(of) = self.attempts.get_mut(&attempt) {
            *of = None;
        }
    }

    pub(crate) fn attempt_count(&self) -> usize {
        self.attempts.len()
    }

    const fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn return_credit(&mut self) {
        if let Some(link) = &mut self.link {
            link.credit += 1;
        }
    }
}

/// Calls of plugins, and subscriptions to reports.
impl Delivery {
    pub(crate) fn begin_call(&mut self, slot: RunSlot) -> CallId {
        let call = self.new_id();
        self.calls.insert(call, slot);
        call
    }

    /// Ends a call, and returns the run that waits for it, if one still does.
    pub(crate) fn end_call(&mut self, call: CallId) -> Option<RunSlot> {
        self.calls.remove(&call)
    }

    pub(crate) fn begin_watch(&mut self, slot: RunSlot) -> WatchId {
        let watch = self.new_id();
        self.watches.insert(watch, slot);
        watch
    }

    pub(crate) fn end_watch(&mut self, watch: WatchId) {
        self.watches.remove(&watch);
    }

    /// Returns the run of a subscription on the current link.
    pub(crate) fn watcher(&self, link: LinkId, watch: WatchId) -> Option<RunSlot> {
        self.link().filter(|up| *up == link)?;
        self.watches.get(&watch).copied()
    }

    /// Returns all subscriptions, the oldest first.
    pub(crate) fn watches(&self) -> Vec<(WatchId, RunSlot)> {
        self.watches.iter().map(|(watch, slot)| (*watch, *slot)).collect()
    }
}
