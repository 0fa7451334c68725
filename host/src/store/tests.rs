//! What the store promises, one sentence each.

mod crashes;

use std::{fs, path::Path};

use roost_scheduler::{
    body::{Body, PackedJob},
    event::{Change, Digest, RunEnded, Saved, SavedJob, SavedRun, Version},
    model::{Message, Policy, Qos, Step},
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::{Attempt, Cancelled, Failed, Outcome},
    time::{Instant, Location, Site},
    topic::Topic,
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

fn job(id: &str, variant: u32) -> PackedJob {
    let label = variant.is_multiple_of(2).then(|| format!("Variant {variant}"));
    let policy = Policy { jitter_ms: variant % 3, ..Policy::default() };
    let body = Body::new(&JobId::parse(id).unwrap(), label.as_deref(), &policy, &steps(variant));
    PackedJob { trigger: trigger(variant), body }
}

fn steps(variant: u32) -> [Step; 2] {
    [step(0, b"open"), step(600_000 + variant, &[0xff])]
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
    Change::JobSaved(SavedJob { key, device, job: job(id, 0), watermark: at(10), due: Some(at(20)) })
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
    let body = Body::new(&run_id(occurrence).job, None, &Policy { priority: 3, ..Policy::default() }, &steps(0));
    let last = Attempt::Refused("no \"right\"".into());
    let failed = (steps_done > 1).then_some(Failed { step: 1, attempts: 2, last });
    SavedRun {
        id: run_id(occurrence),
        body,
        start: at(8),
        steps_done,
        started: (steps_done > 0).then(|| at(9)),
        failed,
    }
}

fn run_saved(key: u64, occurrence: i64, steps_done: usize) -> Change {
    Change::RunSaved { key, run: saved_run(occurrence, steps_done) }
}

fn jobs_in(data: &Path) -> Vec<SavedJob> {
    open(data).unwrap().0.jobs(|jobs| jobs.collect()).unwrap()
}

/// Everything in it that matters, in one order.
fn text_of(saved: &Saved, jobs: &[SavedJob]) -> String {
    let (mut saved, mut jobs) = (saved.clone(), jobs.to_vec());
    jobs.sort_by_key(|job| job.key);
    saved.plugins.sort_by_key(|plugin| plugin.key);
    for plugin in &mut saved.plugins {
        plugin.devices.sort_by_key(|device| device.key);
    }
    saved.runs.sort_by_key(|(key, _)| *key);
    saved.tombstones.sort_by_key(|stone| (stone.plugin.clone(), stone.device.clone(), stone.job.clone()));
    format!("{saved:#?}\n{jobs:#?}")
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
    let job = &jobs_in(data.path())[0];
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

#[test]
fn an_old_occurrence_that_has_just_ended_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let month = 31 * 24 * 60 * 60 * 1_000;
    store.commit(&[run_ended(None, 1, month), run_ended(None, 2, 2), run_ended(None, month, month)]).unwrap();
    assert_eq!(history(data.path()).len(), 2);
    let (first, last): (i64, i64) = store
        .connection
        .query_row("SELECT min(occurrence), max(occurrence) FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((first, last), (1, month));
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
    assert!(jobs_in(data.path()).is_empty());
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
        let read = open(data.path()).and_then(|(mut store, _)| store.jobs(|jobs| jobs.count()));
        let error = read.unwrap_err();
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
