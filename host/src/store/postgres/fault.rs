//! What can go wrong with the database, with the statement that mends it.

use std::{io, time::Duration};

use tokio_postgres::error::SqlState;

use crate::store::error::Damage;

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{}", of_server(.0))]
    Server(tokio_postgres::Error),
    #[error("the database did not answer within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Damage(#[from] Damage),
    #[error("a value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("it has format {found}, and this Roost works with formats up to {}", known + 1)]
    Newer { found: usize, known: usize },
    #[error("this host does not own the cell")]
    NotOwner,
    #[error("a host works with it, or is about to")]
    InUse,
    #[error("it has plugins, jobs or runs already")]
    NotEmpty,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// Returns what the server says, which the error itself leaves out.
fn of_server(error: &tokio_postgres::Error) -> String {
    let mut text = error.as_db_error().map_or_else(|| error.to_string(), |of| of.message().to_owned());
    if error.as_db_error().is_none()
        && let Some(source) = std::error::Error::source(error)
    {
        text = format!("{text}: {source}");
    }
    text
}

impl Fault {
    /// Checks whether it stays until an operator mends it. Everything else may pass: a database that is away, or starts.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Server(error) => error.code().is_some_and(|code| {
                let lasting = [
                    SqlState::INVALID_PASSWORD,
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    SqlState::INVALID_CATALOG_NAME,
                    SqlState::INSUFFICIENT_PRIVILEGE,
                ];
                lasting.contains(code)
            }),
            Self::Damage(_) | Self::Json(_) | Self::Newer { .. } | Self::NotEmpty => true,
            Self::NoAnswer(_) | Self::Io(_) | Self::NotOwner | Self::InUse => false,
        }
    }

    /// Returns what to do about it.
    pub(in crate::store) fn hint(&self) -> String {
        let role = "CREATE ROLE roost LOGIN PASSWORD '…';";
        let database = "CREATE DATABASE roost OWNER roost;";
        match self {
            Self::Server(error) => match error.code() {
                Some(code) if *code == SqlState::INVALID_PASSWORD => {
                    "the password of `[store] url` is not that of the user; as an administrator: `ALTER ROLE roost PASSWORD '…';`".into()
                }
                Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                    format!("as an administrator of the database: `{role}`, and a line for it in `pg_hba.conf`")
                }
                Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                    format!("as an administrator of the database: `{database}`")
                }
                Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                    "give Roost a database of its own; as an administrator: `ALTER DATABASE roost OWNER TO roost;`, and \
                     `ALTER SCHEMA public OWNER TO roost;` in it"
                        .into()
                }
                Some(code) if *code == SqlState::DISK_FULL => {
                    "nothing was damaged: make space on the database's disk and start Roost again".into()
                }
                Some(_) => "nothing was changed since the last commit: see the database's log".into(),
                None => "the database must run and be reachable at `[store] url`; nothing was changed since the last commit".into(),
            },
            Self::NoAnswer(_) | Self::Io(_) => {
                "the database must run and be reachable at `[store] url`; nothing was changed since the last commit".into()
            }
            Self::Damage(_) | Self::Json(_) => "put a copy from a backup in its place".into(),
            Self::NotOwner => "another host works, or is about to: try again".into(),
            Self::InUse => "nothing was changed: stop all hosts that use it, and try again".into(),
            Self::NotEmpty => {
                "nothing was changed: name an empty database; as an administrator: `ALTER DATABASE roost RENAME TO roost_before;`, \
                 `CREATE DATABASE roost OWNER roost;`"
                    .into()
            }
            Self::Newer { .. } => "a newer Roost has written it, and nothing was changed: run that one".into(),
        }
    }
}
