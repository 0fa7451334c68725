//! Reads the runs from the database.

use std::path::Path;

use roost_scheduler::{
    names::{DeviceName, JobId, PluginName, RunId},
    time::Instant,
};
use rusqlite::{Connection, OpenFlags};

/// A stored run.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) run: RunId,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) started: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    /// The number of its completed steps; `usize::MAX` for a run that has ended.
    pub(crate) steps_done: usize,
    /// Whether its next step is marked `once`, and may have been sent.
    pub(crate) armed: bool,
}

/// Returns all runs.
pub(crate) fn rows(site: &Path) -> Vec<Row> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(site.join("data/roost.db"), flags).expect("a database");
    let sql =
        "SELECT plugin, device, job, occurrence, origin, state, reason, started, ended, steps_done, armed FROM runs";
    let mut statement = database.prepare(sql).expect(sql);
    let rows = statement.query_map([], |row| {
        let text = |column| row.get::<_, String>(column);
        let steps_done: Option<u32> = row.get(9)?;
        let instant = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(Instant::from_millis_clamped));
        Ok(Row {
            run: RunId {
                plugin: PluginName::parse(&text(0)?).expect("a name"),
                device: DeviceName::parse(&text(1)?).expect("a name"),
                job: JobId::parse(&text(2)?).expect("a name"),
                occurrence: Instant::from_millis_clamped(row.get(3)?),
                origin: text(4)?.parse().expect("an origin"),
            },
            state: text(5)?,
            reason: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            started: instant(7)?,
            ended: instant(8)?,
            steps_done: steps_done.map_or(usize::MAX, |steps| steps as usize),
            armed: row.get::<_, Option<bool>>(10)?.unwrap_or_default(),
        })
    });
    rows.expect(sql).collect::<Result<_, _>>().expect(sql)
}

impl Row {
    /// Checks whether the run has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state != "running"
    }
}
