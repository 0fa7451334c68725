//! Verifies a database that comes from elsewhere: its schema, and every row.

use std::{collections::BTreeSet, sync::mpsc};

use roost_scheduler::event::JobKey;
use rusqlite::{Connection, OptionalExtension};

use super::{MIGRATIONS, apply, error::Damage, limits, load, runs};

/// Returns the first object whose definition differs from that of `format`, if any, in more than comments and white
/// space. The tables of `ANALYZE` are ignored.
pub(super) fn schema_mismatch(connection: &Connection, format: usize) -> rusqlite::Result<Option<String>> {
    let own = Connection::open_in_memory()?;
    apply(&own, &MIGRATIONS[..format.min(MIGRATIONS.len())])?;
    let (own, found) = (parts(&own)?, parts(connection)?);
    Ok(own.symmetric_difference(&found).next().map(|(name, _)| name.clone()))
}

/// Returns the objects of a schema with their definitions.
fn parts(of: &Connection) -> rusqlite::Result<BTreeSet<(String, String)>> {
    let sql = "SELECT type || ' `' || name || '`', tbl_name || coalesce(sql, '') FROM sqlite_schema
               WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'";
    of.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, words(&row.get::<_, String>(1)?))))?.collect()
}

/// Returns the words of a definition, without comments.
fn words(sql: &str) -> String {
    let code = sql.lines().filter_map(|line| line.split("--").next());
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Checks whether a host can resume with this database.
pub(super) fn check(connection: &mut Connection) -> Result<(), Damage> {
    load::load(connection)?;
    let (unused, _) = mpsc::sync_channel(1);
    load::jobs(connection, 0..JobKey::MAX, &unused)?;
    let (keys, run_numbers) = (limits::KEYS, limits::RUN_NUMBERS);
    for table in ["plugins", "devices", "jobs"] {
        let sql = format!("SELECT id FROM {table} WHERE id NOT BETWEEN 0 AND {keys} LIMIT 1");
        none(connection, table, &sql, "that is not a number that Roost assigns")?;
    }
    let twice = "SELECT max(id) FROM jobs GROUP BY device, job HAVING count(*) > 1 LIMIT 1";
    none(connection, "jobs", twice, "its device has another job of that name")?;
    let number = format!("SELECT number FROM runs WHERE number NOT BETWEEN 0 AND {run_numbers} LIMIT 1");
    none(connection, "runs", &number, "that is not a number that Roost assigns")?;
    let state = "SELECT row_number() OVER () FROM runs WHERE (state = 'running') <> (number IS NOT NULL)
                 OR (state <> 'running' AND ended IS NULL) LIMIT 1";
    none(connection, "runs", state, "it has neither ended nor is it under way")?;
    runs::check(connection)
}

/// Fails if the query finds a row.
fn none(connection: &Connection, table: &'static str, sql: &str, what: &str) -> Result<(), Damage> {
    match connection.query_row(sql, [], |row| row.get(0)).optional()? {
        Some(row) => Err(Damage::Row { table, row, what: what.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_white_space_make_no_other_schema() {
        let made = |from: &str, to: &str| {
            let connection = Connection::open_in_memory().unwrap();
            assert!(MIGRATIONS[0].contains(from), "{from}");
            connection.execute_batch(&MIGRATIONS[0].replacen(from, to, 1)).unwrap();
            schema_mismatch(&connection, 1).unwrap()
        };
        let comment = "-- JSON; NULL: the defaults\n";
        assert_eq!(made(comment, "-- JSON; NULL:\n    -- the defaults\n"), None);
        assert_eq!(made(comment, "\n"), None);
        assert_eq!(made("    label     TEXT,", "label TEXT,\n\n"), None);
        assert_eq!(made("    label     TEXT,", "    label     BLOB,"), Some("table `jobs`".into()));
        assert_eq!(made("    label     TEXT,", "    label     TEXT, -- x\n extra TEXT,"), Some("table `jobs`".into()));
    }
}
