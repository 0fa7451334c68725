//! The hosts that share the database.

use tokio_postgres::Client;

use super::{Fault, Source};
use crate::{
    clock,
    store::{DatabaseUrl, StoreError, limits},
};

/// What a host makes known of itself.
#[derive(Clone, Debug)]
pub(crate) struct OwnHost {
    /// The id of its data folder.
    pub(crate) id: String,
    pub(crate) name: String,
    /// Where other hosts reach it, if they do.
    pub(crate) address: Option<String>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    pub(crate) version: String,
    /// When it was seen last, by this host's clock, in milliseconds since 1970.
    pub(crate) seen_ms: i64,
    /// For how long it has not been seen.
    pub(crate) unseen_ms: i64,
    /// Its clock less the database's.
    pub(crate) clock_ahead_ms: i64,
}

/// A cell, and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedCell {
    pub(crate) number: i64,
    pub(crate) epoch: i64,
    /// Raised by each transaction of the owner.
    pub(crate) beat: i64,
    /// Whether a process owns it.
    pub(crate) is_owned: bool,
    /// The id of the host that owned it last. `None`: an earlier version, which has no gateway.
    pub(crate) host: Option<String>,
}

/// What a look at the database has found.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// By name.
    pub(crate) hosts: Vec<Host>,
    pub(crate) cells: Vec<OwnedCell>,
    /// What forwarded requests are recognised by.
    pub(crate) secret: String,
}

/// A handle to the hosts of a database, for one of them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    source: Source,
    own: OwnHost,
}

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";
const SIGN: &str = "INSERT INTO hosts (id, name, address, version, seen, clock_ahead) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address, version = excluded.version,
                                    seen = excluded.seen, clock_ahead = excluded.clock_ahead";
const FORGET: &str = "DELETE FROM hosts WHERE seen < $1";

impl Hosts {
    pub(crate) fn new(url: DatabaseUrl, own: OwnHost) -> Self {
        // Nothing of a cell is read.
        Self { source: Source::new(url, 0), own }
    }

    /// Returns all hosts and cells. With `signs`, this host gives a sign of life. The tables may not have been made yet: that
    /// is an error.
    pub(crate) fn look(&self, signs: bool) -> Result<Look, StoreError> {
        let OwnHost { id, name, address, .. } = &self.own;
        self.source.query(|session| {
            session.run(limits::QUESTION, async move |client: &Client| {
                let before = clock::now().millis();
                let now: i64 = client.query_one(NOW, &[]).await?.try_get(0)?;
                let after = clock::now().millis();
                let ahead = before + (after - before) / 2 - now;
                if signs {
                    client.execute(SIGN, &[id, name, address, &env!("CARGO_PKG_VERSION"), &now, &ahead]).await?;
                    client.execute(FORGET, &[&(now - limits::HOST_FORGOTTEN_MS)]).await?;
                }
                let sql = "SELECT id, name, address, version, seen, clock_ahead FROM hosts ORDER BY name, id";
                let rows = client.query(sql, &[]).await?;
                let hosts = rows.iter().map(|row| {
                    let seen: i64 = row.try_get(4)?;
                    Ok(Host {
                        id: row.try_get(0)?,
                        name: row.try_get(1)?,
                        address: row.try_get(2)?,
                        version: row.try_get(3)?,
                        seen_ms: seen + ahead,
                        unseen_ms: now - seen,
                        clock_ahead_ms: row.try_get(5)?,
                    })
                });
                let hosts = hosts.collect::<Result<_, Fault>>()?;
                let sql = "SELECT id, epoch, beat, owner IS NOT NULL, host_id FROM cells ORDER BY id";
                let rows = client.query(sql, &[]).await?;
                let cells = rows.iter().map(|row| {
                    Ok(OwnedCell {
                        number: row.try_get(0)?,
                        epoch: row.try_get(1)?,
                        beat: row.try_get(2)?,
                        is_owned: row.try_get(3)?,
                        host: row.try_get(4)?,
                    })
                });
                let cells = cells.collect::<Result<_, Fault>>()?;
                let secret = client.query_one("SELECT secret FROM forwarding", &[]).await?.try_get(0)?;
                Ok(Look { hosts, cells, secret })
            })
        })
    }
}
