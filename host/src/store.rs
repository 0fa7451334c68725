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
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use roost_scheduler::event::{Change, Saved, SavedJob};

#[cfg(test)]
pub(crate) use self::outcomes::outcome_to_json as why_as_json;
pub(crate) use self::{
    error::StoreError,
    folder::{client_id, is_in_use},
    last_outcomes::{LastOutcome, LastOutcomes},
    outcomes::outcome_from_json,
    postgres::Address as DatabaseUrl,
    queries::{Around, Count, CountBy, CountFilter, EndedRun, RunCursor, RunFilter, RunView},
    reader::{Reader, restore},
    retention::Retention,
    sqlite::Restored,
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

/// Opens the store of a data folder, or of a database; they are made if they do not exist. Returns everything in it but
/// the jobs, which [`Store::jobs`] reads.
pub(crate) fn open(data: &Path, database: Option<&DatabaseUrl>, keep: Retention) -> Result<(Store, Saved), StoreError> {
    let (engine, saved) = match database {
        None => {
            let (database, saved) = sqlite::Database::open(data, keep)?;
            (Engine::Sqlite(database.into()), saved)
        }
        Some(url) => {
            let (database, saved) = postgres::Database::open(data, url.clone(), keep)?;
            (Engine::Postgres(database.into()), saved)
        }
    };
    Ok((Store { engine, last_outcomes: LastOutcomes::default() }, saved))
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
