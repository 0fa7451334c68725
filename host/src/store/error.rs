//! The errors of the data folder, with their hints.

use std::{
    io,
    path::{Path, PathBuf},
};

use roost_scheduler::{names::RunId, outcome::RunState};
use rusqlite::ErrorCode;

use super::postgres::{Address, Fault};
use crate::{files::FolderError, report::Report};

const FULL_HINT: &str = "nothing was damaged: make space and start Roost again";

/// Why the data folder cannot be used, or a commit was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Folder(FolderError),
    #[error("{what} `{}`", .path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the data folder `{}` is in use{}", .folder.display(), by_process(*.pid))]
    InUse { folder: PathBuf, pid: Option<u32> },
    #[error("the database `{database}` could not be used")]
    Postgres {
        database: Box<Address>,
        #[source]
        fault: Box<Fault>,
    },
    #[error("the thread of the store cannot be started")]
    Thread(#[source] io::Error),
    #[error("`{}` has format {found}, and this Roost knows formats up to {known}", .path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("`{}` cannot be read", .path.display())]
    Unreadable { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error("there is no `{}`", .0.display())]
    NoDatabase(PathBuf),
    #[error("`{}` was written by an older Roost", .0.display())]
    Older(PathBuf),
    #[error("`{}` kept changing while it was read", .0.display())]
    Unsteady(PathBuf),
    #[error("`{}` already exists", .0.display())]
    Exists(PathBuf),
    #[error("`{}` cannot be written", .path.display())]
    Target { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("`{}` was renamed to `{}`, and the new database could not take its place", .path.display(), .kept.display())]
    Aside { path: PathBuf, kept: PathBuf, source: io::Error },
    #[error("`{}` was left by an interrupted restore", .0.display())]
    Unfinished(PathBuf),
    #[error("`{}` cannot be restored", .path.display())]
    NoBackup { path: PathBuf, source: Box<StoreError> },
    #[error("{}", not_failed(.run, *.state))]
    NotFailed { run: RunId, state: Option<RunState> },
    #[error("`{}` is a database of another program", .0.display())]
    Foreign(PathBuf),
    #[error("`{}` was not made by Roost: {what} differs", .path.display())]
    Strange { path: PathBuf, what: String },
    #[error("`{}` is damaged", .path.display())]
    Damaged { path: PathBuf, source: Damage },
    #[error("there is no space left to write `{}`", .0.display())]
    Full(PathBuf),
    #[error("`{}` cannot be written", .path.display())]
    ReadOnly { path: PathBuf, source: rusqlite::Error },
    #[error("another program holds a transaction open in `{}`", .0.display())]
    Busy(PathBuf),
    #[error("`{}` is no longer the database that this Roost writes: {how}", .path.display())]
    Displaced { path: PathBuf, how: &'static str },
    #[error("`{}` could not be used", .path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

/// The damage of a database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("in table `{table}`, row {row}: {what}")]
    Row { table: &'static str, row: i64, what: String },
    #[error("{0}")]
    Check(String),
}

fn not_failed(run: &RunId, state: Option<RunState>) -> String {
    match state {
        None => format!("there is no run `{run}`"),
        Some(RunState::Running) => format!("the run `{run}` has not ended"),
        Some(RunState::Failed) => format!("the steps of the run `{run}` are no longer known"),
        Some(state) => format!("the run `{run}` has not failed: its state is `{state}`"),
    }
}

fn by_process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

impl StoreError {
    /// Classifies an error of SQLite.
    pub(super) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, source: Damage::Sqlite(error) }
            }
            Some(ErrorCode::DatabaseBusy) => Self::Busy(path),
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path, source: error }
            }
            _ => Self::Sqlite { path, source: error },
        }
    }

    pub(super) fn from_damage(path: &Path, damage: Damage) -> Self {
        match damage {
            Damage::Sqlite(error) => Self::from_sqlite(path, error),
            found @ (Damage::Row { .. } | Damage::Check(_)) => Self::Damaged { path: path.to_owned(), source: found },
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Folder(error) => error.hint(),
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => FULL_HINT.into(),
            Self::File { .. } | Self::ReadOnly { .. } => {
                "the user that runs Roost must be able to write the data folder; another one can be named with `--data DIR`"
                    .into()
            }
            Self::Postgres { database, fault } => fault.hint(database),
            Self::Thread(_) => "the system limits threads or memory: allow more, and start Roost again".into(),
            Self::InUse { .. } => {
                "only one Roost can use a data folder: stop the other one, or name another folder with `--data DIR`".into()
            }
            Self::Newer { .. } => {
                "a newer Roost has written it, and nothing was changed: run that one, or name another folder with `--data DIR`"
                    .into()
            }
            Self::Unreadable { .. } => {
                "it and its folder must be readable for this user: run the command as the user that runs Roost".into()
            }
            Self::NotAFile(_) => "name the data folder of a Roost with `--data DIR`".into(),
            Self::NoDatabase(_) => "it is made when Roost runs first; name its data folder with `--data DIR`".into(),
            Self::Older(_) => "nothing was changed: `roost run` of this version brings it up to date".into(),
            Self::Unsteady(_) => "try again".into(),
            Self::Exists(_) => "name a file that does not exist: nothing is overwritten".into(),
            Self::Target { .. } => {
                "nothing was changed: there must be as much space as the database takes, in a folder that you can write".into()
            }
            Self::Aside { path, kept, .. } => format!(
                "nothing is lost: rename `{1}` back to `{0}`, and `{1}-wal` to `{0}-wal` if there is one; or try again",
                path.display(),
                kept.display()
            ),
            Self::NoBackup { .. } | Self::Strange { .. } | Self::Unfinished(_) => "nothing was changed: name a file that `roost backup` has written".into(),
            Self::NotFailed { run, state: Some(RunState::Running) } => {
                format!("it continues by itself; `roost runs --state running` shows its progress, `roost abandon {run}` ends it")
            }
            Self::NotFailed { .. } => "`roost runs --failed` shows those that can be replayed".into(),
            Self::Foreign(_) => "nothing was changed: name another folder with `--data DIR`".into(),
            Self::Damaged { path, .. } => format!(
                "put a copy from a backup in its place; or move `{0}` and `{0}-wal` away: plugins are then planned again, \
                and the owed steps of runs that had started are lost",
                path.display()
            ),
            Self::Full(_) => FULL_HINT.into(),
            Self::Displaced { path, .. } => format!(
                "if it was moved, move it back, with its `-wal`, and start Roost again; otherwise Roost continues with the \
                database at `{}`, or with a copy that `roost restore` puts there first",
                path.display()
            ),
            Self::Busy(_) => "end it, and try again: nothing was changed since the last commit; to look at the database, use \
                              `sqlite3 -readonly`"
                .into(),
            Self::Sqlite { .. } => "nothing was changed since the last commit: remove the cause and start Roost again".into(),
        }
    }
}

impl From<&StoreError> for Report {
    fn from(error: &StoreError) -> Self {
        let report = Self::new(error.to_string());
        match std::error::Error::source(error) {
            Some(source) => report.chain(source),
            None => report,
        }
        .hint(error.hint())
    }
}
