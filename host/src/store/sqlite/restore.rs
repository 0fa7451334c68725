//! Restores a backup in the database's place.
//!
//! The history since the backup is not known. So everything before now counts as decided, and no message is sent for
//! it; but owed steps are sent (I5), even if that repeats some. A step marked `once` (I4) that may have been sent since
//! the backup is not.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use roost_scheduler::{
    event::{Change, RunEnded, RunKey, SavedRun},
    names::{Origin, RunId},
    outcome::{Attempt, Cancelled, Failed, Outcome, RunState},
    time::Instant,
};
use rusqlite::{Connection, Transaction, config::DbConfig, params};

use super::{
    DATABASE, MIGRATIONS, Retention, StoreError, backup, commit, configure_unused,
    error::Damage,
    folder, format_of, load, migrate,
    outcomes::outcome_to_json,
    queries::{RunFilter, RunView},
    reading::{query, uri, with_suffix},
    replace::{gone, replace},
    retention::Past,
    runs, verify,
};

/// The result of a restore.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) jobs: u64,
    /// Runs with owed steps, which will be sent.
    pub(crate) owed: Vec<RunId>,
    /// Runs that were under way in the copy, and were ended.
    pub(crate) ended: u64,
    /// Runs with owed steps in the old database that are not in the copy.
    pub(crate) forgotten: Vec<RunId>,
    /// The new name of the old database, if there was one.
    pub(crate) kept: Option<PathBuf>,
}

/// The decision about a run that was under way when the copy was made.
#[derive(Debug)]
enum RestoreDecision {
    /// It ends, and nothing more of it is sent.
    Ends(Outcome),
    /// It continues with its owed steps.
    Owes(Box<SavedRun>),
}

/// Replaces the database by the copy `from`, unless a host uses it. A failed restore changes nothing.
pub(in crate::store) fn restore(data: &Path, from: &Path, now: Instant) -> Result<Restored, StoreError> {
    restore_by(data, from, now, |path, unfinished, restored| {
        let kept = replace(path, unfinished)?;
        Ok(Restored { kept, ..restored })
    })
}

/// Passes the copy `from` to `take` as a file of the data folder with which a host can resume, unless a host uses the
/// folder.
pub(in crate::store) fn restore_elsewhere(
    data: &Path,
    from: &Path,
    now: Instant,
    take: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<Restored, StoreError> {
    restore_by(data, from, now, |_, unfinished, restored| {
        take(unfinished)?;
        let _ = fs::remove_file(unfinished);
        Ok(restored)
    })
}

/// `place` gets the path of the database, and that of the new one.
fn restore_by(
    data: &Path,
    from: &Path,
    now: Instant,
    place: impl FnOnce(&Path, &Path, Restored) -> Result<Restored, StoreError>,
) -> Result<Restored, StoreError> {
    check(from).map_err(|error| StoreError::NoBackup { path: from.to_owned(), source: Box::new(error) })?;
    let path = data.join(DATABASE);
    let unfinished = with_suffix(&path, ".restoring");
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    if file(from) == file(&unfinished) {
        let source = Box::new(StoreError::Unfinished(from.to_owned()));
        return Err(StoreError::NoBackup { path: from.to_owned(), source });
    }
    let folder = folder::open(data)?;
    let _lock = folder::lock(&folder, data)?;
    let known = checkpoint(&path)?;
    let target = |source| StoreError::Target { path: path.clone(), source };
    let cannot = |damage| match damage {
        Damage::Sqlite(error) if is_of_disk(&error) => target(error.into()),
        source => {
            let source = Box::new(StoreError::Damaged { path: from.to_owned(), source });
            StoreError::NoBackup { path: from.to_owned(), source }
        }
    };
    // An earlier try may have left one.
    let made = gone(&unfinished).and_then(|()| backup::make(&unfinished));
    let copied = backup::copy(from, &unfinished, &made.map_err(|error| target(error.into()))?, target);
    let restored = copied.and_then(|()| prepare(&unfinished, &path, known.series, now).map_err(cannot));
    let placed = restored.and_then(|restored| place(&path, &unfinished, restored));
    let mut restored = placed.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    restored.forgotten = known.owed.into_iter().filter(|run| !restored.owed.contains(run)).collect();
    Ok(restored)
}

/// Checks whether an error is the disk's, rather than the copy's.
fn is_of_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, DiskFull, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| {
        matches!(code, CannotOpen | DiskFull | OutOfMemory | PermissionDenied | ReadOnly | SystemIoFailure)
    })
}

