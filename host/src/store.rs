//! The durable state: plugins, devices, jobs and runs. Only this module uses SQL (I12).
//!
//! The store is the sum of all batches of changes that were committed. A batch is one transaction, so that after a crash
//! all of it is there or none.

mod error;
mod folder;
mod last_outcomes;
mod limits;
mod outcomes;
mod postgres;
mod progress;
mod queries;
mod reader;
mod retention;
mod rows;
mod sqlite;
mod tables;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::{io, path::Path, thread};

use roost_scheduler::event::{Change, Saved, SavedJob};

use tokio::sync::oneshot;

use crate::lease::SendPermit;

#[cfg(test)]
pub(crate) use self::outcomes::outcome_to_json as why_as_json;
pub(crate) use self::{
    error::StoreError,
    folder::{DataFolder, host_id, is_in_use, machine_name},
    last_outcomes::{LastOutcome, LastOutcomes},
    outcomes::outcome_from_json,
    postgres::{
        Address as DatabaseUrl, CellOfHost, FileKind, Host, Hosts, Look, OwnHost, OwnedCell, PluginCopies, PluginFile,
        PluginFiles,
    },
    queries::{Around, Count, CountBy, CountFilter, EndedRun, RunCursor, RunFilter, RunView},
    reader::{Reader, restore},
    retention::Retention,
    sqlite::Restored,
    tables::Copied,
    transfer::{move_to, restore_to},
    writer::{Committed, Writer},
};

/// An open store, which this process alone writes.
#[derive(Debug)]
pub(crate) struct Store {
    engine: Engine,
    last_outcomes: LastOutcomes,
}

/// What keeps the data.
#[derive(Debug)]
enum Engine {
    Sqlite(Box<sqlite::Database>),
    Postgres(Box<postgres::Database>),
}

/// Opens the store of a data folder, or of a cell in a database; they are made if they do not exist. Returns everything in it but
/// the jobs, which [`Store::jobs`] reads.
pub(crate) async fn open(data: &Path, cell: Option<CellOfHost>, keep: Retention) -> Result<(Store, Saved), StoreError> {
    let (engine, saved) = match cell {
        None => {
            let (database, saved) = sqlite::Database::open(data, keep)?;
            (Engine::Sqlite(database.into()), saved)
        }
        Some(cell) => {
            // It may wait for long.
            let (to, opened) = oneshot::channel();
            let data = data.to_owned();
            let open = move || drop(to.send(postgres::Database::open(&data, cell, keep)));
            thread::Builder::new().name("standby".into()).spawn(open).map_err(StoreError::Thread)?;
            let ended = || StoreError::Thread(io::Error::other("it has panicked"));
            let (database, saved) = opened.await.map_err(|_| ended())??;
            (Engine::Postgres(database.into()), saved)
        }
    };
    Ok((Store { engine, last_outcomes: LastOutcomes::default() }, saved))
}

/// Begins anew if a database is away, because it may be back when this process is.
pub(crate) fn or_begin_anew<T>(read: Result<T, StoreError>) -> Result<T, StoreError> {
    postgres::or_begin_anew(read)
}

impl Store {
    /// Returns the handle of the last outcomes.
    pub(crate) fn last_outcomes(&self) -> LastOutcomes {
        self.last_outcomes.clone()
    }

    /// Returns a handle for queries.
    pub(crate) fn reader(&self) -> Reader {
        match &self.engine {
            Engine::Sqlite(database) => Reader::Sqlite(database.folder().to_owned()),
            Engine::Postgres(database) => Reader::Postgres(database.source()),
        }
    }

    /// Returns the MQTT client id of the host, or of all hosts that share the database: a broker ends the connection of a
    /// client when another one comes with its id, so that no earlier owner is heard any more.
    pub(crate) fn client_id(&self, data: &Path) -> Result<String, StoreError> {
        let own = folder::client_id(data)?;
        match &self.engine {
            Engine::Sqlite(_) => Ok(own),
            Engine::Postgres(database) => database.client_id(&own),
        }
    }

    /// Returns what says whether this process may send.
    pub(crate) fn permit(&self) -> SendPermit {
        match &self.engine {
            Engine::Sqlite(_) => SendPermit::default(),
            Engine::Postgres(database) => SendPermit::of(database.lease()),
        }
    }

    /// Returns the files of plugins, if hosts share them.
    pub(crate) fn plugin_files(&self) -> Option<PluginFiles> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(database) => Some(database.plugin_files()),
        }
    }

    /// Passes the stored jobs to `take`, while they are read.
    pub(crate) fn jobs<T>(
        &mut self,
        take: impl FnOnce(&mut dyn Iterator<Item = SavedJob>) -> T,
    ) -> Result<T, StoreError> {
        match &mut self.engine {
            Engine::Sqlite(database) => database.jobs(take),
            Engine::Postgres(database) => database.jobs(take),
        }
    }

    /// Reads what had ended before the first commit, in the background.
    fn start_reading(&mut self) {
        match &mut self.engine {
            Engine::Sqlite(database) => database.start_reading(&self.last_outcomes),
            Engine::Postgres(database) => database.start_reading(&self.last_outcomes),
        }
    }

    /// Commits all changes durably, or none.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        match &mut self.engine {
            Engine::Sqlite(database) => database.commit(changes),
            Engine::Postgres(database) => database.commit(changes),
        }
    }
}
