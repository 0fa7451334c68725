//! Plugins, their devices and jobs, and what the operator has changed of them.

mod overrides;
mod pauses;
mod tombstones;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Bound::{Excluded, Unbounded},
};

use hashbrown::HashTable;

pub(crate) use self::{overrides::Overrides, pauses::PausesByScope, tombstones::Tombstones};
use crate::{
    body::{Body, PackedJob},
    event::{Announcement, CommitToken, DeviceKey, Generation, JobKey, PauseScope, PluginKey, SavedDevice, Version},
    keys::GroupKey,
    mutants::{Mutation, mutated},
    names::{DeviceName, JobId, JobName, Origin, PluginName, RunId},
    occurrence::Next,
    pause::{Level, PausedBy, Pauses},
    slab::Slab,
    time::{Instant, Site},
    topic::Grant,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    plugins: Slab<Plugin>,
    by_name: BTreeMap<PluginName, PluginKey>,
    devices: Slab<Device>,
    jobs: Slab<JobState>,
    /// The watermarks of jobs before the clock was set back: when the clock is set right, nothing up to there is caught
    /// up. Few jobs have one.
    decided: BTreeMap<JobKey, Instant>,
    /// The keys of removed jobs with runs that have not ended: reserved for these runs, and for a job of the same name.
    removed: BTreeMap<JobName, JobKey>,
    /// Hashes the ids in [`Device::jobs`].
    hasher: RandomState,
    pub(crate) overrides: Overrides,
    pub(crate) pauses: PausesByScope,
    /// The watermarks of removed jobs.
    pub(crate) tombstones: Tombstones,
}

#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) name: PluginName,
    pub(crate) version: Version,
    pub(crate) generation: Generation,
    pub(crate) grant: Grant,
    pub(crate) devices: BTreeMap<DeviceName, DeviceKey>,
    /// What its new plans have changed so far.
    pub(crate) announcement: Announcement,
}

impl Plugin {
    pub(crate) fn new(name: PluginName, version: Version, grant: Grant) -> Self {
        let announcement = Announcement::new(name.clone());
        Self { name, version, generation: 0, grant, devices: BTreeMap::new(), announcement }
    }
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) plugin: PluginKey,
    pub(crate) name: DeviceName,
    /// The site that its current plan was made for.
    pub(crate) site: Site,
    /// The site that its next plan will be made for.
    pub(crate) next_site: Site,
    pub(crate) replan_at: Instant,
    /// The number of consecutive plans that failed.
    pub(crate) failures: u32,
    pub(crate) error: Option<String>,
    /// Whether a plan has been requested and has not arrived yet.
    pub(crate) plan_requested: bool,
    /// Indexed by the job's id, which is stored in the job.
    jobs: HashTable<JobKey>,
}

impl Device {
    fn new(plugin: PluginKey, name: DeviceName, site: Site) -> Self {
        Self {
            plugin,
            name,
            site,
            next_site: site,
            replan_at: Instant::MAX,
            failures: 0,
            error: None,
            plan_requested: false,
            jobs: HashTable::new(),
        }
    }

    fn restored(saved: SavedDevice) -> Self {
        Self {
            replan_at: saved.replan_at,
            failures: u32::from(saved.error.is_some()),
            error: saved.error,
            ..Self::new(saved.plugin, saved.name, saved.site)
        }
    }

    /// Returns the device's jobs, in no particular order.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = JobKey> {
        self.jobs.iter().copied()
    }

    pub(crate) fn job_count(&self) -> usize {
        self.jobs.len()
    }
}

#[derive(Debug)]
pub(crate) struct JobState {
    pub(crate) device: DeviceKey,
    pub(crate) job: PackedJob,
    /// Everything up to here is decided or admitted (I2). The stored watermark stays behind an unsaved run.
    pub(crate) watermark: Instant,
    pub(crate) next: Next,
    /// Whether it was due before it was planned.
    pub(crate) planned_late: bool,
    /// The plan's commit, which must be durable before the job is due.
    pub(crate) unconfirmed: Option<CommitToken>,
    /// Whether it is in a group.
    pub(crate) grouped: bool,
}

