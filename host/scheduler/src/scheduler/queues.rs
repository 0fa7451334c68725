//! The order of runs within a job and within a group: which run waits for which, and what it takes over.

use super::{
    JobKey, RunSlot, Scheduler, Seq,
    groups::GroupKey,
    run::{Run, State},
};
use crate::{
    event::Step,
    model::Overlap,
    mutation::{Mutation, mutated},
    names::{JobName, Origin, RunId},
    outcome::{Cancelled, Cause, Outcome},
    time::Instant,
};

/// The runs that share a job or a group with a run.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    job: Option<JobKey>,
    orphan: Option<JobName>,
    group: Option<GroupKey>,
}

impl Scheduler {
    /// Adds a run.
    pub(super) fn insert_run(&mut self, mut run: Run) -> RunSlot {
        debug_assert!(self.find_run(&run.id).is_none(), "I2: there are two runs {}", run.id);
        let seq = self.next_seq;
        self.next_seq += 1;
        let (job, id, group) = (run.job, run.id.clone(), group_of(&run));
        run.seq = seq;
        let slot = self.runs.insert(run);
        match job {
            Some(job) => self.runs_of.insert((job, seq), slot),
            None => self.orphans.insert(id, slot),
        };
        if let Some(group) = group {
            self.groups.entry(group).or_default().runs.insert(seq, slot);
        }
        self.resume_hold(slot);
        slot
    }

    /// Removes a run from its job and group, and releases its resource.
    pub(super) fn forget_run(&mut self, now: Instant, slot: RunSlot) -> Siblings {
        let Some(run) = self.runs.get_mut(slot) else { return Siblings::default() };
        let siblings = siblings_of(run);
        let holds = run.holds.is_some() && !mutated(Mutation::ResourceIsNeverReleased);
        let needs = run.policy.needs.clone().filter(|_| holds);
        match run.job {
            Some(job) => {
                self.runs_of.remove(&(job, run.seq));
            }
            None => {
                self.orphans.remove(&run.id);
            }
        }
        let seq = run.seq;
        if let Some(key) = &siblings.group
            && let Some(group) = self.groups.get_mut(key)
        {
            group.runs.remove(&seq);
            self.drop_empty_group(key);
        }
        if let Some(name) = needs {
            self.drop_hold(slot);
            self.release(now, &name);
        }
        siblings
    }

    /// Returns the runs of a job, in the order of admission.
    pub(super) fn run_slots(&self, job: JobKey) -> impl Iterator<Item = RunSlot> {
        self.runs_of.range((job, 0)..=(job, Seq::MAX)).map(|(_, slot)| *slot)
    }

    /// Returns the runs that have outlived a job, in the order of admission.
    pub(super) fn orphans_of(&self, name: &JobName) -> Vec<RunSlot> {
        let (plugin, device, job) = name.clone();
        let first = RunId { plugin, device, job, occurrence: Instant::MIN, origin: Origin::Trigger };
        let is_of = |id: &RunId| (&id.plugin, &id.device, &id.job) == (&name.0, &name.1, &name.2);
        let of_job = self.orphans.range(first..).take_while(|(id, _)| is_of(id));
        let mut slots: Vec<RunSlot> = of_job.map(|(_, slot)| *slot).collect();
        slots.sort_unstable_by_key(|slot| self.runs.get(*slot).map(|run| run.seq));
        slots
    }

