//! Groups: jobs of a device of which only the newest run counts.

use crate::{
    event::JobKey,
    mutants::{Mutation, mutated},
    names::{JobId, RunId},
    outcome::MissedReason,
    runs::Run,
    scheduler::occurrences::passed::PassedOccurrences,
    scheduler::state::Scheduler,
    time::Instant,
};

impl Scheduler {
    /// Decides a due job of a group. Of all due jobs of the group, the one with the newest occurrence is caught up, and
    /// is decided last: a crash between two of these decisions leaves the newest one undecided. Two jobs are compared
    /// at a time, so that each step is short.
    pub(crate) fn group_timer(&mut self, key: JobKey) {
        self.disarm_timer(key);
        let Some(passed) = self.passed_occurrences(self.now, key) else { return };
        let competitor = self.competitor(key).and_then(|competitor| self.passed_occurrences(self.now, competitor));
        let Some(competitor) = competitor else {
            let newer = self.newer_run(&passed).or_else(|| self.due_since(&passed));
            return match newer.filter(|_| !mutated(Mutation::GroupForgetsNewerDecision)) {
                Some(by) => self.record_superseded(&passed, by),
                None => self.admit_newest(&passed),
            };
        };
        let is_newer = (competitor.last(), competitor.key) > (passed.last(), key);
        if is_newer != mutated(Mutation::GroupCatchesUpOldest) {
            let by = (self.job_id(competitor.key), competitor.last());
            return self.record_superseded(&passed, by);
        }
        // It is decided after the others.
        self.arm_timer(key);
        self.disarm_timer(competitor.key);
        let by = (self.job_id(key), passed.last());
        self.record_superseded(&competitor, by);
    }

    /// Records the passed occurrences as superseded by another job of the group.
    fn record_superseded(&mut self, passed: &PassedOccurrences, (job, by): (JobId, Instant)) {
        self.record_missed(passed, MissedReason::Superseded { job: Some(job), by });
    }

    /// Returns a run of the group that is newer than all passed occurrences of this job; its own job may have been
    /// removed.
    fn newer_run(&self, passed: &PassedOccurrences) -> Option<(JobId, Instant)> {
        let group = self.catalog.group_of(passed.key)?;
        // One that waits, and was due in a pause, will not start.
        let may_start = |run: &&Run| !run.has_not_started() || self.paused_run(run).is_none();
        let mut runs = self.runs.of_group(group).filter_map(|slot| self.runs.get(slot)).filter(may_start);
        // Compared by the current clock series.
        let newest = self.run_id(passed.key, passed.last());
        let is_newer =
            |id: &&RunId| id.origin.is_trigger() && (id.origin, id.occurrence) > (newest.origin, newest.occurrence);
        let newer = runs.find(|run| is_newer(&&run.id)).map(|run| &run.id);
        newer.map(|id| (id.job.clone(), id.occurrence))
    }

    /// Returns another due job of the same group: the one that was due last.
    fn competitor(&self, key: JobKey) -> Option<JobKey> {
        let group = self.catalog.group_of(key)?;
        self.agenda.due_in_group(&group, self.now).find(|competitor| self.counts_in_group(*competitor))
    }

    /// Returns whether a job's next occurrence counts for its group: not if it is in a pause, or skipped.
    fn counts_in_group(&self, key: JobKey) -> bool {
        let next = self.catalog.job(key).and_then(|state| state.next.due());
        !self.is_next_paused(key) && next.is_none_or(|next| !self.catalog.overrides.is_skipped(key, next))
    }

    /// Returns another job of the group that was due after all passed occurrences of this one, in no pause, even if that
    /// is decided already.
    fn due_since(&mut self, passed: &PassedOccurrences) -> Option<(JobId, Instant)> {
        let (.., group) = self.catalog.group_of(passed.key)?;
        let of_group = |job: &JobKey| {
            let state = self.catalog.job(*job).filter(|state| *job != passed.key && state.grouped);
            state.is_some_and(|state| state.job.body.policy().group() == Some(&group))
        };
        let device = self.catalog.device(self.catalog.job(passed.key)?.device)?;
        let mut others: Vec<JobKey> = device.jobs().filter(of_group).collect();
        others.sort_unstable();
        others.into_iter().find_map(|job| {
            let at = self.last_unpaused(job, passed.last(), self.now)?;
            (!self.catalog.overrides.is_skipped(job, at)).then(|| (self.job_id(job), at))
        })
    }
}
