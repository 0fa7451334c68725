//! The runs of each job, in the order they were admitted: almost always none or one.

use hashbrown::{HashTable, hash_table::Entry};

use crate::{event::JobKey, keys::RunSlot};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OrderOfJobs {
    jobs: HashTable<InOrder>,
}

/// The runs of one job. A single run takes no allocation.
#[derive(Debug)]
struct InOrder {
    job: JobKey,
    first: RunSlot,
    later: Vec<RunSlot>,
}

impl OrderOfJobs {
    /// Returns the runs of a job, in the order they were added.
    pub(crate) fn of(&self, job: JobKey) -> impl Iterator<Item = RunSlot> {
        let runs = self.jobs.find(spread(job), |runs| runs.job == job).into_iter();
        runs.flat_map(|runs| [runs.first].into_iter().chain(runs.later.iter().copied()))
    }

    /// Adds a run as the last one of its job.
    pub(crate) fn push(&mut self, job: JobKey, run: RunSlot) {
        match self.jobs.entry(spread(job), |runs| runs.job == job, |runs| spread(runs.job)) {
            Entry::Occupied(mut runs) => runs.get_mut().later.push(run),
            Entry::Vacant(vacant) => {
                vacant.insert(InOrder { job, first: run, later: Vec::new() });
            }
        }
    }

    pub(crate) fn remove(&mut self, job: JobKey, run: RunSlot) {
        let Ok(mut entry) = self.jobs.find_entry(spread(job), |runs| runs.job == job) else { return };
        let runs = entry.get_mut();
        if runs.first != run {
            runs.later.retain(|later| *later != run);
        } else if runs.later.is_empty() {
            entry.remove();
        } else {
            runs.first = runs.later.remove(0);
        }
    }
}

/// Spreads keys of the store's rows, which no plugin can choose: 2^64 divided by the golden ratio.
fn spread(job: JobKey) -> u64 {
    u64::from(job).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
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
        assert_eq!(runs(&order, 1), [9, 7]);
        order.remove(1, 7);
        order.remove(1, 9);
        order.remove(1, 9);
        assert_eq!((runs(&order, 1), runs(&order, 2)), (vec![], vec![5]));
    }
}
