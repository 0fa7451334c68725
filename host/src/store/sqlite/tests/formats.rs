//! Databases that cannot be used as they are: they are not changed, and the error has a hint.

use expect_test::expect;
use roost_scheduler::{
    event::{PauseScope, Progress, Tombstone},
    model::{Matches, Qos},
    names::{JobId, RunId},
    outcome::{Attempt, Failed},
    pause::Pause,
};

use super::*;

/// Format 1, as Roost wrote it before there was another one.
pub(super) fn format_1(data: &Path) -> Connection {
    let connection = Connection::open(data.join(DATABASE)).unwrap();
    configure(&connection).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
}

#[test]
fn an_empty_file_is_no_database_yet() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(DATABASE), "").unwrap();
    let text = report(&runs(data.path(), &RunFilter::default()).unwrap_err());
    expect![[r#"
        there is no `[FOLDER]/roost.db`
        hint: it is made when Roost runs first; name its data folder with `--data DIR`"#]]
    .assert_eq(&text);
}

#[test]
fn pauses_of_an_older_format_have_no_end() {
    let data = tempfile::tempdir().unwrap();
    let old = Connection::open(data.path().join(DATABASE)).unwrap();
    configure(&old).unwrap();
    apply(&old, &MIGRATIONS[..8]).unwrap();
    old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 8).unwrap();
    let hash = "01".repeat(32);
    old.execute_batch(&format!(
        "INSERT INTO plugins (id, name, component, settings, paused) VALUES (1, 'coop', '{hash}', '{hash}', 1), (2, 'fan', '{hash}', '{hash}', 0);
        INSERT INTO devices (id, plugin, name, time_zone, replan_at, paused)
            VALUES (3, 1, 'north', 'Europe/London', 5, 0), (4, 1, 'south', 'Europe/London', 5, 1);
        INSERT INTO wishes (job, paused, skip) VALUES (5, 1, NULL), (6, 1, 7), (8, 0, 9);"
    ))
    .unwrap();
    drop(old);
    let (_, saved) = open(data.path()).unwrap();
    let forever = |scope| (scope, Pause::UNTIL_RESUMED);
    let scopes = [PauseScope::Device(4), PauseScope::Job(5), PauseScope::Job(6), PauseScope::Plugin(1)];
    assert_eq!(saved.pauses, scopes.map(forever));
    let skips: Vec<_> = saved.overrides.iter().map(|(job, job_override)| (*job, job_override.skip)).collect();
    assert_eq!(skips, [(6, Some(at(7))), (8, Some(at(9)))]);
}

