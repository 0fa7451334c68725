//! All rows of a cell, to and from another store.

use std::{
    fs, io,
    path::PathBuf,
    pin::Pin,
    sync::mpsc::{Receiver, SyncSender},
    thread,
};

use roost_scheduler::{event::Digest, time::Instant};
use sha2::{Digest as _, Sha256};
use tokio_postgres::{
    Client,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type as SqlType},
};

use super::{
    Address, Fault, PluginFile, Session, Source,
    commit::without_nul,
    load::{self, each_row},
};
use crate::store::{
    StoreError, limits,
    tables::{Copied, Gathered, Part, TABLES, Table, Type, Value},
};

/// What a database gets beside the rows.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The client id of the host that had the store before; `None`: that of the first host is taken.
    pub(crate) client_id: Option<String>,
    /// No host decides by an earlier time than this one.
    pub(crate) now: Instant,
    pub(crate) plugins: PluginCopies,
}

/// The files of plugins, and where their contents are.
#[derive(Debug, Default)]
pub(crate) struct PluginCopies {
    pub(crate) files: Vec<PluginFile>,
    /// The contents of the files, and of the versions that run.
    pub(crate) contents: Vec<(Digest, PathBuf)>,
}

/// A cell as it was before it was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    epoch: i64,
    beat: i64,
    is_owned: bool,
}

impl Source {
    /// Sends all rows of the cell, of one state of the database.
    pub(in crate::store) fn read_all(&self, to: SyncSender<Part>) -> Result<(), StoreError> {
        self.query(|session| {
            let cell = session.cell;
            session.run(limits::COPY, async move |client: &Client| {
                client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                let clock = client.query_one("SELECT series, zones FROM cells WHERE id = $1", &[&cell]).await?;
                // A writer that has failed reports it.
                let _ = to.send(Part::Clock { series: clock.try_get(0)?, zones: clock.try_get(1)? });
                for table in TABLES {
                    let mut rows = Gathered::new(table, &to);
                    let sql = format!("SELECT {} FROM {} WHERE cell = $1", table.names(), table.name);
                    each_row(client, table.name, &sql, &[&cell], |row| rows.push(row)).await?;
                    rows.end();
                }
                client.batch_execute("COMMIT").await?;
                let _ = to.send(Part::End);
                Ok(())
            })
        })
    }
}

/// Fills an empty database, which no host uses, with all parts: all of them or nothing.
pub(in crate::store) fn write_all(
    (address, cell): (Address, i64),
    parts: Receiver<Part>,
    facts: &Facts,
) -> Result<Copied, StoreError> {
    let filled = Session::open(&address, cell).and_then(|session| {
        load::prepare(&session)?;
        let before = unused(&session)?;
        session.run(limits::COPY, async move |client: &Client| fill(client, cell, before, parts, facts).await)
    });
    filled.map_err(|fault| Source::new(address, cell).error(fault))
}

/// Returns the cell's state, unless a host works, or has worked.
fn unused(session: &Session) -> Result<Before, Fault> {
    let found = before(session)?;
    if found.is_owned {
        // An owner that lives renews its lease meanwhile.
        thread::sleep(limits::LIVES);
        if before(session)? != found {
            return Err(Fault::InUse);
        }
    }
    Ok(found)
}

fn before(session: &Session) -> Result<Before, Fault> {
    session.run(limits::QUERY, async move |client: &Client| {
        let sql = "SELECT epoch, beat, owner IS NOT NULL FROM cells WHERE id = $1";
        let row = client.query_one(sql, &[&session.cell]).await?;
        Ok(Before { epoch: row.try_get(0)?, beat: row.try_get(1)?, is_owned: row.try_get(2)? })
    })
}

async fn fill(
    client: &Client,
    cell: i64,
    before: Before,
    parts: Receiver<Part>,
    facts: &Facts,
) -> Result<Copied, Fault> {
    client.batch_execute("BEGIN").await?;
    let tables = TABLES.map(|table| table.name).into_iter().chain(["plugin_files"]);
    for table in tables {
        if client.query_one(&format!("SELECT EXISTS (SELECT FROM {table})"), &[]).await?.try_get(0)? {
            return Err(Fault::NotEmpty);
        }
    }
    // The connection is given up if anything fails, and the transaction with it.
    let (copied, (series, zones), latest) = copy_rows(client, cell, parts).await?;
    let plugins = keep_files(client, cell, &facts.plugins).await?;
    // Last, because hosts that wait look at this row.
    let clock = latest.max(facts.now.millis());
    let sql = "UPDATE cells SET epoch = epoch + 1, beat = beat + 1, owner = NULL, files = files + 1, series = $4,
                   zones = $5, clock = greatest(clock, $6), client_id = coalesce($7, client_id)
               WHERE id = $1 AND epoch = $2 AND beat = $3";
    let params: [&(dyn ToSql + Sync); 7] =
        [&cell, &before.epoch, &before.beat, &series, &zones, &clock, &facts.client_id];
    if client.execute(sql, &params).await? == 0 {
        return Err(Fault::InUse);
    }
    client.batch_execute("COMMIT").await?;
    Ok(Copied { plugins, ..copied })
}

