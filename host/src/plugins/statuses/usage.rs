//! Counts the calls of a plugin, and what they used.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The counter. Calls are counted by the edge, and read by the HTTP edge.
#[derive(Debug, Default)]
pub(in crate::plugins) struct UsageCounter(Mutex<Usage>);

/// The usage of all calls so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The number of calls of all functions.
    pub(crate) calls: u64,
    /// The number of calls without a valid answer.
    pub(crate) failed: u64,
    /// The number of failed calls that did not return: they trapped, exited, or exceeded a limit.
    pub(crate) traps: u64,
    /// The duration of the last successful plan, including the time in which it waited.
    pub(crate) plan_ms: Option<u64>,
    /// The duration of the longest successful plan.
    pub(crate) longest_plan_ms: Option<u64>,
    /// The most memory that a call used.
    pub(crate) memory_bytes: u64,
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::plugins) struct Call {
    /// The duration of the call, if it returned a valid plan.
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
    fn the_last_and_the_longest_plan_are_counted() {
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
