//! A model of the store, from which the scheduler is restored.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    body::Body,
    event::{
        Change, Override, PauseScope, RunEnded, Saved, SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone, Version,
    },
    model::Resource,
    names::{JobName, PluginName, ResourceName, RunId},
    pause::Pause,
    rate::Rates,
    scheduler::{Operator, Scheduler},
    time::Instant,
    topic::{Grant, HostTopic, TopicFilter},
    trigger::Calendars,
};

use crate::dsl::site;

#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) plugins: BTreeMap<u32, (PluginName, Version)>,
    pub(crate) devices: BTreeMap<u32, SavedDevice>,
    pub(crate) jobs: BTreeMap<u32, SavedJob>,
    pub(crate) runs: BTreeMap<u64, SavedRun>,
    pub(crate) history: HashMap<RunId, RunEnded>,
    pub(crate) tombstones: HashMap<JobName, Instant>,
    pub(crate) series: u32,
    pub(crate) overrides: BTreeMap<u32, Override>,
    pub(crate) pauses: BTreeMap<PauseScope, Pause>,
    /// The grants of plugins, which are settings and not stored: of each plugin the one in force or last in force, and
    /// those that are loaded and may be in force already.
    pub(crate) grants: HashMap<PluginName, Vec<Grant>>,
    /// The rates, which are settings, too.
    pub(crate) rates: Rates,
    /// The contents of calendars, which are files.
    pub(crate) calendars: Calendars,
}

impl Disk {
    /// Returns whether a run belongs to a planned job.
    pub(crate) fn plans(&self, run: &RunId, body: &Body) -> bool {
        self.jobs.values().any(|saved| {
            let device = self.devices.get(&saved.device);
            let plugin = device.and_then(|device| self.plugins.get(&device.plugin));
            device.is_some_and(|device| device.name == run.device)
                && plugin.is_some_and(|(name, ..)| *name == run.plugin)
                && (saved.job.body == *body || saved.job.body.asks_plugin() && saved.job.body.id() == body.id())
        })
    }