/// Checks whether the file is an intact copy of a database with a known format.
fn check(from: &Path) -> Result<(), StoreError> {
    let (format, found, schema_mismatch) = query(from, |connection, format| {
        let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        Ok((format, found, verify::schema_mismatch(connection, format)?))
    })?;
    if format == 0 {
        return Err(StoreError::Foreign(from.to_owned()));
    }
    if found != "ok" {
        return Err(StoreError::from_damage(from, Damage::Check(found)));
    }
    if let Some(what) = schema_mismatch {
        return Err(StoreError::Strange { path: from.to_owned(), what });
    }
    Ok(())
}

/// Facts of the old database that the copy may lack.
#[derive(Default)]
struct Known {
    series: u32,
    owed: Vec<RunId>,
}

/// Moves the old database's log into it, as far as they can still be read, and returns the facts to carry over. Fails
/// only if the database is another program's.
fn checkpoint(path: &Path) -> Result<Known, StoreError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(Known::default());
    }
    let done = Connection::open(path).map_err(|error| StoreError::from_sqlite(path, error)).and_then(|connection| {
        // Until the database is known to be Roost's, closing it must not even checkpoint its log.
        let tidy = |no| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, no);
        tidy(true).map_err(|error| StoreError::from_sqlite(path, error))?;
        match format_of(&connection, path) {
            Err(StoreError::Newer { .. }) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        tidy(false).map_err(|error| StoreError::from_sqlite(path, error))?;
        let checkpoint = connection.pragma_update_and_check(None, "wal_checkpoint", "truncate", |_| Ok(()));
        checkpoint.map_err(|error| StoreError::from_sqlite(path, error))
    });
    match done {
        Err(error @ StoreError::Foreign(_)) => return Err(error),
        Err(error) => tracing::debug!("the old database is renamed as it is: {error}"),
        Ok(()) => {}
    }
    let series =
        query(path, |connection, _| Ok(connection.query_row("SELECT series FROM clock", [], |row| row.get(0))?));
    let under_way = RunFilter { states: vec![RunState::Running], limit: usize::MAX, ..RunFilter::default() };
    let owes = |run: &RunView| run.started.is_some() && run.next.is_some_and(|next| next.of > 1);
    let data = path.parent().unwrap_or(Path::new(""));
    let owed = runs(data, &under_way).unwrap_or_default().into_iter().filter(owes).map(|run| run.id).collect();
    Ok(Known { series: series.unwrap_or_default(), owed })
}

/// Turns a copy into a database that a host can resume with.
fn prepare(path: &Path, before: &Path, series: u32, now: Instant) -> Result<Restored, Damage> {
    let mut connection = Connection::open(path)?;
    configure_unused(&connection)?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    migrate(&mut connection, usize::try_from(format).unwrap_or(MIGRATIONS.len()))?;
    let saved = load::load(&mut connection)?;
    if let Err(error) = add_tombstones(&mut connection, before, now) {
        tracing::debug!("the jobs of the old database are not known: {error}");
    }
    let mut restored = Restored { jobs: 0, owed: Vec::new(), ended: 0, forgotten: Vec::new(), kept: None };
    let transaction = connection.transaction()?;
    record_due_jobs(&transaction, now)?;
    transaction.execute("UPDATE clock SET series = max(series, ?1)", [series])?;
    // Without a due time, the scheduler computes the next one after the watermark (I2).
    let jobs = transaction.execute("UPDATE jobs SET watermark = max(watermark, ?1), due = NULL", [now.millis()])?;
    restored.jobs = jobs as u64;
    transaction.execute("UPDATE tombstones SET watermark = max(watermark, ?1)", [now.millis()])?;
    for (key, run) in saved.runs {
        let id = run.id.clone();
        if settle_run(&transaction, key, run, now)? {
            restored.owed.push(id);
        } else {
            restored.ended += 1;
        }
    }
    transaction.commit()?;
    // The host must be able to load the result.
    verify::check(&mut connection)?;
    Ok(restored)
}

