//! Groups: jobs of a device of which only the newest run counts.

use std::collections::{BTreeMap, BTreeSet};

use super::{DeviceName, Instant, JobKey, PluginName, RunSlot, Scheduler, Seq, misfires::PassedOccurrences};
use crate::{
    event::Step,
    mutation::{Mutation, mutated},
    names::{GroupName, JobId, RunId},
    outcome::{Cancelled, MissedReason},
    trigger::Search,
};

/// Identifies a group.
pub(super) type GroupKey = (PluginName, DeviceName, GroupName);

/// A group of jobs of a device, of which only the newest run counts.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// When its jobs are due.
    pub(super) due: BTreeSet<(Instant, JobKey)>,
    /// Its runs, in the order of admission.
    pub(super) runs: BTreeMap<Seq, RunSlot>,
}

impl Scheduler {
    /// Cuts short the older runs of a group.
    pub(super) fn replace_in_group(
        &mut self,
        now: Instant,
        newest: RunSlot,
        id: &RunId,
        group: &GroupName,
        out: &mut Step,
    ) {
        let key = (id.plugin.clone(), id.device.clone(), group.clone());
        let older: Vec<RunSlot> =
            self.groups.get(&key).map(|group| group.runs.values().copied().collect()).unwrap_or_default();
        for slot in older.into_iter().filter(|slot| *slot != newest) {
            let reason = Cancelled::NewerOfGroup { job: id.job.clone(), by: id.occurrence };
            self.cut_short(now, slot, reason, Some(newest), out);
        }
    }

    /// Removes a group that has no due job and no run.
    pub(super) fn drop_empty_group(&mut self, key: &GroupKey) {
        if self.groups.get(key).is_some_and(|group| group.due.is_empty() && group.runs.is_empty()) {
            self.groups.remove(key);
        }
    }

    /// Decides a due job of a group. Of all due jobs of the group, the one with the newest occurrence is caught up, and
    /// is decided last: a crash between two of these decisions leaves the newest one undecided. Two jobs are compared
    /// at a time, so that each step is short.
    pub(super) fn group_timer(&mut self, now: Instant, key: JobKey, out: &mut Step) {
        self.disarm_timer(key);
        let Some(passed) = self.passed_occurrences(now, key) else { return };
        let competitor = self.competitor(now, key).and_then(|competitor| self.passed_occurrences(now, competitor));
        let Some(competitor) = competitor else {
            let newer = self.newer_run(&passed).or_else(|| self.due_since(now, &passed));
            return match newer.filter(|_| !mutated(Mutation::GroupForgetsNewerDecision)) {
                Some(by) => self.record_superseded(now, &passed, by, out),
                None => self.admit_newest(now, &passed, out),
            };
        };
        let is_newer = (competitor.newest, competitor.key) > (passed.newest, key);
        if is_newer != mutated(Mutation::GroupCatchesUpOldest) {
            let by = (self.job_id(competitor.key), competitor.newest);
            return self.record_superseded(now, &passed, by, out);
        }
        // It is decided after the others.
        self.arm_timer(key);
        self.disarm_timer(competitor.key);
        let by = (self.job_id(key), passed.newest);
        self.record_superseded(now, &competitor, by, out);
    }

    /// Records the passed occurrences as superseded by another job of the group.
    fn record_superseded(
        &mut self,
        now: Instant,
        passed: &PassedOccurrences,
        (job, by): (JobId, Instant),
        out: &mut Step,
    ) {
        self.record_missed(now, passed, MissedReason::Superseded { job: Some(job), by }, out);
    }

    /// Returns a run of the group that is newer than all passed occurrences of this job; its own job may have been
    /// removed.
    fn newer_run(&self, passed: &PassedOccurrences) -> Option<(JobId, Instant)> {
        let group = self.groups.get(&self.group_of_job(passed.key)?)?;
        let runs = group.runs.values().filter_map(|slot| self.runs.get(*slot));
        // Compared by the current clock series.
        let newest = self.run_id(passed.key, passed.newest);
        let is_newer =
            |id: &&RunId| id.origin.is_trigger() && (id.origin, id.occurrence) > (newest.origin, newest.occurrence);
        let newer = runs.map(|run| &run.id).find(is_newer);
        newer.map(|id| (id.job.clone(), id.occurrence))
    }

    /// Returns another due job of the same group: the one that was due last.
    fn competitor(&self, now: Instant, key: JobKey) -> Option<JobKey> {
        let group = self.groups.get(&self.group_of_job(key)?)?;
        let mut due = group.due.range(..=(now, JobKey::MAX)).rev().map(|(_, competitor)| *competitor);
        due.find(|competitor| self.counts_in_group(*competitor))
    }

    /// Returns whether a job's next occurrence counts for its group: not if the job is paused or the occurrence is
    /// skipped.
    fn counts_in_group(&self, key: JobKey) -> bool {
        let next = self.jobs.get(key).and_then(|state| state.next.due());
        self.is_paused(key).is_none() && next.is_none_or(|next| !self.is_skipped(key, next))
    }

    /// Returns another job of the group that was due after all passed occurrences of this one, even if that is decided
    /// already.
    fn due_since(&mut self, now: Instant, passed: &PassedOccurrences) -> Option<(JobId, Instant)> {
        let (.., group) = self.group_of_job(passed.key)?;
        let of_group = |job: &JobKey| {
            let state = self.jobs.get(*job).filter(|state| *job != passed.key && state.grouped);
            let state = state.filter(|_| self.is_paused(*job).is_none());
            state.is_some_and(|state| state.job.body.policy().group() == Some(&group))
        };
        let device = self.devices.get(self.jobs.get(passed.key)?.device)?;
        let mut others: Vec<JobKey> = device.jobs.iter().copied().filter(of_group).collect();
        others.sort_unstable();
        others.into_iter().find_map(|job| {
            let trigger = &self.jobs.get(job)?.job.trigger;
            match trigger.last(passed.newest, now, &passed.site, &mut self.sun_cache) {
                Search::Found(at) if self.is_skipped(job, at) => None,
                Search::Found(at) => Some((self.job_id(job), at)),
                Search::NotUntil(_) | Search::Never(_) => None,
            }
        })
    }
}
