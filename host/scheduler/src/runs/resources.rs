//! Resources: how many there are, the runs that hold them, and the runs that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use super::{resource_queue::ResourceQueue, run::Run};
use crate::{
    keys::RunSlot,
    limits,
    model::Resource,
    mutants::{Mutation, mutated},
    names::ResourceName,
    time::Instant,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Resources {
    pools: BTreeMap<ResourceName, Pool>,
}

#[derive(Debug)]
struct Pool {
    rule: Resource,
    /// The runs that hold it: more than its capacity, if the operator has reduced that.
    holders: BTreeSet<RunSlot>,
    /// Served round robin over plugins; within a plugin by priority, then by due time (I7).
    waiting: ResourceQueue,
}

impl Pool {
    fn is_taken(&self) -> bool {
        let capacity = self.rule.capacity as usize + usize::from(mutated(Mutation::ResourceIsOverbooked));
        self.holders.len() >= capacity
    }
}

/// Whether a run gets its resource at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It does.
    Granted,
    /// It waits for its turn.
    Queued,
}

impl Resources {
    pub(crate) fn new(rules: impl IntoIterator<Item = (ResourceName, Resource)>) -> Self {
        let pool = |rule| Pool { rule, holders: BTreeSet::new(), waiting: ResourceQueue::default() };
        Self { pools: rules.into_iter().map(|(name, rule)| (name, pool(rule))).collect() }
    }

    pub(crate) fn rule(&self, name: &ResourceName) -> Option<&Resource> {
        self.pools.get(name).map(|pool| &pool.rule)
    }

    pub(crate) fn holders(&self, name: &ResourceName) -> impl Iterator<Item = RunSlot> {
        self.pools.get(name).into_iter().flat_map(|pool| pool.holders.iter().copied())
    }

    /// Returns until when a run may hold its resource, of which it has had one since an instant; `None` if it needs none
    /// that exists.
    pub(crate) fn held_until(&self, run: &Run, since: Instant) -> Option<Instant> {
        let longest_ms = i64::from(self.rule(run.policy.needs.as_ref()?)?.longest_hold_ms);
        let slack_ms = if mutated(Mutation::HoldExpiresEarly) { -longest_ms / 2 } else { limits::HOLD_SLACK_MS };
        Some(since.plus_ms(longest_ms + slack_ms))
    }

    /// Records that a run holds its resource.
    pub(crate) fn hold(&mut self, run: &Run, slot: RunSlot) {
        if let Some(pool) = self.pool_of(run) {
            pool.holders.insert(slot);
        }
    }

    /// Records that a run no longer holds its resource.
    pub(crate) fn drop_hold(&mut self, run: &Run, slot: RunSlot) {
        if let Some(pool) = self.pool_of(run) {
            pool.holders.remove(&slot);
        }
    }

    /// Asks for a run's resource; `None` if it needs none that exists.
    pub(crate) fn enter(&mut self, run: &Run, slot: RunSlot) -> Option<Entry> {
        let pool = self.pool_of(run)?;
        if !pool.is_taken() && pool.waiting.is_empty() {
            pool.waiting.serve(&run.id.plugin);
            return Some(Entry::Granted);
        }
        pool.waiting.push(&run.id.plugin, run.rank(slot));
        Some(Entry::Queued)
    }

    /// Removes a run from the queue for its resource.
    pub(crate) fn leave(&mut self, run: &Run, slot: RunSlot) {
        if let Some(pool) = self.pool_of(run) {
            pool.waiting.remove(&run.id.plugin, run.rank(slot));
        }
    }

    /// Removes and returns the run whose turn it is, if the resource is free.
    pub(crate) fn next(&mut self, name: &ResourceName) -> Option<RunSlot> {
        self.pools.get_mut(name).filter(|pool| !pool.is_taken())?.waiting.pop()
    }

    fn pool_of(&mut self, run: &Run) -> Option<&mut Pool> {
        self.pools.get_mut(run.policy.needs.as_ref()?)
    }
}
