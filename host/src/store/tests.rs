use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use roost_scheduler::{
    event::{Change, Digest, RunEnded, Saved, SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone, Version},
    model::{Job, Message, Policy, Qos, Step},
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::{Attempt, Cancelled, Failed, Outcome},
    time::{Instant, Location, Site},
    topic::{Grant, Topic},
    trigger::{self, Patterns, Trigger},
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::report::Report;

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis).unwrap()
}

fn step(after_ms: u32, payload: &[u8]) -> Step {
    let topic = Topic::parse("coop/north/door").unwrap();
    let message =
        Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, retain: after_ms > 0, properties: None };
    Step { after_ms, message }
}

fn job(id: &str, variant: u32) -> Arc<Job> {
    Arc::new(Job {
        id: JobId::parse(id).unwrap(),
        label: variant.is_multiple_of(2).then(|| format!("Variant {variant}").into()),
        trigger: trigger(variant),
        steps: [step(0, b"open"), step(600_000 + variant, &[0xff])].into(),
        policy: Policy { jitter_ms: variant % 3, ..Policy::default() },
    })
}

fn trigger(variant: u32) -> Trigger {
    let texts = [
        "at 2027-03-01T06:30:00.007Z",
        "every 1h30m from 2027-03-01T06:30:00Z",
        "cron 30 6 * * MON-FRI in Europe/London",
        "cron @daily",
        "sunset -20m not-before 17:00 not-after 21:30",
    ];
    trigger::parse(texts[variant as usize % texts.len()], Instant::MIN, &mut Patterns::default()).unwrap()
}

fn version(n: u8) -> Version {
    Version { component: Digest([n; 32]), settings: Digest([n + 1; 32]) }
}

fn site(n: u32) -> Site {
    let location = n.is_multiple_of(2).then(|| Location::new(51.123_456_789_012_3, -0.1 - f64::from(n)).unwrap());
    Site { zone: if n.is_multiple_of(3) { chrono_tz::UTC } else { chrono_tz::Europe::London }, location }
}

fn plugin_saved(key: u32, name: &str) -> Change {
    Change::PluginSaved { key, name: PluginName::parse(name).unwrap(), version: version(1) }
}

fn device_saved(key: u32, plugin: u32, name: &str) -> Change {
    let name = DeviceName::parse(name).unwrap();
    Change::DeviceSaved { key, plugin, name, site: site(0), replan_at: at(5), error: None }
}

fn job_saved(key: u32, device: u32, id: &str) -> Change {
    Change::JobSaved { key, device, job: job(id, 0), watermark: at(10), due: Some(at(20)) }
}

fn run_id(occurrence: i64) -> RunId {
    RunId {
        plugin: PluginName::parse("coop").unwrap(),
        device: DeviceName::parse("north").unwrap(),
        job: JobId::parse("open").unwrap(),
        occurrence: at(occurrence),
    }
}

fn run_ended(key: Option<u64>, occurrence: i64, ended: i64) -> Change {
    let outcome = Outcome::Cancelled(Cancelled::DeviceRemoved);
    Change::RunEnded(RunEnded { key, id: run_id(occurrence), outcome, started: None, ended: at(ended), attempts: 0 })
}

fn saved_run(occurrence: i64, steps_done: usize) -> SavedRun {
    let (steps, policy) = (job("open", 0).steps.clone(), Policy { priority: 3, ..Policy::default() });
    SavedRun { id: run_id(occurrence), steps, policy, steps_done, started: (steps_done > 0).then(|| at(9)) }
}

fn run_saved(key: u64, occurrence: i64, steps_done: usize) -> Change {
    Change::RunSaved { key, run: saved_run(occurrence, steps_done) }
}

/// Everything in it that matters, in one order.
fn text_of(saved: &Saved) -> String {
    let mut saved = saved.clone();
    saved.plugins.sort_by_key(|plugin| plugin.key);
    for plugin in &mut saved.plugins {
        plugin.devices.sort_by_key(|device| device.key);
        plugin.devices.iter_mut().for_each(|device| device.jobs.sort_by_key(|job| job.key));
    }
    saved.runs.sort_by_key(|(key, _)| *key);
    saved.tombstones.sort_by_key(|stone| (stone.plugin.clone(), stone.device.clone(), stone.job.clone()));
    format!("{saved:#?}")
}