impl JobState {
    pub(crate) fn new(device: DeviceKey, job: PackedJob, watermark: Instant, next: Next) -> Self {
        let grouped = job.body.policy().group().is_some();
        Self { device, job, watermark, next, planned_late: false, unconfirmed: None, grouped }
    }
}

/// Plugins.
impl Catalog {
    pub(crate) fn plugin(&self, key: PluginKey) -> Option<&Plugin> {
        self.plugins.get(key)
    }

    pub(crate) fn plugin_mut(&mut self, key: PluginKey) -> Option<&mut Plugin> {
        self.plugins.get_mut(key)
    }

    pub(crate) fn plugin_key(&self, name: &PluginName) -> Option<PluginKey> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn plugin_named(&self, name: &PluginName) -> Option<&Plugin> {
        self.plugins.get(self.plugin_key(name)?)
    }

    /// Returns the plugins after one, in the order of their names.
    pub(crate) fn plugins_after(&self, after: Option<&PluginName>) -> impl Iterator<Item = &Plugin> {
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        self.by_name.range::<PluginName, _>(from).filter_map(|(_, key)| self.plugins.get(*key))
    }

    pub(crate) fn plugin_names(&self) -> impl Iterator<Item = &PluginName> {
        self.by_name.keys()
    }

    pub(crate) fn plugin_keys(&self) -> impl Iterator<Item = PluginKey> {
        self.by_name.values().copied()
    }

    pub(crate) fn plugin_count(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn insert_plugin(&mut self, plugin: Plugin) -> PluginKey {
        let name = plugin.name.clone();
        let key = self.plugins.insert(plugin);
        self.by_name.insert(name, key);
        key
    }

    /// Removes a plugin that has no devices.
    pub(crate) fn remove_plugin(&mut self, key: PluginKey) {
        if let Some(plugin) = self.plugins.remove(key) {
            self.by_name.remove(&plugin.name);
        }
    }

    /// Restores a stored plugin and its devices. [`Catalog::restored`] must follow.
    pub(crate) fn restore_plugin(&mut self, key: PluginKey, mut plugin: Plugin, devices: Vec<SavedDevice>) {
        plugin.devices = devices.iter().map(|device| (device.name.clone(), device.key)).collect();
        for device in devices {
            self.devices.restore(device.key, Device::restored(device));
        }
        self.by_name.insert(plugin.name.clone(), key);
        self.plugins.restore(key, plugin);
    }
}

/// Devices.
impl Catalog {
    pub(crate) fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(key)
    }

    pub(crate) fn device_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.devices.get_mut(key)
    }

    pub(crate) fn device_key(&self, plugin: &PluginName, device: &DeviceName) -> Option<DeviceKey> {
        self.plugin_named(plugin)?.devices.get(device).copied()
    }

    pub(crate) fn plugin_of(&self, device: DeviceKey) -> Option<&Plugin> {
        self.plugins.get(self.devices.get(device)?.plugin)
    }

    pub(crate) fn plugin_of_mut(&mut self, device: DeviceKey) -> Option<&mut Plugin> {
        self.plugins.get_mut(self.devices.get(device)?.plugin)
    }

    pub(crate) fn insert_device(&mut self, plugin: PluginKey, name: DeviceName, site: Site) -> DeviceKey {
        let key = self.devices.insert(Device::new(plugin, name.clone(), site));
        if let Some(plugin) = self.plugins.get_mut(plugin) {
            plugin.devices.insert(name, key);
        }
        key
    }

    /// Removes a device that has no jobs.
    pub(crate) fn remove_device(&mut self, key: DeviceKey) -> Option<Device> {
        let device = self.devices.remove(key)?;
        if let Some(plugin) = self.plugins.get_mut(device.plugin) {
            plugin.devices.remove(&device.name);
        }
        Some(device)
    }

    pub(crate) fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// Returns the number of device slots, used and free; all keys are below it.
    pub(crate) fn device_slots(&self) -> u32 {
        self.devices.slot_count()
    }
}

/// Jobs.
impl Catalog {
    pub(crate) fn job(&self, key: JobKey) -> Option<&JobState> {
        self.jobs.get(key)
    }

