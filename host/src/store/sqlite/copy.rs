//! All rows of a database, to and from another store.

use std::{fs::File, path::Path, sync::mpsc::SyncSender};

use rusqlite::{Connection, ToSql, Transaction, types::ToSqlOutput};

use super::{MIGRATIONS, StoreError, backup, configure_unused, error::Damage, load::each_row, migrate, reading::query};
use crate::store::tables::{Copied, Gathered, Part, TABLES, Table, Value};

/// Sends all rows of a database, which no host uses.
pub(in crate::store) fn read_all(path: &Path, to: SyncSender<Part>) -> Result<(), StoreError> {
    let mut to = Some(to);
    let mut found = 0;
    let is_read = query(path, |connection, format| {
        found = format;
        match to.take().filter(|_| format == MIGRATIONS.len()) {
            Some(to) => send(connection, &to).map(|()| true),
            None => Ok(false),
        }
    })?;
    match found {
        0 => Err(StoreError::NoDatabase(path.to_owned())),
        known if known < MIGRATIONS.len() => Err(StoreError::Older(path.to_owned())),
        _ if is_read => Ok(()),
        _ => Err(StoreError::Unsteady(path.to_owned())),
    }
}

fn send(connection: &Connection, to: &SyncSender<Part>) -> Result<(), Damage> {
    let clock = connection.query_row("SELECT series, zones FROM clock", [], |row| {
        Ok(Part::Clock { series: row.get(0)?, zones: row.get(1)? })
    });
    // A writer that has failed reports it.
    let _ = to.send(clock?);
    for table in TABLES {
        let mut rows = Gathered::new(table, to);
        let sql = format!("SELECT {} FROM {}", table.names(), table.in_sqlite);
        each_row(connection, table.in_sqlite, &sql, [], |row| rows.push(row))?;
        rows.end();
    }
    let _ = to.send(Part::End);
    Ok(())
}

/// Writes all parts to a new file: all of them or nothing.
pub(in crate::store) fn write_all(to: &Path, parts: impl IntoIterator<Item = Part>) -> Result<Copied, StoreError> {
    backup::write_new(to, |unfinished, file| {
        let target =
            |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Target { path: to.to_owned(), source };
        write(unfinished, file, parts).map_err(|error| target(error.into()))
    })
}

fn write(path: &Path, file: &File, parts: impl IntoIterator<Item = Part>) -> Result<Copied, Damage> {
    let mut connection = Connection::open(path)?;
    configure_unused(&connection)?;
    migrate(&mut connection, 0)?;
    let transaction = connection.transaction()?;
    let copied = insert(&transaction, parts)?;
    transaction.commit()?;
    drop(connection);
    file.sync_all().map_err(|error| Damage::Check(error.to_string()))?;
    Ok(copied)
}

fn insert(to: &Transaction<'_>, parts: impl IntoIterator<Item = Part>) -> Result<Copied, Damage> {
    let mut copied = Copied::default();
    for part in parts {
        match part {
            Part::Clock { series, zones } => {
                to.execute("UPDATE clock SET series = ?1, zones = ?2", (series, zones))?;
            }
            Part::Rows(table, rows) => {
                copied.count(table, &rows);
                insert_rows(to, table, &rows)?;
            }
            Part::End => return Ok(copied),
        }
    }
    Err(Damage::Check("the copy has no end".into()))
}

fn insert_rows(to: &Transaction<'_>, table: &Table, rows: &[Vec<Value>]) -> Result<(), Damage> {
    let places = vec!["?"; table.columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.in_sqlite, table.names());
    let mut statement = to.prepare_cached(&sql)?;
    for row in rows {
        statement.execute(rusqlite::params_from_iter(row))?;
    }
    Ok(())
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(value) => value.to_sql(),
            Self::Real(value) => value.to_sql(),
            Self::Text(value) => value.to_sql(),
        }
    }
}
