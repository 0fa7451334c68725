//! The work queue for plugin versions, removals and plans, which is processed in order and in bounded pieces (I10). A
//! device's plan is compared piece by piece, and is adopted and committed as a whole.

use std::{
    collections::{BTreeMap, VecDeque},
    mem, vec,
};

use super::{
    Scheduler,
    reconcile::{Adoption, Comparison},
    zones::ZonesChanged,
};
use crate::{
    agenda::Timer,
    catalog::Plugin,
    event::{
        Announcement, Change, CommitToken, DeviceKey, Effect, Generation, JobKey, Loaded, LoadedDevice, NewJob, Plan,
        PluginKey, RequestId, Step, Tombstone, Version,
    },
    keys::RunSlot,
    limits,
    mutation::{Mutation, mutated},
    names::{DeviceName, JobName, PluginName},
    outcome::{Cancelled, Outcome},
    runs::Run,
    time::Instant,
};

/// An item of the work queue.
#[derive(Debug)]
pub(super) enum Work {
    Load(Box<Loaded>),
    LoadDevices(Box<Loading>),
    Remove(PluginName),
    /// A new plan of one device.
    Replan {
        plugin: PluginName,
        device: DeviceName,
        generation: Generation,
        plan: Result<Plan, String>,
    },
    Compare(Box<Comparison>),
    Adopt(Box<Adoption>),
    /// Request the plans of these devices.
    RequestPlans(vec::IntoIter<DeviceKey>),
    /// Add an ad-hoc job.
    Schedule(RequestId, Box<NewJob>),
    /// Cancel an ad-hoc job.
    Cancel(RequestId, JobName),
    /// Arm the jobs of a durable plan.
    Arm(CommitToken, Vec<JobKey>),
    DropDevice(DeviceKey, Cancelled),
    /// Examine devices and jobs from these keys on after the clock was set.
    ClockSet {
        device: DeviceKey,
        job: JobKey,
    },
    /// Examine devices and jobs after time zone rules have changed.
    ZonesChanged(Box<ZonesChanged>),
    /// Finish a plugin after its devices, with its new version if there is one.
    Finish(PluginKey, Option<Version>),
}

/// A new version of a plugin while its devices are set up.
#[derive(Debug)]
pub(super) struct Loading {
    plugin: PluginKey,
    version: Version,
    left: vec::IntoIter<LoadedDevice>,
    /// Devices of the previous version that have not been found in this one.
    gone: BTreeMap<DeviceName, DeviceKey>,
}

/// The work queue.
#[derive(Debug, Default)]
pub(super) struct Planner {
    work: VecDeque<Work>,
    /// Whether a plan is partly adopted: its changes must be committed together.
    adopting: bool,
    /// The generation of the plugin that was loaded last; no two loads share one.
    generation: Generation,
}

impl Planner {
    pub(super) fn push(&mut self, work: Work) {
        self.work.push_back(work);
    }

    pub(super) fn push_front(&mut self, work: Work) {
        self.work.push_front(work);
    }

