//! Restoring the scheduler from the stored state.

use super::{
    Agenda, Device, HostScope, Instant, JobKey, JobState, Next, Operator, Plugin, Scheduler, Timer,
    clock::is_ahead_of_clock,
};
use crate::{
    delivery::Delivery,
    event::{Announcement, PluginKey, Saved, SavedDevice, SavedJob, SavedPlugin, Version},
    names::RunId,
    runs::{Resources, Run},
    trigger::Trigger,
};

impl Scheduler {
    /// Restores the stored state. Occurrences that fell due meanwhile are decided by the first step.
    #[must_use]
    pub fn new(saved: Saved, jobs: impl IntoIterator<Item = SavedJob>, operator: Operator, now: Instant) -> Self {
        let Operator { resources, grant, site, rates } = operator;
        let mut scheduler = Self::empty(now, saved.series, HostScope { grant, site }, Delivery::new(rates, now));
        scheduler.resources = Resources::new(resources);
        let mut timers = vec![(now, Timer::Forget)];
        for plugin in saved.plugins {
            timers.extend(plugin.devices.iter().map(|device| (device.replan_at, Timer::Replan(device.key))));
            scheduler.restore_plugin(plugin);
        }
        scheduler.plugins.restored();
        scheduler.devices.restored();
        for job in jobs {
            timers.extend(scheduler.restore_job(now, job));
        }
        scheduler.jobs.restored();
        for (job, job_override) in saved.overrides {
            if scheduler.jobs.get(job).is_some() {
                scheduler.remember_override(job, job_override);
            }
        }
        scheduler.move_host_device();
        scheduler.agenda.restore_timers(timers);
        scheduler.restore_groups();
        for tombstone in saved.tombstones {
            let name = (tombstone.plugin, tombstone.device, tombstone.job);
            scheduler.tombstones.insert(name, tombstone.watermark);
        }
        // Runs that have started were admitted before those that wait for them.
        let mut runs = saved.runs;
        runs.sort_by_key(|(key, run)| (run.progress.started.is_none(), *key));
        for (key, run) in runs {
            let job = scheduler.job_of(&run.id);
            scheduler.runs.remember_key(key);
            scheduler.agenda.remember_unique(&run.id);
            let slot = scheduler.insert_run(Run::restored(now, key, run, job));
            scheduler.await_step(now, slot);
        }
        scheduler
    }

    fn empty(now: Instant, series: u32, host: HostScope, delivery: Delivery) -> Self {
        Self {
            plugins: Default::default(),
            plugin_keys: Default::default(),
            devices: Default::default(),
            jobs: Default::default(),
            hasher: Default::default(),
            runs: Default::default(),
            tombstones: Default::default(),
            overrides: Default::default(),
            ad_hoc: Default::default(),
            ad_hoc_bytes: 0,
            requests: Default::default(),
            host,
            forget_after: None,
            resources: Resources::new([]),
            agenda: Agenda::new(now, series),
            delivery,
            commits: Default::default(),
            work: Default::default(),
            adopting: false,
            generation: 0,
            stopping: false,
            failing: false,
        }
    }

    fn restore_plugin(&mut self, saved: SavedPlugin) {
        let SavedPlugin { key, name, version, mut grant, paused, devices } = saved;
        if version == Version::BUILT_IN {
            grant = self.host.grant.clone();
        }
        if version == Version::NONE {
            // A crash interrupted its first load or its removal: none of its jobs is due until it is loaded anew.
            self.removed(name.clone());
        }
        let announcement = Announcement::new(name.clone());
        let of_name = devices.iter().map(|device| (device.name.clone(), device.key)).collect();
        for device in devices {
            self.devices.restore(device.key, Device::restored(key, device));
        }
        self.plugin_keys.insert(name.clone(), key);
        let generation = 0;
        self.plugins.restore(key, Plugin { name, version, generation, grant, devices: of_name, paused, announcement });
    }

    /// Restores a job. Returns its timer, if it has one.
    fn restore_job(&mut self, now: Instant, saved: SavedJob) -> Option<(Instant, Timer)> {
        let SavedJob { key, device, job, mut watermark, mut due, mut decided } = saved;
        if is_ahead_of_clock(&job.trigger, watermark, now) {
            // The clock was set back while the host was away.
            self.agenda.begin_series_at_restart();
            (decided, watermark, due) = (decided.max(watermark), now, None);
        }
        let owner = self.devices.get(device)?;
        let version = self.plugins.get(owner.plugin)?.version;
        let (mut site, is_whole) = (owner.site, version != Version::NONE);
        if version == Version::BUILT_IN && site != self.host.site {
            // The host's site has changed.
            site = self.host.site;
            due = due.filter(|_| !matches!(job.trigger, Trigger::Cron(_) | Trigger::Sun(_)));
        }
        let next = match due {
            Some(occurrence) => Next::Due { occurrence, jitter_ms: self.jitter_of(&job, device, occurrence, &site) },
            None if matches!(job.trigger, Trigger::At(at) if at <= watermark) => Next::Never,
            // Either never, or not found yet: the search decides.
            None => Next::Search(watermark),
        };
        let grouped = job.body.policy().group().is_some();
        let state = JobState { device, job, watermark, decided, next, planned_late: false, unconfirmed: None, grouped };
        self.jobs.restore(key, state);
        self.index_job(device, key);
        next.timer().filter(|_| is_whole).map(|at| (at, Timer::Job(key)))
    }

    /// Adds the jobs of groups to their groups, by when they are due.
    fn restore_groups(&mut self) {
        let grouped: Vec<JobKey> = self.jobs.iter().filter(|(_, job)| job.grouped).map(|(key, _)| key).collect();
        for key in grouped {
            let at = self.jobs.get(key).and_then(|job| job.next.timer());
            if at.is_some_and(|at| self.agenda.is_armed(at, Timer::Job(key))) {
                self.arm_timer(key);
            }
        }
    }

    pub(super) fn job_of(&self, id: &RunId) -> Option<JobKey> {
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
            plan_requested: false,
            paused: saved.paused,
            jobs: Default::default(),
        }
    }
}
