//! What a store does with changes: the model that the scheduler is restored from.

use std::collections::{BTreeMap, HashMap};

use roost_scheduler::{
    event::{Change, RunEnded, Saved, SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone, Version},
    names::{DeviceName, JobId, PluginName, RunId},
    scheduler::Scheduler,
    time::{Instant, Site},
    topic::{Grant, TopicFilter},
};

#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) plugins: BTreeMap<u32, (PluginName, Version)>,
    pub(crate) devices: BTreeMap<u32, DeviceRow>,
    pub(crate) jobs: BTreeMap<u32, SavedJob>,
    pub(crate) runs: BTreeMap<u64, SavedRun>,
    pub(crate) history: HashMap<RunId, RunEnded>,
    pub(crate) tombstones: HashMap<(PluginName, DeviceName, JobId), Instant>,
}

#[derive(Clone)]
pub(crate) struct DeviceRow {
    plugin: u32,
    name: DeviceName,
    site: Site,
    pub(crate) replan_at: Instant,
    error: Option<String>,
}

impl Disk {
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::PluginSaved { key, name, version } => {
                self.plugins.insert(key, (name, version));
            }
            Change::PluginRemoved { key } => {
                self.plugins.remove(&key).expect("a plugin that is removed was there");
            }
            Change::DeviceSaved { key, plugin, name, site, replan_at, error } => {
                self.devices.insert(key, DeviceRow { plugin, name, site, replan_at, error });
            }
            Change::DeviceRemoved { key } => {
                self.devices.remove(&key).expect("a device that is removed was there");
            }
            Change::JobSaved(job) => {
                if let Some(before) = self.jobs.get(&job.key) {
                    assert!(job.watermark >= before.watermark, "I2: a watermark went backward");
                }
                self.jobs.insert(job.key, job);
            }
            Change::JobAdvanced { key, watermark, due } => {
                let row = self.jobs.get_mut(&key).expect("a job that advances is there");
                assert!(watermark >= row.watermark, "I2: a watermark went backward");
                (row.watermark, row.due) = (watermark, due);
            }
            Change::JobRemoved { key, tombstone } => {
                self.jobs.remove(&key).expect("a job that is removed was there");
                self.tombstones.insert((tombstone.plugin, tombstone.device, tombstone.job), tombstone.watermark);
            }
            Change::TombstonesForgotten { before } => self.tombstones.retain(|_, watermark| *watermark >= before),
            Change::RunSaved { key, run } => {
                self.runs.insert(key, run);
            }
            Change::RunAdvanced { key, steps_done, started, failed } => {
                let run = self.runs.get_mut(&key).expect("a run that advances is there");
                assert!(steps_done > run.steps_done, "a run went backward");
                (run.steps_done, run.started, run.failed) = (steps_done, started, failed);
            }
            Change::RunEnded(ended) => {
                if let Some(key) = ended.key {
                    self.runs.remove(&key).expect("a saved run that ends was there");
                }
                self.history.insert(ended.id.clone(), ended);
            }
        }
    }

    pub(crate) fn restart(&self, now: Instant) -> Scheduler {
        Scheduler::new(self.saved(), self.jobs.values().cloned(), now)
    }

    fn saved(&self) -> Saved {
        let devices_of = |plugin: u32| {
            let devices = self.devices.iter().filter(move |(_, row)| row.plugin == plugin);
            devices.map(move |(key, row)| SavedDevice {
                key: *key,
                name: row.name.clone(),
                site: row.site,
                replan_at: row.replan_at,
                error: row.error.clone(),
            })
        };
        let plugins = self.plugins.iter().map(|(key, (name, version))| SavedPlugin {
            key: *key,
            name: name.clone(),
            version: *version,
            grant: everything(),
            devices: devices_of(*key).collect(),
        });
        let tombstones = self.tombstones.iter().map(|((plugin, device, job), watermark)| Tombstone {
            plugin: plugin.clone(),
            device: device.clone(),
            job: job.clone(),
            watermark: *watermark,
        });
        Saved {
            plugins: plugins.collect(),
            runs: self.runs.iter().map(|(key, run)| (*key, run.clone())).collect(),
            tombstones: tombstones.collect(),
        }
    }
}

pub(crate) fn everything() -> Grant {
    let all = TopicFilter::parse("#").expect("a filter");
    Grant { publish: vec![all.clone()], subscribe: vec![all] }
}
