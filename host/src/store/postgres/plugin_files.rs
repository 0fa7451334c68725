//! The files of plugins in the database, so that every host has the same ones.

use roost_scheduler::{
    event::{Digest, Version},
    names::PluginName,
};
use tokio_postgres::Client;

use super::{Fault, Source, load::each_row};
use crate::{
    lease::LeaseHandle,
    store::{StoreError, error::Damage, limits, rows::Row},
};

/// The files of a plugin, by their contents' digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginFile {
    pub(crate) plugin: PluginName,
    pub(crate) component: Option<Digest>,
    pub(crate) settings: Option<Digest>,
    /// The component that ran before, for a rollback.
    pub(crate) previous: Option<Digest>,
}

/// All files of plugins that a host must have.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The number of changes before.
    pub(crate) changes: i64,
    /// The files as the operator wants them.
    pub(crate) files: Vec<PluginFile>,
    /// The versions that run.
    pub(crate) running: Vec<Version>,
}

/// What is changed of a plugin's files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileKind {
    Component,
    Settings,
    Previous,
}

impl FileKind {
    const fn column(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Settings => "settings",
            Self::Previous => "previous",
        }
    }
}

/// A handle to the files of plugins in the database. Only the owner of the cell changes them.
#[derive(Clone, Debug)]
pub(crate) struct PluginFiles {
    source: Source,
    lease: Option<LeaseHandle>,
}

/// Raises the number of changes, unless the cell is another host's.
const COUNT: &str = "UPDATE cells SET files = files + 1 WHERE id = $1 AND epoch = $2 AND owner IS NOT NULL";
/// Keeps the contents, unless the cell is another host's. Two plugins may have the same.
const KEEP: &str = "INSERT INTO contents (cell, digest, bytes)
     SELECT $1, $3, $4 FROM cells WHERE id = $1 AND epoch = $2 AND owner IS NOT NULL
     ON CONFLICT (cell, digest) DO UPDATE SET digest = excluded.digest";
/// Forgets a plugin without files.
const WITHOUT_FILES: &str = "DELETE FROM plugin_files WHERE cell = $1 AND plugin = $2
     AND component IS NULL AND settings IS NULL AND previous IS NULL";
const SWEEP: &str = "DELETE FROM contents WHERE cell = $1 AND NOT digest = ANY ($3)
     AND EXISTS (SELECT FROM cells WHERE id = $1 AND epoch = $2 AND owner IS NOT NULL)
     AND NOT EXISTS (SELECT FROM plugin_files AS files WHERE files.cell = $1
                     AND contents.digest IN (files.component, files.settings, files.previous))
     AND NOT EXISTS (SELECT FROM plugins WHERE plugins.cell = $1
                     AND contents.digest IN (plugins.component, plugins.settings))";

impl Source {
    /// Returns a handle to the files of plugins, which cannot change them.
    pub(crate) fn plugin_files(&self) -> PluginFiles {
        PluginFiles { source: self.clone(), lease: None }
    }
}

impl PluginFiles {
    /// Returns a handle that can change them for as long as this process owns the cell.
    pub(super) fn owned(self, lease: LeaseHandle) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Returns the number of changes so far.
    pub(crate) fn changes(&self) -> Result<i64, StoreError> {
        self.source.query(|session| {
            session.run(limits::QUESTION, async move |client: &Client| {
                Ok(client.query_one("SELECT files FROM cells WHERE id = $1", &[&session.cell]).await?.try_get(0)?)
            })
        })
    }