#[test]
fn a_database_of_the_first_format_is_migrated() {
    let data = tempfile::tempdir().unwrap();
    let old = format_1(data.path());
    let hash = "01".repeat(32);
    old.execute_batch(&format!(
        r#"INSERT INTO plugins VALUES (1, 'coop', '{hash}', '{hash}');
        INSERT INTO devices VALUES (2, 1, 'north', 'Europe/London', NULL, NULL, 5, NULL);
        INSERT INTO jobs VALUES (3, 2, 'open', 'Open', 'cron @daily', '[{{"topic":"coop/door"}}]', '{{"priority":-1}}', 10, 20);
        INSERT INTO tombstones VALUES ('coop', 'north', 'gone', 6);
        INSERT INTO runs VALUES
            (8, 'coop', 'north', 'open', 'running', NULL, 9, NULL, NULL, 4,
             '[{{"topic":"coop/door"}},{{"after_ms":7,"topic":"coop/door","payload":"off"}}]', '{{"grace_ms":1000}}', 8, 1,
             '{{"step":1,"attempts":2,"last":{{"refused":"no"}}}}'),
            (7, 'coop', 'north', 'open', 'failed', 'why', 7, 8, 3, NULL, NULL, NULL, NULL, NULL, NULL),
            (6, 'coop', 'north', 'open', 'succeeded', NULL, 6, 6, 1, NULL, NULL, NULL, NULL, NULL, NULL);"#
    ))
    .unwrap();
    drop(old);
    let text = report(&runs(data.path(), &RunFilter { limit: 9, ..RunFilter::default() }).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` was written by an older Roost
        hint: nothing was changed: `roost run` of this version brings it up to date"#]]
    .assert_eq(&text);

    let (mut store, saved) = open(data.path()).unwrap();
    let jobs: Vec<_> = store.jobs(|jobs| jobs.collect()).unwrap();
    assert_eq!((saved.plugins[0].devices[0].key, saved.series), (2, 0));
    let job = JobId::parse("gone").unwrap();
    let RunId { plugin, device, .. } = run_id(0);
    assert_eq!(saved.tombstones, [Tombstone { name: (plugin, device, job), watermark: at(6) }]);
    assert_eq!((jobs[0].watermark, jobs[0].due, jobs[0].job.body.policy().priority), (at(10), Some(at(20)), -1));
    let [(4, run)] = &saved.runs[..] else { panic!("{saved:?}") };
    assert_eq!((&run.id, run.start, run.body.step_count()), (&run_id(8), at(8), 2));
    assert_eq!(run.body.policy().grace_ms, 1_000);
    let failed = Failed { step: 1, attempts: 2, last: Attempt::Refused("no".into()) };
    let expected = Progress { steps_done: 1, started: Some(at(9)), failed: Some(failed), ..Progress::default() };
    assert_eq!(run.progress, expected);

    // And it takes the changes of later formats.
    store.commit(&[Change::SeriesBegun(3), run_ended(Some(4), 8, 9), run_failed(run_id(9), 1)]).unwrap();
    drop(store);
    assert_eq!(
        history(data.path()).iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(),
        ["succeeded", "failed", "cancelled", "failed"]
    );
    assert_eq!(open(data.path()).unwrap().1.series, 3);
    // Its steps were not stored at that time.
    let text = report(&dead_letter(data.path(), &run_id(7)).unwrap_err());
    expect![[r#"
        the steps of the run `coop/north/open/[TIME]` are no longer known
        hint: `roost runs --failed` shows those that can be replayed"#]]
    .assert_eq(&text);
}

#[test]
fn hexadecimal_payloads_of_earlier_formats_become_base64() {
    let data = tempfile::tempdir().unwrap();
    let old = format_1(data.path());
    apply(&old, &MIGRATIONS[1..6]).unwrap();
    old.pragma_update(None, "user_version", 6).unwrap();
    let hash = "01".repeat(32);
    let binary = r#"[{"topic":"a","payload_hex":"fffe0001","qos":0,"confirm":{"topic":"b","matches":{"hex":"ff"},"within_ms":1}}]"#;
    let text =
        r#"[{"topic":"a","payload":"{\"payload_hex\":\"ff\"}","confirm":{"topic":"b","matches":"any","within_ms":1}}]"#;
    let task = r#"{"task":"water","args":"{\"payload_hex\":\"ff\"}"}"#;
    old.execute_batch(&format!(
        "INSERT INTO plugins (id, name, component, settings) VALUES (1, 'coop', '{hash}', '{hash}');
        INSERT INTO devices (id, plugin, name, time_zone, replan_at) VALUES (2, 1, 'north', 'Europe/London', 5);
        INSERT INTO jobs (id, device, job, trigger, steps, watermark) VALUES
            (3, 2, 'binary', 'cron @daily', '{binary}', 10), (4, 2, 'text', 'cron @daily', '{text}', 10),
            (5, 2, 'task', 'cron @daily', '{task}', 10);
        INSERT INTO runs (occurrence, plugin, device, job, origin, state, started, ended, attempts, steps) VALUES
            (7, 'coop', 'north', 'open', '', 'failed', 7, 8, 3, '{binary}');"
    ))
    .unwrap();
    drop(old);

    let (mut store, _) = open(data.path()).unwrap();
    let stored = |sql| store.connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(stored("SELECT steps FROM jobs WHERE id = 4"), text);
    assert_eq!(stored("SELECT steps FROM jobs WHERE id = 5"), task);
    let failed = dead_letter(data.path(), &run_id(7)).unwrap();
    let jobs: Vec<_> = store.jobs(|jobs| jobs.collect()).unwrap();
    let job = jobs.iter().find(|job| job.key == 3).unwrap();
    for body in [&job.job.body, &failed] {
        let step = body.step(0).unwrap();
        assert_eq!((step.payload, step.qos), ([0xff, 0xfe, 0, 1].as_slice(), Qos::AtMostOnce));
        assert_eq!(step.confirm().unwrap().matches, Matches::Bytes([0xff].as_slice().into()));
    }
}

#[test]
fn a_full_disk_during_a_migration_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut old = format_1(data.path());
    let text = "x".repeat(100_000);
    old.execute("INSERT INTO tombstones VALUES (?1, 'north', 'gone', 6)", [&text]).unwrap();
    let pages: i64 = old.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    old.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let error = StoreError::from_sqlite(&data.path().join(DATABASE), migrate(&mut old, 1).unwrap_err());
    expect![[r#"
        there is no space left to write `[FOLDER]/roost.db`
        hint: nothing was damaged: make space and start Roost again"#]]
    .assert_eq(&report(&error));
    drop(old);
    let found = Connection::open(data.path().join(DATABASE)).unwrap();
    let format: i64 = found.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 1);
    assert!(found.prepare("SELECT origin FROM runs").is_err());
}

#[test]
fn a_database_that_could_not_be_made_is_made_later() {
    let data = tempfile::tempdir().unwrap();
    let mut new = Connection::open(data.path().join(DATABASE)).unwrap();
    configure(&new).unwrap();
    new.pragma_update_and_check(None, "max_page_count", 3, |_| Ok(())).unwrap();
    let error = StoreError::from_sqlite(&data.path().join(DATABASE), migrate(&mut new, 0).unwrap_err());
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    drop(new);
    assert!(open(data.path()).unwrap().1.plugins.is_empty());
}

#[test]
fn a_full_disk_is_reported_for_any_file() {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let text = report(&StoreError::File { what: "cannot write", path: "data/client-id".into(), source });
    expect![[r#"
        cannot write `data/client-id`
          caused by: no storage space
        hint: nothing was damaged: make space and start Roost again"#]]
    .assert_eq(&text);
}

#[test]
fn a_newer_format_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path()).unwrap();
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let before = fs::read(data.path().join("roost.db")).unwrap();
    let text = report(&open(data.path()).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` has format 99, and this Roost knows formats up to 9
        hint: a newer Roost has written it, and nothing was changed: run that one, or name another folder with `--data DIR`"#]].assert_eq(&text);
    assert_eq!(fs::read(data.path().join("roost.db")).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let other = Connection::open(data.path().join("roost.db")).unwrap();
    other.execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    drop(other);
    let before = fs::read(data.path().join(DATABASE)).unwrap();
    let errors = [open(data.path()).unwrap_err(), runs(data.path(), &RunFilter::default()).unwrap_err()];
    expect![[r#"
        `[FOLDER]/roost.db` is a database of another program
        hint: nothing was changed: name another folder with `--data DIR`
        `[FOLDER]/roost.db` is a database of another program
        hint: nothing was changed: name another folder with `--data DIR`"#]]
    .assert_eq(&errors.map(|error| report(&error)).join("\n"));
    assert_eq!(fs::read(data.path().join(DATABASE)).unwrap(), before);
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
    let mut texts = String::new();
    for bad in [b"not a database at all, but long enough to have a header".repeat(99), scribbled, good[..8192].into()] {
        fs::write(&path, &bad).unwrap();
        let read = open(data.path()).and_then(|(mut store, _)| store.jobs(|jobs| jobs.count()));
        let error = read.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        texts += &(report(&error) + "\n");
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
    expect![[r#"
        `[FOLDER]/roost.db` is damaged
          caused by: file is not a database
        hint: put a copy from a backup in its place; or move `[FOLDER]/roost.db` and `[FOLDER]/roost.db-wal` away: plugins are then planned again, and the owed steps of runs that had started are lost
        `[FOLDER]/roost.db` is damaged
          caused by: database disk image is malformed
        hint: put a copy from a backup in its place; or move `[FOLDER]/roost.db` and `[FOLDER]/roost.db-wal` away: plugins are then planned again, and the owed steps of runs that had started are lost
        `[FOLDER]/roost.db` is damaged
          caused by: database disk image is malformed
        hint: put a copy from a backup in its place; or move `[FOLDER]/roost.db` and `[FOLDER]/roost.db-wal` away: plugins are then planned again, and the owed steps of runs that had started are lost
    "#]].assert_eq(&texts);
}

#[test]
fn an_invalid_row_is_named() {
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = open(data.path()).unwrap();
    store.commit(&[plugin_saved(7, "coop")]).unwrap();
    store.connection.execute("UPDATE plugins SET name = 'No Name'", []).unwrap();
    drop(store);
    let text = report(&open(data.path()).unwrap_err());
    expect![[r#"
        `[FOLDER]/roost.db` is damaged
          caused by: in table `plugins`, row 7: `No Name` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: put a copy from a backup in its place; or move `[FOLDER]/roost.db` and `[FOLDER]/roost.db-wal` away: plugins are then planned again, and the owed steps of runs that had started are lost"#]].assert_eq(&text);
}

#[test]
fn a_file_is_not_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    fs::write(&path, "").unwrap();
    let text = report(&open(&path).unwrap_err());
    expect![[r#"
        `[FOLDER]/data` is not a folder
        hint: name a folder with `--data DIR`; it is made if it does not exist"#]]
    .assert_eq(&text);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // Not even root can make a file there.
    let text = report(&open(Path::new("/proc/self/fdinfo")).unwrap_err());
    expect![[r#"
        cannot lock the data folder by `/proc/self/fdinfo/lock`
          caused by: No such file or directory (os error 2)
        hint: the user that runs Roost must be able to write the data folder; another one can be named with `--data DIR`"#]].assert_eq(&text);
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
    let error = StoreError::from_sqlite(Path::new("data/roost.db"), rusqlite::Error::SqliteFailure(error, None));
    expect![[r#"
        `data/roost.db` cannot be written
          caused by: Error code 8: attempt to write a readonly database
        hint: the user that runs Roost must be able to write the data folder; another one can be named with `--data DIR`"#]].assert_eq(&report(&error));
}
