//! The store against a plain model of it, with random changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use roost_scheduler::{
    event::{AdHoc, Idempotency, Override, PauseScope, SavedDevice, SavedPlugin, Tombstone},
    outcome::Success,
    pause::Pause,
    topic::Grant,
};

use super::*;

/// A random change; it is skipped if it is not possible at that moment.
#[derive(Clone, Debug)]
enum Act {
    SavePlugin {
        slot: usize,
        version: u8,
    },
    RemovePlugin {
        slot: usize,
    },
    SaveDevice {
        slot: usize,
        plugin: usize,
        variant: u32,
    },
    RemoveDevice {
        slot: usize,
    },
    SaveJob {
        slot: usize,
        device: usize,
        variant: u32,
        watermark: i64,
    },
    AdvanceJob {
        slot: usize,
        watermark: i64,
        due: Option<i64>,
    },
    RemoveJob {
        slot: usize,
    },
    Override {
        slot: usize,
        variant: i64,
    },
    Pause {
        scope: PauseScope,
        variant: i64,
    },
    Forget {
        before: i64,
    },
    SaveRun {
        slot: u64,
        occurrence: i64,
        origin: u8,
        variant: u32,
    },
    Advance {
        slot: u64,
        variant: u32,
    },
    End {
        slot: u64,
        variant: u32,
    },
    /// A run that was never on disk.
    EndUnsaved {
        occurrence: i64,
        origin: u8,
        variant: u32,
    },
    BeginSeries {
        series: u32,
    },
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
        (slot.clone(), slot.clone(), 0..60_u32, instant.clone())
            .prop_map(|(slot, device, variant, watermark)| Act::SaveJob { slot, device, variant, watermark }),
        (slot.clone(), instant.clone(), proptest::option::of(instant.clone()))
            .prop_map(|(slot, watermark, due)| Act::AdvanceJob { slot, watermark, due }),
        slot.clone().prop_map(|slot| Act::RemoveJob { slot }),
        (slot, 0..9_i64).prop_map(|(slot, variant)| Act::Override { slot, variant }),
        (scope(), 0..9_i64).prop_map(|(scope, variant)| Act::Pause { scope, variant }),
        instant.prop_map(|before| Act::Forget { before }),
        (0..4_u64, 0..5_i64, 0..3_u8, 0..420_u32).prop_map(|(slot, occurrence, origin, variant)| Act::SaveRun {
            slot,
            occurrence,
            origin,
            variant
        }),
        (0..4_u64, 0..420_u32).prop_map(|(slot, variant)| Act::Advance { slot, variant }),
        (0..4_u64, 0..60_u32).prop_map(|(slot, variant)| Act::End { slot, variant }),
        (0..5_i64, 0..3_u8, 0..60_u32).prop_map(|(occurrence, origin, variant)| Act::EndUnsaved {
            occurrence,
            origin,
            variant
        }),
        (0..9_u32).prop_map(|series| Act::BeginSeries { series }),
    ]
}

fn scope() -> impl Strategy<Value = PauseScope> {
    let key = || 0..4_u32;
    prop_oneof![
        Just(PauseScope::All),
        key().prop_map(PauseScope::Plugin),
        key().prop_map(PauseScope::Device),
        key().prop_map(PauseScope::Job),
    ]
}

/// Returns a pause, or none.
fn any_pause(variant: i64) -> Option<Pause> {
    let from = (variant % 3 == 1).then(|| at(variant));
    let until = (variant % 2 == 1).then(|| at(variant + 10));
    (variant > 2).then(|| Pause::new(from, until, (variant % 4 == 3).then_some("rain")).unwrap())
}

fn origin(number: u8) -> Origin {
    match number {
        0 => Origin::Trigger,
        1 => Origin::Series(2),
        _ => Origin::Replay { at: at(7), series: 3 },
    }
}

