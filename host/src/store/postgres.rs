//! The store of several machines: a PostgreSQL database, of which each cell has what a data folder has on one machine.

mod address;
mod batch;
mod commit;
mod copy;
mod fault;
mod keeper;
mod kinds;
mod load;
mod plugin_files;
mod runs;
mod session;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use roost_scheduler::event::{Change, Saved, SavedJob};
use tokio_postgres::Row;

pub(super) use self::copy::write_all;
pub(crate) use self::{
    address::Address,
    copy::{Facts, PluginCopies},
    fault::Fault,
    plugin_files::{FileKind, PluginFile, PluginFiles},
};
use self::{keeper::Keeper, session::Session};
use super::{
    Retention, StoreError,
    folder::{self, Lock},
    last_outcomes::LastOutcomes,
    rows,
};
use crate::lease::LeaseHandle;

/// The tables: each format of the database is an addition to the one before. A host works with its own format and with
/// the next one, so that hosts are replaced by newer ones one after the other.
const FORMATS: [&str; 2] = [include_str!("postgres/format_1.sql"), include_str!("postgres/format_2.sql")];

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

/// The connections that queries use. One that is free is used again.
#[derive(Debug)]
struct Connections {
    address: Address,
    cell: i64,
    free: Mutex<Vec<Session>>,
}

impl Source {
    pub(crate) fn new(address: Address, cell: i64) -> Self {
        Self(Arc::new(Connections { address, cell, free: Mutex::default() }))
    }

    /// Returns the database's name for errors.
    pub(super) fn name(&self) -> String {
        self.0.address.to_string()
    }

    fn error(&self, fault: Fault) -> StoreError {
        StoreError::Postgres { database: self.name(), fault: Box::new(fault) }
    }

    /// Queries with a connection of its own.
    fn query<T>(&self, query: impl FnOnce(&Session) -> Result<T, Fault>) -> Result<T, StoreError> {
        let free = self.free().pop().filter(|session| !session.is_closed());
        let session =
            free.map_or_else(|| Session::open(&self.0.address, self.0.cell), Ok).map_err(|fault| self.error(fault))?;
        let found = query(&session);
        if found.is_ok() {
            self.free().push(session);
        }
        found.map_err(|fault| self.error(fault))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Opens the database, and waits until this process owns the cell; the tables are made if there are none. Returns
    /// everything in it but the jobs.
    pub(super) fn open(
        data: &Path,
        (address, cell): (Address, i64),
        keep: Retention,
    ) -> Result<(Self, Saved), StoreError> {
        let lock = folder::lock(&folder::open(data)?, data)?;
        let source = Source::new(address, cell);
        let (keeper, lease) = Keeper::acquire(&source, keep.days)?;
        let saved = or_begin_anew(source.query(load::load))?;
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
