//! Changes of named calendars, while the host runs.
//!
//! Occurrences that are not due yet follow the new contents. None is caught up because of it: times that have passed
//! stay as they were decided (I2).

use super::state::Scheduler;
use crate::{
    budget::Budget,
    event::JobKey,
    limits,
    names::CalendarName,
    trigger::{Calendars, Days},
    work_queue::Work,
};

impl Scheduler {
    /// Adopts the contents of calendars; the jobs that name one with other contents follow in bounded pieces (I10).
    pub(super) fn set_calendars(&mut self, calendars: Calendars) {
        let changed = self.agenda.almanac().calendars.differences(&calendars);
        self.agenda.almanac().calendars = calendars;
        if !changed.is_empty() {
            self.work.push(Work::CalendarsChanged { names: changed, job: 0 });
        }
    }

    /// Examines some jobs after calendars have changed.
    pub(super) fn after_calendars_changed(&mut self, names: Vec<CalendarName>, mut job: JobKey, budget: &mut Budget) {
        while job < self.catalog.job_slots() && budget.spend(limits::JOB_COST) {
            self.follow_calendars(job, &names);
            job += 1;
        }
        if job < self.catalog.job_slots() {
            self.work.push(Work::CalendarsChanged { names, job });
        }
    }

    fn follow_calendars(&mut self, key: JobKey, names: &[CalendarName]) {
        let Some(state) = self.catalog.job(key) else { return };
        let names_one = |days: &Days| days.calendars().any(|name| names.contains(name));
        let before = state.next;
        // What is due by now was decided by the old contents, also if it waits for its jitter.
        let is_due = before.due().or_else(|| before.timer()).is_some_and(|at| at <= self.now);
        if is_due || !state.job.trigger.days().is_some_and(names_one) {
            return;
        }
        let Some(site) = self.catalog.site_of(key) else { return };
        let (job, device, watermark) = (state.job.clone(), state.device, state.watermark.max(self.now));
        let next = self.next_of(&job, device, watermark, &site);
        if next == before {
            return;
        }
        self.save_runs_of(key);
        self.disarm_timer(key);
        self.advance(key, watermark, next);
        self.save_progress(key);
    }
}
