//! The tables of a store, which are the same in a data folder and in a database, and the copying of one to the other.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use super::{StoreError, error::Damage, limits, rows::Row};

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Integer,
    Real,
    Text,
}

/// A table of plugins, devices, jobs or runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The name that it has in a data folder.
    pub(super) in_sqlite: &'static str,
    pub(super) columns: &'static [(&'static str, Type)],
}

use Type::{Integer, Real, Text};

const JOBS: Table = Table {
    name: "jobs",
    in_sqlite: "jobs",
    columns: &[
        ("id", Integer),
        ("device", Integer),
        ("job", Text),
        ("label", Text),
        ("trigger", Text),
        ("steps", Text),
        ("policy", Text),
        ("watermark", Integer),
        ("due", Integer),
        ("decided", Integer),
    ],
};

const RUNS: Table = Table {
    name: "runs",
    in_sqlite: "runs",
    columns: &[
        ("occurrence", Integer),
        ("plugin", Text),
        ("device", Text),
        ("job", Text),
        ("origin", Text),
        ("state", Text),
        ("reason", Text),
        ("why", Text),
        ("started", Integer),
        ("ended", Integer),
        ("attempts", Integer),
        ("note", Text),
        ("label", Text),
        ("messages", Text),
        ("steps", Text),
        ("policy", Text),
        ("number", Integer),
        ("start", Integer),
        ("steps_done", Integer),
        ("armed", Integer),
        ("failed", Text),
        ("cancelled", Text),
        ("late", Text),
        ("put_off_until", Integer),
        ("no_subscriber", Integer),
    ],
};

/// All tables but the one that has a row only: the clock.
pub(super) const TABLES: [&Table; 7] = [
    &Table {
        name: "plugins",
        in_sqlite: "plugins",
        columns: &[("id", Integer), ("name", Text), ("component", Text), ("settings", Text)],
    },
    &Table {
        name: "devices",
        in_sqlite: "devices",
        columns: &[
            ("id", Integer),
            ("plugin", Integer),
            ("name", Text),
            ("time_zone", Text),
            ("latitude", Real),
            ("longitude", Real),
            ("replan_at", Integer),
            ("error", Text),
        ],
    },
    &JOBS,
    &Table {
        name: "overrides",
        in_sqlite: "wishes",
        columns: &[("job", Integer), ("skip", Integer), ("made", Integer), ("key", Text), ("request", Text)],
    },
    &Table {
        name: "pauses",
        in_sqlite: "pauses",
        columns: &[("level", Text), ("item", Integer), ("since", Integer), ("until", Integer), ("reason", Text)],
    },
    &Table {
        name: "tombstones",
        in_sqlite: "tombstones",
        columns: &[("plugin", Text), ("device", Text), ("job", Text), ("watermark", Integer)],
    },
    &RUNS,
];

impl Table {
    /// Returns the names of the columns, for SQL.
    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the latest time at which one of these runs has started or ended, or 0.
    pub(super) fn latest(&self, rows: &[Vec<Value>]) -> i64 {
        let is_one = |name: &str| self.name == "runs" && ["started", "ended"].contains(&name);
        let times = rows.iter().flat_map(|row| self.columns.iter().zip(row));
        let times = times.filter(|((name, _), _)| is_one(name));
        let times = times.filter_map(|(_, value)| if let Value::Integer(at) = value { *at } else { None });
        times.max().unwrap_or(0)
    }

    /// Reads a row of all columns.
    pub(super) fn read(&self, row: &Row<'_>) -> Result<Vec<Value>, Damage> {
        self.columns.iter().enumerate().map(|(at, (_, of))| row.value(at, *of)).collect()
    }
}

/// A part of a store that is copied.
#[derive(Debug)]
pub(super) enum Part {
    Clock {
        series: i64,
        zones: Option<String>,
    },
    Rows(&'static Table, Vec<Vec<Value>>),
    /// Everything came before. Without it, nothing is kept.
    End,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) jobs: u64,
    pub(crate) runs: u64,
    pub(crate) plugins: u64,
}

impl Copied {
    pub(super) fn count(&mut self, table: &Table, rows: &[Vec<Value>]) {
        match table.name {
            "jobs" => self.jobs += rows.len() as u64,
            "runs" => self.runs += rows.len() as u64,
            _ => {}
        }
    }
}

/// Gathers the rows of a table into parts.
pub(super) struct Gathered<'a> {
    table: &'static Table,
    rows: Vec<Vec<Value>>,
    to: &'a SyncSender<Part>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(table: &'static Table, to: &'a SyncSender<Part>) -> Self {
        Self { table, rows: Vec::new(), to }
    }

    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<(), Damage> {
        self.rows.push(self.table.read(row)?);
        if self.rows.len() == limits::JOBS_PER_BATCH {
            self.send();
        }
        Ok(())
    }

    /// Sends what is left.
    pub(super) fn end(mut self) {
        self.send();
    }

    fn send(&mut self) {
        // A writer that has failed reports it.
        let _ = self.to.send(Part::Rows(self.table, std::mem::take(&mut self.rows)));
    }
}

/// Copies a store while it is read. An error of the reader is returned rather than the writer's, which lacks parts then.
pub(super) fn copy<T>(
    read: impl FnOnce(SyncSender<Part>) -> Result<(), StoreError> + Send,
    write: impl FnOnce(Receiver<Part>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let (to, parts) = sync_channel(limits::BATCHES_AHEAD);
    thread::scope(|scope| {
        let reading = scope.spawn(move || read(to));
        let written = write(parts);
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(written)
    })
}
