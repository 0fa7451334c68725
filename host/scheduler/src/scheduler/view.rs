//! Read-only views of the scheduler's state for queries.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{
    state::Scheduler,
    status::{JobStatus, NextStep, RunStatus},
};
use crate::{
    catalog::{Device, JobState, Plugin},
    event::{DeviceKey, JobKey, PluginKey, Version},
    limits,
    names::{DeviceName, JobId, JobName, PluginName, RunId},
    outcome::Cause,
    pause::{Level, Pause, PausedBy, Pauses},
    runs::Run,
    time::{Instant, Site},
    topic::Grant,
    trigger::Almanac,
};

/// The view of a plugin.
#[derive(Clone, Debug)]
pub struct PluginView<'a> {
    /// The plugin's name.
    pub name: &'a PluginName,
    /// The version that runs.
    pub version: Version,
    /// What it may publish and subscribe to.
    pub grant: &'a Grant,
    /// The number of its devices.
    pub devices: usize,
    /// The pauses that apply to it.
    pub pauses: Pauses,
}

/// The view of a device.
#[derive(Clone, Debug)]
pub struct DeviceView<'a> {
    /// The plugin's name.
    pub plugin: &'a PluginName,
    /// The device's name.
    pub name: &'a DeviceName,
    /// The device's site.
    pub site: &'a Site,
    /// When its next plan is requested.
    pub replan_at: Instant,
    /// Why its last plan failed, if it did.
    pub error: Option<&'a str>,
    /// Whether a plan has been requested and has not arrived yet.
    pub plan_requested: bool,
    /// The number of its jobs.
    pub jobs: usize,
    /// The pauses that apply to it.
    pub pauses: Pauses,
}

/// When a job is due next.
#[derive(Clone, Debug)]
pub enum DueTime {
    /// Then.
    At(Instant),
    /// Its next run will be skipped: a later one has to be searched for.
    Skipped(Box<JobStatus>),
}

