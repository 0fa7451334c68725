//! Reads a database whether a host is running or not, without changing any file.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{DATABASE, MIGRATIONS, StoreError, error::Damage, format_of, limits};

/// Runs a query on one consistent state of the database. The query gets the connection and the database's format.
pub(super) fn query<T>(
    path: &Path,
    mut query: impl FnMut(&Connection, usize) -> Result<T, Damage>,
) -> Result<T, StoreError> {
    for _ in 0..limits::QUERY_TRIES {
        let before = DataVersion::of(path)?;
        let connection = connect(path, before.has_log)?;
        let format = format_of(&connection, path).map_err(only_read)?;
        let result = query(&connection, format);
        drop(connection);
        // Without a log no program writes, and one that has begun to has made a log.
        if before.has_log || DataVersion::of(path)? == before {
            return result.map_err(|damage| only_read(StoreError::from_damage(path, damage)));
        }
    }
    Err(StoreError::Unsteady(path.to_owned()))
}

/// Runs a query on the database of a data folder, which has the present format.
pub(super) fn query_current<T>(
    data: &Path,
    mut ask: impl FnMut(&Connection) -> Result<T, Damage>,
) -> Result<T, StoreError> {
    let path = data.join(DATABASE);
    let mut found = 0;
    let answer = query(&path, |connection, format| {
        found = format;
        if format < MIGRATIONS.len() { Ok(None) } else { ask(connection).map(Some) }
    })?;
    answer.ok_or_else(|| match found {
        // A host that starts for the first time has made the file, but no tables yet.
        0 => StoreError::NoDatabase(path),
        _ => StoreError::Older(path),
    })
}

/// The state of the database's files, which changes with every write.
#[derive(PartialEq, Eq)]
struct DataVersion {
    has_log: bool,
    file: (u64, u64, i64, i64),
}

impl DataVersion {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let error = |source: io::Error| StoreError::Unreadable { path: path.to_owned(), source: source.into() };
        let has_log = match fs::metadata(log_of(path)) {
            Ok(_) => true,
            Err(source) if source.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(error(source)),
        };
        match fs::metadata(path) {
            Ok(file) if file.is_file() => {
                Ok(Self { has_log, file: (file.ino(), file.len(), file.mtime(), file.mtime_nsec()) })
            }
            Ok(_) => Err(StoreError::NotAFile(path.to_owned())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(StoreError::NoDatabase(path.to_owned())),
            Err(source) => Err(error(source)),
        }
    }
}

/// Returns the path of a database's write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn connect(path: &Path, has_log: bool) -> Result<Connection, StoreError> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri_of(path, has_log), read_only);
    let sqlite = |error| only_read(StoreError::from_sqlite(path, error));
    let connection = connection.map_err(sqlite)?;
    let prepare = || {
        connection.busy_timeout(limits::READ_BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
    };
    prepare().map_err(sqlite)?;
    Ok(connection)
}

/// A reader does not write, so an error about writing becomes one about reading.
fn only_read(error: StoreError) -> StoreError {
    match error {
        StoreError::ReadOnly { path, source } => StoreError::Unreadable { path, source: source.into() },
        other => other,
    }
}

/// Returns a URI by which SQLite opens the database read-only.
pub(super) fn uri(path: &Path) -> String {
    uri_of(path, fs::symlink_metadata(log_of(path)).is_ok())
}

/// Without a log, SQLite would make one even to read, unless the database is declared immutable.
fn uri_of(path: &Path, has_log: bool) -> String {
    let how = if has_log { "mode=ro" } else { "immutable=1" };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._".contains(&byte);
    let encode = |&byte: &u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let path: String = path.as_os_str().as_bytes().iter().map(encode).collect();
    format!("file:{path}?{how}")
}