/// Records an end for the occurrence of each job that was due next when the copy was made (I13).
fn record_due_jobs(to: &Transaction<'_>, now: Instant) -> Result<(), Damage> {
    let origin = to.query_row("SELECT series FROM clock", [], |row| row.get(0))?;
    let origin = if origin == 0 { Origin::Trigger } else { Origin::Series(origin) };
    let outcome = Outcome::Cancelled(Cancelled::Restored);
    let why = outcome_to_json(&outcome).map_err(commit::not_json)?;
    to.execute(
        "INSERT INTO runs (occurrence, plugin, device, job, origin, state, reason, ended, attempts, why)
         SELECT jobs.due, plugins.name, devices.name, jobs.job, ?1, ?2, ?3, ?4, 0, ?5
         FROM jobs JOIN devices ON devices.id = jobs.device JOIN plugins ON plugins.id = devices.plugin
         WHERE jobs.due <= ?4
         ON CONFLICT DO NOTHING",
        params![origin.to_string(), outcome.state().as_str(), outcome.to_string(), now.millis(), why],
    )?;
    Ok(())
}

/// Adds tombstones for jobs that only the old database knows, so that a plan that has such a job again does not repeat
/// its occurrences (I2).
fn add_tombstones(connection: &mut Connection, before: &Path, now: Instant) -> rusqlite::Result<()> {
    if fs::symlink_metadata(before).is_err() {
        return Ok(());
    }
    connection.execute("ATTACH ?1 AS before", [uri(before)])?;
    let jobs = |database: &str| {
        format!(
            "SELECT plugins.name, devices.name, jobs.job FROM {database}.jobs
             JOIN {database}.devices ON devices.id = jobs.device JOIN {database}.plugins ON plugins.id = devices.plugin"
        )
    };
    let unknown = format!(
        "INSERT INTO main.tombstones SELECT *, ?1 FROM ({} EXCEPT {}) WHERE true ON CONFLICT DO NOTHING",
        jobs("before"),
        jobs("main")
    );
    let gone = "INSERT INTO main.tombstones SELECT * FROM before.tombstones WHERE true
                ON CONFLICT DO UPDATE SET watermark = max(watermark, excluded.watermark)";
    let add_tombstones = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        transaction.execute(&unknown, [now.millis()])?;
        transaction.execute(gone, [])?;
        transaction.commit()
    };
    add_tombstones(connection).and(connection.execute_batch("DETACH before"))
}

/// Ends a run, or saves it with its owed steps. Returns whether it continues.
fn settle_run(to: &Transaction<'_>, key: RunKey, run: SavedRun, now: Instant) -> rusqlite::Result<bool> {
    let past = &mut Past::new(Retention::default());
    let (id, body, progress) = (run.id.clone(), run.body.clone(), run.progress.clone());
    let (started, note) = (progress.started, progress.note);
    let outcome = match decide(run, now) {
        RestoreDecision::Owes(run) => return commit::write(to, past, &Change::RunSaved { key, run }).map(|()| true),
        RestoreDecision::Ends(outcome) => outcome,
    };
    let attempts = u32::from(matches!(outcome, Outcome::Failed(_)));
    let ended = RunEnded { key: Some(key), id, outcome, body: Some(body), started, ended: now, attempts, note };
    commit::write(to, past, &Change::RunEnded(ended)).map(|()| false)
}

/// Decides whether a run that was under way in the copy still owes steps.
fn decide(mut run: SavedRun, now: Instant) -> RestoreDecision {
    let Some(started) = run.progress.started.filter(|_| run.body.step_count() > 1) else {
        return RestoreDecision::Ends(Outcome::Cancelled(Cancelled::Restored));
    };
    let progress = &mut run.progress;
    // They were counted for a step that may no longer be the next one.
    progress.attempts = 0;
    let possibly_sent = |step: usize| Failed { step: step + 1, attempts: 1, last: Attempt::PossiblySent };
    if progress.steps_done == 0 {
        // The first step was sent, or was not; it is not sent now.
        progress.failed.get_or_insert_with(|| possibly_sent(0));
        progress.steps_done = 1;
        progress.armed = false;
    }
    let (done, mut steps) = (progress.steps_done, Vec::new());
    for (number, step) in run.body.steps().enumerate() {
        let was_due = started.plus_ms(step.after_ms.into()) <= now;
        let was_armed = progress.armed && number == done;
        if number >= done && step.once && (was_due || was_armed) {
            progress.failed.get_or_insert_with(|| possibly_sent(number));
        } else {
            steps.push(step.to_step());
        }
    }
    progress.armed = false;
    match &progress.failed {
        Some(failed) if steps.len() == done => RestoreDecision::Ends(Outcome::Failed(failed.clone())),
        _ => {
            run.body = run.body.with_steps(&steps);
            RestoreDecision::Owes(run.into())
        }
    }
}