/// What a crash of the process at this moment would leave.
fn crashed(data: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["roost.db", "roost.db-wal"] {
        if data.join(name).exists() {
            fs::copy(data.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn history(data: &Path) -> Vec<(String, Option<String>)> {
    let connection = Connection::open(data.join("roost.db")).unwrap();
    let mut statement = connection.prepare("SELECT state, reason FROM runs ORDER BY occurrence").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn report(error: &StoreError) -> String {
    Report::from(error).to_string()
}

#[test]
fn an_empty_folder_becomes_an_empty_store() {
    let data = tempfile::tempdir().unwrap();
    let (store, saved) = open(data.path()).unwrap();
    assert!(saved.plugins.is_empty() && saved.runs.is_empty() && saved.tombstones.is_empty());
    drop(store);
    open(data.path()).unwrap();
}

#[test]
fn only_one_host_has_a_folder() {
    let data = tempfile::tempdir().unwrap();
    let held = open(data.path()).unwrap();
    let text = report(&open(data.path()).unwrap_err());
    assert!(text.contains(&format!("is in use by process {}", std::process::id())), "{text}");
    drop(held);
    open(data.path()).unwrap();
}

#[test]
fn an_ended_run_that_is_reported_again_is_one_run() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[run_ended(None, 1, 2)]).unwrap();
    let outcome = Outcome::Failed(Failed { step: 1, attempts: 3, last: Attempt::LinkLost });
    let again = RunEnded { key: None, id: run_id(1), outcome, started: Some(at(2)), ended: at(3), attempts: 3 };
    store.commit(&[Change::RunEnded(again)]).unwrap();
    let reason = "step 1 was given up after 3 attempts: the connection was lost before the broker answered";
    assert_eq!(history(data.path()), [("failed".into(), Some(reason.into()))]);
}

#[test]
fn an_ended_run_keeps_no_steps_and_its_number_is_free() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[run_saved(1, 1, 0), run_ended(Some(1), 1, 2), run_saved(1, 2, 0)]).unwrap();
    drop(store);
    let (store, saved) = open(data.path()).unwrap();
    assert_eq!(saved.runs.len(), 1);
    assert_eq!(saved.runs[0].1.id, run_id(2));
    let kept: i64 =
        store.connection.query_row("SELECT count(*) FROM runs WHERE steps IS NOT NULL", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[test]
fn a_watermark_never_goes_back() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north"), job_saved(1, 1, "open")]).unwrap();
    store.commit(&[Change::JobAdvanced { key: 1, watermark: at(50), due: Some(at(60)) }]).unwrap();
    store.commit(&[job_saved(1, 1, "open")]).unwrap();
    drop(store);
    let (_, saved) = open(data.path()).unwrap();
    let job = &saved.plugins[0].devices[0].jobs[0];
    assert_eq!((job.watermark, job.due), (at(50), Some(at(20))));
}

#[test]
fn old_history_goes_little_by_little() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let old: Vec<_> = (0..10).map(|n| run_ended(None, n, n)).collect();
    store.commit(&old).unwrap();
    let month = 31 * 24 * 60 * 60 * 1_000;
    store.commit(&[run_ended(None, month, month)]).unwrap();
    assert_eq!(history(data.path()).len(), 9);
    let more: Vec<_> = (1..10).map(|n| run_ended(None, month + n, month + n)).collect();
    store.commit(&more).unwrap();
    assert_eq!(history(data.path()).len(), 10);
}

#[tokio::test]
async fn the_thread_commits_in_order_and_closes() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    let (committed, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writer = store.start(committed).unwrap();
    writer.commit(1, vec![plugin_saved(1, "coop")]);
    assert!(matches!(answers.recv().await, Some(Committed::Done(1))));
    writer.commit(2, vec![]);
    assert!(matches!(answers.recv().await, Some(Committed::Done(2))));
    writer.commit(3, vec![device_saved(1, 1, "north")]);
    writer.close();
    assert!(matches!(answers.recv().await, Some(Committed::Done(3))));
    assert!(answers.recv().await.is_none());
    let (_, saved) = open(data.path()).unwrap();
    assert_eq!(saved.plugins[0].devices.len(), 1);
}

#[tokio::test]
async fn after_a_full_disk_nothing_more_is_written() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north")]).unwrap();
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update_and_check(None, "max_page_count", pages + 1, |_| Ok(())).unwrap();
    let (committed, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writer = store.start(committed).unwrap();
    writer.commit(1, (0..1_000).map(|key| job_saved(key, 1, &format!("job-{key}"))).collect());
    let Some(Committed::Failed(error)) = answers.recv().await else { panic!("a commit of more than fits") };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    writer.commit(2, vec![job_saved(1, 1, "small")]);
    writer.close();
    assert!(answers.recv().await.is_none());
    let (_, saved) = open(data.path()).unwrap();
    assert!(saved.plugins[0].devices[0].jobs.is_empty());
}

#[test]
fn a_newer_format_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let before = fs::read(data.path().join("roost.db")).unwrap();
    let text = report(&open(data.path()).unwrap_err());
    assert!(text.contains("format 99"), "{text}");
    assert_eq!(fs::read(data.path().join("roost.db")).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let other = Connection::open(data.path().join("roost.db")).unwrap();
    other.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(other);
    let text = report(&open(data.path()).unwrap_err());
    assert!(text.contains("another program"), "{text}");
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north")]).unwrap();
    store.commit(&(0..500).map(|key| job_saved(key, 1, &format!("job-{key}"))).collect::<Vec<_>>()).unwrap();
    drop(store);
    let path = data.path().join("roost.db");
    let good = fs::read(&path).unwrap();
    let mut scribbled = good.clone();
    let pages = good.len() / 4096;
    for page in pages / 2..pages {
        scribbled[page * 4096..page * 4096 + 64].fill(0xa5);
    }
    for bad in [b"not a database at all, but long enough to have a header".repeat(99), scribbled, good[..8192].into()] {
        fs::write(&path, &bad).unwrap();
        let error = open(data.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(report(&error).contains("hint: put a copy from a backup in its place"), "{}", report(&error));
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
}

#[test]
fn a_row_that_cannot_be_is_named() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(7, "coop")]).unwrap();
    store.connection.execute("UPDATE plugins SET name = 'No Name'", []).unwrap();
    drop(store);
    let text = report(&open(data.path()).unwrap_err());
    assert!(text.contains("in table `plugins`, row 7: `No Name` is not a plugin name"), "{text}");
}

