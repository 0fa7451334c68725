//! Queries, whether a host is running or not.

use std::path::{Path, PathBuf};

use roost_scheduler::{
    body::Body,
    names::{JobName, RunId},
    time::Instant,
};

use super::{
    DatabaseUrl, PluginFiles, StoreError, postgres,
    queries::{Around, Count, CountBy, CountFilter, EndedRun, RunFilter, RunView},
    sqlite::{self, Restored},
    tables,
};

/// A handle to a store, for queries. None of them changes anything.
#[derive(Clone, Debug)]
pub(crate) enum Reader {
    /// The database in a data folder.
    Sqlite(PathBuf),
    /// A database of several hosts.
    Postgres(postgres::Source),
}

impl Reader {
    /// Returns a handle to the database in a data folder.
    pub(crate) fn folder(data: &Path) -> Self {
        Self::Sqlite(data.to_owned())
    }

    /// Returns a handle to a cell in a database of several hosts.
    pub(crate) fn database(url: DatabaseUrl, cell: i64) -> Self {
        Self::Postgres(postgres::Source::new(url, cell))
    }

    /// Returns the files of plugins, if hosts share them.
    pub(crate) fn plugin_files(&self) -> Option<PluginFiles> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(source) => Some(source.plugin_files()),
        }
    }

    /// Lists the runs that `filter` selects: first those under way, the longest due first, then those that have ended,
    /// the newest occurrence first; or all by occurrence.
    pub(crate) fn runs(&self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::runs(data, filter),
            Self::Postgres(source) => source.runs(filter),
        }
    }

    /// Returns one run.
    pub(crate) fn run(&self, run: &RunId) -> Result<Option<RunView>, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::run(data, run),
            Self::Postgres(source) => source.run(run),
        }
    }

    /// Returns the runs of a job for an occurrence and, within a window, around an instant.
    pub(crate) fn around(
        &self,
        job: &JobName,
        occurrence: Option<Instant>,
        at: Instant,
        window: (Instant, Instant),
    ) -> Result<Around, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::around(data, job, occurrence, at, window),
            Self::Postgres(source) => source.around(job, occurrence, at, window),
        }
    }

    /// Returns the content of a failed run, to be replayed.
    pub(crate) fn dead_letter(&self, run: &RunId) -> Result<Body, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::dead_letter(data, run),
            Self::Postgres(source) => source.dead_letter(run),
        }
    }

    /// Collects the runs that have ended, in the order of their occurrences.
    pub(crate) fn collect_ended<T: Default + Send>(
        &self,
        filter: &CountFilter,
        collect: impl FnMut(&mut T, EndedRun<'_>) + Send,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::collect_ended(data, filter, collect),
            Self::Postgres(source) => source.collect_ended(filter, collect),
        }
    }

    /// Counts the runs that have ended in equal parts of a period.
    pub(crate) fn count_ended<T: Default + Send>(
        &self,
        filter: &CountFilter,
        parts: (CountBy, u32),
        collect: impl FnMut(&mut T, Count<'_>) + Send,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::count_ended(data, filter, parts, collect),
            Self::Postgres(source) => source.count_ended(filter, parts, collect),
        }
    }

    /// Writes a copy of the whole store to a new file: all of it or nothing.
    pub(crate) fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(data) => sqlite::back_up(data, to),
            Self::Postgres(source) => {
                tables::copy(|to| source.read_all(to), |parts| sqlite::write_all(to, parts)).map(|_| ())
            }
        }
    }
}

/// Replaces the database of a data folder by a copy, unless a host uses it. A failed restore changes nothing.
pub(crate) fn restore(data: &Path, from: &Path, now: Instant) -> Result<Restored, StoreError> {
    sqlite::restore(data, from, now)
}