    /// Puts items in front of the queue, in this order.
    pub(super) fn put_in_front(&mut self, work: Vec<Work>) {
        for work in work.into_iter().rev() {
            self.work.push_front(work);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    pub(super) fn take_all(&mut self) -> VecDeque<Work> {
        mem::take(&mut self.work)
    }

    pub(super) const fn is_adopting(&self) -> bool {
        self.adopting
    }

    pub(super) const fn set_adopting(&mut self, adopting: bool) {
        self.adopting = adopting;
    }

    const fn new_generation(&mut self) -> Generation {
        self.generation += 1;
        self.generation
    }
}

impl Scheduler {
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        self.planner.push(Work::Load(Box::new(loaded)));
    }

    pub(super) fn removed(&mut self, plugin: PluginName) {
        self.planner.push(Work::Remove(plugin));
    }

    /// Arms the jobs of a durable plan (I3).
    pub(super) fn plan_durable(&mut self, token: CommitToken, mut jobs: Vec<JobKey>) {
        let piece = jobs.split_off(jobs.len().saturating_sub(limits::JOBS_PER_STEP));
        if !jobs.is_empty() {
            self.planner.push_front(Work::Arm(token, jobs));
        }
        for key in piece {
            if let Some(state) = self.catalog.job_mut(key)
                && state.unconfirmed == Some(token)
            {
                state.unconfirmed = None;
                self.arm_timer(key);
            }
        }
    }

    /// Requests a device's plan, unless a request is pending.
    pub(super) fn request_plan(&mut self, key: DeviceKey, out: &mut Step) {
        let Some(plugin) = self.catalog.plugin_of(key).filter(|plugin| plugin.version != Version::BUILT_IN) else {
            return;
        };
        let (plugin, generation) = (plugin.name.clone(), plugin.generation);
        let Some(device) = self.catalog.device_mut(key) else { return };
        if !mem::replace(&mut device.plan_requested, true) {
            out.effects.push(Effect::Plan { plugin, device: device.name.clone(), generation });
        }
    }

    fn request_plans(&mut self, mut devices: vec::IntoIter<DeviceKey>, out: &mut Step) {
        for device in devices.by_ref().take(limits::DEVICES_PER_STEP) {
            self.request_plan(device, out);
        }
        if devices.len() > 0 {
            self.planner.push_front(Work::RequestPlans(devices));
        }
    }

    /// Processes one item of the work queue.
    pub(super) fn work_on_plans(&mut self, now: Instant, out: &mut Step) {
        match self.planner.work.pop_front() {
            None => {}
            Some(Work::Load(loaded)) => self.load(*loaded, out),
            Some(Work::LoadDevices(loading)) => self.load_devices(now, *loading, out),
            Some(Work::Remove(plugin)) => self.remove_plugin(now, &plugin, out),
            Some(Work::Replan { plugin, device, generation, plan }) => {
                self.replan(now, &plugin, &device, generation, plan, out);
            }
            Some(Work::Compare(comparison)) => self.compare(now, *comparison, out),
            Some(Work::Adopt(adoption)) => self.adopt(now, *adoption, out),
            Some(Work::RequestPlans(devices)) => self.request_plans(devices, out),
            Some(Work::Schedule(request, new)) => self.schedule(now, request, *new, out),
            Some(Work::Cancel(request, job)) => self.cancel(now, request, &job, out),
            Some(Work::Arm(token, jobs)) => self.plan_durable(token, jobs),
            Some(Work::ZonesChanged(changed)) => self.after_zones_changed(changed, out),
            Some(Work::ClockSet { device, job }) => self.after_clock_set(now, device, job, out),
            Some(Work::DropDevice(device, reason)) => self.drop_device(now, device, reason, out),
            Some(Work::Finish(plugin, version)) => self.finish(now, plugin, version, out),
        }
    }

    fn load(&mut self, loaded: Loaded, out: &mut Step) {
        let key = self.plugin_key(&loaded.plugin, &loaded, out);
        let generation = self.planner.new_generation();
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        plugin.generation = generation;
        plugin.grant = loaded.grant;
        plugin.announcement = Announcement { loaded: true, ..Announcement::new(loaded.plugin) };
        let gone = plugin.devices.clone();
        let Loaded { version, devices, .. } = loaded;
        self.planner.push_front(Work::LoadDevices(Box::new(Loading {
            plugin: key,
            version,
            left: devices.into_iter(),
            gone,
        })));
    }

    /// Sets up some devices of a new version. Devices that it does not have are removed last.
    fn load_devices(&mut self, now: Instant, mut loading: Loading, out: &mut Step) {
        let plugin = loading.plugin;
        let mut work = Vec::new();
        for LoadedDevice { name, site, plan } in loading.left.by_ref().take(limits::DEVICES_PER_STEP) {
            let known = loading.gone.remove(&name);
            let key = known.unwrap_or_else(|| self.catalog.insert_device(plugin, name, site));
            let Some(device) = self.catalog.device_mut(key) else { continue };
            device.plan_requested = false;
            device.next_site = site;
            match plan {
                Ok(plan) => work.push(Work::Compare(Box::new(self.comparison(now, key, plan, site)))),
                Err(error) => self.plan_failed(now, key, error, out),
            }
        }
        if loading.left.len() > 0 {
            work.push(Work::LoadDevices(Box::new(loading)));
        } else {
            work.extend(loading.gone.into_values().map(|key| Work::DropDevice(key, Cancelled::DeviceRemoved)));
            work.push(Work::Finish(plugin, Some(loading.version)));
        }
        self.planner.put_in_front(work);
    }

    fn plugin_key(&mut self, name: &PluginName, loaded: &Loaded, out: &mut Step) -> PluginKey {
        if let Some(key) = self.catalog.plugin_key(name) {
            return key;
        }
        let key = self.catalog.insert_plugin(Plugin::new(name.clone(), Version::NONE, loaded.grant.clone()));
        self.save_plugin(key, out);
        key
    }

    pub(super) fn save_plugin(&self, key: PluginKey, out: &mut Step) {
        let Some(Plugin { name, version, paused, .. }) = self.catalog.plugin(key) else { return };
        out.changes.push(Change::PluginSaved { key, name: name.clone(), version: *version, paused: *paused });
    }

    pub(super) fn save_device(&self, key: DeviceKey, out: &mut Step) {
        let Some(device) = self.catalog.device(key) else { return };
        out.changes.push(Change::DeviceSaved {
            key,
            plugin: device.plugin,
            name: device.name.clone(),
            site: device.site,
            replan_at: device.replan_at,
            error: device.error.clone(),
            paused: device.paused,
        });
    }

    fn replan(
        &mut self,
        now: Instant,
        plugin: &PluginName,
        device: &DeviceName,
        generation: Generation,
        plan: Result<Plan, String>,
        out: &mut Step,
    ) {
        let Some(key) = self.catalog.plugin_key(plugin) else { return };
        let Some(state) = self.catalog.plugin(key) else { return };
        let Some(device) = state.devices.get(device).copied() else { return };
        if state.generation != generation && !mutated(Mutation::StalePlanIsAdopted) {
            return;
        }
        match plan {
            Ok(plan) => {
                let Some(site) = self.catalog.device(device).map(|device| device.next_site) else { return };
                let comparison = Work::Compare(Box::new(self.comparison(now, device, plan, site)));
                self.planner.put_in_front(vec![comparison, Work::Finish(key, None)]);
            }
            Err(error) => self.plan_failed(now, device, error, out),
        }
    }

    /// Records a failed plan: the device keeps its current plan, and the next one is requested after a pause.
    pub(super) fn plan_failed(&mut self, now: Instant, key: DeviceKey, error: String, out: &mut Step) {
        let Some(device) = self.catalog.device_mut(key) else { return };
        let doubled = limits::REPLAN_PAUSE_MS << device.failures.min(16);
        device.failures += 1;
        device.error = Some(error);
        self.replan_at(key, now.plus_ms(doubled.min(limits::REPLAN_PAUSE_CAP_MS)), out);
    }

    pub(super) fn replan_at(&mut self, key: DeviceKey, at: Instant, out: &mut Step) {
        let Some(device) = self.catalog.device_mut(key) else { return };
        self.agenda.disarm(device.replan_at, Timer::Replan(key));
        self.agenda.arm(at, Timer::Replan(key));
        device.replan_at = at;
        device.plan_requested = false;
        self.save_device(key, out);
    }

    /// Saves the runs of a job that is about to change or to be removed.
    pub(super) fn save_runs_of(&mut self, job: JobKey, out: &mut Step) {
        for slot in self.runs.of_job(job).collect::<Vec<_>>() {
            if self.runs.get(slot).is_some_and(|run| run.key.is_none()) {
                self.save_run(slot, out);
            }
        }
    }

    /// Removes a job, and keeps a tombstone with its watermark (I2).
    pub(super) fn drop_job(&mut self, key: JobKey, out: &mut Step) {
        let Some(state) = self.catalog.job(key) else { return };
        let (id, decided) = (self.run_id(key, state.watermark), state.decided);
        self.runs.detach(key);
        let tombstone =
            Tombstone { plugin: id.plugin, device: id.device, job: id.job, watermark: id.occurrence.max(decided) };
        self.disarm_timer(key);
        self.catalog.remove_job(key);
        let name = (tombstone.plugin.clone(), tombstone.device.clone(), tombstone.job.clone());
        self.catalog.tombstones.insert(name, tombstone.watermark);
        out.changes.push(Change::JobRemoved { key, tombstone: Some(tombstone) });
    }

    /// Removes a device after its jobs. Runs that have not started are cancelled, owed steps stay (I5).
    fn drop_device(&mut self, now: Instant, key: DeviceKey, reason: Cancelled, out: &mut Step) {
        let Some(device) = self.catalog.device(key) else { return };
        let mut jobs: Vec<JobKey> = device.jobs().collect();
        jobs.sort_unstable();
        let left = jobs.len() > limits::JOBS_PER_STEP;
        jobs.truncate(limits::JOBS_PER_STEP);
        let plugin = self.catalog.plugin_mut(device.plugin).expect("a device has a plugin");
        plugin.announcement.gone += jobs.len();
        for job in jobs {
            // Occurrences that are due at this moment are decided, too.
            self.admit_past(now, job, now.plus_ms(1), out);
            for slot in self.runs.of_job(job).collect::<Vec<_>>() {
                if self.runs.get(slot).is_some_and(Run::has_not_started) {
                    self.end(now, slot, Outcome::Cancelled(reason.clone()), out);
                }
            }
            self.save_runs_of(job, out);
            self.record_cancelled(now, job, &reason, out);
            self.drop_job(job, out);
        }
        if left {
            self.planner.push_front(Work::DropDevice(key, reason));
        } else if let Some(device) = self.catalog.remove_device(key) {
            self.agenda.disarm(device.replan_at, Timer::Replan(key));
            out.changes.push(Change::DeviceRemoved { key });
        }
    }

    fn remove_plugin(&mut self, now: Instant, name: &PluginName, out: &mut Step) {
        let Some(key) = self.catalog.plugin_key(name) else { return };
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        let devices = mem::take(&mut plugin.devices);
        if plugin.version != Version::NONE {
            // Saved first: after a crash half way, the whole plugin is loaded anew.
            plugin.version = Version::NONE;
            self.save_plugin(key, out);
        }
        if devices.is_empty() {
            self.cancel_orphans(now, key, &Cancelled::PluginRemoved, out);
            self.catalog.remove_plugin(key);
            out.changes.push(Change::PluginRemoved { key });
            return;
        }
        let drop = |device| Work::DropDevice(device, Cancelled::PluginRemoved);
        self.planner.put_in_front(devices.into_values().map(drop).chain([Work::Remove(name.clone())]).collect());
    }

    /// Completes a load, a removal or a plan of a plugin.
    fn finish(&mut self, now: Instant, key: PluginKey, version: Option<Version>, out: &mut Step) {
        if version.is_some() {
            self.cancel_orphans(now, key, &Cancelled::DeviceRemoved, out);
        }
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        if let Some(version) = version {
            plugin.version = version;
            self.save_plugin(key, out);
        }
        let Some(plugin) = self.catalog.plugin_mut(key) else { return };
        let announcement = mem::replace(&mut plugin.announcement, Announcement::new(plugin.name.clone()));
        if version.is_some() || announcement.new + announcement.changed + announcement.gone > 0 {
            out.effects.push(Effect::Announce(announcement));
        }
    }

    /// Cancels the runs of removed devices that have not started.
    fn cancel_orphans(&mut self, now: Instant, key: PluginKey, reason: &Cancelled, out: &mut Step) {
        let Some(plugin) = self.catalog.plugin(key) else { return };
        let is_over = |slot: &RunSlot| {
            let not_started = self.runs.get(*slot).filter(|run| run.has_not_started() && run.id.plugin == plugin.name);
            not_started.is_some_and(|run| !plugin.devices.contains_key(&run.id.device))
        };
        let mut orphans: Vec<RunSlot> = self.runs.orphans().filter(is_over).collect();
        orphans.sort_unstable();
        for slot in orphans {
            self.end(now, slot, Outcome::Cancelled(reason.clone()), out);
        }
    }
}
