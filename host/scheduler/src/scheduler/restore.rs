//! From what the store has kept to a scheduler.

use super::{Device, Instant, JobKey, JobState, Plugin, Scheduler, Timer, jobs::Next, runs::Run};
use crate::{
    event::{Announcement, PluginKey, Saved, SavedDevice, SavedJob, SavedPlugin, Ticket, Version},
    names::RunId,
};

impl Scheduler {
    /// Takes up what the store has kept. What fell due meanwhile is judged by the first step.
    #[must_use]
    pub fn new(saved: Saved, jobs: impl IntoIterator<Item = SavedJob>, now: Instant) -> Self {
        let mut scheduler = Self::empty(now);
        let mut timers = vec![(now, Timer::Forget)];
        for plugin in saved.plugins {
            timers.extend(plugin.devices.iter().map(|device| (device.replan_at, Timer::Replan(device.key))));
            scheduler.restore_plugin(plugin);
        }
        scheduler.plugins.restored();
        scheduler.devices.restored();
        for job in jobs {
            timers.extend(scheduler.restore_job(job));
        }
        scheduler.jobs.restored();
        // All at once: that is faster, and takes half the memory.
        scheduler.timers = timers.into_iter().collect();
        for tombstone in saved.tombstones {
            let name = (tombstone.plugin, tombstone.device, tombstone.job);
            scheduler.tombstones.insert(name, tombstone.watermark);
        }
        for (key, run) in saved.runs {
            let id = run.id.clone();
            let job = scheduler.job_of(&id);
            scheduler.next_run = scheduler.next_run.max(key);
            let slot = scheduler.runs.insert(Run::restored(now, key, run, job));
            match job.and_then(|job| scheduler.jobs.get_mut(job)) {
                Some(state) => state.run = Some(slot),
                None => {
                    scheduler.orphans.insert(id.of_job(), slot);
                }
            }
            scheduler.await_step(now, slot);
        }
        scheduler
    }

    fn empty(now: Instant) -> Self {
        Self {
            plugins: Default::default(),
            plugin_keys: Default::default(),
            devices: Default::default(),
            jobs: Default::default(),
            hasher: Default::default(),
            runs: Default::default(),
            tombstones: Default::default(),
            forgotten: None,
            orphans: Default::default(),
            timers: Default::default(),
            ready: Default::default(),
            work: Default::default(),
            adopting: false,
            unconfirmed: Default::default(),
            attempts: Default::default(),
            link: None,
            link_since: now,
            since: now,
            generation: 0,
            sky: Default::default(),
            stopping: false,
            next_attempt: 0,
            next_run: 0,
            next_ticket: Ticket::MIN,
        }
    }

    fn restore_plugin(&mut self, saved: SavedPlugin) {
        let SavedPlugin { key, name, version, grant, devices } = saved;
        if version == Version::NONE {
            // A crash came before it was accepted, or removed, completely: nothing of it is due until it is loaded anew.
            self.removed(name.clone());
        }
        let announcement = Announcement::new(name.clone());
        let of_name = devices.iter().map(|device| (device.name.clone(), device.key)).collect();
        for device in devices {
            self.devices.restore(device.key, Device::restored(key, device));
        }
        self.plugin_keys.insert(name.clone(), key);
        self.plugins.restore(key, Plugin { name, version, generation: 0, grant, devices: of_name, announcement });
    }

    /// The job's timer, if it is to have one.
    fn restore_job(&mut self, saved: SavedJob) -> Option<(Instant, Timer)> {
        let SavedJob { key, device, job, watermark, due } = saved;
        let owner = self.devices.get(device)?;
        let (site, is_whole) = (owner.site, self.plugins.get(owner.plugin)?.version != Version::NONE);
        let next = match due {
            Some(occurrence) => Next::Due { occurrence, jitter_ms: self.jitter_of(&job, device, occurrence, &site) },
            // Either never, or not as far as was searched: the search tells.
            None => Next::Search(watermark),
        };
        let state = JobState { device, job, watermark, next, planned_late: false, unconfirmed: None, run: None };
        self.jobs.restore(key, state);
        self.index_job(device, key);
        next.timer().filter(|_| is_whole).map(|at| (at, Timer::Job(key)))
    }

    fn job_of(&self, id: &RunId) -> Option<JobKey> {
        let plugin = self.plugins.get(*self.plugin_keys.get(&id.plugin)?)?;
        self.job_key(*plugin.devices.get(&id.device)?, id.job.as_str())
    }
}

impl Device {
    fn restored(plugin: PluginKey, saved: SavedDevice) -> Self {
        Self {
            plugin,
            name: saved.name,
            site: saved.site,
            next_site: saved.site,
            replan_at: saved.replan_at,
            failures: u32::from(saved.error.is_some()),
            error: saved.error,
            asked: false,
            jobs: Default::default(),
        }
    }
}
