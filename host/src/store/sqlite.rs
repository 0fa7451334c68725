//! The store of one machine: an SQLite database in the data folder.

mod backup;
mod commit;
mod copy;
mod counts;
mod database_file;
mod ended;
mod load;
mod reading;
mod replace;
mod restore;
mod retention;
mod runs;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    panic,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use roost_scheduler::event::{Change, JobKey, Saved, SavedJob};
use rusqlite::{Connection, OpenFlags, config::DbConfig, functions::FunctionFlags};

pub(crate) use self::restore::Restored;
pub(super) use self::{
    backup::back_up,
    copy::{read_all, write_all},
    counts::{collect_ended, count_ended},
    restore::{restore, restore_elsewhere},
    runs::{around, dead_letter, run, runs},
};
use self::{database_file::DatabaseFile, retention::Past};
use super::{
    Retention, StoreError, error,
    folder::{self, Lock},
    last_outcomes::{self, LastOutcomes},
    limits, outcomes, progress, queries, rows,
};
use crate::{job_json::base64_payloads, report::Report};

/// The database, in the data folder.
pub(super) const DATABASE: &str = "roost.db";

/// `RoST`: the application id by which SQLite databases of Roost are recognised.
const APPLICATION_ID: i64 = 0x526f_5354;

/// The migrations, each from one format to the next; a database's format (`user_version`) counts those applied to it.
const MIGRATIONS: &[&str] = &[
    include_str!("sqlite/schema/1.sql"),
    include_str!("sqlite/schema/2.sql"),
    include_str!("sqlite/schema/3.sql"),
    include_str!("sqlite/schema/4.sql"),
    include_str!("sqlite/schema/5.sql"),
    include_str!("sqlite/schema/6.sql"),
    include_str!("sqlite/schema/7.sql"),
    include_str!("sqlite/schema/8.sql"),
    include_str!("sqlite/schema/9.sql"),
];

/// An open database, and the lock on its folder.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    file: DatabaseFile,
    past: Past,
    _lock: Lock,
}

impl Database {
    /// Opens the database of a data folder; both are made if they do not exist. Returns everything in it but the jobs,
    /// which [`Self::jobs`] reads.
    pub(super) fn open(data: &Path, keep: Retention) -> Result<(Self, Saved), StoreError> {
        let opened = folder::open(data)?;
        let lock = folder::lock(&opened, data)?;
        let path = data.join(DATABASE);
        // SQLite gives the database's mode to its log.
        opened.open_or_create(DATABASE).map_err(|source| StoreError::File {
            what: "cannot make",
            path: path.clone(),
            source,
        })?;
        let mut connection = connect(&path)?;
        let saved = load::load(&mut connection).map_err(|damage| StoreError::from_damage(&path, damage))?;
        let file = DatabaseFile::new(&path)?;
        Ok((Self { connection, path, file, past: Past::new(keep), _lock: lock }, saved))
    }

    /// Returns the data folder.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Passes the stored jobs to `take` while two threads read them, half each: reading and parsing a row takes twice
    /// as long as activating the job.
    pub(super) fn jobs<T>(
        &mut self,
        take: impl FnOnce(&mut dyn Iterator<Item = SavedJob>) -> T,
    ) -> Result<T, StoreError> {
        let damage = |damage| StoreError::from_damage(&self.path, damage);
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let second = Connection::open_with_flags(&self.path, read_only);
        let mut second = second.map_err(|error| StoreError::from_sqlite(&self.path, error))?;
        let middle = load::middle(&self.connection).map_err(damage)?;
        let (to, jobs) = mpsc::sync_channel(limits::BATCHES_AHEAD);
        let also_to = to.clone();
        let (first, second) = (&mut self.connection, &mut second);
        thread::scope(|scope| {
            let lower = scope.spawn(move || load::jobs(first, 0..middle, &to));
            let upper = scope.spawn(move || load::jobs(second, middle..JobKey::MAX, &also_to));
            let taken = take(&mut jobs.into_iter().flatten());
            let read = |reader: thread::ScopedJoinHandle<'_, _>| {
                reader.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
            };
            read(lower).and(read(upper)).map(|()| taken).map_err(damage)
        })
    }

    /// Reads what had ended before the first commit, in the background.
    pub(super) fn start_reading(&mut self, last_outcomes: &LastOutcomes) {
        self.past.start_counting(&self.path);
        last_outcomes.start_reading(ended::source(&self.path));
    }

    /// Commits all changes durably, or none.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.file.check(&self.path)?;
        commit::commit(&mut self.connection, &mut self.past, changes)
            .map_err(|error| StoreError::from_sqlite(&self.path, error))
    }
}

