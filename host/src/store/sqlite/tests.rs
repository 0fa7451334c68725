//! Tests of the store.

mod backups;
mod formats;
mod history;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use expect_test::expect;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{queries::RunFilter, *};
use crate::{
    report::Report,
    store::{Committed, Engine, Store, tests::*},
};

fn open(data: &Path) -> Result<(Database, Saved), StoreError> {
    Database::open(data, Retention::default())
}

/// Returns the store of a database.
fn whole(database: Database) -> Store {
    Store { engine: Engine::Sqlite(database.into()), last_outcomes: LastOutcomes::default() }
}

fn jobs_in(data: &Path) -> Vec<SavedJob> {
    open(data).unwrap().0.jobs(|jobs| jobs.collect()).unwrap()
}

/// Copies the files that a crash of the process at this moment would leave.
fn crashed(data: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_files(data, copy.path());
    copy
}

fn history(data: &Path) -> Vec<(String, Option<String>)> {
    let connection = Connection::open(data.join("roost.db")).unwrap();
    let mut statement = connection.prepare("SELECT state, reason FROM runs ORDER BY occurrence").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
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