    /// Returns a job. Its id and its device stay as they are.
    pub(crate) fn job_mut(&mut self, key: JobKey) -> Option<&mut JobState> {
        self.jobs.get_mut(key)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = (JobKey, &JobState)> {
        self.jobs.iter()
    }

    pub(crate) fn job_count(&self) -> usize {
        self.jobs.len() - self.removed.len()
    }

    /// Returns the number of job slots, used and free; all keys are below it.
    pub(crate) fn job_slots(&self) -> u32 {
        self.jobs.slot_count()
    }

    /// Finds a device's job by its id.
    pub(crate) fn job_key(&self, device: DeviceKey, id: &str) -> Option<JobKey> {
        let id = id.as_bytes();
        let has_id = |key: &JobKey| self.jobs.get(*key).is_some_and(|state| state.job.body.id_bytes() == id);
        self.devices.get(device)?.jobs.find(self.hasher.hash_one(id), has_id).copied()
    }

    /// Finds a job by its name, also a removed one with runs.
    pub(crate) fn job_named(&self, name: &JobName) -> Option<JobKey> {
        let (plugin, device, job) = name;
        let present = self.device_key(plugin, device).and_then(|device| self.job_key(device, job.as_str()));
        present.or_else(|| self.removed.get(name).copied())
    }

    /// Returns the key of a run's job; if there is no such job, one is reserved.
    pub(crate) fn reserve_job(&mut self, run: &RunId) -> JobKey {
        let name = run.clone().into_job_name();
        self.job_named(&name).unwrap_or_else(|| *self.removed.entry(name).or_insert_with(|| self.jobs.reserve()))
    }

    /// Adds a job. Runs that have outlived an earlier job of that name are its runs.
    pub(crate) fn insert_job(&mut self, state: JobState) -> JobKey {
        let device = state.device;
        let reserved = if self.removed.is_empty() || mutated(Mutation::JobReturnsWithoutItsRuns) {
            None
        } else {
            self.removed.remove(&self.run_of(&state.job, device, Instant::MIN, Origin::Trigger).into_job_name())
        };
        let key = reserved.unwrap_or_else(|| self.jobs.reserve());
        self.jobs.fill(key, state);
        self.index_job(device, key);
        key
    }

    /// Restores a stored job. [`Catalog::restored`] must follow.
    pub(crate) fn restore_job(&mut self, key: JobKey, state: JobState) {
        let device = state.device;
        self.jobs.restore(key, state);
        self.index_job(device, key);
    }

    fn index_job(&mut self, device: DeviceKey, key: JobKey) {
        let (Some(device), Some(state)) = (self.devices.get_mut(device), self.jobs.get(key)) else { return };
        let hash = |body: &Body| self.hasher.hash_one(body.id_bytes());
        let hash_of = |key: &JobKey| self.jobs.get(*key).map_or(0, |state| hash(&state.job.body));
        device.jobs.insert_unique(hash(&state.job.body), key, hash_of);
    }

    /// Removes a job and its overrides. Its key stays reserved if it has runs.
    pub(crate) fn remove_job(&mut self, key: JobKey, has_runs: bool) {
        self.overrides.remove(key);
        self.decided.remove(&key);
        if has_runs {
            self.removed.insert(self.name_of(key), key);
        }
        let state = if has_runs { self.jobs.empty(key) } else { self.jobs.remove(key) };
        let Some(state) = state else { return };
        let Some(device) = self.devices.get_mut(state.device) else { return };
        let hash = self.hasher.hash_one(state.job.body.id_bytes());
        if let Ok(entry) = device.jobs.find_entry(hash, |entry| *entry == key) {
            entry.remove();
        }
    }

    /// Frees the key of a removed job after its last run.
    pub(crate) fn free_job(&mut self, name: &JobName) {
        if let Some(key) = self.removed.remove(name) {
            self.jobs.release(key);
        }
    }

    /// Returns the removed jobs with runs of a device.
    pub(crate) fn removed_jobs_of(&self, plugin: &PluginName, device: &DeviceName) -> impl Iterator<Item = JobKey> {
        let before_all = (plugin.clone(), device.clone(), JobId::unchecked(""));
        let later = self.removed.range(before_all..);
        later.take_while(move |((of, at, _), _)| of == plugin && at == device).map(|(_, key)| *key)
    }

    /// Returns the removed jobs with runs of a plugin's removed devices.
    pub(crate) fn jobs_without_device(&self, plugin: PluginKey) -> Vec<JobKey> {
        let Some(plugin) = self.plugins.get(plugin) else { return Vec::new() };
        let is_without = |(of, device, _): &JobName| *of == plugin.name && !plugin.devices.contains_key(device);
        self.removed.iter().filter(|(name, _)| is_without(name)).map(|(_, key)| *key).collect()
    }

    /// Returns the watermark of a job before the clock was set back.
    pub(crate) fn decided(&self, key: JobKey) -> Instant {
        self.decided.get(&key).copied().unwrap_or(Instant::MIN)
    }

    /// Keeps the watermark of a job from before the clock was set back, if it is later than the one that is kept.
    pub(crate) fn set_decided(&mut self, key: JobKey, until: Instant) {
        if until > self.decided(key) {
            self.decided.insert(key, until);
        }
    }

    /// Finds the free keys, after everything stored was restored.
    pub(crate) fn restored(&mut self) {
        self.plugins.restored();
        self.devices.restored();
        self.jobs.restored();
    }

    /// Returns the site of a job's device.
    pub(crate) fn site_of(&self, key: JobKey) -> Option<Site> {
        Some(self.devices.get(self.jobs.get(key)?.device)?.site)
    }

    /// Returns a job's name; the caller has the job.
    pub(crate) fn name_of(&self, key: JobKey) -> JobName {
        let state = self.jobs.get(key).expect("the caller has the job");
        self.run_of(&state.job, state.device, Instant::MIN, Origin::Trigger).into_job_name()
    }

    /// Returns the group of a job, if it is in one.
    pub(crate) fn group_of(&self, key: JobKey) -> Option<GroupKey> {
        let state = self.jobs.get(key)?;
        let group = state.job.body.policy().group()?.clone();
        let device = self.devices.get(state.device)?;
        Some((self.plugins.get(device.plugin)?.name.clone(), device.name.clone(), group))
    }

    /// Returns the id of the run of one occurrence of a device's job (I2).
    pub(crate) fn run_of(&self, job: &PackedJob, device: DeviceKey, occurrence: Instant, origin: Origin) -> RunId {
        let device = self.devices.get(device).expect("a job has a device");
        let plugin = self.plugins.get(device.plugin).expect("a device has a plugin");
        let (plugin, device) = (plugin.name.clone(), device.name.clone());
        RunId { plugin, device, job: job.body.job_id(), occurrence, origin }
    }
}

/// Pauses.
impl Catalog {
    /// Returns the pauses that apply to a job.
    pub(crate) fn pauses_of(&self, key: JobKey) -> Pauses {
        self.jobs.get(key).map(|state| self.pauses_in(Some(key), state.device)).unwrap_or_default()
    }

