//! Reads how the runs in the database ended.

use std::{error::Error, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::{
    last_outcomes::Source,
    rows::{self, Row},
};

/// Returns the runs that have ended up to now. No other connection may commit before this returns.
pub(super) fn source(path: &Path) -> Result<Source, Box<dyn Error + Send + Sync>> {
    let connection = snapshot(path)?;
    Ok(Box::new(move |take| {
        let mut select = connection.prepare(&ended_sql())?;
        let mut found = select.query([])?;
        while let Some(columns) = found.next()? {
            // The check of the database reports a row that cannot be read.
            if let Ok(last) = rows::last_outcome(&Row::new("runs", 0, columns)) {
                take(last);
            }
        }
        Ok(())
    }))
}

pub(super) fn ended_sql() -> String {
    format!("SELECT {} FROM runs WHERE state <> 'running'", rows::LAST_OUTCOMES)
}

/// Opens a second connection, which sees the present state for ever.
pub(super) fn snapshot(path: &Path) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, read_only)?;
    // From the first read on, the transaction sees one state.
    connection.execute_batch("BEGIN; SELECT series FROM clock")?;
    Ok(connection)
}