fn any_override(variant: i64) -> Override {
    let digest = |byte: i64| Digest([byte as u8; 32]);
    let idempotency = (variant % 4 == 3).then(|| Idempotency { key: digest(variant), request: digest(variant + 1) });
    Override {
        skip: (variant % 5 == 2).then(|| at(variant)),
        ad_hoc: (variant % 2 == 1).then(|| AdHoc { made: at(variant), idempotency }),
    }
}

/// Returns the end of a run, with its content if it failed.
fn ending(key: Option<u64>, id: RunId, variant: u32) -> RunEnded {
    let outcome = match variant % 5 {
        0 => Outcome::Succeeded(Success::PLAIN),
        1 => Outcome::Succeeded(Success { late: Some(Late { step: 2, late_ms: variant.into() }), ..Success::PLAIN }),
        2 => Outcome::Succeeded(Success { late: None, no_subscriber: Some(variant as usize) }),
        3 => Outcome::Cancelled(Cancelled::Abandoned),
        _ => Outcome::Failed(failed(variant)),
    };
    let body = matches!(outcome, Outcome::Failed(_)).then(|| saved_run(id.clone(), variant).body);
    let started = (!variant.is_multiple_of(3)).then(|| at(9));
    RunEnded { key, id, outcome, body, started, ended: at(99), attempts: variant, note: None }
}

