//! The host's counters. Counting is cheap; sums are computed when they are read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use roost_scheduler::outcome::{Outcome, RunState};

/// A shared handle to the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(Arc<Counts>);

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Runs that have ended, by their state.
    ended: [AtomicU64; RunState::ALL.len()],
    /// Attempts that were handed to the link.
    pub(crate) published: Counter,
    /// How late first attempts were handed to the link.
    pub(crate) lateness: Histogram,
    /// How long commits took.
    pub(crate) commits: Histogram,
    /// Changes that wait for the disk.
    pub(crate) changes_waiting: Counter,
    /// How often a connection to the broker was established.
    pub(crate) links: Counter,
    /// Plans that plugins returned, and failed calls among them.
    pub(crate) plans: Counter,
    pub(crate) plans_failed: Counter,
    /// Tasks that plugins ran, and failed calls among them.
    pub(crate) tasks: Counter,
    pub(crate) tasks_failed: Counter,
    /// Responses of the HTTP API, by status.
    requests: Mutex<BTreeMap<u16, u64>>,
}

impl std::ops::Deref for Metrics {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.0
    }
}

impl Counts {
    pub(crate) fn count_end(&self, outcome: &Outcome) {
        self.ended[outcome.state() as usize].fetch_add(1, Relaxed);
    }

    /// Returns the number of runs by outcome.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.ended.iter().map(|count| count.load(Relaxed));
        RunState::WORDS.into_iter().zip(counts).filter(|(word, _)| *word != RunState::Running.as_str())
    }

    pub(crate) fn count_request(&self, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }

    pub(crate) fn requests(&self) -> BTreeMap<u16, u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A counter or a gauge.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn set(&self, number: usize) {
        self.0.store(number as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The upper bounds of the buckets in milliseconds, from imperceptible to disturbing.
pub(crate) const BOUNDS_MS: [u32; 15] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// The count of each bucket alone; the last one has no upper bound.
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let us = took.as_micros() as u64;
        let place = BOUNDS_MS.partition_point(|bound| u64::from(*bound) * 1_000 < us);
        self.counts[place].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// Returns how many durations are within each bound, and last the number of all.
    pub(crate) fn cumulative(&self) -> [u64; BOUNDS_MS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|place| {
            sum += self.counts[place].load(Relaxed);
            sum
        })
    }

    /// Returns the bound within which a part of all durations is, such as 0.99 of them; `None` if there are none, or if
    /// they are beyond the last bound.
    pub(crate) fn bound_ms(&self, part: f64) -> Option<u32> {
        let counts = self.cumulative();
        let all = *counts.last().filter(|all| **all > 0)?;
        let place = counts.iter().position(|count| *count as f64 >= part * all as f64)?;
        BOUNDS_MS.get(place).copied()
    }

    /// Returns the sum of all durations in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum_us.load(Relaxed) as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_equal_to_a_bound_is_within_it() {
        let histogram = Histogram::default();
        for ms in [0, 1, 2, 3, 60_000, 60_001] {
            histogram.observe(Duration::from_millis(ms));
        }
        let cumulative = histogram.cumulative();
        assert_eq!((cumulative[0], cumulative[1], cumulative[2]), (2, 3, 4));
        assert_eq!((cumulative[BOUNDS_MS.len() - 1], cumulative[BOUNDS_MS.len()]), (5, 6));
        assert!((histogram.sum() - 120.007).abs() < 1e-9);
    }
}
