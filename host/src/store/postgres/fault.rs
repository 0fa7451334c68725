//! What can go wrong with the database, with the statement that mends it.

use std::{io, time::Duration};

use tokio_postgres::error::SqlState;

use super::Address;
use crate::store::{error::Damage, limits};

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
    #[error("a pooler is in between, which gives each transaction another connection")]
    Pooled,
    #[error("all connections were in use for {} s", limits::QUERY.as_secs())]
    Crowded,
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
                    SqlState::UNDEFINED_TABLE,
                ];
                lasting.contains(code)
            }),
            Self::Damage(_) | Self::Json(_) | Self::Newer { .. } | Self::NotEmpty | Self::Pooled => true,
            Self::NoAnswer(_) | Self::Io(_) | Self::NotOwner | Self::InUse | Self::Crowded => false,
        }
    }

    /// Returns what to do about it.
    pub(in crate::store) fn hint(&self, address: &Address) -> String {
        let (role, database) = (address.role(), address.database());
        let unreachable =
            "the database must run and be reachable at `[store] url`; nothing was changed since the last commit";
        match self {
            Self::Server(error) => match error.code() {
                Some(code) => of_code(code, error, &role, &database),
                None => unreachable.into(),
            },
            Self::NoAnswer(_) | Self::Io(_) => unreachable.into(),
            Self::Damage(_) | Self::Json(_) => "put a copy from a backup in its place".into(),
            Self::NotOwner => "another host works, or is about to: try again".into(),
            Self::InUse => "nothing was changed: stop all hosts that use it, and try again".into(),
            Self::Crowded => "too many queries take too long: ask for less at a time".into(),
            Self::Pooled => "connect to the server itself, or let the pooler work in session mode".into(),
            Self::NotEmpty => format!(
                "nothing was changed: name an empty database; as an administrator: `ALTER DATABASE {database} RENAME TO \
                 roost_before;`, `CREATE DATABASE {database} OWNER {role};`"
            ),
            Self::Newer { .. } => "a newer Roost has written it, and nothing was changed: run that one".into(),
        }
    }
}

/// Returns what to do about an error of the server.
fn of_code(code: &SqlState, error: &tokio_postgres::Error, role: &str, database: &str) -> String {
    let says = |text: &str| error.as_db_error().is_some_and(|of| of.message().contains(text));
    let admin = "as an administrator of the database:";
    match *code {
        SqlState::INVALID_PASSWORD => {
            format!("the password of `[store] url` is not that of the user; {admin} `ALTER ROLE {role} PASSWORD '…';`")
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION if says("pg_hba.conf") => format!(
            "{admin} add the line `host {database} {role} ADDRESS scram-sha-256` to `pg_hba.conf`, with this machine's \
             address or network, and `SELECT pg_reload_conf();`"
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!("{admin} `CREATE ROLE {role} LOGIN PASSWORD '…';`"),
        SqlState::INVALID_CATALOG_NAME => format!("{admin} `CREATE DATABASE {database} OWNER {role};`"),
        SqlState::INSUFFICIENT_PRIVILEGE => format!(
            "give Roost a database of its own; {admin} `ALTER DATABASE {database} OWNER TO {role};`, and `ALTER SCHEMA \
             public OWNER TO {role};` in it"
        ),
        SqlState::UNDEFINED_TABLE => "its tables are made by the first host that runs with it".into(),
        SqlState::READ_ONLY_SQL_TRANSACTION => format!(
            "name the server that writes rather than a standby server, or all of them: `postgres://{role}@ONE,TWO/{database}`; if \
             it is none, {admin} `ALTER DATABASE {database} SET default_transaction_read_only = off;`"
        ),
        SqlState::TOO_MANY_CONNECTIONS => format!(
            "{admin} `ALTER SYSTEM SET max_connections = 200;`, and start it again; `SELECT usename, count(*) FROM \
             pg_stat_activity GROUP BY 1;` shows its users"
        ),
        SqlState::DISK_FULL => "nothing was damaged: make space on the database's disk and start Roost again".into(),
        _ => "nothing was changed since the last commit: see the database's log".into(),
    }
}
