//! Reads the runs from the database.

use roost_scheduler::{
    names::{DeviceName, JobId, PluginName, RunId},
    time::Instant,
};
use roost_tests::Postgres;
use serde_json::Value;

use crate::disk::Row;

const RUNS: &str =
    "SELECT json_build_array(plugin, device, job, occurrence, origin, state, coalesce(reason, ''), started,
     ended, steps_done, coalesce(armed, 0)) FROM runs";

/// Returns all runs.
pub(crate) fn rows(server: &Postgres) -> Vec<Row> {
    server.ask("roost", RUNS).iter().map(|line| row(&serde_json::from_str(line).expect("JSON"))).collect()
}

fn row(columns: &Value) -> Row {
    let text = |column: usize| columns[column].as_str().expect("a text");
    let instant = |column: usize| columns[column].as_i64().map(Instant::from_millis_clamped);
    Row {
        run: RunId {
            plugin: PluginName::parse(text(0)).expect("a name"),
            device: DeviceName::parse(text(1)).expect("a name"),
            job: JobId::parse(text(2)).expect("a name"),
            occurrence: instant(3).expect("an instant"),
            origin: text(4).parse().expect("an origin"),
        },
        state: text(5).to_owned(),
        reason: text(6).to_owned(),
        started: instant(7),
        ended: instant(8),
        steps_done: columns[9].as_u64().map_or(usize::MAX, |steps| steps as usize),
        armed: columns[10] == 1,
    }
}
