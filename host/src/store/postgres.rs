//! The store of several machines: a PostgreSQL database, of which each cell has what a data folder has on one machine.

mod address;
mod batch;
mod commit;
mod copy;
mod fault;
mod hosts;
mod keeper;
mod kinds;
mod load;
mod plugin_files;
mod runs;
mod session;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time,
};

use roost_scheduler::event::{Change, Saved, SavedJob};
use tokio_postgres::Row;

pub(super) use self::copy::write_all;
pub(crate) use self::{
    address::Address,
    copy::{Facts, PluginCopies},
    fault::Fault,
    hosts::{Host, Hosts, Look, OwnHost, OwnedCell},
    plugin_files::{FileKind, PluginFile, PluginFiles},
};
use self::{keeper::Keeper, session::Session};
use super::{
    Retention, StoreError,
    folder::{self, Lock},
    last_outcomes::LastOutcomes,
    limits, rows,
};
use crate::{clock, lease::LeaseHandle, report::Report};

/// The tables: each format of the database is an addition to the one before. A host works with its own format and with
/// the next one, so that hosts are replaced by newer ones one after the other.
const FORMATS: [&str; 3] = [
    include_str!("postgres/format_1.sql"),
    include_str!("postgres/format_2.sql"),
    include_str!("postgres/format_3.sql"),
];

/// A cell that this process works for.
#[derive(Clone, Debug)]
pub(crate) struct CellOfHost {
    pub(crate) url: Address,
    pub(crate) number: i64,
    /// The id of the host.
    pub(crate) host: String,
}

/// An open database, of which this process owns a cell, and the lock on its data folder, which has what is of this
/// machine alone: compiled plugins, logins.
#[derive(Debug)]
pub(super) struct Database {
    source: Source,
    keeper: Keeper,
    lease: LeaseHandle,
    _lock: Lock,
}

/// A handle to the database, for queries.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<Connections>);

/// The connections that queries use. A server has a hundred for all of its clients, unless it is told otherwise.
#[derive(Debug)]
struct Connections {
    address: Address,
    cell: i64,
    sessions: Mutex<Sessions>,
    /// Notified when a query has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Sessions {
    /// Those that are free, with the time since when, the oldest first. They are used again.
    free: Vec<(Session, time::Instant)>,
    in_use: usize,
}

impl Source {
    pub(crate) fn new(address: Address, cell: i64) -> Self {
        Self(Arc::new(Connections { address, cell, sessions: Mutex::default(), ended: Condvar::new() }))
    }

    fn error(&self, fault: Fault) -> StoreError {
        StoreError::Postgres { database: self.0.address.clone().into(), fault: Box::new(fault) }
    }

    /// Queries with a connection of its own, which is waited for while too many are in use.
    fn query<T>(&self, query: impl FnOnce(&Session) -> Result<T, Fault>) -> Result<T, StoreError> {
        let turn = Turn::wait(&self.0).map_err(|fault| self.error(fault))?;
        let free = turn.free();
        let session =
            free.map_or_else(|| Session::open(&self.0.address, self.0.cell), Ok).map_err(|fault| self.error(fault))?;
        let found = query(&session);
        if found.is_ok() {
            turn.keep(session);
        }
        found.map_err(|fault| self.error(fault))
    }
}

/// The right to use a connection.
struct Turn<'a>(&'a Connections);

impl<'a> Turn<'a> {
    fn wait(of: &'a Connections) -> Result<Self, Fault> {
        let is_full = |sessions: &mut Sessions| sessions.in_use >= limits::CONNECTIONS;
        let waited = of.ended.wait_timeout_while(of.lock(), limits::QUERY, is_full);
        let (mut sessions, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Fault::Crowded);
        }
        sessions.in_use += 1;
        Ok(Self(of))
    }

    /// Returns the connection that was used last of those that are free.
    fn free(&self) -> Option<Session> {
        let mut sessions = self.0.lock();
        sessions.free.retain(|(session, since)| !session.is_closed() && since.elapsed() < limits::IDLE);
        sessions.free.pop().map(|(session, _)| session)
    }

    fn keep(&self, session: Session) {
        self.0.lock().free.push((session, clock::monotonic()));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().in_use -= 1;
        self.0.ended.notify_one();
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Opens the database, and waits until this process owns the cell; the tables are made if there are none. Returns
    /// everything in it but the jobs.
    pub(super) fn open(
        data: &Path,
        CellOfHost { url, number, host }: CellOfHost,
        keep: Retention,
    ) -> Result<(Self, Saved), StoreError> {
        let lock = folder::lock(&folder::open(data)?, data)?;
        let source = Source::new(url, number);
        let (keeper, lease) = Keeper::acquire(&source, host, keep.days)?;
        let saved = or_begin_anew(source.query(load::load))?;
        if let Ok(true) = source.query(load::may_lose_commits) {
            let report = Report::new("the database has replicas, and none of them is synchronous")
                .cause("one that takes its place may lack the last commits: then runs are sent twice");
            tracing::warn!("{}", report.hint("as an administrator: `ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)';`, `SELECT pg_reload_conf();`"));
        }
        Ok((Self { source, keeper, lease, _lock: lock }, saved))
    }

    /// Returns the client id of the cell. The first host's becomes that of all.
    pub(super) fn client_id(&self, own: &str) -> Result<String, StoreError> {
        self.source.query(|session| load::client_id(session, own))
    }

    pub(super) fn lease(&self) -> LeaseHandle {
        self.lease.clone()
    }

    /// Returns a handle to the files of plugins.
    pub(super) fn plugin_files(&self) -> PluginFiles {
        self.source.plugin_files().owned(self.lease())
    }

    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// Passes the stored jobs to `take`, while they are read.
    pub(super) fn jobs<T>(
        &mut self,
        take: impl FnOnce(&mut dyn Iterator<Item = SavedJob>) -> T,
    ) -> Result<T, StoreError> {
        or_begin_anew(self.source.query(|session| load::jobs(session, take)))
    }

    /// Reads what had ended before the first commit, in the background.
    pub(super) fn start_reading(&mut self, last_outcomes: &LastOutcomes) {
        last_outcomes.start_reading(runs::ended(&self.source));
    }

    /// Commits all changes durably, or none.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.keeper.commit(changes)
    }
}

/// Begins anew if the database is away: it may be back when this process is.
pub(super) fn or_begin_anew<T>(read: Result<T, StoreError>) -> Result<T, StoreError> {
    match read {
        Err(StoreError::Postgres { fault, .. }) if !fault.is_lasting() => keeper::begin_anew(&fault.to_string()),
        read => read,
    }
}

impl rows::Columns for Row {
    fn integer(&self, column: usize) -> Result<Option<i64>, String> {
        self.try_get(column).map_err(|error| error.to_string())
    }

    fn real(&self, column: usize) -> Result<Option<f64>, String> {
        self.try_get(column).map_err(|error| error.to_string())
    }

    fn text(&self, column: usize) -> Result<Option<&str>, String> {
        self.try_get(column).map_err(|error| error.to_string())
    }
}