type Clock = (i64, Option<String>);

/// Writes all rows. Returns the clock, and the latest time at which a run has started or ended.
async fn copy_rows(client: &Client, cell: i64, parts: Receiver<Part>) -> Result<(Copied, Clock, i64), Fault> {
    let (mut copied, mut clock, mut latest) = (Copied::default(), (0, None), 0);
    let mut writing: Option<(&Table, Pin<Box<BinaryCopyInWriter>>)> = None;
    for part in parts {
        match part {
            Part::Clock { series, zones } => clock = (series, zones),
            Part::Rows(table, rows) => {
                copied.count(table, &rows);
                latest = latest.max(table.latest(&rows));
                let mut writer = match writing.take() {
                    Some((same, writer)) if same == table => writer,
                    other => {
                        finish(other).await?;
                        begin(client, table).await?
                    }
                };
                for row in rows {
                    let row: Vec<Value> = row.into_iter().map(Value::without_nul).collect();
                    let of_cell: &(dyn ToSql + Sync) = &cell;
                    let values: Vec<_> = std::iter::once(of_cell).chain(row.iter().map(Value::as_param)).collect();
                    writer.as_mut().write(&values).await?;
                }
                writing = Some((table, writer));
            }
            Part::End => {
                finish(writing).await?;
                return Ok((copied, clock, latest));
            }
        }
    }
    Err(Fault::Io(io::ErrorKind::UnexpectedEof.into()))
}

async fn begin(client: &Client, table: &Table) -> Result<Pin<Box<BinaryCopyInWriter>>, Fault> {
    let sink = client.copy_in(&format!("COPY {} (cell, {}) FROM STDIN BINARY", table.name, table.names())).await?;
    let types = table.columns.iter().map(|(_, of)| match of {
        Type::Integer => SqlType::INT8,
        Type::Real => SqlType::FLOAT8,
        Type::Text => SqlType::TEXT,
    });
    let types: Vec<_> = std::iter::once(SqlType::INT8).chain(types).collect();
    Ok(Box::pin(BinaryCopyInWriter::new(sink, &types)))
}

async fn finish(writing: Option<(&Table, Pin<Box<BinaryCopyInWriter>>)>) -> Result<(), Fault> {
    if let Some((_, mut writer)) = writing {
        writer.as_mut().finish().await?;
    }
    Ok(())
}

/// Keeps the files of plugins. Returns how many plugins have some.
async fn keep_files(client: &Client, cell: i64, plugins: &PluginCopies) -> Result<u64, Fault> {
    for (digest, path) in &plugins.contents {
        let bytes = fs::read(path).map_err(Fault::Io)?;
        if Sha256::digest(&bytes)[..] != digest.0 {
            return Err(Fault::Io(io::Error::other(format!("`{}` has changed meanwhile", path.display()))));
        }
        let sql = "INSERT INTO contents (cell, digest, bytes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&cell, &digest.to_string(), &bytes]).await?;
    }
    for PluginFile { plugin, component, settings, previous } in &plugins.files {
        let [component, settings, previous] =
            [component, settings, previous].map(|digest| digest.map(|digest| digest.to_string()));
        let sql = "INSERT INTO plugin_files (cell, plugin, component, settings, previous) VALUES ($1, $2, $3, $4, $5)";
        client.execute(sql, &[&cell, &plugin.as_str(), &component, &settings, &previous]).await?;
    }
    Ok(plugins.files.len() as u64)
}

impl Value {
    /// Replaces what a text in PostgreSQL cannot have.
    fn without_nul(self) -> Self {
        match self {
            Self::Text(Some(text)) => Self::Text(Some(without_nul(text))),
            value => value,
        }
    }

    fn as_param(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integer(value) => value,
            Self::Real(value) => value,
            Self::Text(value) => value,
        }
    }
}
