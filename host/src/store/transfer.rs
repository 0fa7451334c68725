//! A store is moved to a database of several hosts.

use std::path::Path;

use roost_scheduler::time::Instant;

use super::{
    DatabaseUrl, StoreError, folder,
    postgres::{self, Facts, PluginCopies},
    sqlite::{self, DATABASE, Restored},
    tables::{self, Copied},
};

/// Copies the store of a data folder, which no host uses, to an empty database: all of it or nothing.
pub(crate) fn move_to(
    cell: (DatabaseUrl, i64),
    data: &Path,
    plugins: PluginCopies,
    now: Instant,
) -> Result<Copied, StoreError> {
    let path = data.join(DATABASE);
    if !path.exists() {
        return Err(StoreError::NoDatabase(path));
    }
    let opened = folder::open(data)?;
    let _lock = folder::lock(&opened, data)?;
    let facts = Facts { client_id: Some(folder::client_id(data)?), now, plugins };
    copy(cell, &path, &facts)
}

/// Fills an empty database with a backup. Everything before now counts as decided, as in a data folder.
pub(crate) fn restore_to(
    cell: (DatabaseUrl, i64),
    data: &Path,
    from: &Path,
    plugins: PluginCopies,
    now: Instant,
) -> Result<Restored, StoreError> {
    let facts = Facts { client_id: None, now, plugins };
    sqlite::restore_elsewhere(data, from, now, |path| copy(cell, path, &facts).map(|_| ()))
}

fn copy(cell: (DatabaseUrl, i64), path: &Path, facts: &Facts) -> Result<Copied, StoreError> {
    tables::copy(|to| sqlite::read_all(path, to), |parts| postgres::write_all(cell, parts, facts))
}
