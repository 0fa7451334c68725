//! Runs that have not ended, and their order within a job and within a group.

mod of_job;
mod resource_queue;
mod resources;
mod run;
mod watch;

use std::collections::BTreeMap;

use self::of_job::OrderOfJobs;
pub use self::run::Phase;
pub(crate) use self::{
    resources::{Entry, Resources},
    run::Run,
    watch::{Report, Watch},
};
use crate::{
    event::{JobKey, RunKey},
    keys::{GroupKey, RunSlot, Seq},
    mutants::{Mutation, mutated},
    outcome::Cause,
    slab::Slab,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Slab<Run>,
    of_job: OrderOfJobs,
    /// The runs of each group, in the order they were admitted.
    of_group: BTreeMap<(GroupKey, Seq), RunSlot>,
    next_seq: Seq,
    last_key: RunKey,
}

impl Runs {
    pub(crate) fn get(&self, slot: RunSlot) -> Option<&Run> {
        self.runs.get(slot)
    }

    /// Returns a run. Its job, its group and its place in their order stay as they are.
    pub(crate) fn get_mut(&mut self, slot: RunSlot) -> Option<&mut Run> {
        self.runs.get_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RunSlot, &Run)> {
        self.runs.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Returns the number of slots, used and free; all slots are below it.
    pub(crate) fn slot_count(&self) -> u32 {
        self.runs.slot_count()
    }

    /// Adds a run, as the last one of its job and its group.
    pub(crate) fn insert(&mut self, mut run: Run) -> RunSlot {
        run.seq = self.next_seq;
        self.next_seq += 1;
        let (job, group, seq) = (run.job, group_of(&run), run.seq);
        let slot = self.runs.insert(run);
        self.of_job.push(job, slot);
        if let Some(group) = group {
            self.of_group.insert((group, seq), slot);
        }
        slot
    }

    /// Removes a run.
    pub(crate) fn remove(&mut self, slot: RunSlot) -> Option<Run> {
        let run = self.runs.remove(slot)?;
        self.of_job.remove(run.job, slot);
        if let Some(group) = group_of(&run) {
            self.of_group.remove(&(group, run.seq));
        }
        Some(run)
    }

    /// Returns the key of a run in the store; a new one if it is saved for the first time.
    pub(crate) fn save_key(&mut self, slot: RunSlot) -> Option<RunKey> {
        let new = self.last_key + 1;
        let key = *self.runs.get_mut(slot)?.key.get_or_insert(new);
        self.remember_key(key);
        Some(key)
    }

    /// Takes note of the key of a stored run.
    pub(crate) fn remember_key(&mut self, key: RunKey) {
        self.last_key = self.last_key.max(key);
    }

    /// Returns the runs of a job, in the order of admission.
    pub(crate) fn of_job(&self, job: JobKey) -> impl Iterator<Item = RunSlot> {
        self.of_job.of(job)
    }

    /// Returns the number of runs of a job.
    pub(crate) fn count_of_job(&self, job: JobKey) -> usize {
        self.of_job(job).count()
    }

    /// Returns the runs of a group, in the order of admission.
    pub(crate) fn of_group(&self, group: GroupKey) -> impl Iterator<Item = RunSlot> {
        self.of_group.range((group.clone(), Seq::MIN)..=(group, Seq::MAX)).map(|(_, slot)| *slot)
    }

    /// Returns the other runs of a run's group, in the order of admission.
    pub(crate) fn others_of_group(&self, run: &Run) -> Vec<RunSlot> {
        let group = group_of(run).into_iter().flat_map(|group| self.of_group(group));
        group.filter(|slot| self.get(*slot).is_some_and(|other| other.seq != run.seq)).collect()
    }

    /// Returns whether a run that has not started must wait for earlier ones of its job or its group.
    pub(crate) fn is_blocked(&self, slot: RunSlot) -> bool {
        let Some(run) = self.get(slot) else { return false };
        let yields = |other: &Run| other.is_yielding() && run.takes_over.contains(&other.seq);
        let blocks = |other: &RunSlot| self.get(*other).is_some_and(|other| other.seq < run.seq && !yields(other));
        let of_job = self.of_job(run.job).filter(blocks).count() >= run.policy.overlap.at_once() as usize;
        let of_group = group_of(run).is_some_and(|group| self.of_group(group).any(|other| blocks(&other)));
        (of_job && !mutated(Mutation::RunsOfJobOverlap)) || (of_group && !mutated(Mutation::RunsOfGroupOverlap))
    }

    /// Leaves the last steps of a run to a newer one, or to none. Returns the newer run to which they were left before:
    /// only one takes them over.
    pub(crate) fn leave_steps(&mut self, slot: RunSlot, steps: usize, newer: Option<RunSlot>) -> Option<RunSlot> {
        let run = self.get(slot)?;
        let seq = run.seq;
        let [of_job, of_group] = self.first_siblings(run, |other| other.takes_over.contains(&seq));
        let before = of_job.or(of_group);
        if let Some(before) = before.and_then(|before| self.runs.get_mut(before))
            && !mutated(Mutation::ReplacedRunReturnsOwedSteps)
        {
            before.takes_over.retain(|other| *other != seq);
        }
        if let Some(newer) = newer.filter(|_| steps > 0).and_then(|newer| self.runs.get_mut(newer)) {
            newer.takes_over.push(seq);
        }
        self.runs.get_mut(slot)?.yields = steps;
        before
    }

    /// Returns the runs that leave steps to a run.
    pub(crate) fn yielding_to(&self, run: &Run) -> Vec<RunSlot> {
        let sibling = |seq: &Seq| {
            let [of_job, of_group] = self.first_siblings(run, |other| other.seq == *seq);
            of_job.or(of_group)
        };
        run.takes_over.iter().filter_map(sibling).collect()
    }

    /// Returns the runs that may start after a run has ended: the next one of its job, and the next one of its group.
    pub(crate) fn next_held(&self, run: &Run) -> [Option<RunSlot>; 2] {
        self.first_siblings(run, |run| {
            matches!(run.phase, Phase::Held(_)) && run.held_by == Some(Cause::EarlierRun) && !run.is_yielding()
        })
    }

    /// Returns the first matching run of a run's job, and that of its group.
    fn first_siblings(&self, run: &Run, is_match: impl Fn(&Run) -> bool) -> [Option<RunSlot>; 2] {
        let is_match = |slot: &RunSlot| self.get(*slot).is_some_and(&is_match);
        let of_group = group_of(run).and_then(|group| self.of_group(group).find(is_match));
        [self.of_job(run.job).find(is_match), of_group]
    }
}

fn group_of(run: &Run) -> Option<GroupKey> {
    Some((run.id.plugin.clone(), run.id.device.clone(), run.policy.group()?.clone()))
}