    /// Lists the files.
    pub(crate) fn list(&self) -> Result<Listing, StoreError> {
        self.source.query(|session| {
            session.run(limits::QUERY, async move |client: &Client| {
                let cell = session.cell;
                // Read first: a change meanwhile is found by the next look.
                let changes = client.query_one("SELECT files FROM cells WHERE id = $1", &[&cell]).await?.try_get(0)?;
                let mut listing = Listing { changes, files: Vec::new(), running: Vec::new() };
                let sql =
                    "SELECT plugin, component, settings, previous FROM plugin_files WHERE cell = $1 ORDER BY plugin";
                each_row(client, "plugin_files", sql, &[&cell], |row| {
                    listing.files.push(PluginFile {
                        plugin: row.parsed(0, PluginName::parse)?,
                        component: digest(row, 1)?,
                        settings: digest(row, 2)?,
                        previous: digest(row, 3)?,
                    });
                    Ok(())
                })
                .await?;
                let sql = "SELECT component, settings FROM plugins WHERE cell = $1";
                each_row(client, "plugins", sql, &[&cell], |row| {
                    listing.running.push(Version { component: row.digest(0)?, settings: row.digest(1)? });
                    Ok(())
                })
                .await?;
                Ok(listing)
            })
        })
    }

    /// Returns the contents with a digest, if they are there. They are not compared with it.
    pub(crate) fn contents(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let digest = digest.to_string();
        self.source.query(|session| {
            session.run(limits::QUERY, async move |client: &Client| {
                let sql = "SELECT bytes FROM contents WHERE cell = $1 AND digest = $2";
                let row = client.query_opt(sql, &[&session.cell, &digest]).await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?)
            })
        })
    }

    /// Keeps contents.
    pub(crate) fn keep(&self, contents: &[(Digest, &[u8])]) -> Result<(), StoreError> {
        self.source.query(|session| {
            let (cell, epoch) = (session.cell, self.epoch()?);
            for (digest, bytes) in contents {
                let digest = digest.to_string();
                let kept = session.run(limits::QUERY, async move |client: &Client| {
                    Ok(client.execute(KEEP, &[&cell, &epoch, &digest, bytes]).await?)
                });
                if kept? == 0 {
                    return Err(Fault::NotOwner);
                }
            }
            Ok(())
        })
    }

    /// Sets a file of a plugin, or removes it. Its contents are kept already.
    pub(crate) fn set(&self, plugin: &PluginName, kind: FileKind, digest: Option<Digest>) -> Result<(), StoreError> {
        let (plugin, digest, column) = (plugin.as_str(), digest.map(|digest| digest.to_string()), kind.column());
        let set = format!(
            "INSERT INTO plugin_files (cell, plugin, {column}) VALUES ($1, $2, $3)
             ON CONFLICT (cell, plugin) DO UPDATE SET {column} = excluded.{column}"
        );
        self.source.query(|session| {
            let (cell, epoch) = (session.cell, self.epoch()?);
            let changed = session.run(limits::QUERY, async move |client: &Client| {
                client.batch_execute("BEGIN").await?;
                let is_owned = client.execute(COUNT, &[&cell, &epoch]).await? == 1;
                if is_owned {
                    client.execute(&set, &[&cell, &plugin, &digest]).await?;
                    client.execute(WITHOUT_FILES, &[&cell, &plugin]).await?;
                }
                client.batch_execute(if is_owned { "COMMIT" } else { "ROLLBACK" }).await?;
                Ok(is_owned)
            });
            if changed? { Ok(()) } else { Err(Fault::NotOwner) }
        })
    }

    /// Deletes contents that no file and no version that runs has, except the given ones.
    pub(crate) fn sweep(&self, in_use: &[Digest]) -> Result<(), StoreError> {
        let in_use: Vec<_> = in_use.iter().map(ToString::to_string).collect();
        self.source.query(|session| {
            let (cell, epoch) = (session.cell, self.epoch()?);
            session.run(limits::QUERY, async move |client: &Client| {
                client.execute(SWEEP, &[&cell, &epoch, &in_use]).await?;
                Ok(())
            })
        })
    }

    fn epoch(&self) -> Result<i64, Fault> {
        let epoch = self.lease.as_ref().and_then(|lease| lease.lock().epoch());
        epoch.map(|epoch| epoch.0).ok_or(Fault::NotOwner)
    }
}

fn digest(row: &Row<'_>, column: usize) -> Result<Option<Digest>, Damage> {
    row.optional_text(column)?.map(|_| row.digest(column)).transpose()
}
