//! From what the store has kept to a scheduler.

use super::{
    BTreeMap, Device, Instant, JobState, Plugin, Scheduler, Timer,
    jobs::{Next, start_of},
    runs::Run,
};
use crate::{
    event::{Announcement, PluginKey, Saved, SavedDevice, SavedJob, Version},
    names::{PluginName, RunId},
};

impl Scheduler {
    /// Takes up what the store has kept. What fell due meanwhile is judged by the first step.
    #[must_use]
    pub fn new(saved: Saved, now: Instant) -> Self {
        let mut scheduler = Self::empty(now);
        for plugin in saved.plugins {
            scheduler.plugin_keys.insert(plugin.name.clone(), plugin.key);
            // A crash came before it was accepted, or removed, completely: nothing of it is due until it is loaded anew.
            let is_whole = plugin.version != Version::NONE;
            if !is_whole {
                scheduler.removed(plugin.name.clone());
            }
            let mut devices = BTreeMap::new();
            for device in plugin.devices {
                devices.insert(device.name.clone(), device.key);
                scheduler.restore_device(plugin.key, &plugin.name, is_whole, device);
            }
            let restored = Plugin {
                announcement: Announcement::new(plugin.name.clone()),
                name: plugin.name,
                version: plugin.version,
                generation: 0,
                grant: plugin.grant,
                devices,
            };
            scheduler.plugins.restore(plugin.key, restored);
        }
        scheduler.plugins.restored();
        scheduler.devices.restored();
        scheduler.jobs.restored();
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
            runs: Default::default(),
            tombstones: Default::default(),
            orphans: Default::default(),
            timers: [(now, Timer::Forget)].into(),
            ready: Default::default(),
            work: Default::default(),
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
            next_ticket: 0,
        }
    }

    fn restore_device(&mut self, plugin: PluginKey, plugin_name: &PluginName, is_whole: bool, saved: SavedDevice) {
        let mut device = Device {
            plugin,
            name: saved.name,
            site: saved.site,
            next_site: saved.site,
            replan_at: saved.replan_at,
            failures: u32::from(saved.error.is_some()),
            error: saved.error,
            asked: false,
            jobs: Default::default(),
        };
        self.timers.insert((saved.replan_at, Timer::Replan(saved.key)));
        for SavedJob { key, job, watermark, due } in saved.jobs {
            let id = |occurrence| RunId {
                plugin: plugin_name.clone(),
                device: device.name.clone(),
                job: job.id.clone(),
                occurrence,
            };
            let next = match due {
                Some(occurrence) => {
                    let start = start_of(&id(occurrence), &job, &saved.site, &mut self.sky);
                    Next::Due { occurrence, start }
                }
                // Either never, or not as far as was searched: the search tells.
                None => Next::Search(watermark),
            };
            device.jobs.insert(job.id.clone(), key);
            self.jobs.restore(
                key,
                JobState { device: saved.key, job, watermark, next, planned_late: false, unconfirmed: None, run: None },
            );
            if is_whole {
                self.arm_timer(key);
            }
        }
        self.devices.restore(saved.key, device);
    }

    fn job_of(&self, id: &RunId) -> Option<u32> {
        let plugin = self.plugins.get(*self.plugin_keys.get(&id.plugin)?)?;
        let device = self.devices.get(*plugin.devices.get(&id.device)?)?;
        device.jobs.get(&id.job).copied()
    }
}
