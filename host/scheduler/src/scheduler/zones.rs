//! What happens when the rules of time zones change: a package was updated while the host ran, or before it started.
//!
//! What is not yet due moves to where the new rules have it. Nothing comes twice, and nothing is made up for, because of that:
//! of what the new rules say, the occurrence that is nearest to the old one is the same one (I2).

use std::sync::Arc;

use super::{DeviceKey, JobKey, Scheduler, jobs::Next, plans::Work};
use crate::{
    event::{Change, Effect, Step},
    limits,
    time::{Instant, Site},
    trigger::{Search, Trigger},
    zone::Zone,
};

/// Devices and jobs that are still to be looked at.
#[derive(Debug)]
pub(super) struct ZonesChanged {
    /// Those that have other rules; `None` if it is not known which do.
    zones: Option<Vec<Zone>>,
    /// What the rules in use are called.
    rules: Arc<str>,
    device: DeviceKey,
    job: JobKey,
    /// How many jobs are due at another time.
    moved: u64,
}

impl ZonesChanged {
    fn concerns(&self, zone: Zone) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.contains(&zone))
    }
}

impl Scheduler {
    pub(super) fn zones_changed(&mut self, zones: Option<Vec<Zone>>, rules: Arc<str>) {
        self.work.push_back(Work::ZonesChanged(ZonesChanged { zones, rules, device: 0, job: 0, moved: 0 }.into()));
    }

    /// Goes through devices and jobs: plans are made of local times, too.
    pub(super) fn after_zones_changed(&mut self, mut changed: Box<ZonesChanged>, out: &mut Step) {
        let devices = self.devices.slot_count().min(changed.device.saturating_add(limits::DEVICES_PER_STEP as u32));
        for key in changed.device..devices {
            if self.devices.get(key).is_some_and(|device| changed.concerns(device.site.zone)) {
                self.request_plan(key, out);
            }
        }
        let jobs = self.jobs.slot_count().min(changed.job.saturating_add(limits::ZONED_JOBS_PER_STEP));
        for key in changed.job..jobs {
            changed.moved += u64::from(self.move_job(key, &changed, out));
        }
        (changed.device, changed.job) = (devices, jobs);
        if devices < self.devices.slot_count() || jobs < self.jobs.slot_count() {
            self.work.push_back(Work::ZonesChanged(changed));
        } else {
            // Not before: after a crash all of it is done again.
            out.changes.push(Change::ZonesKnown(changed.rules.clone()));
            out.effects.push(Effect::ZonesMoved { rules: changed.rules, jobs: changed.moved });
        }
    }

    /// Whether a job is due at another time by the rules of now.
    fn move_job(&mut self, key: JobKey, changed: &ZonesChanged, out: &mut Step) -> bool {
        let Some(state) = self.jobs.get(key) else { return false };
        let (Some(site), Some(due)) = (self.devices.get(state.device).map(|device| device.site), state.next.due())
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
        self.save_runs_of(key, out);
        self.disarm_timer(key);
        let Some(state) = self.jobs.get(key) else { return false };
        // What comes before it by the new rules has come before it by the old ones.
        let decided = match state.job.trigger.last(state.watermark, occurrence.plus_ms(-1), &site, &mut self.sun_cache) {
            Search::Found(before) => before,
            Search::NotUntil(_) | Search::Never(_) => state.watermark,
        };
        let (job, device) = (state.job.clone(), state.device);
        let jitter_ms = self.jitter_of(&job, device, occurrence, &site);
        if let Some(state) = self.jobs.get_mut(key) {
            state.watermark = decided;
            state.next = Next::Due { occurrence, jitter_ms };
        }
        self.move_skip(key, Some(due), out);
        self.arm_timer(key);
        self.save_progress(key, out);
        true
    }

    /// The occurrence that is nearest to one that another version of the rules said.
    fn nearest(&mut self, key: JobKey, due: Instant, site: &Site) -> Option<Instant> {
        let state = self.jobs.get(key)?;
        let (trigger, watermark, sun_cache) = (&state.job.trigger, state.watermark, &mut self.sun_cache);
        let found = |search| if let Search::Found(at) = search { Some(at) } else { None };
        let just_before = due.plus_ms(-1);
        let after = found(trigger.next(watermark.max(just_before), site, sun_cache));
        if after == Some(due) {
            return after;
        }
        let before = found(trigger.last(watermark, just_before, site, sun_cache));
        match (before, after) {
            (Some(before), Some(after)) if due.ms_since(before) < after.ms_since(due) => Some(before),
            (before, after) => after.or(before),
        }
    }
}
