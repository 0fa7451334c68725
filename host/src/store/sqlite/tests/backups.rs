//! Backups, and restoring them.

#![allow(clippy::too_many_lines, reason = "snapshots are in their tests")]

use expect_test::expect;
use roost_scheduler::{
    body::Body,
    event::{Progress, SavedRun, Tombstone},
    model::Step,
    names::{JobId, RunId},
};

use super::*;

/// The time at which copies are restored.
const NOW: i64 = 1_000_000;

/// Returns a run with steps of (`after_ms`, `once`), of which `steps_done` are done.
fn under_way(key: u64, steps: &[(u32, bool)], steps_done: usize, armed: bool, started: Option<i64>) -> Change {
    let id = run_id(key as i64);
    let steps: Vec<Step> = steps.iter().map(|&(after_ms, once)| Step { once, ..step(after_ms, b"") }).collect();
    let body = Body::new(&id.job, None, &policy(3), &steps);
    let attempts = started.map_or(0, |_| 1);
    let progress = Progress { steps_done, attempts, armed, started: started.map(at), ..Progress::default() };
    Change::RunSaved { key, run: Box::new(SavedRun { id, body, start: at(8), progress }) }
}

/// Returns a data folder with a job and these runs, and a backup of it.
fn copied(runs: &[Change]) -> (TempDir, PathBuf) {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(1, "coop"), device_saved(1, 1, "north"), job_saved(1, 1, "open")]).unwrap();
    store.commit(runs).unwrap();
    let copy = data.path().join("a copy?%.db");
    back_up(data.path(), &copy).unwrap();
    (data, copy)
}

fn restored(data: &Path, copy: &Path) -> Restored {
    restore(data, copy, at(NOW)).unwrap_or_else(|error| panic!("{}", report(&error)))
}

