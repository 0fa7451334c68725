//! The store against a plain model of it, with random changes and crashes.

use proptest::prelude::*;
use roost_scheduler::{
    event::{SavedDevice, SavedPlugin, Tombstone},
    topic::Grant,
};

use super::*;

/// What a random change is about; what it cannot be about at that moment is skipped.
#[derive(Clone, Debug)]
enum Act {
    SavePlugin { slot: usize, version: u8 },
    RemovePlugin { slot: usize },
    SaveDevice { slot: usize, plugin: usize, variant: u32 },
    RemoveDevice { slot: usize },
    SaveJob { slot: usize, device: usize, variant: u32, watermark: i64 },
    AdvanceJob { slot: usize, watermark: i64, due: Option<i64> },
    RemoveJob { slot: usize },
    Forget { before: i64 },
    SaveRun { slot: u64, occurrence: i64, done: usize },
    Advance { slot: u64, done: usize },
    End { slot: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let slot = 0..4_usize;
    let instant = 0..1_000_i64;
    prop_oneof![
        (slot.clone(), 0..9_u8).prop_map(|(slot, version)| Act::SavePlugin { slot, version }),
        slot.clone().prop_map(|slot| Act::RemovePlugin { slot }),
        (slot.clone(), slot.clone(), 0..9_u32).prop_map(|(slot, plugin, variant)| Act::SaveDevice {
            slot,
            plugin,
            variant
        }),
        slot.clone().prop_map(|slot| Act::RemoveDevice { slot }),
        (slot.clone(), slot.clone(), 0..9_u32, instant.clone())
            .prop_map(|(slot, device, variant, watermark)| Act::SaveJob { slot, device, variant, watermark }),
        (slot.clone(), instant.clone(), proptest::option::of(instant.clone()))
            .prop_map(|(slot, watermark, due)| Act::AdvanceJob { slot, watermark, due }),
        slot.prop_map(|slot| Act::RemoveJob { slot }),
        instant.prop_map(|before| Act::Forget { before }),
        (0..4_u64, 0..9_i64, 0..2_usize).prop_map(|(slot, occurrence, done)| Act::SaveRun { slot, occurrence, done }),
        (0..4_u64, 0..2_usize).prop_map(|(slot, done)| Act::Advance { slot, done }),
        (0..4_u64).prop_map(|slot| Act::End { slot }),
    ]
}

/// The plain in-memory counterpart of the store. A slot is a key.
#[derive(Default)]
struct Model(Saved, Vec<SavedJob>);

impl Model {
    fn plugin(&mut self, slot: usize) -> Option<&mut SavedPlugin> {
        self.0.plugins.iter_mut().find(|plugin| plugin.key == slot as u32)
    }

    fn device(&mut self, slot: usize) -> Option<&mut SavedDevice> {
        self.0.plugins.iter_mut().flat_map(|plugin| &mut plugin.devices).find(|device| device.key == slot as u32)
    }

    fn job(&mut self, slot: usize) -> Option<&mut SavedJob> {
        self.1.iter_mut().find(|job| job.key == slot as u32)
    }

    fn run(&mut self, slot: u64) -> Option<&mut SavedRun> {
        self.0.runs.iter_mut().find(|(key, _)| *key == slot).map(|(_, run)| run)
    }

    /// Makes a change of it and takes part in it, if it is possible now.
    fn take(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SavePlugin { .. } | Act::RemovePlugin { .. } => self.take_plugin(act),
            Act::SaveDevice { .. } | Act::RemoveDevice { .. } => self.take_device(act),
            Act::SaveJob { .. } | Act::AdvanceJob { .. } | Act::RemoveJob { .. } | Act::Forget { .. } => {
                self.take_job(act)
            }
            Act::SaveRun { .. } | Act::Advance { .. } | Act::End { .. } => self.take_run(act),
        }
    }