    /// Returns the pauses of a run: those of its job, its device, its plugin, and of all.
    pub(crate) fn pauses_of(&self, run: &RunId) -> Vec<&Pause> {
        let is_plugin = |key: &u32| self.plugins.get(key).is_some_and(|(name, ..)| *name == run.plugin);
        let Some((device, row)) = self.devices.iter().find(|(_, row)| row.name == run.device && is_plugin(&row.plugin))
        else {
            return Vec::new();
        };
        let is_job = |saved: &&SavedJob| saved.device == *device && saved.job.body.id() == run.job.as_str();
        let job = self.jobs.values().find(is_job).map(|saved| PauseScope::Job(saved.key));
        let wider = [PauseScope::Device(*device), PauseScope::Plugin(row.plugin), PauseScope::All];
        wider.into_iter().chain(job).filter_map(|scope| self.pauses.get(&scope)).collect()
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::PluginSaved { key, name, version } => {
                self.plugins.insert(key, (name, version));
            }
            Change::PluginRemoved { key } => {
                self.is_not_paused(PauseScope::Plugin(key));
                self.plugins.remove(&key).expect("a plugin that is removed was there");
            }
            Change::DeviceSaved(device) => {
                let is_same = |other: &SavedDevice| {
                    other.key != device.key && (other.plugin, &other.name) == (device.plugin, &device.name)
                };
                assert!(!self.devices.values().any(is_same), "there are two devices `{}`", device.name);
                self.devices.insert(device.key, device);
            }
            Change::DeviceRemoved { key } => {
                self.is_not_paused(PauseScope::Device(key));
                self.devices.remove(&key).expect("a device that is removed was there");
            }
            Change::JobSaved(job) => {
                if let Some(before) = self.jobs.get(&job.key) {
                    let is_known = job.watermark.max(job.decided) >= before.watermark;
                    assert!(is_known, "I2: a watermark went backward");
                }
                self.jobs.insert(job.key, job);
            }
            Change::JobAdvanced { key, watermark, due, decided } => {
                let row = self.jobs.get_mut(&key).expect("a job that advances is there");
                assert!(watermark.max(decided) >= row.watermark, "I2: a watermark went backward");
                (row.watermark, row.due, row.decided) = (watermark, due, decided);
            }
            Change::JobRemoved { key, tombstone } => {
                self.is_not_paused(PauseScope::Job(key));
                self.jobs.remove(&key).expect("a job that is removed was there");
                self.overrides.remove(&key);
                self.tombstones.extend(tombstone.map(|stone| (stone.name, stone.watermark)));
            }
            Change::OverrideSaved { key, job_override } => {
                assert!(self.jobs.contains_key(&key), "an override belongs to a job that exists");
                self.overrides.remove(&key);
                if job_override != Override::default() {
                    self.overrides.insert(key, job_override);
                }
            }
            Change::PauseSaved { scope, pause } => self.save_pause(scope, pause.as_deref()),
            Change::TombstonesForgotten { before } => self.tombstones.retain(|_, watermark| *watermark >= before),
            Change::RunSaved { key, run } => {
                self.runs.insert(key, *run);
            }
            Change::RunAdvanced { key, progress } => {
                let run = self.runs.get_mut(&key).expect("a run that advances is there");
                assert!(progress.steps_done >= run.progress.steps_done, "a run went backward");
                run.progress = progress;
            }
            // Recorded with the run's progress.
            Change::ResourceFreed { .. } => {}
            Change::ZonesKnown(_) => {}
            Change::SeriesBegun(series) => {
                assert!(series > self.series, "I2: a series is begun twice");
                self.series = series;
            }
            Change::RunEnded(ended) => {
                if let Some(key) = ended.key {
                    self.runs.remove(&key).expect("a saved run that ends was there");
                }
                self.history.insert(ended.id.clone(), ended);
            }
        }
    }

    fn save_pause(&mut self, scope: PauseScope, pause: Option<&Pause>) {
        let is_there = match scope {
            PauseScope::All => true,
            PauseScope::Plugin(key) => self.plugins.contains_key(&key),
            PauseScope::Device(key) => self.devices.contains_key(&key),
            PauseScope::Job(key) => self.jobs.contains_key(&key),
        };
        assert!(is_there, "the pause of {scope:?} is saved, which is not there");
        match pause {
            Some(pause) => {
                self.pauses.insert(scope, pause.clone());
            }
            None => {
                self.pauses.remove(&scope).expect("a pause that is removed was there");
            }
        }
    }

    fn is_not_paused(&self, scope: PauseScope) {
        assert!(!self.pauses.contains_key(&scope), "{scope:?} is removed, and its pause is not");
    }

    pub(crate) fn restart(&self, now: Instant) -> Scheduler {
        #[cfg(feature = "mutants")]
        crate::mutants::mutate_core();
        Scheduler::new(self.saved(), self.jobs.values().cloned(), self.operator(), now)
    }

    fn saved(&self) -> Saved {
        let devices_of = |plugin: u32| self.devices.values().filter(move |device| device.plugin == plugin).cloned();
        let plugins = self.plugins.iter().map(|(key, (name, version))| SavedPlugin {
            key: *key,
            name: name.clone(),
            version: *version,
            grant: self.grants.get(name).and_then(|all| all.last()).cloned().unwrap_or_else(full_grant),
            devices: devices_of(*key).collect(),
        });
        let tombstone =
            |(name, watermark): (&JobName, &Instant)| Tombstone { name: name.clone(), watermark: *watermark };
        Saved {
            zones: None,
            plugins: plugins.collect(),
            runs: self.runs.iter().map(|(key, run)| (*key, run.clone())).collect(),
            tombstones: self.tombstones.iter().map(tombstone).collect(),
            series: self.series,
            overrides: self.overrides.iter().map(|(key, job_override)| (*key, job_override.clone())).collect(),
            pauses: self.pauses.iter().map(|(scope, pause)| (*scope, pause.clone())).collect(),
        }
    }
}

impl Disk {
    /// Returns the operator's settings.
    fn operator(&self) -> Operator {
        let name = |text| ResourceName::parse(text).expect("a name");
        let of = |plugins: &[&str]| {
            let plugins = plugins.iter().map(|text| PluginName::parse_owner(text).expect("a name")).collect();
            Resource { capacity: 1, plugins, longest_hold_ms: LONGEST_HOLD_MS }
        };
        let (pump, well) = (of(&["coop", "other", "roost"]), of(&["other"]));
        let resources = vec![(name("pump"), pump), (name("well"), well)];
        let (rates, calendars) = (self.rates.clone(), self.calendars.clone());
        Operator { resources, grant: full_grant(), topic: HostTopic::default(), site: site(), rates, calendars }
    }
}

/// A little longer than any steps take.
pub(crate) const LONGEST_HOLD_MS: u32 = 300_000;

pub(crate) fn full_grant() -> Grant {
    let all = TopicFilter::parse("#").expect("a filter");
    Grant::new(vec![all.clone()], vec![all])
}