#[test]
fn a_backup_is_complete_and_readable_for_its_owner_alone() {
    let (data, copy) = copied(&[run_saved(1, 1, 1), run_ended(None, 2, 2)]);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(&copy, elsewhere.path().join(DATABASE)).unwrap();
    let content = |data: &Path| {
        let (mut store, saved) = open(data).unwrap();
        let jobs: Vec<_> = store.jobs(|jobs| jobs.collect()).unwrap();
        text_of(&saved, &jobs)
    };
    let before = content(data.path());
    assert_eq!(content(elsewhere.path()), before);
    // The same without a host, and no trace of it.
    let again = elsewhere.path().join("again");
    back_up(data.path(), &again).unwrap();
    assert_eq!(fs::read(&again).unwrap(), fs::read(&copy).unwrap());
    assert!(!data.path().join("roost.db-wal").exists());
    let text = report(&back_up(data.path(), &again).unwrap_err());
    expect![[r#"
        `[FOLDER]/again` already exists
        hint: name a file that does not exist: nothing is overwritten"#]]
    .assert_eq(&text);
    let text = report(&back_up(data.path(), &elsewhere.path().join("no/where")).unwrap_err());
    expect![[r#"
        `[FOLDER]/no/where` cannot be written
          caused by: No such file or directory (os error 2)
        hint: nothing was changed: there must be as much space as the database takes, in a folder that you can write"#]]
    .assert_eq(&text);
    assert!(!elsewhere.path().join("no").exists());
    assert_eq!(content(data.path()), before);
}

#[test]
fn files_beside_a_backup_are_left_alone() {
    let (data, _) = copied(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy");
    let theirs = ["copy.new".to_owned(), format!("copy.new-{}", std::process::id())];
    theirs.iter().for_each(|name| fs::write(elsewhere.path().join(name), "theirs").unwrap());
    let untouched = |count: usize| {
        theirs.iter().all(|name| fs::read(elsewhere.path().join(name)).is_ok_and(|bytes| bytes == b"theirs"))
            && fs::read_dir(elsewhere.path()).unwrap().count() == count
    };
    let path = data.path().join(DATABASE);
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() - 4096]).unwrap();
    let text = report(&back_up(data.path(), &copy).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` is damaged
          caused by: database disk image is malformed
        hint: put a copy from a backup in its place; or move `[FOLDER]/roost.db` and `[FOLDER]/roost.db-wal` away: plugins are then planned again, and the owed steps of runs that had started are lost"#]].assert_eq(&text);
    assert!(untouched(2));
    fs::write(&path, &good).unwrap();
    back_up(data.path(), &copy).unwrap();
    assert!(copy.exists() && untouched(3));
}

#[test]
fn occurrences_before_a_restore_count_as_decided() {
    let (data, copy) = copied(&[]);
    let done = restored(data.path(), &copy);
    assert_eq!((done.jobs, done.ended, done.owed.len()), (1, 0, 0));
    let job = &jobs_in(data.path())[0];
    assert_eq!((job.watermark, job.due), (at(NOW), None));
    // I13: the occurrence that was due next has an end.
    let ends = runs(data.path(), &RunFilter { limit: 9, ..RunFilter::default() }).unwrap();
    let ends: Vec<_> = ends.iter().map(|run| (run.id.to_string(), run.state.as_str(), run.reason.as_deref())).collect();
    let id = "coop/north/open/1970-01-01T00:00:00.020Z".to_owned();
    assert_eq!(
        ends,
        [(
            id,
            "cancelled",
            Some(
                "the database was restored from a backup that was made before the run ended; its messages may have been sent"
            )
        )]
    );
    // A watermark that is ahead stays there.
    restore(data.path(), &done.kept.unwrap(), at(5)).unwrap();
    assert_eq!(jobs_in(data.path())[0].watermark, at(10));
}

#[test]
fn a_restore_leaves_only_owed_steps() {
    let late = (NOW + 1) as u32;
    let (data, copy) = copied(&[
        under_way(1, &[(0, false), (5, false)], 0, false, None),
        under_way(2, &[(0, false)], 0, false, Some(9)),
        under_way(3, &[(0, false), (5, false), (6, false)], 1, false, Some(9)),
        under_way(4, &[(0, false), (5, false)], 0, false, Some(9)),
        under_way(5, &[(0, true), (5, false)], 0, true, Some(9)),
        // A step marked `once` that was armed, or was due since, may have been sent.
        under_way(6, &[(0, false), (late, true), (late, false)], 1, true, Some(9)),
        under_way(7, &[(0, false), (5, false), (6, true), (late, true)], 1, false, Some(9)),
        under_way(8, &[(0, false), (5, true)], 1, false, Some(9)),
    ]);
    let done = restored(data.path(), &copy);
    assert_eq!((done.owed.len(), done.ended), (5, 3));
    let states = history(data.path()).into_iter().map(|(state, reason)| state + " " + &reason.unwrap_or_default());
    let possibly = "failed step 2 was possibly sent, and is not to be repeated";
    let cancelled = "cancelled the database was restored from a backup that was made before the run ended; its messages may have been sent";
    let running = "running ";
    assert_eq!(
        states.collect::<Vec<_>>(),
        [cancelled, cancelled, running, running, running, running, running, possibly, cancelled],
        "and the job's next occurrence"
    );
    let (_, saved) = open(data.path()).unwrap();
    let left = |key: u64| {
        let (_, run) = saved.runs.iter().find(|(known, _)| *known == key).unwrap();
        let steps: Vec<_> = run.body.steps().map(|step| step.after_ms).collect();
        assert_eq!((run.body.policy(), run.progress.started, run.progress.armed), (policy(3), Some(at(9)), false));
        assert_eq!(run.progress.attempts, 0, "I5: an owed step marked `once` has not been tried");
        (steps, run.progress.steps_done, run.progress.failed.clone().map(|failed| failed.step))
    };
    assert_eq!(left(3), (vec![0, 5, 6], 1, None));
    assert_eq!(left(4), (vec![0, 5], 1, Some(1)));
    assert_eq!(left(5), (vec![0, 5], 1, Some(1)));
    assert_eq!(left(6), (vec![0, late], 1, Some(2)));
    assert_eq!(left(7), (vec![0, 5, late], 1, Some(3)));
    assert_eq!(dead_letter(data.path(), &run_id(8)).unwrap().step_count(), 2);
}

#[test]
fn a_restore_keeps_the_old_database_and_reports_its_owed_runs() {
    let (data, copy) = copied(&[under_way(1, &[(0, false), (5, false)], 1, false, Some(9))]);
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[Change::SeriesBegun(7), under_way(2, &[(0, false), (5, false)], 1, false, Some(9))]).unwrap();
    // As after a crash: with a log.
    let crashed = crashed(data.path());
    drop(store);
    let done = restored(crashed.path(), &copy);
    assert_eq!((done.owed, done.forgotten), (vec![run_id(1)], vec![run_id(2)]));
    let mut files: Vec<_> = fs::read_dir(crashed.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["lock", "roost.db", "roost.db.before-restore"]);
    // No series is begun twice.
    assert_eq!(open(crashed.path()).unwrap().1.series, 7);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(crashed.path().join("roost.db.before-restore"), elsewhere.path().join(DATABASE)).unwrap();
    assert_eq!(open(elsewhere.path()).unwrap().1.runs.len(), 2);
}

#[test]
fn jobs_that_the_backup_lacks_count_as_decided() {
    let (data, copy) = copied(&[]);
    let (mut store, _) = open(data.path()).unwrap();
    let RunId { plugin, device, .. } = run_id(0);
    let stone = |job: &str, watermark| {
        let job = JobId::parse(job).unwrap();
        Tombstone { name: (plugin.clone(), device.clone(), job), watermark: at(watermark) }
    };
    let gone = Change::JobRemoved { key: 2, tombstone: Some(stone("gone", NOW + 1)) };
    store.commit(&[job_saved(2, 1, "gone"), gone, job_saved(3, 1, "late")]).unwrap();
    drop(store);
    restored(data.path(), &copy);
    let (_, mut saved) = open(data.path()).unwrap();
    saved.tombstones.sort_by_key(|stone| stone.name.clone());
    assert_eq!(saved.tombstones, [stone("gone", NOW + 1), stone("late", NOW)]);
    assert_eq!(jobs_in(data.path()).len(), 1);
}

#[test]
fn a_backup_of_the_first_format_is_migrated() {
    let (data, _) = copied(&[]);
    let old = tempfile::tempdir().unwrap();
    drop(formats::format_1(old.path()));
    let copy = old.path().join("copy");
    back_up(old.path(), &copy).unwrap();
    restored(data.path(), &copy);
    assert!(open(data.path()).unwrap().1.plugins.is_empty());
}

#[test]
fn a_damaged_database_is_replaced_with_its_log() {
    let (data, copy) = copied(&[]);
    let path = data.path().join(DATABASE);
    fs::write(&path, b"not a database at all, but long enough to have a header".repeat(99)).unwrap();
    fs::write(data.path().join("roost.db-wal"), "its log").unwrap();
    restored(data.path(), &copy);
    assert_eq!(jobs_in(data.path()).len(), 1);
    assert!(fs::read(data.path().join("roost.db.before-restore")).unwrap().starts_with(b"not a database"));
    assert_eq!(fs::read(data.path().join("roost.db.before-restore-wal")).unwrap(), b"its log");
    // The next one gets a name of its own.
    let second = restored(data.path(), &copy).kept.unwrap();
    assert_eq!(second, data.path().join("roost.db.before-restore-2"));
    // It can be restored in turn, repeatedly.
    restored(data.path(), &second);
    restored(data.path(), &second);
    assert!(second.exists() && data.path().join("roost.db.before-restore-4").exists());
    let left = data.path().join("roost.db.restoring");
    fs::copy(&copy, &left).unwrap();
    let text = report(&restore(data.path(), &left, at(NOW)).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db.restoring` cannot be restored
          caused by: `[FOLDER]/roost.db.restoring` was left by an interrupted restore
        hint: nothing was changed: name a file that `roost backup` has written"#]]
    .assert_eq(&text);
    assert!(left.exists());
    // A missing database is made.
    let root = tempfile::tempdir().unwrap();
    assert!(restored(&root.path().join("var/data"), &copy).kept.is_none());
    assert_eq!(jobs_in(&root.path().join("var/data")).len(), 1);
}

#[test]
fn an_invalid_backup_changes_nothing() {
    let (data, copy) = copied(&[run_saved(1, 40, 4), run_ended(None, 20, 21)]);
    let good = fs::read(&copy).unwrap();
    let mut scribbled = good.clone();
    scribbled[2 * 4096..3 * 4096].fill(0xa5);
    let changed = |sql: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &good).unwrap();
        Connection::open(file.path()).unwrap().execute_batch(sql).unwrap();
        fs::read(file.path()).unwrap()
    };
    let before = fs::read(data.path().join(DATABASE)).unwrap();
    let bad = data.path().join("bad");
    let mut refusals = String::new();
    let mut refused = |what: &str, copy: &Path| {
        let text = report(&restore(data.path(), copy, at(NOW)).unwrap_err());
        refusals += &format!("{what}:\n{text}\n");
    };
    for sql in [
        "UPDATE jobs SET trigger = 'nonsense'",
        "DROP TABLE tombstones",
        "DROP INDEX runs_failed",
        "CREATE TRIGGER theirs AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END",
        "UPDATE jobs SET id = -1",
        "UPDATE jobs SET id = 9e15",
        "UPDATE devices SET id = 4000000000; UPDATE jobs SET device = 4000000000",
        "INSERT INTO jobs SELECT 7, device, job, label, trigger, steps, policy, 1, 1, 1 FROM jobs",
        "UPDATE runs SET ended = 9e18 WHERE state <> 'running'",
        "UPDATE runs SET attempts = -1 WHERE state <> 'running'",
        "UPDATE runs SET number = NULL WHERE state = 'running'",
        "DELETE FROM clock",
        "UPDATE clock SET series = -1",
        "PRAGMA user_version = 1",
    ] {
        fs::write(&bad, changed(sql)).unwrap();
        refused(sql, &bad);
    }
    for (what, bytes) in [
        ("bytes were overwritten", scribbled),
        ("the end is missing", good[..good.len() - 4096].into()),
        ("an empty file", Vec::new()),
        ("text", b"text".repeat(999)),
    ] {
        fs::write(&bad, bytes).unwrap();
        refused(what, &bad);
    }
    refused("a folder", data.path());
    refused("a device", Path::new("/dev/null"));
    refused("nothing", &data.path().join("none"));
    let held = open(data.path()).unwrap();
    refused("a host is running", &copy);
    drop(held);
    assert_eq!(fs::read(data.path().join(DATABASE)).unwrap(), before);
    assert!(!data.path().join("roost.db.restoring").exists());
    // Another program's database is not replaced either.
    fs::remove_file(data.path().join(DATABASE)).unwrap();
    Connection::open(data.path().join(DATABASE)).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    refused("the data folder has a database of another program", &copy);
    expect![[r#"
        UPDATE jobs SET trigger = 'nonsense':
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `jobs`, row 1: `nonsense` is not a trigger: it begins with `nonsense`
        hint: nothing was changed: name a file that `roost backup` has written
        DROP TABLE tombstones:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` was not made by Roost: index `tombstones_watermark` differs
        hint: nothing was changed: name a file that `roost backup` has written
        DROP INDEX runs_failed:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` was not made by Roost: index `runs_failed` differs
        hint: nothing was changed: name a file that `roost backup` has written
        CREATE TRIGGER theirs AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` was not made by Roost: trigger `theirs` differs
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE jobs SET id = -1:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `jobs`, row -1: that is not a number that Roost assigns
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE jobs SET id = 9e15:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `jobs`, row 9000000000000000: that is not a number that Roost assigns
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE devices SET id = 4000000000; UPDATE jobs SET device = 4000000000:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `devices`, row 4000000000: that is not a number that Roost assigns
        hint: nothing was changed: name a file that `roost backup` has written
        INSERT INTO jobs SELECT 7, device, job, label, trigger, steps, policy, 1, 1, 1 FROM jobs:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `jobs`, row 7: its device has another job of that name
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE runs SET ended = 9e18 WHERE state <> 'running':
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `runs`, row 2: 9000000000000000000 is not an instant
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE runs SET attempts = -1 WHERE state <> 'running':
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `runs`, row 2: -1 is out of range
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE runs SET number = NULL WHERE state = 'running':
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: in table `runs`, row 1: it has neither ended nor is it under way
        hint: nothing was changed: name a file that `roost backup` has written
        DELETE FROM clock:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: Query returned no rows
        hint: nothing was changed: name a file that `roost backup` has written
        UPDATE clock SET series = -1:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: Integer -1 out of range at index 0
        hint: nothing was changed: name a file that `roost backup` has written
        PRAGMA user_version = 1:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` was not made by Roost: index `runs_again` differs
        hint: nothing was changed: name a file that `roost backup` has written
        bytes were overwritten:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: *** in database main ***
            Tree 5 page 5: btreeInitPage() returns error code 11
        hint: nothing was changed: name a file that `roost backup` has written
        the end is missing:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: database disk image is malformed
        hint: nothing was changed: name a file that `roost backup` has written
        an empty file:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is a database of another program
        hint: nothing was changed: name a file that `roost backup` has written
        text:
        `[FOLDER]/bad` cannot be restored
          caused by: `[FOLDER]/bad` is damaged
          caused by: file is not a database
        hint: nothing was changed: name a file that `roost backup` has written
        a folder:
        `[FOLDER]` cannot be restored
          caused by: `[FOLDER]` is not a file
        hint: nothing was changed: name a file that `roost backup` has written
        a device:
        `/dev/null` cannot be restored
          caused by: `/dev/null` is not a file
        hint: nothing was changed: name a file that `roost backup` has written
        nothing:
        `[FOLDER]/none` cannot be restored
          caused by: there is no `[FOLDER]/none`
        hint: nothing was changed: name a file that `roost backup` has written
        a host is running:
        the data folder `[FOLDER]` is in use by process [PID]
        hint: only one Roost can use a data folder: stop the other one, or name another folder with `--data DIR`
        the data folder has a database of another program:
        `[FOLDER]/roost.db` is a database of another program
        hint: nothing was changed: name another folder with `--data DIR`
    "#]]
    .assert_eq(&refusals);
}
