//! Read-only views of the scheduler's state for queries.

use std::ops::Bound::{Excluded, Unbounded};

use super::state::Scheduler;
use crate::{
    body::{Body, PackedJob},
    catalog::{Device, JobState, Plugin},
    event::{DeviceKey, JobKey, Override, PluginKey, Version},
    limits,
    names::{DeviceName, JobId, JobName, Origin, PluginName, RunId},
    outcome::{Attempt, Cause, Level},
    runs::{Run, State},
    time::{Instant, Site},
    topic::Grant,
    trigger::SunCache,
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
    /// Whether it is paused.
    pub is_paused: bool,
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
    /// Whether it is paused.
    pub is_paused: bool,
}

/// The view of a job.
#[derive(Clone, Debug)]
pub struct JobView<'a> {
    /// The job's key, valid as long as the job exists.
    pub key: JobKey,
    /// The plugin's name.
    pub plugin: &'a PluginName,
    /// The device's name.
    pub device: &'a DeviceName,
    /// The device's site.
    pub site: &'a Site,
    /// The job.
    pub job: &'a PackedJob,
    /// When its next run is due.
    pub next: NextRun,
    /// The origin of its next run.
    pub origin: Origin,
    /// Everything up to here is decided.
    pub watermark: Instant,
    /// What the operator has changed of it.
    pub job_override: Option<&'a Override>,
    /// What is paused: its plugin, its device, or the job itself.
    pub paused: Option<Level>,
}

/// When a job's next run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextRun {
    /// It is due then.
    Due(Instant),
    /// Not before then: the sun event does not occur for so long.
    NotBefore(Instant),
    /// There is no next run.
    Never,
}

/// The view of a run that has not ended.
#[derive(Clone, Debug)]
pub struct RunUnderWay<'a> {
    /// The run's id.
    pub id: &'a RunId,
    /// When it should start, or should have started.
    pub start: Instant,
    /// When it has started.
    pub started: Option<Instant>,
    /// Until when it may start, if it has not started and has a grace.
    pub grace_end: Option<Instant>,
    /// Its body, which may differ from that of its job.
    pub body: &'a Body,
    /// The current step, counted from 1.
    pub step: usize,
    /// When the current step is due.
    pub due: Instant,
    /// The number of steps.
    pub of: usize,
    /// What held it up or holds it up.
    pub held_by: Option<&'a Cause>,
    /// The number of attempts at the current step.
    pub attempts: u32,
    /// How the last attempt at it failed, if one did.
    pub last: Option<&'a Attempt>,
    /// Until when it waits, if that is known.
    pub until: Option<Instant>,
    /// Its state: `waiting`, `held`, `asking`, `listening`, `arming`, `sent`, `confirming`, `pausing` or `resting`.
    pub state: &'static str,
}