impl Scheduler {
    /// Returns the plugins after one, in the order of their names.
    pub fn plugins_after<'a>(&'a self, after: Option<&PluginName>) -> impl Iterator<Item = PluginView<'a>> {
        self.catalog.plugins_after(after).map(|plugin| self.plugin_view(plugin))
    }

    /// Returns a plugin.
    #[must_use]
    pub fn plugin(&self, name: &PluginName) -> Option<PluginView<'_>> {
        self.catalog.plugin_named(name).map(|plugin| self.plugin_view(plugin))
    }

    /// Returns the devices of a plugin after one, in the order of their names.
    pub fn devices_after<'a>(
        &'a self,
        plugin: &PluginName,
        after: Option<&DeviceName>,
    ) -> impl Iterator<Item = DeviceView<'a>> {
        let plugin = self.catalog.plugin_named(plugin);
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        let devices = plugin.map(|plugin| plugin.devices.range::<DeviceName, _>(from));
        devices.into_iter().flatten().filter_map(|(_, key)| self.device_view(*key))
    }

    /// Returns a device.
    #[must_use]
    pub fn device(&self, plugin: &PluginName, device: &DeviceName) -> Option<DeviceView<'_>> {
        self.device_view(self.catalog.device_key(plugin, device)?)
    }

    fn device_view(&self, key: DeviceKey) -> Option<DeviceView<'_>> {
        let device = self.catalog.device(key)?;
        Some(DeviceView {
            plugin: self.plugin_name(device.plugin)?,
            name: &device.name,
            site: &device.site,
            replan_at: device.replan_at,
            error: device.error.as_deref(),
            plan_requested: device.plan_requested,
            jobs: device.job_count(),
            pauses: self.catalog.pauses_of_device(key),
        })
    }

    /// Returns whether a device is running: a run of it has sent its first message, or may have before a crash, and has not
    /// ended, so that it may owe steps. Examines all runs, or those of each job of the device if it has fewer jobs: an index
    /// by device would make each run a seventh more expensive.
    #[must_use]
    pub fn is_running(&self, plugin: &PluginName, device: &DeviceName) -> bool {
        let present = self.catalog.device_key(plugin, device).and_then(|key| self.catalog.device(key));
        if self.runs.slot_count() as usize <= present.map_or(0, Device::job_count) {
            let is_of_device = |run: &Run| run.id.device == *device && run.id.plugin == *plugin;
            return self.runs.iter().any(|(_, run)| run.is_running() && is_of_device(run));
        }
        let jobs = present.into_iter().flat_map(Device::jobs).chain(self.catalog.removed_jobs_of(plugin, device));
        jobs.flat_map(|job| self.runs.of_job(job)).filter_map(|slot| self.runs.get(slot)).any(Run::is_running)
    }

    /// Returns when each job of a device is due next: none if it is not known to be.
    pub fn due_times<'a>(
        &'a self,
        plugin: &PluginName,
        device: &DeviceName,
    ) -> impl Iterator<Item = Option<DueTime>> + 'a {
        let device = self.catalog.device_key(plugin, device).and_then(|key| self.catalog.device(key));
        let due = |key| {
            let due = self.catalog.job(key)?.next.due()?;
            if self.is_next_paused(key) || self.catalog.overrides.is_skipped(key, due) {
                return Some(DueTime::Skipped(self.job_status(key)?.into()));
            }
            Some(DueTime::At(due))
        };
        device.into_iter().flat_map(Device::jobs).map(due)
    }

    /// Returns the jobs of a plugin.
    pub fn jobs_of(&self, plugin: &PluginName) -> impl Iterator<Item = JobStatus> {
        let plugin = self.catalog.plugin_named(plugin);
        let devices = plugin.into_iter().flat_map(|plugin| plugin.devices.values());
        let devices = devices.filter_map(|key| self.catalog.device(*key));
        devices.flat_map(|device| device.jobs()).filter_map(|key| self.job_status(key))
    }

    /// Returns at most `most` jobs from a key on, in the order of their keys: all, those of a plugin, or those of
    /// devices with a name. Also returns the key at which to continue, unless those were the last. Bounded (I10), so
    /// that there may be none although more follow.
    #[must_use]
    pub fn jobs_from(
        &self,
        (plugin, device): (Option<&PluginName>, Option<&DeviceName>),
        from: JobKey,
        most: usize,
    ) -> (Vec<JobStatus>, Option<JobKey>) {
        let Some(plugin) = plugin else {
            return self.jobs_at(from, most, |job| {
                device.is_none_or(|name| self.catalog.device(job.device).is_some_and(|device| device.name == *name))
            });
        };
        let Some(plugin) = self.catalog.plugin_key(plugin).and_then(|key| Some((key, self.catalog.plugin(key)?)))
        else {
            return (Vec::new(), None);
        };
        let device = match device.map(|name| plugin.1.devices.get(name)) {
            Some(None) => return (Vec::new(), None),
            Some(Some(device)) => Some(*device),
            None => None,
        };
        let of_one = device.as_slice().iter();
        let of_all = plugin.1.devices.values().take(if device.is_none() { limits::SLOTS_PER_VIEW + 1 } else { 0 });
        let devices = || of_one.clone().chain(of_all.clone()).filter_map(|key| self.catalog.device(*key));
        let places: usize = devices().map(|device| device.job_count() + 1).sum();
        if places > limits::SLOTS_PER_VIEW {
            // Too many to sort: they are filtered out of all jobs.
            return self.jobs_at(from, most, |job| match device {
                Some(device) => job.device == device,
                None => self.catalog.device(job.device).is_some_and(|device| device.plugin == plugin.0),
            });
        }
        let mut keys: Vec<JobKey> = devices().flat_map(|device| device.jobs()).collect();
        keys.retain(|key| *key >= from);
        keys.sort_unstable();
        let next = keys.get(most).copied();
        (keys.into_iter().take(most).filter_map(|key| self.job_status(key)).collect(), next)
    }

    fn jobs_at(
        &self,
        from: JobKey,
        most: usize,
        is_match: impl Fn(&JobState) -> bool,
    ) -> (Vec<JobStatus>, Option<JobKey>) {
        let end = self.catalog.job_slots();
        let until = end.min(from.saturating_add(limits::SLOTS_PER_VIEW as u32));
        let mut found = Vec::new();
        for key in from..until {
            if !self.catalog.job(key).is_some_and(&is_match) {
                continue;
            }
            if found.len() == most {
                return (found, Some(key));
            }
            found.extend(self.job_status(key));
        }
        (found, Some(until).filter(|until| *until < end))
    }

    /// Checks whether a job exists.
    #[must_use]
    pub fn has_job(&self, (plugin, device, job): &JobName) -> bool {
        let device = self.catalog.device_key(plugin, device);
        device.is_some_and(|device| self.catalog.job_key(device, job.as_str()).is_some())
    }

    /// Returns a job.
    #[must_use]
    pub fn job(&self, plugin: &PluginName, device: &DeviceName, job: &JobId) -> Option<JobStatus> {
        self.job_status(self.catalog.job_key(self.catalog.device_key(plugin, device)?, job.as_str())?)
    }

    fn job_status(&self, key: JobKey) -> Option<JobStatus> {
        let state = self.catalog.job(key)?;
        let device = self.catalog.device(state.device)?;
        Some(JobStatus {
            key,
            plugin: self.plugin_name(device.plugin)?.clone(),
            device: device.name.clone(),
            site: device.site,
            job: state.job.clone(),
            next: state.next.into(),
            origin: self.agenda.origin(),
            watermark: state.watermark,
            job_override: self.catalog.overrides.get(key).cloned().unwrap_or_default(),
            pauses: self.catalog.pauses_of(key),
        })
    }

    /// Returns some of the runs that have not ended, from a slot on, and the slot at which to continue, unless those
    /// were all. Bounded (I10), so that there may be none although more follow.
    #[must_use]
    pub fn runs_from(&self, from: u32) -> (Vec<RunStatus>, Option<u32>) {
        let end = self.runs.slot_count();
        let until = end.min(from.saturating_add(limits::SLOTS_PER_VIEW as u32));
        let runs = (from..until).filter_map(|slot| self.runs.get(slot)).map(|run| self.run_status(run));
        (runs.collect(), Some(until).filter(|until| *until < end))
    }

    /// Returns some of the jobs with a pause of their own that has not ended, from a key on in the order of keys, and the
    /// key at which to continue. Bounded (I10), so that there may be none although more follow.
    #[must_use]
    pub fn paused_jobs(&self, from: JobKey) -> (Vec<(JobName, PausedBy)>, Option<JobKey>) {
        let mut pauses = self.catalog.pauses.of_jobs(from);
        let looked_at = pauses.by_ref().take(limits::SLOTS_PER_VIEW);
        let paused = looked_at.filter(|(key, pause)| !pause.is_over(self.now) && self.catalog.job(*key).is_some());
        let by = |pause: &Arc<Pause>| PausedBy { what: Level::Job, pause: pause.clone() };
        let found = paused.map(|(key, pause)| (self.catalog.name_of(key), by(pause))).collect();
        (found, pauses.next().map(|(key, _)| key))
    }

    /// Returns the pause of all.
    #[must_use]
    pub fn pauses_of_all(&self) -> Pauses {
        self.catalog.pauses_of_all()
    }

    fn plugin_view<'a>(&'a self, plugin: &'a Plugin) -> PluginView<'a> {
        PluginView {
            name: &plugin.name,
            version: plugin.version,
            grant: &plugin.grant,
            devices: plugin.devices.len(),
            pauses: self.catalog.pauses_of_plugin(&plugin.name),
        }
    }

    /// Returns the runs of a job that have not ended, in the order of admission.
    pub fn runs_of_job(&self, job: JobKey) -> impl Iterator<Item = RunStatus> {
        self.runs.of_job(job).filter_map(|slot| self.runs.get(slot)).map(|run| self.run_status(run))
    }

    /// Returns the runs of a job that have not ended, even if the job was removed.
    pub fn runs_named(&self, name: &JobName) -> impl Iterator<Item = RunStatus> {
        self.catalog.job_named(name).into_iter().flat_map(|job| self.runs_of_job(job))
    }

    fn run_status(&self, run: &Run) -> RunStatus {
        let holders = match &run.held_by {
            Some(Cause::Taken(resource)) => self.resources.holders(resource).take(limits::HOLDERS_PER_VIEW).collect(),
            _ => Vec::new(),
        };
        RunStatus {
            id: run.id.clone(),
            phase: run.phase,
            start: run.start,
            started: run.progress.started,
            grace_end: run.grace_end().map(|end| end.plus_ms(-1)),
            body: run.body.clone(),
            next: NextStep { step: run.step() + 1, of: run.steps, due: run.due_of(run.step()).unwrap_or(run.start) },
            attempts: run.progress.attempts,
            last: run.has_failed().then(|| run.last.clone()),
            held_by: run.held_by.clone(),
            holders: holders.into_iter().filter_map(|slot| self.runs.get(slot)).map(|run| run.id.clone()).collect(),
        }
    }

    /// Returns the names of all plugins.
    pub fn plugin_names(&self) -> impl Iterator<Item = &PluginName> {
        self.catalog.plugin_names()
    }

    /// Returns a plugin's name.
    #[must_use]
    pub fn plugin_name(&self, key: PluginKey) -> Option<&PluginName> {
        self.catalog.plugin(key).map(|plugin| &plugin.name)
    }

    /// Returns the cache of sun events, so that others share it: computing an event takes long.
    pub fn almanac(&mut self) -> &mut Almanac {
        self.agenda.almanac()
    }

    /// Returns the number of plugins.
    #[must_use]
    pub fn plugin_count(&self) -> usize {
        self.catalog.plugin_count()
    }

    /// Returns the number of devices.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.catalog.device_count()
    }

    /// Returns the number of jobs.
    #[must_use]
    pub fn job_count(&self) -> usize {
        self.catalog.job_count()
    }

    /// Returns the runs that have not ended, with their whole state, for debugging.
    pub fn runs(&self) -> impl Iterator<Item = impl std::fmt::Debug> {
        self.runs.iter().map(|(_, run)| run)
    }

    /// Returns the number of runs that have not ended.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// Returns the number of runs that could be sent and wait for their turn.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.delivery.ready_count()
    }

    /// Returns the runs with an owed step, the step (counted from 1), and when it is due.
    pub fn owed(&self) -> impl Iterator<Item = (&RunId, usize, Instant)> {
        self.runs.iter().filter_map(|(_, run)| run.next_owed().map(|(step, due)| (&run.id, step + 1, due)))
    }

    /// Returns whether an owed step is due up to an instant and can be sent, also if the store has failed.
    #[must_use]
    pub fn owes_until(&self, until: Instant) -> bool {
        let can_be_sent = |run: &&Run| !self.failing || !run.is_owed() || run.can_continue_unsaved();
        let mut runs = self.runs.iter().map(|(_, run)| run).filter(can_be_sent);
        runs.any(|run| run.next_owed().is_some_and(|(_, due)| due <= until))
    }

    /// Returns the number of attempts in flight.
    #[must_use]
    pub fn attempts_under_way(&self) -> usize {
        self.delivery.attempt_count()
    }

    /// Returns since when there is a connection to the broker, if there is one.
    #[must_use]
    pub fn link_since(&self) -> Option<Instant> {
        self.delivery.link().map(|_| self.delivery.link_since())
    }

    /// Returns whether changes can be saved.
    #[must_use]
    pub fn can_keep(&self) -> bool {
        !self.failing
    }

    /// Returns whether the host is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }
}
