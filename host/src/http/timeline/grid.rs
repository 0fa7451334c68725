//! Equal parts of a period, and what falls into each.

use roost_scheduler::time::Instant;

use super::{density::Spread, forecast::Times};

/// Equal parts of a period, the buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    window: (Instant, Instant),
    buckets: i64,
}

impl Grid {
    pub(super) fn new(window: (Instant, Instant), buckets: u32) -> Self {
        Self { window, buckets: buckets.into() }
    }

    /// Returns the bucket of an instant, counted from 0.
    pub(super) fn bucket(self, at: Instant) -> usize {
        let (from, to) = self.window;
        usize::try_from(at.ms_since(from) * self.buckets / to.ms_since(from)).unwrap_or_default()
    }

    /// Returns the first instant of a bucket.
    fn start_of(self, bucket: usize) -> Instant {
        let (from, to) = self.window;
        let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
        from.plus_ms((bucket * to.ms_since(from) + self.buckets - 1) / self.buckets)
    }

    /// Counts occurrences by bucket.
    pub(super) fn spread(self, times: &Times) -> Spread {
        let mut spread = Spread::default();
        match times {
            Times::Periodic { first, period_ms, count } => {
                let (mut bucket, mut counted) = (self.bucket(*first), 0);
                while counted < *count {
                    // Those before the end of the bucket.
                    let end = self.start_of(bucket + 1);
                    let before = (end.ms_since(*first) + period_ms - 1) / period_ms;
                    let before = u32::try_from(before).unwrap_or(u32::MAX).min(*count);
                    if before > counted {
                        spread.add(bucket, before - counted);
                        counted = before;
                    }
                    bucket += 1;
                }
            }
            Times::Listed { list, from, .. } => list[*from..].iter().for_each(|at| spread.add(self.bucket(*at), 1)),
        }
        spread
    }
}
