//! The runs of each job, in the order they were admitted: almost always none or one.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::{event::JobKey, keys::RunSlot};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OrderOfJobs {
    jobs: HashMap<JobKey, InOrder, BuildHasherDefault<KeyHasher>>,
}

/// The runs of one job. A single run takes no allocation.
#[derive(Debug)]
struct InOrder {
    first: RunSlot,
    later: Vec<RunSlot>,
}

impl OrderOfJobs {
    /// Returns the runs of a job, in the order they were added.
    pub(crate) fn of(&self, job: JobKey) -> impl Iterator<Item = RunSlot> {
        let runs = self.jobs.get(&job).into_iter();
        runs.flat_map(|runs| [runs.first].into_iter().chain(runs.later.iter().copied()))
    }

    pub(crate) fn count(&self, job: JobKey) -> usize {
        self.jobs.get(&job).map_or(0, |runs| 1 + runs.later.len())
    }

    /// Adds a run as the last one of its job.
    pub(crate) fn push(&mut self, job: JobKey, run: RunSlot) {
        let only = || InOrder { first: run, later: Vec::new() };
        self.jobs.entry(job).and_modify(|runs| runs.later.push(run)).or_insert_with(only);
    }

    pub(crate) fn remove(&mut self, job: JobKey, run: RunSlot) {
        let Some(runs) = self.jobs.get_mut(&job) else { return };
        if runs.first != run {
            runs.later.retain(|later| *later != run);
        } else if runs.later.is_empty() {
            self.jobs.remove(&job);
        } else {
            runs.first = runs.later.remove(0);
        }
    }
}

/// Spreads keys of the store's rows, which no plugin can choose.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn write_u32(&mut self, key: u32) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(key)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_in_order_whichever_of_them_ends() {
        let mut order = OrderOfJobs::default();
        for run in [4, 2, 9, 7] {
            order.push(1, run);
        }
        order.push(2, 5);
        let runs = |order: &OrderOfJobs, job| order.of(job).collect::<Vec<_>>();
        order.remove(1, 2);
        assert_eq!(runs(&order, 1), [4, 9, 7]);
        order.remove(1, 4);
        assert_eq!((runs(&order, 1), order.count(1)), (vec![9, 7], 2));
        order.remove(1, 7);
        order.remove(1, 9);
        order.remove(1, 9);
        assert_eq!((runs(&order, 1), order.count(1), runs(&order, 2)), (vec![], 0, vec![5]));
    }
}
