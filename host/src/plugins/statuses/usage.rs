//! What calls of a plugin used.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// See the module. Who calls counts, who asks reads.
#[derive(Debug, Default)]
pub(in crate::plugins) struct UsageCounter(Mutex<Usage>);

/// What calls used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// How many there were, of all functions.
    pub(crate) calls: u64,
    /// How many of them gave no answer that the host takes.
    pub(crate) failed: u64,
    /// How many of those did not return: they trapped, ended the program, or were stopped at a limit.
    pub(crate) traps: u64,
    /// How long the last plan took that was made, waiting included.
    pub(crate) plan_ms: Option<u64>,
    /// How long the longest took.
    pub(crate) longest_plan_ms: Option<u64>,
    /// The most memory that a call had.
    pub(crate) memory_bytes: u64,
}

/// One that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugins) struct Call {
    /// How long it took, where it was for a plan and gave one.
    pub(in crate::plugins) planned: Option<Duration>,
    pub(in crate::plugins) has_failed: bool,
    pub(in crate::plugins) has_trapped: bool,
    pub(in crate::plugins) memory_bytes: usize,
}

impl UsageCounter {
    pub(in crate::plugins) fn count(&self, call: Call) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.calls += 1;
        used.failed += u64::from(call.has_failed);
        used.traps += u64::from(call.has_trapped);
        used.memory_bytes = used.memory_bytes.max(call.memory_bytes as u64);
        if let Some(took) = call.planned {
            let took = took.as_millis() as u64;
            used.plan_ms = Some(took);
            used.longest_plan_ms = used.longest_plan_ms.max(Some(took));
        }
    }

    pub(super) fn used(&self) -> Usage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_plan_and_the_longest_are_told_apart() {
        let usage = UsageCounter::default();
        let planned = |ms| Some(Duration::from_millis(ms));
        for (planned, has_failed, has_trapped, memory_bytes) in [
            (planned(7), false, false, 10),
            (planned(3), false, false, 30),
            (None, true, true, 20),
            (None, true, false, 0),
        ] {
            usage.count(Call { planned, has_failed, has_trapped, memory_bytes });
        }
        let used =
            Usage { calls: 4, failed: 2, traps: 1, plan_ms: Some(3), longest_plan_ms: Some(7), memory_bytes: 30 };
        assert_eq!(usage.used(), used);
    }
}