    /// Detaches the runs of a removed job, which continue.
    pub(super) fn orphan_runs(&mut self, job: JobKey) {
        for slot in self.run_slots(job).collect::<Vec<_>>() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.job = None;
            self.runs_of.remove(&(job, run.seq));
            self.orphans.insert(run.id.clone(), slot);
        }
    }

    /// Attaches the runs of an earlier job of the same name.
    pub(super) fn adopt_orphans(&mut self, job: JobKey, name: &JobName) {
        for slot in self.orphans_of(name) {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.job = Some(job);
            self.orphans.remove(&run.id);
            self.runs_of.insert((job, run.seq), slot);
        }
    }

    /// Returns whether no other run can block a run or leave steps to it.
    fn is_alone(&self, slot: RunSlot) -> bool {
        self.runs.get(slot).is_some_and(|run| {
            run.policy.group().is_none() && run.job.is_some_and(|job| self.run_slots(job).nth(1).is_none())
        })
    }

    /// Returns whether a run that has not started must wait for earlier ones.
    fn is_blocked(&self, slot: RunSlot) -> bool {
        let Some(run) = self.runs.get(slot) else { return false };
        let at_once = if let Overlap::Allow(most) = run.policy.overlap { most } else { 1 };
        let yields = |other: &Run| other.is_yielding() && other.heir == Some(run.seq);
        let before = |other: &RunSlot| self.runs.get(*other).is_some_and(|other| other.seq < run.seq && !yields(other));
        let earlier = match run.job {
            Some(job) => self.run_slots(job).filter(before).count(),
            None => self.orphans_of(&run.id.clone().into_job_name()).iter().filter(|slot| before(slot)).count(),
        };
        let group = group_of(run).and_then(|key| self.groups.get(&key));
        let of_group = group.is_some_and(|group| group.runs.range(..run.seq).any(|(_, slot)| before(slot)));
        let of_job = earlier >= at_once as usize && !mutated(Mutation::RunsOfJobOverlap);
        of_job || (of_group && !mutated(Mutation::RunsOfGroupOverlap))
    }

    /// Holds a run that has only steps left that a newer run is to take over.
    pub(super) fn yield_to_newer(&mut self, slot: RunSlot) {
        self.set_state(slot, State::Held(None));
        if let Some(siblings) = self.runs.get(slot).map(siblings_of) {
            self.wake_next(&siblings);
        }
    }

    /// Takes over the steps that earlier runs have left to a run that starts (I5).
    pub(super) fn take_over(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        if self.is_alone(slot) {
            return;
        }
        let Some(run) = self.runs.get(slot) else { return };
        for earlier in self.yielding_to(&siblings_of(run), run.seq) {
            let put_off_until = self.runs.get(earlier).and_then(|run| run.progress.put_off_until);
            if let Some(run) = self.runs.get_mut(slot).filter(|_| !mutated(Mutation::TakenOverStepsAreNotOwed)) {
                run.inherit(put_off_until);
            }
            let cancelled = self.runs.get(earlier).and_then(|run| run.progress.cancelled.clone());
            self.end(now, earlier, Outcome::Cancelled(cancelled.unwrap_or(Cancelled::Abandoned)), out);
        }
    }

    /// Resumes the runs that had left steps to a newer run, which never started: the steps are sent at once.
    pub(super) fn resume_yielding(&mut self, now: Instant, siblings: &Siblings, heir: Seq) {
        for slot in self.yielding_to(siblings, heir) {
            self.stop_yielding(now, slot);
        }
    }

    /// Resumes runs with owed steps that have been put off as long as allowed: they are sent first (I5).
    fn resume_overdue(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        let is_too_long =
            |earlier: &Run| earlier.progress.put_off_until.is_some_and(|until| earlier.yields > 0 && until <= now);
        for earlier in self.yielding_to(&siblings_of(run), run.seq) {
            if self.runs.get(earlier).is_some_and(is_too_long) {
                self.stop_yielding(now, earlier);
            }
        }
    }

    /// Makes a run send its owed steps itself after all.
    pub(super) fn stop_yielding(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let was_yielding = run.is_yielding();
        (run.yields, run.heir) = (0, None);
        if was_yielding {
            self.stop_waiting(slot);
            self.await_step(now, slot);
        }
    }

    /// Returns whether a run may start; if not, it is put into the queue where it waits.
    pub(super) fn may_start(&mut self, now: Instant, slot: RunSlot) -> bool {
        if !self.is_alone(slot) {
            self.resume_overdue(now, slot);
            if self.is_blocked(slot) {
                self.hold(slot, Cause::EarlierRun);
                return false;
            }
        }
        self.acquires_resource(now, slot)
    }

    /// Prepares a run for another heir: the previous heir returns the hold that it had taken over.
    pub(super) fn disinherit(&mut self, slot: RunSlot) {
        let Some((siblings, heir)) = self.runs.get(slot).and_then(|run| Some((siblings_of(run), run.heir?))) else {
            return;
        };
        let group = siblings.group.as_ref().and_then(|key| self.groups.get(key));
        let of_group = group.and_then(|group| group.runs.get(&heir)).copied();
        let of_job = siblings.job.and_then(|job| self.runs_of.get(&(job, heir))).copied();
        if let Some(heir) = of_group.or(of_job) {
            self.return_hold(heir);
        }
    }

    /// Lets a run wait for others, until its grace ends.
    pub(super) fn hold(&mut self, slot: RunSlot, cause: Cause) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.held_by = Some(cause);
        let until = run.grace_end();
        self.set_state(slot, State::Held(until));
    }

    /// Returns the runs that leave owed steps to a run.
    pub(super) fn yielding_to(&self, siblings: &Siblings, heir: Seq) -> Vec<RunSlot> {
        let of_job = match (siblings.job, &siblings.orphan) {
            (Some(job), _) => self.run_slots(job).collect(),
            (None, Some(name)) => self.orphans_of(name),
            (None, None) => Vec::new(),
        };
        let group = siblings.group.as_ref().and_then(|key| self.groups.get(key));
        let of_group = group.into_iter().flat_map(|group| group.runs.values().copied());
        let mut slots: Vec<RunSlot> = of_job.into_iter().chain(of_group).collect();
        slots.retain(|slot| self.runs.get(*slot).is_some_and(|run| run.yields > 0 && run.heir == Some(heir)));
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Lets the next run of the job and of the group start after a run has ended.
    pub(super) fn wake_next(&mut self, siblings: &Siblings) {
        if siblings.job.is_none() && siblings.orphan.is_none() {
            return;
        }
        let is_held = |slot: &RunSlot| {
            let waits_for_runs = |run: &&Run| {
                matches!(run.state, State::Held(_)) && run.held_by == Some(Cause::EarlierRun) && !run.is_yielding()
            };
            self.runs.get(*slot).filter(waits_for_runs).is_some()
        };
        let of_job = match (siblings.job, &siblings.orphan) {
            (Some(job), _) => self.run_slots(job).find(is_held),
            (None, Some(name)) => self.orphans_of(name).into_iter().find(is_held),
            (None, None) => None,
        };
        let group = siblings.group.as_ref().and_then(|key| self.groups.get(key));
        let of_group = group.and_then(|group| group.runs.values().copied().find(is_held));
        for slot in [of_job, of_group].into_iter().flatten() {
            if !self.is_blocked(slot) && self.runs.get(slot).is_some_and(|run| run.state != State::Waiting) {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
        }
    }
}

/// Returns the job and the group that a run shares with others.
pub(super) fn siblings_of(run: &Run) -> Siblings {
    let orphan = run.job.is_none().then(|| run.id.clone().into_job_name());
    Siblings { job: run.job, orphan, group: group_of(run) }
}

fn group_of(run: &Run) -> Option<GroupKey> {
    Some((run.id.plugin.clone(), run.id.device.clone(), run.policy.group()?.clone()))
}
