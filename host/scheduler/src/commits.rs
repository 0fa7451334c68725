//! Commits whose durability something waits for (I3).

use std::collections::BTreeMap;

use crate::{
    event::{CommitToken, Effect, JobKey, RunKey, Step},
    keys::RunSlot,
    mutants::{Mutation, mutated},
};

/// What waits for a commit.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A run that makes its next attempt then.
    Attempt(RunSlot),
    /// A run that is being saved, as long as it has that key.
    Saved(RunSlot, RunKey),
    /// Jobs that are not due before their plan is durable.
    Plan(Vec<JobKey>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Commits {
    next: CommitToken,
    waiters: BTreeMap<CommitToken, Waiter>,
}

impl Default for Commits {
    fn default() -> Self {
        Self { next: CommitToken::MIN, waiters: BTreeMap::new() }
    }
}

impl Commits {
    /// Returns a new token, for [`Commits::wait`].
    pub(crate) fn token(&mut self) -> CommitToken {
        let token = self.next;
        if !mutated(Mutation::CommitTokenIsReused) {
            self.next = token.checked_add(1).unwrap_or(CommitToken::MIN);
        }
        token
    }

    /// Lets something wait until all changes of this step are durable.
    pub(crate) fn wait(&mut self, token: CommitToken, waiter: Waiter, out: &mut Step) {
        self.waiters.insert(token, waiter);
        out.effects.push(Effect::NotifyDurable(token));
    }

    /// Removes and returns what waits for a commit.
    pub(crate) fn take(&mut self, token: CommitToken) -> Option<Waiter> {
        self.waiters.remove(&token)
    }

    /// Removes and returns the runs whose attempts wait for a commit.
    pub(crate) fn take_attempts(&mut self) -> Vec<RunSlot> {
        let attempts = self.waiters.extract_if(.., |_, waiter| matches!(waiter, Waiter::Attempt(_)));
        let slot = |waiter| if let Waiter::Attempt(slot) = waiter { Some(slot) } else { None };
        attempts.filter_map(|(_, waiter)| slot(waiter)).collect()
    }
}
