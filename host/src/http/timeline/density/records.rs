//! The records of a density, and how counts are added to them.

use std::collections::BTreeMap;

use roost_scheduler::outcome::RunState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The number of runs in equal parts of a period, the buckets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Density)]
pub(crate) struct DensityRecord {
    /// The start of the first bucket.
    #[schema(format = DateTime)]
    pub(crate) from: String,
    /// The end of the last bucket, excluded.
    #[schema(format = DateTime)]
    pub(crate) to: String,
    /// The number of buckets: bucket `i` begins at `from + i · (to - from) / buckets`.
    #[schema(example = 240)]
    pub(crate) buckets: u32,
    pub(crate) by: By,
    /// The groups with the most runs that failed, were missed or were denied; of those with equally many, the groups
    /// with the most runs.
    #[schema(max_items = 20)]
    pub(crate) groups: Vec<GroupRecord>,
    /// All other groups together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<GroupRecord>,
    /// Whether there are more expected runs than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
}

/// The runs of a plugin, a device or a reason.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = DensityGroup)]
pub(crate) struct GroupRecord {
    /// The plugin, the plugin and the device, or the reason of the outcome, in which `…` stands for numbers and names;
    /// where runs have no reason, their state. Omitted of `other`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, examples("coop-door", "coop-door/north", "… late: the host was not running"))]
    pub(crate) name: String,
    /// The number of groups that this stands for; 1 if omitted.
    #[serde(skip_serializing_if = "is_one")]
    #[schema(required = false, minimum = 1)]
    pub(crate) groups: usize,
    /// The number of runs.
    pub(crate) count: u64,
    /// The runs of each state: `expected`, `paused` (expected, and their job is paused), `running`, or an outcome.
    #[schema(value_type = BTreeMap<String, Spread>, example = json!({
        "succeeded": {"start": 66, "counts": [2, 0, 1]}, "expected": {"start": 80, "counts": [1]}
    }))]
    pub(crate) states: BTreeMap<&'static str, Spread>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(number: &usize) -> bool {
    *number == 1
}

/// Counts of successive buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Spread {
    /// The bucket of the first count, counted from 0.
    pub(crate) start: usize,
    /// The number of runs in this bucket and in those after it; further buckets have none.
    #[schema(value_type = Vec<u64>)]
    pub(crate) counts: Vec<u32>,
}

impl Spread {
    pub(in super::super) fn add(&mut self, bucket: usize, count: u32) {
        if self.counts.is_empty() {
            self.start = bucket;
        } else if bucket < self.start {
            self.counts.splice(..0, std::iter::repeat_n(0, self.start - bucket));
            self.start = bucket;
        }
        let index = bucket - self.start;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] = self.counts[index].saturating_add(count);
    }

    pub(in super::super) fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(bucket, count)| self.add(bucket, count));
    }

    /// Returns the buckets with runs, and their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        (self.start..).zip(&self.counts).map(|(bucket, count)| (bucket, *count)).filter(|(_, count)| *count > 0)
    }

    /// Returns the number of runs in all buckets.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

impl GroupRecord {
    pub(super) fn add(&mut self, state: &'static str, counts: impl IntoIterator<Item = (usize, u32)>) {
        let spread = self.states.entry(state).or_default();
        for (bucket, count) in counts {
            spread.add(bucket, count);
            self.count += u64::from(count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (state, spread) in &other.states {
            self.add(state, spread.iter());
        }
    }

    /// Returns the number of runs that need attention.
    pub(super) fn faults(&self) -> u64 {
        let faults = [RunState::Failed, RunState::Missed, RunState::Denied];
        faults.iter().filter_map(|state| self.states.get(state.as_str())).map(Spread::total).sum()
    }
}

/// By what runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Plugin,
    Device,
    Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_trimmed_to_the_buckets_that_have_some() {
        let mut spread = Spread::default();
        for (bucket, count) in [(5, 1), (7, 2), (3, 1), (5, 1)] {
            spread.add(bucket, count);
        }
        assert_eq!((spread.start, &spread.counts[..], spread.total()), (3, &[1, 0, 2, 0, 2][..], 5));
    }
}