/// An in-memory counterpart of the store. A slot is a key.
#[derive(Default)]
struct Model(Saved, Vec<SavedJob>, BTreeMap<RunId, RunEnded>);

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

    /// Applies the act and returns its change, if it is possible now.
    fn take(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SavePlugin { .. } | Act::RemovePlugin { .. } => self.take_plugin(act),
            Act::SaveDevice { .. } | Act::RemoveDevice { .. } => self.take_device(act),
            Act::SaveJob { .. } | Act::AdvanceJob { .. } | Act::RemoveJob { .. } | Act::Forget { .. } => {
                self.take_job(act)
            }
            Act::Override { slot, variant } => {
                let (key, job_override) = (self.job(slot)?.key, any_override(variant));
                self.0.overrides.retain(|(known, _)| *known != key);
                self.0.overrides.extend((job_override != Override::default()).then(|| (key, job_override.clone())));
                self.0.overrides.sort_by_key(|(key, _)| *key);
                Some(Change::OverrideSaved { key, job_override })
            }
            Act::Pause { scope, variant } => {
                let pause = any_pause(variant);
                self.0.pauses.retain(|(known, _)| *known != scope);
                self.0.pauses.extend(pause.clone().map(|pause| (scope, pause)));
                Some(Change::PauseSaved { scope, pause: pause.map(Into::into) })
            }
            Act::SaveRun { .. } | Act::Advance { .. } | Act::End { .. } | Act::EndUnsaved { .. } => self.take_run(act),
            Act::BeginSeries { series } => {
                self.0.series = series;
                Some(Change::SeriesBegun(series))
            }
        }
    }

    fn take_plugin(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SavePlugin { slot, version: n } => {
                let (key, name) = (slot as u32, PluginName::parse(&format!("plugin-{slot}")).unwrap());
                match self.plugin(slot) {
                    Some(plugin) => plugin.version = version(n),
                    None => {
                        let (name, grant, devices) = (name.clone(), Grant::default_for(&name), vec![]);
                        self.0.plugins.push(SavedPlugin { key, name, version: version(n), grant, devices });
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
                let saved = SavedDevice { key, plugin: plugin as u32, name, site, replan_at, error };
                if let Some(device) = self.device(slot) {
                    *device = SavedDevice { plugin: device.plugin, ..saved };
                    return Some(Change::DeviceSaved(device.clone()));
                }
                self.plugin(plugin)?.devices.push(saved.clone());
                Some(Change::DeviceSaved(saved))
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
                let change = SavedJob { key, device, job, watermark: at(watermark), due, decided: at(0) };
                match self.job(slot) {
                    Some(saved) if saved.device != device => return None,
                    Some(saved) => {
                        *saved = SavedJob { watermark: saved.watermark.max(at(watermark)), ..change.clone() };
                    }
                    None => self.1.push(change.clone()),
                }
                Some(Change::JobSaved(change))
            }
            Act::AdvanceJob { slot, watermark, due } => {
                let saved = self.job(slot)?;
                // It moves back if the clock did.
                let (watermark, due, decided) = (at(watermark), due.map(at), at(watermark / 2));
                (saved.watermark, saved.due, saved.decided) = (watermark, due, decided);
                Some(Change::JobAdvanced { key: slot as u32, watermark, due, decided })
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
                let stone = Tombstone { name: (plugin, device, job), watermark: saved.watermark };
                self.0.overrides.retain(|(known, _)| *known != key);
                let tombstone = (slot != 3).then(|| stone.clone());
                tombstone.clone().into_iter().for_each(|stone| self.add_tombstones(stone));
                Some(Change::JobRemoved { key, tombstone })
            }
            Act::Forget { before } => {
                self.0.tombstones.retain(|stone| stone.watermark >= at(before));
                Some(Change::TombstonesForgotten { before: at(before) })
            }
            _ => None,
        }
    }

    fn add_tombstones(&mut self, stone: Tombstone) {
        match self.0.tombstones.iter_mut().find(|old| old.name == stone.name) {
            Some(old) => old.watermark = old.watermark.max(stone.watermark),
            None => self.0.tombstones.push(stone),
        }
    }

    fn take_run(&mut self, act: &Act) -> Option<Change> {
        match *act {
            Act::SaveRun { slot, occurrence, origin: number, variant } => {
                let run = saved_run(RunId { origin: origin(number), ..run_id(occurrence) }, variant);
                let others = self.0.runs.iter().any(|(key, known)| *key != slot && known.id == run.id);
                match self.run(slot) {
                    _ if others => return None,
                    Some(known) if known.id == run.id => *known = run.clone(),
                    Some(_) => return None,
                    None => self.0.runs.push((slot, run.clone())),
                }
                self.2.remove(&run.id);
                Some(Change::RunSaved { key: slot, run: Box::new(run) })
            }
            Act::Advance { slot, variant } => {
                let progress = progress(variant);
                self.run(slot)?.progress = progress.clone();
                Some(Change::RunAdvanced { key: slot, progress })
            }
            Act::End { slot, variant } => {
                let ended = ending(Some(slot), self.run(slot)?.id.clone(), variant);
                self.0.runs.retain(|(key, _)| *key != slot);
                self.2.insert(ended.id.clone(), ended.clone());
                Some(Change::RunEnded(ended))
            }
            Act::EndUnsaved { occurrence, origin: number, variant } => {
                let id = RunId { origin: origin(number), ..run_id(occurrence) };
                if self.0.runs.iter().any(|(_, known)| known.id == id) {
                    return None;
                }
                let ended = ending(None, id, variant);
                self.2.insert(ended.id.clone(), ended.clone());
                Some(Change::RunEnded(ended))
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        let ended = self.2.values().map(|run| {
            let reason = Some(run.outcome.to_string()).filter(|reason| !reason.is_empty());
            let attempts = Some(run.attempts);
            (run.id.clone(), run.outcome.state(), reason, run.started, Some(run.ended), attempts, run.body.clone())
        });
        format!("{}\n{:#?}", text_of(&self.0, &self.1), ended.collect::<Vec<_>>())
    }
}

fn everything_in(place: &Place) -> String {
    let (mut store, saved) = place.open();
    let jobs: Vec<_> = store.jobs(|jobs| jobs.collect()).unwrap();
    drop(store);
    let mut known = place.reader().runs(&RunFilter { limit: usize::MAX, ..RunFilter::default() }).unwrap();
    known.retain(|run| run.next.is_none());
    known.sort_by(|one, other| one.id.cmp(&other.id));
    let ended = known.into_iter().map(|run| {
        let body = place.reader().dead_letter(&run.id).ok();
        (run.id, run.state, run.reason, run.started, run.ended, run.attempts, body)
    });
    format!("{}\n{:#?}", text_of(&saved, &jobs), ended.collect::<Vec<_>>())
}

/// I2, I3 and I5 depend on it. `crashed` returns what a crash at this moment would leave, if that can be had.
fn is_the_sum_of_its_commits(
    place: &Place,
    (batches, stop_at): (&[Vec<Act>], usize),
    crashed: impl Fn(&Place) -> Option<Place>,
) -> Result<(), TestCaseError> {
    let (mut store, _) = place.open();
    let mut model = Model::default();
    for (number, acts) in batches.iter().enumerate() {
        let changes: Vec<_> = acts.iter().filter_map(|act| model.take(act)).collect();
        store.commit(&changes).unwrap();
        if number == stop_at
            && let Some(left) = crashed(place)
        {
            prop_assert_eq!(everything_in(&left), model.text());
        }
    }
    drop(store);
    prop_assert_eq!(everything_in(place), model.text());
    Ok(())
}

/// Copies the files that a crash of the process at this moment would leave.
fn copied(place: &Place) -> Option<Place> {
    let copy = Place::folder();
    copy_files(place.data.path(), copy.data.path());
    Some(copy)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_a_crash_the_store_is_the_sum_of_its_commits(
        batches in proptest::collection::vec(proptest::collection::vec(act(), 0..30), 1..6),
        stop_at in 0..6_usize,
    ) {
        is_the_sum_of_its_commits(&Place::folder(), (&batches, stop_at), copied)?;
    }

    #[test]
    fn in_a_database_the_store_is_the_sum_of_its_commits(
        batches in proptest::collection::vec(proptest::collection::vec(act(), 0..30), 1..6),
    ) {
        is_the_sum_of_its_commits(&Place::database(), (&batches, 0), |_| None)?;
    }
}

/// Returns every row of every table of a database, as text.
fn rows_of(path: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut names = connection.prepare(names).unwrap();
    let tables: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for table in tables {
        let mut found = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = found.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|column| row.get_ref(column).unwrap());
            Ok(format!("{table}: {:?}", values.collect::<Vec<_>>()))
        };
        let mut of_table: Vec<String> = found.query_map([], row).unwrap().map(Result::unwrap).collect();
        of_table.sort();
        rows.extend(of_table);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_that_is_moved_to_a_database_and_backed_up_is_the_same(
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let (folder, database) = (Place::folder(), Place::database());
        let mut model = Model::default();
        let mut changes: Vec<_> = acts.iter().filter_map(|act| model.take(act)).collect();
        model.0.zones = Some("2027a".into());
        changes.push(Change::ZonesKnown("2027a".into()));
        let (mut store, _) = folder.open();
        store.commit(&changes).unwrap();
        drop(store);
        let cell = || database.database.clone().unwrap();
        let copied = move_to(cell(), folder.data.path(), PluginCopies::default(), at(500)).unwrap();
        prop_assert_eq!(copied.jobs, model.1.len() as u64);
        prop_assert_eq!(copied.runs, (model.0.runs.len() + model.2.len()) as u64);
        let copy = folder.data.path().join("copy.db");
        database.reader().back_up(&copy).unwrap();
        prop_assert_eq!(rows_of(&copy), rows_of(&folder.data.path().join("roost.db")));
        let again = move_to(cell(), folder.data.path(), PluginCopies::default(), at(500));
        if copied.runs + copied.jobs > 0 {
            let why = Report::from(&again.unwrap_err()).to_string();
            prop_assert!(why.contains("it has plugins, jobs or runs already"));
        }
        prop_assert_eq!(everything_in(&database), model.text());
    }
}
