//! Restoring the scheduler from the stored state.

use super::{
    Device, HostScope, Instant, JobKey, JobState, Operator, Plugin, Scheduler, Timer, clock::is_ahead_of_clock,
    jobs::Next, resources::Pool, run::Run,
};
use crate::{
    event::{Announcement, CommitToken, PluginKey, Saved, SavedDevice, SavedJob, SavedPlugin, Version},
    fair_queue::FairQueue,
    mutation::{Mutation, mutated},
    names::{Origin, RunId},
    trigger::Trigger,
};

impl Scheduler {
    /// Restores the stored state. Occurrences that fell due meanwhile are decided by the first step.
    #[must_use]
    pub fn new(saved: Saved, jobs: impl IntoIterator<Item = SavedJob>, operator: Operator, now: Instant) -> Self {
        let Operator { resources, grant, site, rates } = operator;
        let mut scheduler = Self::empty(now, HostScope { grant, site }, FairQueue::new(rates, now));
        scheduler.series = saved.series;
        scheduler.resources = resources.into_iter().map(|(name, rule)| (name, Pool::new(rule))).collect();
        let mut timers = vec![(now, Timer::Forget)];
        for plugin in saved.plugins {
            timers.extend(plugin.devices.iter().map(|device| (device.replan_at, Timer::Replan(device.key))));
            scheduler.restore_plugin(plugin);
        }
        scheduler.plugins.restored();
        scheduler.devices.restored();
        for job in jobs {
            timers.extend(scheduler.restore_job(now, saved.series, job));
        }
        scheduler.jobs.restored();
        for (job, job_override) in saved.overrides {
            if scheduler.jobs.get(job).is_some() && !mutated(Mutation::RestartLosesOverrides) {
                scheduler.remember_override(job, job_override);
            }
        }
        scheduler.move_host_device();
        // Collected at once: that is faster, and takes half the memory.
        scheduler.timers = timers.into_iter().collect();
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
            scheduler.next_run = scheduler.next_run.max(key);
            match run.id.origin {
                Origin::Replay { at, series } if series == scheduler.series => {
                    scheduler.last_replay = scheduler.last_replay.max(at);
                }
                Origin::Manual { series } if series == scheduler.series => {
                    scheduler.last_replay = scheduler.last_replay.max(run.id.occurrence);
                }
                _ => {}
            }
            let slot = scheduler.insert_run(Run::restored(now, key, run, job));
            scheduler.await_step(now, slot);
        }
        scheduler
    }

    fn empty(now: Instant, host: HostScope, fair_queue: FairQueue) -> Self {
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
            runs_of: Default::default(),
            orphans: Default::default(),
            groups: Default::default(),
            resources: Default::default(),
            timers: Default::default(),
            fair_queue,
            work: Default::default(),
            adopting: false,
            unconfirmed: Default::default(),
            attempts: Default::default(),
            calls: Default::default(),
            watches: Default::default(),
            arming: Default::default(),
            saving: Default::default(),
            link: None,
            link_since: now,
            since: now,
            generation: 0,
            sun_cache: Default::default(),
            stopping: false,
            failing: false,
            series: 0,
            series_is_new: false,
            jumped: None,
            next_attempt: 0,
            next_call: 0,
            next_run: 0,
            next_commit_token: CommitToken::MIN,
            next_seq: 0,
            next_watch: 0,
            last_replay: now,
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
    fn restore_job(&mut self, now: Instant, series: u32, saved: SavedJob) -> Option<(Instant, Timer)> {
        let SavedJob { key, device, job, mut watermark, mut due, mut decided } = saved;
        if is_ahead_of_clock(&job.trigger, watermark, now) {
            // The clock was set back while the host was away.
            self.begin_series_once(series);
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
            let timer = self.jobs.get(key).and_then(|job| Some((job.next.timer()?, Timer::Job(key))));
            if timer.is_some_and(|timer| self.timers.contains(&timer)) {
                self.arm_timer(key);
            }
        }
    }

    /// Begins one new series, however many jobs show that the clock was set back.
    fn begin_series_once(&mut self, saved: u32) {
        self.series = saved + 1;
        self.series_is_new = true;
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
