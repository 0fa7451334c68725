//! The watermarks of removed jobs, for a job of the same name that comes back (I2).

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use crate::{budget::Budget, limits, names::JobName, time::Instant};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    watermarks: BTreeMap<JobName, Instant>,
    /// While expired tombstones are being removed: the last name that was examined.
    examined: Option<JobName>,
}

/// How far the removal of expired tombstones has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Whether this was the first piece, and there were any.
    pub(crate) begins: bool,
    /// Whether there are more to examine.
    pub(crate) is_more: bool,
}

impl Tombstones {
    pub(crate) fn is_empty(&self) -> bool {
        self.watermarks.is_empty()
    }

    pub(crate) fn get(&self, name: &JobName) -> Option<Instant> {
        self.watermarks.get(name).copied()
    }

    pub(crate) fn insert(&mut self, name: JobName, watermark: Instant) {
        self.watermarks.insert(name, watermark);
    }

    /// Removes some of the tombstones from before an instant.
    pub(crate) fn forget(&mut self, before: Instant, budget: &mut Budget) -> Forgotten {
        let from = self.examined.take();
        let begins = from.is_none() && !self.is_empty();
        let rest = (from.map_or(Unbounded, Excluded), Unbounded);
        let mut rest = self.watermarks.range(rest).peekable();
        let mut piece = Vec::new();
        while rest.peek().is_some() && budget.spend(limits::TOMBSTONE_COST) {
            piece.extend(rest.next());
        }
        let is_more = rest.peek().is_some();
        let last = piece.last().filter(|_| is_more).map(|(name, _)| (*name).clone());
        let old = piece.into_iter().filter(|(_, watermark)| **watermark < before).map(|(name, _)| name.clone());
        for name in old.collect::<Vec<_>>() {
            self.watermarks.remove(&name);
        }
        self.examined = last;
        Forgotten { begins, is_more }
    }
}
