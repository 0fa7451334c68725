//! Tests of the store.

mod backups;
mod crashes;
mod formats;
mod history;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use expect_test::expect;
use roost_scheduler::{
    body::{Body, PackedJob},
    event::{Change, Digest, Progress, RunEnded, Saved, SavedDevice, SavedJob, SavedRun, Version},
    model::{Confirm, Matches, Message, Misfire, Overlap, Policy, Qos, Retry, Step},
    names::{DeviceName, GroupName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{Attempt, Cancelled, Failed, Late, Outcome},
    time::{Instant, Location, Site},
    topic::Topic,
    trigger::{self, Context, CronCache, Trigger},
    zone::Zone,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    queries::{RunCursor, RunFilter, RunView},
    *,
};
use crate::{
    report::Report,
    store::{Committed, Engine, Store},
    zones::zone,
};

fn at(millis: i64) -> Instant {
    Instant::from_millis(millis).unwrap()
}

fn open(data: &Path) -> Result<(Database, Saved), StoreError> {
    Database::open(data, Retention::default())
}

/// Returns the store of a database.
fn whole(database: Database) -> Store {
    Store { engine: Engine::Sqlite(database.into()), last_outcomes: LastOutcomes::default() }
}

fn step(after_ms: u32, payload: &[u8]) -> Step {
    let topic = Topic::parse("coop/north/door").unwrap();
    let message =
        Message { topic, payload: payload.into(), qos: Qos::AtLeastOnce, retain: after_ms > 0, properties: None };
    Step { after_ms, message, once: false, confirm: None }
}

fn job(id: &str, variant: u32) -> PackedJob {
    let label = variant.is_multiple_of(2).then(|| format!("Variant {variant}"));
    let body = Body::new(&JobId::parse(id).unwrap(), label.as_deref(), &policy(variant), &steps(variant));
    PackedJob { trigger: trigger(variant), body }
}

/// Variant 0 is the default policy.
fn policy(variant: u32) -> Policy {
    let group = GroupName::parse("door").unwrap();
    Policy {
        misfire: [Misfire::RunOnce, Misfire::RunAll, Misfire::LatestOfGroup(group)][variant as usize % 3].clone(),
        overlap: [Overlap::Skip, Overlap::Queue(variant), Overlap::Allow(2), Overlap::Replace][variant as usize % 4],
        jitter_ms: variant % 3,
        priority: (variant % 7) as i8,
        needs: (variant % 5 == 1).then(|| ResourceName::parse("pump").unwrap()),
        retry: Retry { attempts: (variant % 4 == 2).then_some(variant), ..Retry::default() },
        ..Policy::default()
    }
}

fn steps(variant: u32) -> [Step; 2] {
    let confirm = |matches| {
        let topic = Topic::parse("coop/north/door/state").unwrap();
        Some(Arc::new(Confirm { topic, matches, within_ms: 1 + variant, already: variant.is_multiple_of(2) }))
    };
    let pointer = "/door".to_owned();
    let first = match variant % 6 {
        1 => confirm(Matches::Any),
        2 => confirm(Matches::Bytes(b"OPEN".as_slice().into())),
        3 => confirm(Matches::Bytes([0xff, 0x00].as_slice().into())),
        4 => confirm(Matches::Json { pointer, value: "[1.0,null]".into() }),
        5 => confirm(Matches::JsonRange { pointer, min: -0.1, max: 1e300 }),
        _ => None,
    };
    let last = Step { once: variant.is_multiple_of(4) && variant > 0, ..step(600_000 + variant, &[0xff]) };
    [Step { confirm: first, once: variant % 4 == 1, ..step(0, b"open") }, last]
}

fn trigger(variant: u32) -> Trigger {
    let texts = [
        "at 2027-03-01T06:30:00.007Z",
        "every 1h30m from 2027-03-01T06:30:00Z",
        "cron 30 6 * * MON-FRI in Europe/London",
        "cron @daily",
        "sunset -20m not-before 17:00 not-after 21:30 else 20:00",
    ];
    trigger::parse(texts[variant as usize % texts.len()], &Context::at(Instant::MIN), &mut CronCache::default())
        .unwrap()
}

fn version(n: u8) -> Version {
    Version { component: Digest([n; 32]), settings: Digest([n + 1; 32]) }
}

fn site(n: u32) -> Site {
    let location = n.is_multiple_of(2).then(|| Location::new(51.123_456_789_012_3, -0.1 - f64::from(n)).unwrap());
    Site { zone: if n.is_multiple_of(3) { Zone::UTC } else { zone("Europe/London") }, location }
}

fn plugin_saved(key: u32, name: &str) -> Change {
    Change::PluginSaved { key, name: PluginName::parse(name).unwrap(), version: version(1) }
}

fn device_saved(key: u32, plugin: u32, name: &str) -> Change {
    let name = DeviceName::parse(name).unwrap();
    Change::DeviceSaved(SavedDevice { key, plugin, name, site: site(0), replan_at: at(5), error: None })
}

fn job_saved(key: u32, device: u32, id: &str) -> Change {
    Change::JobSaved(SavedJob { key, device, job: job(id, 0), watermark: at(10), due: Some(at(20)), decided: at(0) })
}

fn run_id(occurrence: i64) -> RunId {
    RunId {
        plugin: PluginName::parse("coop").unwrap(),
        device: DeviceName::parse("north").unwrap(),
        job: JobId::parse("open").unwrap(),
        occurrence: at(occurrence),
        origin: Origin::Trigger,
    }
}

fn run_ended(key: Option<u64>, occurrence: i64, ended: i64) -> Change {
    let (id, outcome) = (run_id(occurrence), Outcome::Cancelled(Cancelled::DeviceRemoved));
    Change::RunEnded(RunEnded {
        key,
        id,
        outcome,
        body: None,
        started: None,
        ended: at(ended),
        attempts: 0,
        note: None,
    })
}

fn run_failed(id: RunId, variant: u32) -> Change {
    let outcome = Outcome::Failed(failed(variant));
    let body = Some(Body::new(&id.job, None, &policy(variant), &steps(variant)));
    Change::RunEnded(RunEnded {
        key: None,
        id,
        outcome,
        body,
        started: Some(at(2)),
        ended: at(3),
        attempts: 3,
        note: Some("dry".into()),
    })
}

fn failed(variant: u32) -> Failed {
    let last = match variant % 8 {
        0 => Attempt::LinkLost,
        6 => Attempt::HostStopped,
        1 => Attempt::Refused("no \"right\"".into()),
        2 => Attempt::Overtaken,
        3 => Attempt::PossiblySent,
        4 => Attempt::NoReport { within_ms: variant, last_report: None },
        7 => Attempt::Unanswered("trap".into()),
        _ => Attempt::NoReport { within_ms: variant, last_report: Some("OPENING\u{1}".into()) },
    };
    Failed { step: 1, attempts: 3, last }
}

fn progress(variant: u32) -> Progress {
    let by = at(variant.into());
    Progress {
        steps_done: variant as usize % 2,
        attempts: variant % 4,
        armed: variant % 4 == 1,
        started: (!variant.is_multiple_of(3)).then(|| at(9)),
        failed: (variant % 7 < 6).then(|| failed(variant)),
        cancelled: match variant % 6 {
            0 => Some(Cancelled::DeviceRemoved),
            1 => Some(Cancelled::PluginRemoved),
            2 => Some(Cancelled::Replaced { by }),
            3 => Some(Cancelled::NewerOfGroup { job: JobId::parse("close").unwrap(), by }),
            4 if variant.is_multiple_of(4) => Some(Cancelled::Abandoned),
            4 => Some(Cancelled::Restored),
            _ => None,
        },
        late: variant.is_multiple_of(5).then(|| Late { step: 2, late_ms: i64::from(variant) << 32 }),
        note: (variant % 3 == 1).then(|| "dry".into()),
        no_subscriber: (variant % 7 == 3).then_some(2),
        put_off_until: (variant % 5 == 2).then_some(by),
    }
}

fn saved_run(id: RunId, variant: u32) -> SavedRun {
    let label = variant.is_multiple_of(3).then(|| format!("Run {variant}"));
    let body = Body::new(&id.job, label.as_deref(), &policy(variant), &steps(variant));
    SavedRun { id, body, start: at(8), progress: progress(variant) }
}

fn run_saved(key: u64, occurrence: i64, variant: u32) -> Change {
    Change::RunSaved { key, run: Box::new(saved_run(run_id(occurrence), variant)) }
}

fn jobs_in(data: &Path) -> Vec<SavedJob> {
    open(data).unwrap().0.jobs(|jobs| jobs.collect()).unwrap()
}

/// Returns the stored state as text, in a fixed order.
fn text_of(saved: &Saved, jobs: &[SavedJob]) -> String {
    let (mut saved, mut jobs) = (saved.clone(), jobs.to_vec());
    jobs.sort_by_key(|job| job.key);
    saved.plugins.sort_by_key(|plugin| plugin.key);
    for plugin in &mut saved.plugins {
        plugin.devices.sort_by_key(|device| device.key);
    }
    saved.runs.sort_by_key(|(key, _)| *key);
    saved.tombstones.sort_by_key(|stone| stone.name.clone());
    saved.pauses.sort_by_key(|(scope, _)| *scope);
    format!("{saved:#?}\n{jobs:#?}")
}

/// Copies the files that a crash of the process at this moment would leave.
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

/// Returns the report of an error, redacted.
fn report(error: &StoreError) -> String {
    roost_tests::redact(&Report::from(error).to_string())
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
fn the_database_is_readable_for_its_owner_alone() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop")]).unwrap();
    for name in ["roost.db", "roost.db-wal", "roost.db-shm"] {
        let mode = fs::metadata(data.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn only_one_host_can_use_a_data_folder() {
    let data = tempfile::tempdir().unwrap();
    let held = open(data.path()).unwrap();
    let report = Report::from(&open(data.path()).unwrap_err());
    let (folder, process) = (data.path().display(), std::process::id());
    assert_eq!(report.what, format!("the data folder `{folder}` is in use by process {process}"));
    drop(held);
    open(data.path()).unwrap();
}

#[test]
fn an_ended_run_that_is_reported_again_is_one_run() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[run_ended(None, 1, 2)]).unwrap();
    store.commit(&[run_failed(run_id(1), 0)]).unwrap();
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
fn only_failed_runs_keep_their_steps() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let replayed = RunId { origin: Origin::Replay { at: at(7), series: 0 }, ..run_id(1) };
    store.commit(&[run_failed(run_id(1), 5), run_failed(replayed.clone(), 7), run_saved(1, 2, 3)]).unwrap();
    store.commit(&[run_ended(None, 3, 3)]).unwrap();
    for (id, variant) in [(run_id(1), 5), (replayed, 7)] {
        assert_eq!(dead_letter(data.path(), &id).unwrap(), saved_run(id, variant).body);
    }
    let reports = [9, 2, 3]
        .map(|occurrence| Report::from(&dead_letter(data.path(), &run_id(occurrence)).unwrap_err()).to_string());
    expect![[r#"
        there is no run `coop/north/open/1970-01-01T00:00:00.009Z`
        hint: `roost runs --failed` shows those that can be replayed
        the run `coop/north/open/1970-01-01T00:00:00.002Z` has not ended
        hint: it continues by itself; `roost runs --state running` shows its progress, `roost abandon coop/north/open/1970-01-01T00:00:00.002Z` ends it
        the run `coop/north/open/1970-01-01T00:00:00.003Z` has not failed: its state is `cancelled`
        hint: `roost runs --failed` shows those that can be replayed"#]].assert_eq(&reports.join("\n"));
}

#[test]
fn a_plan_moves_no_watermark_back() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north"), job_saved(1, 1, "open")]).unwrap();
    store.commit(&[Change::JobAdvanced { key: 1, watermark: at(50), due: Some(at(60)), decided: at(0) }]).unwrap();
    store.commit(&[job_saved(1, 1, "open")]).unwrap();
    drop(store);
    let job = &jobs_in(data.path())[0];
    assert_eq!((job.watermark, job.due), (at(50), Some(at(20))));
}

#[tokio::test]
async fn the_thread_commits_in_order_until_it_is_closed() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    let (committed, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writer = whole(store).start(committed).unwrap();
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

#[test]
fn a_commit_waits_for_another_programs_transaction_and_then_reports_it() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    let other = Connection::open(data.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let text = report(&store.commit(&[plugin_saved(1, "coop")]).unwrap_err());
    expect![[r#"
        another program holds a transaction open in `[FOLDER]/roost.db`
        hint: end it, and try again: nothing was changed since the last commit; to look at the database, use `sqlite3 -readonly`"#]].assert_eq(&text);
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(limits::BUSY_TIMEOUT / 4);
            other.execute_batch("COMMIT").unwrap();
        });
        store.commit(&[plugin_saved(1, "coop")]).unwrap();
    });
}

#[test]
fn a_database_that_was_deleted_or_replaced_is_written_no_more() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join(DATABASE);
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop")]).unwrap();
    fs::rename(&path, data.path().join("away")).unwrap();
    let text = report(&store.commit(&[plugin_saved(1, "coop")]).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` is no longer the database that this Roost writes: it was deleted or moved away
        hint: if it was moved, move it back, with its `-wal`, and start Roost again; otherwise Roost continues with the database at `[FOLDER]/roost.db`, or with a copy that `roost restore` puts there first"#]].assert_eq(&text);
    fs::write(&path, "").unwrap();
    let text = report(&store.commit(&[plugin_saved(1, "coop")]).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` is no longer the database that this Roost writes: another file was put in its place
        hint: if it was moved, move it back, with its `-wal`, and start Roost again; otherwise Roost continues with the database at `[FOLDER]/roost.db`, or with a copy that `roost restore` puts there first"#]].assert_eq(&text);
    fs::rename(data.path().join("away"), &path).unwrap();
    store.commit(&[plugin_saved(1, "coop")]).unwrap();
}

#[tokio::test]
async fn after_a_full_disk_nothing_more_is_written() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north")]).unwrap();
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update_and_check(None, "max_page_count", pages + 1, |_| Ok(())).unwrap();
    let (committed, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let writer = whole(store).start(committed).unwrap();
    writer.commit(1, (0..1_000).map(|key| job_saved(key, 1, &format!("job-{key}"))).collect());
    let Some(Committed::Failed(error)) = answers.recv().await else { panic!("a commit of more than fits") };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    writer.commit(2, vec![job_saved(1, 1, "small")]);
    writer.close();
    assert!(answers.recv().await.is_none());
    assert!(jobs_in(data.path()).is_empty());
}
