//! Queries for runs.

use std::path::Path;

use roost_scheduler::{
    body::Body,
    names::{JobName, RunId},
    outcome::RunState,
    time::Instant,
};
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{
    DATABASE, MIGRATIONS, StoreError,
    error::Damage,
    queries::{Around, RunFilter, RunView},
    reading::{query, query_current},
    rows::{self, Row, parse_state},
};
use crate::job_json::{body_from_json, policy_from_json};

/// Lists the runs that `filter` selects: first those under way, the longest due first, then those that have ended, the
/// newest occurrence first; or all by occurrence.
pub(in crate::store) fn runs(data: &Path, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
    query_current(data, |connection| {
        if filter.in_order {
            return select(connection, filter, ALL);
        }
        let mut runs = under_way(connection, filter)?;
        let limit = filter.limit - runs.len();
        let which = if filter.states == [RunState::Failed] { FAILED } else { ENDED };
        // After a run that is under way, all ended runs are still to be listed.
        let after = filter.after.clone().filter(|after| after.due.is_none());
        runs.append(&mut select(connection, &RunFilter { limit, after, ..filter.clone() }, which)?);
        Ok(runs)
    })
}

fn under_way(connection: &Connection, filter: &RunFilter) -> Result<Vec<RunView>, Damage> {
    let Some(every) = filter.under_way() else { return Ok(Vec::new()) };
    let mut runs = select(connection, &every, UNDER_WAY)?;
    filter.page_of_those_under_way(&mut runs);
    Ok(runs)
}

/// Returns one run.
pub(in crate::store) fn run(data: &Path, run: &RunId) -> Result<Option<RunView>, StoreError> {
    Ok(runs(data, &RunFilter::of_run(run))?.into_iter().find(|found| found.id == *run))
}

const UNDER_WAY: &str = "runs INDEXED BY runs_number WHERE number IS NOT NULL";
const ENDED: &str = "runs WHERE state <> 'running'";
const ALL: &str = "runs WHERE TRUE";
pub(super) const FAILED: &str = "runs INDEXED BY runs_failed WHERE state = 'failed'";

/// Returns the query for runs of a kind, the newest occurrence first, or with `in_order` the oldest.
pub(super) fn select_sql(which: &str, in_order: bool) -> String {
    let (behind, order) = if in_order { (">", "ASC") } else { ("<", "DESC") };
    format!(
        "SELECT plugin, device, job, occurrence, origin, state, reason, started, ended, attempts,
                (SELECT time_zone FROM devices JOIN plugins ON plugins.id = devices.plugin
                 WHERE plugins.name = runs.plugin AND devices.name = runs.device),
                number IS NOT NULL, steps, steps_done, start, failed, cancelled, note, why, label, messages
         FROM {which} AND occurrence >= :since AND occurrence <= :until
                      AND (+occurrence, plugin, device, job, origin)
                          {behind} (:after, :after_plugin, :after_device, :after_job, :after_origin)
                      AND (:states IS NULL OR instr(:states, ',' || state || ',') > 0)
                      AND (:plugin IS NULL OR plugin = :plugin) AND (:device IS NULL OR device = :device)
                      AND (:job IS NULL OR job = :job)
         ORDER BY occurrence {order}, plugin {order}, device {order}, job {order}, origin {order} LIMIT :limit"
    )
}

fn select(connection: &Connection, filter: &RunFilter, which: &str) -> Result<Vec<RunView>, Damage> {
    let mut runs = Vec::new();
    each(connection, filter, which, |run| runs.push(run))?;
    Ok(runs)
}

/// Returns the runs of a job for an occurrence and, within a window, around an instant.
pub(in crate::store) fn around(
    data: &Path,
    (plugin, device, job): &JobName,
    occurrence: Option<Instant>,
    at: Instant,
    (since, until): (Instant, Instant),
) -> Result<Around, StoreError> {
    let of_job = || RunFilter {
        plugin: Some(plugin.to_string()),
        device: Some(device.to_string()),
        job: Some(job.to_string()),
        limit: 1,
        ..RunFilter::default()
    };
    let next = at.plus_ms(1);
    let found = query(&data.join(DATABASE), |connection, format| {
        if format < MIGRATIONS.len() {
            return Ok(Around::default());
        }
        let mut found = Around::default();
        if let Some(occurrence) = occurrence {
            let behind = Some(occurrence.plus_ms(1));
            let exact = RunFilter { since: Some(occurrence), until: behind, ..of_job() };
            found.of_occurrence = select(connection, &exact, OF_TRIGGER)?.pop();
            if found.of_occurrence.is_none() {
                let behind = RunFilter { since: behind, in_order: true, ..of_job() };
                found.behind = select(connection, &behind, OF_TRIGGER)?.pop();
            }
        }
        let before = RunFilter { since: Some(since), until: Some(next.min(until)), ..of_job() };
        found.nearest = select(connection, &before, FIRST_TIME)?;
        let after = RunFilter { since: Some(next), until: Some(until), in_order: true, ..of_job() };
        found.nearest.append(&mut select(connection, &after, FIRST_TIME)?);
        let mut again: Option<RunView> = None;
        let of_again = RunFilter { until: Some(until), limit: usize::MAX, ..of_job() };
        let distance = |run: &RunView| run.id.moment().ms_since(at).abs();
        each(connection, &of_again, AGAIN, |run| {
            if again.as_ref().is_none_or(|nearest| distance(&run) < distance(nearest)) {
                again = Some(run);
            }
        })?;
        found.nearest.extend(again);
        let oldest: Option<i64> = connection.query_row("SELECT min(occurrence) FROM runs", [], |row| row.get(0))?;
        found.oldest = oldest.and_then(Instant::from_millis);
        Ok(found)
    });
    match found {
        Err(StoreError::NoDatabase(_)) => Ok(Around::default()),
        found => found,
    }
}

