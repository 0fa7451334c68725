//! Backups, and restoring them.

use roost_scheduler::event::Tombstone;

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
    assert!(text.ends_with("already exists\nhint: name a file that does not exist: nothing is overwritten"), "{text}");
    let text = report(&back_up(data.path(), &elsewhere.path().join("no/where")).unwrap_err());
    assert!(text.contains("no/where` cannot be written\n  caused by: No such file or directory"), "{text}");
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
    assert!(text.contains("is damaged") && untouched(2), "{text}");
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
    assert_eq!(ends, [(id, "cancelled", Some("restored from a backup"))]);
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
    let cancelled = "cancelled restored from a backup";
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
        Tombstone { plugin: plugin.clone(), device: device.clone(), job, watermark: at(watermark) }
    };
    let gone = Change::JobRemoved { key: 2, tombstone: Some(stone("gone", NOW + 1)) };
    store.commit(&[job_saved(2, 1, "gone"), gone, job_saved(3, 1, "late")]).unwrap();
    drop(store);
    restored(data.path(), &copy);
    let (_, mut saved) = open(data.path()).unwrap();
    saved.tombstones.sort_by_key(|stone| stone.job.clone());
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
    assert!(
        text.contains("caused by: `")
            && text.contains("restoring` was left by an interrupted restore")
            && left.exists(),
        "{text}"
    );
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
    for (bytes, message) in [
        (scribbled, "is damaged"),
        (changed("UPDATE jobs SET trigger = 'nonsense'"), "in table `jobs`, row 1"),
        (changed("DROP TABLE tombstones"), "was not made by Roost: index `"),
        (changed("DROP INDEX runs_failed"), "by Roost: index `runs_failed` differs"),
        (changed("CREATE TRIGGER theirs AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END"), "Roost: trigger `theirs`"),
        (changed("UPDATE jobs SET id = -1"), "in table `jobs`, row -1"),
        (changed("UPDATE jobs SET id = 9e15"), "in table `jobs`, row 9000000000000000"),
        (
            changed("UPDATE devices SET id = 4000000000; UPDATE jobs SET device = 4000000000"),
            "in table `devices`, row 4",
        ),
        (
            changed("INSERT INTO jobs SELECT 7, device, job, label, trigger, steps, policy, 1, 1, 1 FROM jobs"),
            "another job",
        ),
        (changed("UPDATE runs SET ended = 9e18 WHERE state <> 'running'"), "9000000000000000000 is not an instant"),
        (changed("UPDATE runs SET attempts = -1 WHERE state <> 'running'"), "Integer -1 out of range"),
        (changed("UPDATE runs SET number = NULL WHERE state = 'running'"), "it has neither ended nor is it under way"),
        (changed("DELETE FROM clock"), "is damaged"),
        (changed("UPDATE clock SET series = -1"), "is damaged"),
        (changed("PRAGMA user_version = 1"), "was not made by Roost"),
        (good[..good.len() - 4096].into(), "is damaged"),
        (Vec::new(), "is a database of another program"),
        (b"text".repeat(999), "is damaged"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let text = report(&restore(data.path(), &bad, at(NOW)).unwrap_err());
        assert!(text.contains("bad` cannot be restored\n  caused by: ") && text.contains(message), "{message}: {text}");
        assert!(text.ends_with("hint: nothing was changed: name a file that `roost backup` has written"), "{text}");
    }
    for path in [data.path(), Path::new("/dev/null")] {
        let text = report(&restore(data.path(), path, at(NOW)).unwrap_err());
        assert!(
            text.contains("cannot be restored\n  caused by: `") && text.contains("` is not a file\nhint: "),
            "{text}"
        );
    }
    let text = report(&restore(data.path(), &data.path().join("none"), at(NOW)).unwrap_err());
    assert!(text.contains("cannot be restored\n  caused by: there is no `"), "{text}");
    let held = open(data.path()).unwrap();
    let text = report(&restore(data.path(), &copy, at(NOW)).unwrap_err());
    assert!(text.contains("is in use by process"), "{text}");
    drop(held);
    assert_eq!(fs::read(data.path().join(DATABASE)).unwrap(), before);
    assert!(!data.path().join("roost.db.restoring").exists());
    // Another program's database is not replaced either.
    fs::remove_file(data.path().join(DATABASE)).unwrap();
    Connection::open(data.path().join(DATABASE)).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let text = report(&restore(data.path(), &copy, at(NOW)).unwrap_err());
    assert!(text.contains("another program"), "{text}");
}
