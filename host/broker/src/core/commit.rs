//! The end of an event: what belongs to one transaction goes to the disk.

use std::mem;

use super::Core;
use crate::{
    clock::Now,
    codec::{Fault, Reason},
    disk::Op,
    queue::Queued,
};

impl Core {
    /// Hands over what belongs together.
    pub(super) fn commit(&mut self) {
        if !self.ops.is_empty() {
            let ops = self.take_ops();
            self.disk.commit(self.ticket, ops);
            self.ticket += 1;
        }
    }

    /// What belongs to the next transaction, without messages that were dropped meanwhile.
    pub(super) fn take_ops(&mut self) -> Vec<Op> {
        let mut ops = mem::take(&mut self.ops);
        if !self.cancelled.is_empty() {
            ops.retain(|op| !matches!(op, Op::Queue { queued, .. } if self.cancelled.contains(&queued.id)));
            self.cancelled.clear();
        }
        ops
    }

    /// A message of a queue is not kept any more.
    pub(super) fn unqueue(&mut self, queued: &Queued) {
        match queued.kept {
            Some(ticket) if ticket == self.ticket => drop(self.cancelled.insert(queued.id)),
            Some(_) => self.ops.push(Op::Unqueue(queued.id)),
            None => {}
        }
    }

    /// An event has been dealt with.
    pub(super) fn finish(&mut self, now: Now) {
        self.commit();
        while let Some(id) = self.unresponsive.take() {
            let why = "it does not acknowledge messages, and there is no room for those of others";
            self.fail(id, Fault::new(Reason::QuotaExceeded, why), now);
            self.shorten_longest(now);
            self.commit();
        }
    }
}