const OF_TRIGGER: &str = "runs WHERE (origin = '' OR origin GLOB 'series-*')";
/// Without replays, which have the occurrence of the run that failed.
const FIRST_TIME: &str = "runs WHERE origin NOT GLOB 'replay-*'";
const AGAIN: &str = "runs INDEXED BY runs_again WHERE origin GLOB 'replay-*'";

/// Checks whether every run can be read.
pub(super) fn check(connection: &Connection) -> Result<(), Damage> {
    let all = RunFilter { limit: usize::MAX, ..RunFilter::default() };
    [UNDER_WAY, ENDED].iter().try_for_each(|which| each(connection, &all, which, drop))
}

fn each(connection: &Connection, filter: &RunFilter, which: &str, mut take: impl FnMut(RunView)) -> Result<(), Damage> {
    let mut statement = connection.prepare(&select_sql(which, filter.in_order))?;
    let after = filter.after.as_ref().map(|after| &after.run);
    let (mut since, mut until) = (filter.since.unwrap_or(Instant::MIN), Instant::MAX);
    until = filter.until.map_or(until, |until| until.plus_ms(-1));
    match after {
        Some(after) if filter.in_order => since = since.max(after.occurrence),
        Some(after) => until = until.min(after.occurrence),
        None => {}
    }
    let place = after.map_or(if filter.in_order { -1 } else { i64::MAX }, |run| run.occurrence.millis());
    let mut found = statement.query(named_params! {
        ":states": states(&filter.states),
        ":plugin": filter.plugin,
        ":device": filter.device,
        ":job": filter.job,
        ":since": since.millis(),
        ":until": until.millis(),
        ":after": place,
        ":after_plugin": after.map_or("", |run| run.plugin.as_str()),
        ":after_device": after.map_or("", |run| run.device.as_str()),
        ":after_job": after.map_or("", |run| run.job.as_str()),
        ":after_origin": after.map_or(String::new(), |run| run.origin.to_string()),
        ":limit": i64::try_from(filter.limit).unwrap_or(i64::MAX),
    })?;
    let mut number = 0;
    while let Some(row) = found.next()? {
        number += 1;
        take(rows::view(&Row::new("runs", number, row))?);
    }
    Ok(())
}

/// Returns the states as `,failed,missed,`; `None` for all.
fn states(states: &[RunState]) -> Option<String> {
    let words = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
    (!words.is_empty()).then(|| format!(",{words},"))
}

/// Returns the content of a failed run, to be replayed.
pub(in crate::store) fn dead_letter(data: &Path, run: &RunId) -> Result<Body, StoreError> {
    let found = query(&data.join(DATABASE), |connection, _| {
        let row = connection
            .query_row(
                "SELECT state, steps, policy, label FROM runs
                 WHERE occurrence = ?1 AND plugin = ?2 AND device = ?3 AND job = ?4 AND origin = ?5",
                params![
                    run.occurrence.millis(),
                    run.plugin.as_str(),
                    run.device.as_str(),
                    run.job.as_str(),
                    run.origin.to_string()
                ],
                |row| {
                    let text = |column| row.get::<_, Option<String>>(column);
                    Ok((row.get::<_, String>(0)?, text(1)?, text(2)?, text(3)?))
                },
            )
            .optional()?;
        let Some((state, steps, policy, label)) = row else {
            return Ok(Err(None));
        };
        let damage = |what| Damage::Row { table: "runs", row: 1, what };
        let state = parse_state(&state).map_err(damage)?;
        let Some(steps) = steps.filter(|_| state == RunState::Failed) else { return Ok(Err(Some(state))) };
        let policy = policy_from_json(policy.as_deref()).map_err(damage)?;
        Ok(Ok(body_from_json(&run.job, label.as_deref(), &policy, &steps).map_err(damage)?))
    })?;
    found.map_err(|state| StoreError::NotFailed { run: run.clone(), state })
}
