//! Ad-hoc jobs that are never due again: they stay for a day.

use crate::{
    budget::Budget,
    event::{Change, DeviceKey, JobKey, PauseScope},
    limits,
    occurrence::Next,
    scheduler::state::Scheduler,
    time::Instant,
    trigger::Trigger,
};

impl Scheduler {
    /// Returns the last occurrence of a job that is never due again and has no runs left.
    fn finished_at(&self, key: JobKey) -> Option<Instant> {
        let state = self.catalog.job(key).filter(|state| state.next == Next::Never && state.unconfirmed.is_none())?;
        // A sun trigger may be due once the device has a location.
        let is_over = !matches!(state.job.trigger, Trigger::Sun(_)) && self.runs.count_of_job(key) == 0;
        is_over.then_some(state.watermark)
    }

    /// Removes ad-hoc jobs that finished before an instant, the oldest first. Returns whether there are more.
    pub(crate) fn drop_finished(&mut self, before: Instant, budget: &mut Budget) -> bool {
        let is_finished = |key: JobKey| Some((self.finished_at(key).filter(|at| *at < before)?, key));
        let mut finished: Vec<(Instant, JobKey)> = self.catalog.overrides.ad_hoc().filter_map(is_finished).collect();
        finished.sort_unstable();
        for (_, key) in finished {
            if !budget.spend(limits::JOB_COST) {
                return true;
            }
            self.disarm_timer(key);
            self.set_pause(PauseScope::Job(key), None);
            self.catalog.remove_job(key, false);
            // No later job reaches back to occurrences of this one.
            self.out.changes.push(Change::JobRemoved { key, tombstone: None });
        }
        false
    }

    /// Removes ad-hoc jobs that finished long ago. Returns whether there are more.
    pub(crate) fn forget_finished(&mut self, budget: &mut Budget) -> bool {
        // Not while queued work may refer to one.
        self.work.is_empty() && self.drop_finished(self.now.plus_ms(-limits::FINISHED_MS), budget)
    }

    /// Frees a job's name for a plan, by removing a finished ad-hoc job. Returns whether the plan may use it.
    pub(crate) fn free_name(&mut self, device: DeviceKey, id: &str) -> bool {
        if self.catalog.overrides.ad_hoc().len() == 0 {
            return true;
        }
        let Some(key) = self.catalog.job_key(device, id).filter(|key| self.catalog.overrides.is_ad_hoc(*key)) else {
            return true;
        };
        let is_finished = self.finished_at(key).is_some();
        if is_finished {
            self.drop_job(key);
        }
        is_finished
    }
}