#[test]
fn a_file_is_not_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    fs::write(&path, "").unwrap();
    let text = report(&open(&path).unwrap_err());
    assert!(text.ends_with("hint: name a folder with `--data DIR`; it is made if it does not exist"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // Not even root can make a file there.
    let text = report(&open(Path::new("/proc/self/fdinfo")).unwrap_err());
    assert!(text.contains("cannot lock the data folder by `/proc/self/fdinfo/lock`"), "{text}");
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
    let error = StoreError::from_sqlite(Path::new("data/roost.db"), rusqlite::Error::SqliteFailure(error, None));
    assert!(report(&error).starts_with("`data/roost.db` cannot be written"), "{}", report(&error));
}

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
struct Model(Saved);

impl Model {
    fn plugin(&mut self, slot: usize) -> Option<&mut SavedPlugin> {
        self.0.plugins.iter_mut().find(|plugin| plugin.key == slot as u32)
    }

    fn device(&mut self, slot: usize) -> Option<&mut SavedDevice> {
        self.0.plugins.iter_mut().flat_map(|plugin| &mut plugin.devices).find(|device| device.key == slot as u32)
    }

    fn job(&mut self, slot: usize) -> Option<&mut SavedJob> {
        let devices = self.0.plugins.iter_mut().flat_map(|plugin| &mut plugin.devices);
        devices.flat_map(|device| &mut device.jobs).find(|job| job.key == slot as u32)
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
                let jobs = vec![];
                owner.devices.push(SavedDevice {
                    key,
                    name: name.clone(),
                    site,
                    replan_at,
                    error: error.clone(),
                    jobs,
                });
                Some(Change::DeviceSaved { key, plugin: plugin as u32, name, site, replan_at, error })
            }
            Act::RemoveDevice { slot } => {
                self.device(slot).filter(|device| device.jobs.is_empty())?;
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
                let taken = self.job(slot).is_some();
                let device = self.device(device)?;
                let number = device.key;
                match device.jobs.iter_mut().find(|job| job.key == key) {
                    Some(saved) => {
                        (saved.job, saved.due) = (job.clone(), due);
                        saved.watermark = saved.watermark.max(at(watermark));
                    }
                    None if taken => return None,
                    None => device.jobs.push(SavedJob { key, job: job.clone(), watermark: at(watermark), due }),
                }
                Some(Change::JobSaved { key, device: number, job, watermark: at(watermark), due })
            }
            Act::AdvanceJob { slot, watermark, due } => {
                let saved = self.job(slot)?;
                (saved.watermark, saved.due) = (saved.watermark.max(at(watermark)), due.map(at));
                Some(Change::JobAdvanced { key: slot as u32, watermark: at(watermark), due: due.map(at) })
            }
            Act::RemoveJob { slot } => {
                let key = slot as u32;
                let (plugin, device, job) = self.0.plugins.iter().find_map(|plugin| {
                    plugin.devices.iter().find_map(|device| {
                        let job = device.jobs.iter().find(|job| job.key == key)?;
                        Some((plugin.name.clone(), device.name.clone(), job.clone()))
                    })
                })?;
                let of_device = |d: &mut SavedDevice| d.jobs.retain(|job| job.key != key);
                self.0.plugins.iter_mut().flat_map(|plugin| &mut plugin.devices).for_each(of_device);
                let stone = Tombstone { plugin, device, job: job.job.id.clone(), watermark: job.watermark };
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
                (run.steps_done, run.started) = (done, Some(at(9)));
                Some(Change::RunAdvanced { key: slot, steps_done: done, started: Some(at(9)) })
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
                let (_, saved) = open(copy.path()).unwrap();
                prop_assert_eq!(text_of(&saved), text_of(&model.0));
            }
        }
        drop(store);
        let (_, saved) = open(data.path()).unwrap();
        prop_assert_eq!(text_of(&saved), text_of(&model.0));
    }
}