impl rows::Columns for rusqlite::Row<'_> {
    fn integer(&self, column: usize) -> Result<Option<i64>, String> {
        self.get(column).map_err(|error| error.to_string())
    }

    fn real(&self, column: usize) -> Result<Option<f64>, String> {
        self.get(column).map_err(|error| error.to_string())
    }

    fn text(&self, column: usize) -> Result<Option<&str>, String> {
        let value = self.get_ref(column).map_err(|error| error.to_string())?;
        value.as_str_or_null().map_err(|error| error.to_string())
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |error| StoreError::from_sqlite(path, error);
    let mut connection = Connection::open(path).map_err(sqlite)?;
    connection.busy_handler(Some(wait)).map_err(sqlite)?;
    // Until the database is known to be Roost's, closing it must not even checkpoint its log.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    let format = format_of(&connection, path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(sqlite)?;
    configure(&connection).and_then(|()| migrate(&mut connection, format)).map_err(sqlite)?;
    Ok(connection)
}

/// SQLite's busy handler: backs off while another process holds the write lock. `times` counts the calls for one
/// statement. Returns whether SQLite is to try again.
fn wait(times: i32) -> bool {
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    if times == (limits::BUSY_WARNING.as_millis() / limits::BUSY_PAUSE.as_millis()) as u32 {
        let report = Report::new("another program holds a transaction open in the database")
            .cause("nothing can be written meanwhile, so no run starts that has to be written first");
        let hint = format!(
            "end it, or Roost ends after {} s; to look, use `sqlite3 -readonly`",
            limits::BUSY_TIMEOUT.as_secs()
        );
        tracing::warn!("{}", report.hint(hint));
    }
    // The first pauses are short, because most transactions are.
    thread::sleep(limits::BUSY_PAUSE.min(Duration::from_millis(1 << times.min(10))));
    times < (limits::BUSY_TIMEOUT.as_millis() / limits::BUSY_PAUSE.as_millis()) as u32
}

/// Returns the database's format: how many migrations were applied to it.
fn format_of(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let pragma = |name| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| StoreError::from_sqlite(path, error))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let is_empty = application == 0 && found == 0 && pragma("schema_version")? == 0;
    if application != APPLICATION_ID && !is_empty {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    match usize::try_from(found) {
        Ok(format) if format <= MIGRATIONS.len() => Ok(format),
        _ => Err(StoreError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() as i64 }),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Without effect on a database that has pages already.
    connection.pragma_update(None, "page_size", limits::PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // I3: a reported commit is on the disk, even if the power fails.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(
        None,
        "wal_autocheckpoint",
        limits::CHECKPOINT_BYTES / page_bytes,
        |_| Ok(()),
    )?;
    // 16 MiB: a large batch must not write its pages twice.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Settings for a database that is not in use yet, and is flushed when it is ready.
fn configure_unused(connection: &Connection) -> rusqlite::Result<()> {
    // Without effect on a database that has pages already.
    connection.pragma_update(None, "page_size", limits::PAGE_BYTES)?;
    connection.pragma_update_and_check(None, "journal_mode", "memory", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "off")
}

fn apply(connection: &Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    connection.create_scalar_function("base64_payloads", 1, FunctionFlags::SQLITE_DETERMINISTIC, |call| {
        let steps: String = call.get(0)?;
        Ok(base64_payloads(&steps).unwrap_or(steps))
    })?;
    migrations.iter().try_for_each(|migration| connection.execute_batch(migration))
}

fn migrate(connection: &mut Connection, format: usize) -> rusqlite::Result<()> {
    if format == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    apply(&transaction, &MIGRATIONS[format..])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()
}