impl Scheduler {
    /// Returns the plugins after one, in the order of their names.
    pub fn plugins_after<'a>(&'a self, after: Option<&PluginName>) -> impl Iterator<Item = PluginView<'a>> {
        self.catalog.plugins_after(after).map(plugin_view)
    }

    /// Returns a plugin.
    #[must_use]
    pub fn plugin(&self, name: &PluginName) -> Option<PluginView<'_>> {
        self.catalog.plugin_named(name).map(plugin_view)
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
            is_paused: device.paused,
        })
    }

    /// Returns the jobs of a plugin.
    pub fn jobs_of<'a>(&'a self, plugin: &PluginName) -> impl Iterator<Item = JobView<'a>> {
        let plugin = self.catalog.plugin_named(plugin);
        let devices = plugin.into_iter().flat_map(|plugin| plugin.devices.values());
        let devices = devices.filter_map(|key| self.catalog.device(*key));
        devices.flat_map(|device| device.jobs()).filter_map(|key| self.job_view(key))
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
    ) -> (Vec<JobView<'_>>, Option<JobKey>) {
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
        (keys.into_iter().take(most).filter_map(|key| self.job_view(key)).collect(), next)
    }

    fn jobs_at(
        &self,
        from: JobKey,
        most: usize,
        is_match: impl Fn(&JobState) -> bool,
    ) -> (Vec<JobView<'_>>, Option<JobKey>) {
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
            found.extend(self.job_view(key));
        }
        (found, Some(until).filter(|until| *until < end))
    }

    /// Returns a job.
    #[must_use]
    pub fn job(&self, plugin: &PluginName, device: &DeviceName, job: &JobId) -> Option<JobView<'_>> {
        self.job_view(self.catalog.job_key(self.catalog.device_key(plugin, device)?, job.as_str())?)
    }

    fn job_view(&self, key: JobKey) -> Option<JobView<'_>> {
        let state = self.catalog.job(key)?;
        let Device { plugin, name, site, .. } = self.catalog.device(state.device)?;
        let plugin = self.plugin_name(*plugin)?;
        let (next, watermark) = (state.next.into(), state.watermark);
        let (job_override, paused) = (self.catalog.overrides.get(key), self.catalog.is_paused(key));
        let origin = self.agenda.origin();
        Some(JobView {
            key,
            plugin,
            device: name,
            site,
            job: &state.job,
            next,
            origin,
            watermark,
            job_override,
            paused,
        })
    }

    /// Returns some of the runs that have not ended, from a slot on, and the slot at which to continue, unless those
    /// were all. Bounded (I10), so that there may be none although more follow.
    #[must_use]
    pub fn runs_from(&self, from: u32) -> (Vec<RunUnderWay<'_>>, Option<u32>) {
        let end = self.runs.slot_count();
        let until = end.min(from.saturating_add(limits::SLOTS_PER_VIEW as u32));
        let runs = (from..until).filter_map(|slot| self.runs.get(slot)).map(run_view);
        (runs.collect(), Some(until).filter(|until| *until < end))
    }

    /// Returns some of the jobs that are paused themselves, from a key on in the order of keys, and the key at which to
    /// continue. Bounded (I10), so that there may be none although more follow.
    #[must_use]
    pub fn paused_jobs(&self, from: JobKey) -> (Vec<JobName>, Option<JobKey>) {
        let mut overrides = self.catalog.overrides.from(from);
        let looked_at = overrides.by_ref().take(limits::SLOTS_PER_VIEW);
        let paused = looked_at.filter(|(key, job_override)| job_override.paused && self.catalog.job(*key).is_some());
        let names = paused.map(|(key, _)| self.catalog.name_of(key)).collect();
        (names, overrides.next().map(|(key, _)| key))
    }

    /// Returns the runs of a job that have not ended, in the order of admission.
    pub fn runs_of_job(&self, job: JobKey) -> impl Iterator<Item = RunUnderWay<'_>> {
        self.runs.of_job(job).filter_map(|slot| self.runs.get(slot)).map(run_view)
    }

    /// Returns the runs of a job that have not ended, even if the job was removed.
    pub fn runs_named(&self, name: &JobName) -> impl Iterator<Item = RunUnderWay<'_>> {
        self.catalog.job_named(name).into_iter().flat_map(|job| self.runs_of_job(job))
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
    pub fn sun_cache(&mut self) -> &mut SunCache {
        self.agenda.sun_cache()
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

fn plugin_view(plugin: &Plugin) -> PluginView<'_> {
    PluginView {
        name: &plugin.name,
        version: plugin.version,
        grant: &plugin.grant,
        devices: plugin.devices.len(),
        is_paused: plugin.paused,
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting | State::Limited(_) => "waiting",
        State::Held(_) => "held",
        State::Asking(_) => "asking",
        State::Listening(_) => "listening",
        State::Arming(_) => "arming",
        State::Sent(_) => "sent",
        State::Confirming(_) => "confirming",
        State::Pausing(_) => "pausing",
        State::Resting(_) => "resting",
    }
}

fn run_view(run: &Run) -> RunUnderWay<'_> {
    RunUnderWay {
        id: &run.id,
        start: run.start,
        started: run.progress.started,
        grace_end: run.grace_end().map(|end| end.plus_ms(-1)),
        body: &run.body,
        step: run.step() + 1,
        due: run.due_of(run.step()).unwrap_or(run.start),
        of: run.steps,
        held_by: run.held_by.as_ref(),
        attempts: run.progress.attempts,
        last: Some(&run.last).filter(|_| run.has_failed()),
        until: run.state.until().filter(|_| !matches!(run.state, State::Limited(_))),
        state: word(run.state),
    }
}
