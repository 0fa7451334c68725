//! Runs that have not ended, and their order within a job and within a group.

mod hold;
mod order;
mod resources;
mod run;
mod turns;
mod watch;

use std::collections::BTreeMap;

use self::order::OrderOfJobs;
pub use self::run::State;
pub(crate) use self::{
    hold::Hold,
    resources::{Entry, Resources},
    run::Run,
    watch::{Report, Watch},
};
use crate::{
    event::{JobKey, RunKey},
    keys::{GroupKey, RunSlot, Seq},
    model::Overlap,
    mutation::{Mutation, mutated},
    names::{JobName, Origin, RunId},
    outcome::Cause,
    slab::Slab,
    time::Instant,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Slab<Run>,
    of_job: OrderOfJobs,
    /// Runs of removed jobs.
    orphans: BTreeMap<RunId, RunSlot>,
    /// The runs of each group, in the order they were admitted.
    of_group: BTreeMap<GroupKey, BTreeMap<Seq, RunSlot>>,
    next_seq: Seq,
    last_key: RunKey,
}

/// The runs that share a job or a group with a run.
#[derive(Clone, Debug)]
pub(crate) struct Siblings {
    job: Option<JobKey>,
    orphan: Option<JobName>,
    group: Option<GroupKey>,
}

impl Siblings {
    pub(crate) fn of(run: &Run) -> Self {
        let orphan = run.job.is_none().then(|| run.id.clone().into_job_name());
        Self { job: run.job, orphan, group: group_of(run) }
    }
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
        let (job, id, group, seq) = (run.job, run.id.clone(), group_of(&run), run.seq);
        let slot = self.runs.insert(run);
        match job {
            Some(job) => self.of_job.push(job, slot),
            None => {
                self.orphans.insert(id, slot);
            }
        }
        if let Some(group) = group {
            self.of_group.entry(group).or_default().insert(seq, slot);
        }
        slot
    }

    /// Removes a run.
    pub(crate) fn remove(&mut self, slot: RunSlot) -> Option<Run> {
        let run = self.runs.remove(slot)?;
        match run.job {
            Some(job) => self.of_job.remove(job, slot),
            None => {
                self.orphans.remove(&run.id);
            }
        }
        if let Some(group) = group_of(&run)
            && let Some(runs) = self.of_group.get_mut(&group)
        {
            runs.remove(&run.seq);
            if runs.is_empty() {
                self.of_group.remove(&group);
            }
        }
        Some(run)
    }

    /// Returns a key for a run that is saved for the first time.
    pub(crate) const fn new_key(&mut self) -> RunKey {
        self.last_key += 1;
        self.last_key
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
        self.of_job.count(job)
    }

    /// Returns the runs of a group, in the order of admission.
    pub(crate) fn of_group(&self, group: &GroupKey) -> impl Iterator<Item = RunSlot> {
        self.of_group.get(group).into_iter().flat_map(|runs| runs.values().copied())
    }

    pub(crate) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Returns the runs of removed jobs.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = RunSlot> {
        self.orphans.values().copied()
    }

    /// Returns the runs that have outlived a job, in the order of admission.
    pub(crate) fn orphans_of(&self, name: &JobName) -> Vec<RunSlot> {
        let (plugin, device, job) = name.clone();
        let first = RunId { plugin, device, job, occurrence: Instant::MIN, origin: Origin::Trigger };
        let is_of = |id: &RunId| (&id.plugin, &id.device, &id.job) == (&name.0, &name.1, &name.2);
        let of_job = self.orphans.range(first..).take_while(|(id, _)| is_of(id));
        let mut slots: Vec<RunSlot> = of_job.map(|(_, slot)| *slot).collect();
        slots.sort_unstable_by_key(|slot| self.get(*slot).map(|run| run.seq));
        slots
    }

    /// Finds the run of a removed job.
    pub(crate) fn orphan(&self, id: &RunId) -> Option<RunSlot> {
        self.orphans.get(id).copied()
    }

    /// Detaches the runs of a removed job, which continue.
    pub(crate) fn detach(&mut self, job: JobKey) {
        for slot in self.of_job(job).collect::<Vec<_>>() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.job = None;
            self.of_job.remove(job, slot);
            self.orphans.insert(run.id.clone(), slot);
        }
    }

    /// Attaches the runs of an earlier job of the same name.
    pub(crate) fn attach(&mut self, job: JobKey, name: &JobName) {
        for slot in self.orphans_of(name) {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.job = Some(job);
            self.orphans.remove(&run.id);
            self.of_job.push(job, slot);
        }
    }

    /// Returns whether no other run can block a run or leave steps to it.
    pub(crate) fn is_alone(&self, slot: RunSlot) -> bool {
        self.get(slot)
            .is_some_and(|run| run.policy.group().is_none() && run.job.is_some_and(|job| self.count_of_job(job) < 2))
    }

    /// Returns whether a run that has not started must wait for earlier ones of its job or its group.
    pub(crate) fn is_blocked(&self, slot: RunSlot) -> bool {
        let Some(run) = self.get(slot) else { return false };
        let at_once = if let Overlap::Allow(most) = run.policy.overlap { most } else { 1 };
        let yields = |other: &Run| other.is_yielding() && other.heir == Some(run.seq);
        let before = |other: &RunSlot| self.get(*other).is_some_and(|other| other.seq < run.seq && !yields(other));
        let earlier = match run.job {
            Some(job) => self.of_job(job).filter(before).count(),
            None => self.orphans_of(&run.id.clone().into_job_name()).iter().filter(|slot| before(slot)).count(),
        };
        let group = group_of(run).and_then(|group| self.of_group.get(&group));
        let of_group = group.is_some_and(|runs| runs.range(..run.seq).any(|(_, slot)| before(slot)));
        let of_job = earlier >= at_once as usize && !mutated(Mutation::RunsOfJobOverlap);
        of_job || (of_group && !mutated(Mutation::RunsOfGroupOverlap))
    }

    /// Returns the runs that leave owed steps to a run.
    pub(crate) fn yielding_to(&self, siblings: &Siblings, heir: Seq) -> Vec<RunSlot> {
        let of_group = siblings.group.iter().flat_map(|group| self.of_group(group));
        let mut slots: Vec<RunSlot> = self.of_same_job(siblings).into_iter().chain(of_group).collect();
        slots.retain(|slot| self.get(*slot).is_some_and(|run| run.yields > 0 && run.heir == Some(heir)));
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Returns the newer run to which a run leaves owed steps.
    pub(crate) fn heir_of(&self, run: &Run) -> Option<RunSlot> {
        let heir = run.heir?;
        let of_group = group_of(run).and_then(|group| self.of_group.get(&group)?.get(&heir).copied());
        of_group.or_else(|| self.of_job(run.job?).find(|slot| self.get(*slot).is_some_and(|run| run.seq == heir)))
    }

    /// Returns the runs that may start after one of their siblings has ended: the next one of the job, and the next one
    /// of the group.
    pub(crate) fn next_held(&self, siblings: &Siblings) -> [Option<RunSlot>; 2] {
        let is_held = |slot: &RunSlot| {
            self.get(*slot).is_some_and(|run| {
                matches!(run.state, State::Held(_)) && run.held_by == Some(Cause::EarlierRun) && !run.is_yielding()
            })
        };
        let of_job = self.of_same_job(siblings).into_iter().find(is_held);
        let of_group = siblings.group.as_ref().and_then(|group| self.of_group(group).find(is_held));
        [of_job, of_group]
    }

    fn of_same_job(&self, siblings: &Siblings) -> Vec<RunSlot> {
        match (siblings.job, &siblings.orphan) {
            (Some(job), _) => self.of_job(job).collect(),
            (None, Some(name)) => self.orphans_of(name),
            (None, None) => Vec::new(),
        }
    }
}

fn group_of(run: &Run) -> Option<GroupKey> {
    Some((run.id.plugin.clone(), run.id.device.clone(), run.policy.group()?.clone()))
}