    fn take_plugin(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SavePlugin { slot, version: n } => {
                let (key, name) = (slot as u32, PluginName::parse(&format!("plugin-{slot}")).unwrap());
                match self.plugin(slot) {
                    Some(plugin) => plugin.version = version(n),
                    None => {
                        let grant = Grant::default_of(&name);
                        let plugin =
                            SavedPlugin { key, name: name.clone(), version: version(n), grant, devices: vec![] };
                        self.0.plugins.push(plugin);
                    }
                }
                Some(Change::PluginSaved { key, name, version: version(n) })
            }
            Act::RemovePlugin { slot } => {
                self.plugin(slot).filter(|plugin| plugin.devices.is_empty())?;
                self.0.plugins.retain(|plugin| plugin.key != slot as u32);
                Some(Change::PluginRemoved { key: slot as u32 })
            }
            _ => None,
        }
    }

    fn take_device(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SaveDevice { slot, plugin, variant } => {
                let (key, name) = (slot as u32, DeviceName::parse(&format!("device-{slot}")).unwrap());
                let (replan_at, error) = (at(variant.into()), variant.is_multiple_of(2).then(|| "why".to_owned()));
                let site = site(variant);
                if let Some(device) = self.device(slot) {
                    (device.site, device.replan_at, device.error) = (site, replan_at, error.clone());
                    let plugin = self.0.plugins.iter().find(|owner| owner.devices.iter().any(|d| d.key == key))?.key;
                    return Some(Change::DeviceSaved { key, plugin, name, site, replan_at, error });
                }
                let owner = self.plugin(plugin)?;
                owner.devices.push(SavedDevice { key, name: name.clone(), site, replan_at, error: error.clone() });
                Some(Change::DeviceSaved { key, plugin: plugin as u32, name, site, replan_at, error })
            }
            Act::RemoveDevice { slot } => {
                self.device(slot)?;
                if self.1.iter().any(|job| job.device == slot as u32) {
                    return None;
                }
                self.0.plugins.iter_mut().for_each(|plugin| plugin.devices.retain(|d| d.key != slot as u32));
                Some(Change::DeviceRemoved { key: slot as u32 })
            }
            _ => None,
        }
    }

    fn take_job(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SaveJob { slot, device, variant, watermark } => {
                let (key, job, due) = (slot as u32, job(&format!("job-{slot}"), variant), Some(at(watermark + 1)));
                let device = self.device(device)?.key;
                let change = SavedJob { key, device, job, watermark: at(watermark), due };
                match self.job(slot) {
                    Some(saved) if saved.device != device => return None,
                    Some(saved) => {
                        *saved = SavedJob { watermark: saved.watermark.max(at(watermark)), ..change.clone() }
                    }
                    None => self.1.push(change.clone()),
                }
                Some(Change::JobSaved(change))
            }
            Act::AdvanceJob { slot, watermark, due } => {
                let saved = self.job(slot)?;
                (saved.watermark, saved.due) = (saved.watermark.max(at(watermark)), due.map(at));
                Some(Change::JobAdvanced { key: slot as u32, watermark: at(watermark), due: due.map(at) })
            }
            Act::RemoveJob { slot } => {
                let key = slot as u32;
                let saved = self.job(slot)?.clone();
                self.1.retain(|job| job.key != key);
                let (plugin, device) = self.0.plugins.iter().find_map(|plugin| {
                    let device = plugin.devices.iter().find(|device| device.key == saved.device)?;
                    Some((plugin.name.clone(), device.name.clone()))
                })?;
                let job = saved.job.body.job_id();
                let stone = Tombstone { plugin, device, job, watermark: saved.watermark };
                self.bury(stone.clone());
                Some(Change::JobRemoved { key, tombstone: stone })
            }
            Act::Forget { before } => {
                self.0.tombstones.retain(|stone| stone.watermark >= at(before));
                Some(Change::TombstonesForgotten { before: at(before) })
            }
            _ => None,
        }
    }

    fn bury(&mut self, stone: Tombstone) {
        let same =
            |old: &&mut Tombstone| (&old.plugin, &old.device, &old.job) == (&stone.plugin, &stone.device, &stone.job);
        match self.0.tombstones.iter_mut().find(same) {
            Some(old) => old.watermark = old.watermark.max(stone.watermark),
            None => self.0.tombstones.push(stone),
        }
    }

    fn take_run(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SaveRun { slot, occurrence, done } => {
                let run = saved_run(occurrence, done);
                let others = self.0.runs.iter().any(|(key, known)| *key != slot && known.id == run.id);
                match self.run(slot) {
                    _ if others => return None,
                    Some(known) if known.id == run.id => *known = run,
                    Some(_) => return None,
                    None => self.0.runs.push((slot, run)),
                }
                Some(run_saved(slot, occurrence, done))
            }
            Act::Advance { slot, done } => {
                let run = self.run(slot)?;
                let failed = saved_run(0, done).failed;
                (run.steps_done, run.started, run.failed) = (done, Some(at(9)), failed.clone());
                Some(Change::RunAdvanced { key: slot, steps_done: done, started: Some(at(9)), failed })
            }
            Act::End { slot } => {
                let id = self.run(slot)?.id.clone();
                self.0.runs.retain(|(key, _)| *key != slot);
                let outcome = Outcome::Succeeded;
                let ended = RunEnded { key: Some(slot), id, outcome, started: Some(at(9)), ended: at(99), attempts: 1 };
                Some(Change::RunEnded(ended))
            }
            _ => None,
        }
    }
}

fn everything_in(data: &Path) -> String {
    let (mut store, saved) = open(data).unwrap();
    let jobs: Vec<_> = store.jobs(|jobs| jobs.collect()).unwrap();
    text_of(&saved, &jobs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// I2, I3, I5 rest on it.
    #[test]
    fn after_a_crash_the_store_is_the_sum_of_its_commits(
        batches in proptest::collection::vec(proptest::collection::vec(act(), 0..30), 1..6),
        stop_at in 0..6_usize,
    ) {
        let data = tempfile::tempdir().unwrap();
        let (mut store, _) = open(data.path()).unwrap();
        let mut model = Model::default();
        for (number, acts) in batches.iter().enumerate() {
            let changes: Vec<_> = acts.iter().filter_map(|act| model.take(act)).collect();
            store.commit(&changes).unwrap();
            if number == stop_at {
                let copy = crashed(data.path());
                prop_assert_eq!(everything_in(copy.path()), text_of(&model.0, &model.1));
            }
        }
        drop(store);
        prop_assert_eq!(everything_in(data.path()), text_of(&model.0, &model.1));
    }
}