    /// Returns the pauses that apply to all jobs of a device.
    pub(crate) fn pauses_of_device(&self, key: DeviceKey) -> Pauses {
        self.pauses_in(None, key)
    }

    /// Returns the pauses that apply to all jobs of a plugin.
    pub(crate) fn pauses_of_plugin(&self, name: &PluginName) -> Pauses {
        let plugin = self.plugin_key(name).map(PauseScope::Plugin);
        self.pauses_among([(Level::Plugin, plugin), (Level::All, Some(PauseScope::All))])
    }

    /// Returns the pause of all.
    pub(crate) fn pauses_of_all(&self) -> Pauses {
        self.pauses_among([(Level::All, Some(PauseScope::All))])
    }

    fn pauses_in(&self, job: Option<JobKey>, device: DeviceKey) -> Pauses {
        if self.pauses.is_empty() {
            return Pauses::default();
        }
        self.pauses_among([
            (Level::Job, job.map(PauseScope::Job)),
            (Level::Device, Some(PauseScope::Device(device))),
            (Level::Plugin, self.devices.get(device).map(|device| PauseScope::Plugin(device.plugin))),
            (Level::All, Some(PauseScope::All)),
        ])
    }

    fn pauses_among<const N: usize>(&self, scopes: [(Level, Option<PauseScope>); N]) -> Pauses {
        let pause = |(what, scope)| Some(PausedBy { what, pause: self.pauses.get(scope?)?.clone() });
        scopes.into_iter().filter_map(pause).collect()
    }
}
