//! Keys that exist in memory alone, and the order of runs; stored keys are in [`event`](crate::event).

use std::cmp::Reverse;

use crate::{
    names::{DeviceName, GroupName, PluginName},
    time::Instant,
};

/// A run's slot in memory. Saved runs have a [`RunKey`](crate::event::RunKey) as well.
pub(crate) type RunSlot = u32;

/// A sequence number: runs are ordered by when they were admitted.
pub(crate) type Seq = u64;

/// Identifies a group.
pub(crate) type GroupKey = (PluginName, DeviceName, GroupName);

/// The rank of a run among those of its plugin: owed steps first, because a plugin that is always over its rate would
/// otherwise delay them without end (I5); then by priority, then by due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    is_first: bool,
    priority: Reverse<i8>,
    due: Instant,
    run: RunSlot,
}

impl Rank {
    pub(crate) const fn new(is_owed: bool, priority: i8, due: Instant, run: RunSlot) -> Self {
        Self { is_first: !is_owed, priority: Reverse(priority), due, run }
    }

    pub(crate) const fn run(self) -> RunSlot {
        self.run
    }
}
