//! Commits the operations of an event as one transaction.

use std::mem;

use super::Core;
use crate::{
    clock::Now,
    codec::{Fault, Reason},
    disk::Op,
    queue::Queued,
};

impl Core {
    /// Commits the collected operations.
    pub(super) fn commit(&mut self) {
        if !self.ops.is_empty() {
            let ops = self.take_ops();
            self.disk.commit(self.token, ops);
            self.token += 1;
        }
    }

    /// Takes the operations of the next transaction, without messages that were dropped meanwhile.
    pub(super) fn take_ops(&mut self) -> Vec<Op> {
        let mut ops = mem::take(&mut self.ops);
        if !self.cancelled.is_empty() {
            ops.retain(|op| !matches!(op, Op::Queue { queued, .. } if self.cancelled.contains(&queued.id)));
            self.cancelled.clear();
        }
        ops
    }

    /// Deletes a queued message from disk, or from the next transaction.
    pub(super) fn unqueue(&mut self, queued: &Queued) {
        match queued.persisted {
            Some(token) if token == self.token => drop(self.cancelled.insert(queued.id)),
            Some(_) => self.ops.push(Op::Unqueue(queued.id)),
            None => {}
        }
    }

    /// Ends the handling of an event: commits, and disconnects an unresponsive client.
    pub(super) fn finish(&mut self, now: Now) {
        self.commit();
        while let Some(id) = self.unresponsive.take() {
            let why = "it does not acknowledge messages, and the queues are full";
            self.fail(id, Fault::new(Reason::QuotaExceeded, why), now);
            self.shorten_longest(now);
            self.commit();
        }
    }
}
