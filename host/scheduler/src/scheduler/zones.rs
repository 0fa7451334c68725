//! Changes of time zone rules: a package was updated while the host ran, or before it started.
//!
//! Occurrences that are not due yet move to where the new rules put them. None comes twice and none is caught up
//! because of it: the new occurrence nearest to the old one is considered the same (I2).

use super::state::Scheduler;
use crate::{
    budget::Budget,
    event::{Change, Effect, JobKey},
    limits,
    occurrence::Next,
    time::{Instant, Site},
    trigger::{Search, Trigger},
    work_queue::{Work, ZonesChanged},
};

impl Scheduler {
    /// Examines some devices and jobs. Devices are replanned, because plans depend on local times.
    pub(super) fn after_zones_changed(&mut self, mut changed: Box<ZonesChanged>, budget: &mut Budget) {
        while changed.device < self.catalog.device_slots() && budget.spend(limits::DEVICE_COST) {
            if self.catalog.device(changed.device).is_some_and(|device| changed.concerns(device.site.zone)) {
                self.request_plan(changed.device);
            }
            changed.device += 1;
        }
        while changed.job < self.catalog.job_slots() && budget.spend(limits::JOB_COST) {
            changed.moved += u64::from(self.move_job(changed.job, &changed));
            changed.job += 1;
        }
        if changed.device < self.catalog.device_slots() || changed.job < self.catalog.job_slots() {
            // Last in the queue: plans and requests do not wait for all jobs.
            self.work.push(Work::ZonesChanged(changed));
        } else {
            // Only now: after a crash the whole traversal is repeated.
            self.out.changes.push(Change::ZonesKnown(changed.rules.clone()));
            self.out.effects.push(Effect::ZonesMoved { rules: changed.rules, jobs: changed.moved });
        }
    }

    /// Moves a job's next occurrence by the current rules. Returns whether it has moved.
    fn move_job(&mut self, key: JobKey, changed: &ZonesChanged) -> bool {
        let Some(state) = self.catalog.job(key) else { return false };
        let (Some(site), Some(due)) = (self.catalog.device(state.device).map(|device| device.site), state.next.due())
        else {
            return false;
        };
        let zone = match &state.job.trigger {
            Trigger::Cron(cron) => cron.zone.unwrap_or(site.zone),
            Trigger::Sun(_) => site.zone,
            Trigger::At(_) | Trigger::Every(_) => return false,
        };
        if !changed.concerns(zone) {
            return false;
        }
        let Some(occurrence) = self.nearest(key, due, &site).filter(|occurrence| *occurrence != due) else {
            return false;
        };
        self.save_runs_of(key);
        self.disarm_timer(key);
        let Some(state) = self.catalog.job(key) else { return false };
        // Occurrences before it by the new rules were decided under the old ones.
        let decided =
            match state.job.trigger.last(state.watermark, occurrence.plus_ms(-1), &site, self.agenda.almanac()) {
                Search::Found(before) => before,
                Search::NotUntil(_) | Search::Never(_) => state.watermark,
            };
        let (job, device) = (state.job.clone(), state.device);
        let jitter_ms = self.jitter_of(&job, device, occurrence, &site);
        self.advance(key, decided, Next::Due { occurrence, jitter_ms });
        self.move_skip(key, Some(due));
        self.save_progress(key);
        true
    }

    /// Returns the occurrence nearest to one that was found by earlier rules.
    fn nearest(&mut self, key: JobKey, due: Instant, site: &Site) -> Option<Instant> {
        let state = self.catalog.job(key)?;
        let (trigger, watermark, almanac) = (&state.job.trigger, state.watermark, self.agenda.almanac());
        let found = |search| if let Search::Found(at) = search { Some(at) } else { None };
        let just_before = due.plus_ms(-1);
        let after = found(trigger.next(watermark.max(just_before), site, almanac));
        if after == Some(due) {
            return after;
        }
        let before = found(trigger.last(watermark, just_before, site, almanac));
        match (before, after) {
            (Some(before), Some(after)) if due.ms_since(before) < after.ms_since(due) => Some(before),
            (before, after) => after.or(before),
        }
    }
}
