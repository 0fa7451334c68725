//! Queries for runs.

use std::error::Error;

use roost_scheduler::{
    body::Body,
    names::{JobName, RunId},
    outcome::RunState,
    time::Instant,
};
use tokio_postgres::{Client, types::ToSql};

use super::{Fault, Session, Source, load::each_row};
use crate::{
    job_json::{body_from_json, policy_from_json},
    store::{
        StoreError,
        error::Damage,
        last_outcomes, limits,
        queries::{Around, Count, CountBy, CountFilter, EndedRun, RunCursor, RunFilter, RunView},
        rows::{self, Row, parse_state},
    },
};

/// The condition of each kind of runs.
const UNDER_WAY: &str = "number IS NOT NULL";
const ENDED: &str = "state <> 'running'";
const ALL: &str = "TRUE";
const FAILED: &str = "state = 'failed'";
const OF_TRIGGER: &str = "(origin = '' OR origin LIKE 'series-%')";
/// Without replays, which have the occurrence of the run that failed.
const FIRST_TIME: &str = "origin NOT LIKE 'replay-%'";
const AGAIN: &str = "origin LIKE 'replay-%'";

impl Source {
    pub(in crate::store) fn runs(&self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        self.query(|session| {
            if filter.in_order {
                return select(session, filter, ALL);
            }
            let mut runs = under_way(session, filter)?;
            let limit = filter.limit - runs.len();
            let which = if filter.states == [RunState::Failed] { FAILED } else { ENDED };
            // After a run that is under way, all ended runs are still to be listed.
            let after = filter.after.clone().filter(|after| after.due.is_none());
            runs.append(&mut select(session, &RunFilter { limit, after, ..filter.clone() }, which)?);
            Ok(runs)
        })
    }

    pub(in crate::store) fn run(&self, run: &RunId) -> Result<Option<RunView>, StoreError> {
        Ok(self.runs(&RunFilter::of_run(run))?.into_iter().find(|found| found.id == *run))
    }

    pub(in crate::store) fn around(
        &self,
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
        self.query(|session| {
            let mut found = Around::default();
            if let Some(occurrence) = occurrence {
                let behind = Some(occurrence.plus_ms(1));
                let exact = RunFilter { since: Some(occurrence), until: behind, ..of_job() };
                found.of_occurrence = select(session, &exact, OF_TRIGGER)?.pop();
                if found.of_occurrence.is_none() {
                    let behind = RunFilter { since: behind, in_order: true, ..of_job() };
                    found.behind = select(session, &behind, OF_TRIGGER)?.pop();
                }
            }
            let before = RunFilter { since: Some(since), until: Some(next.min(until)), ..of_job() };
            found.nearest = select(session, &before, FIRST_TIME)?;
            let after = RunFilter { since: Some(next), until: Some(until), in_order: true, ..of_job() };
            found.nearest.append(&mut select(session, &after, FIRST_TIME)?);
            let of_again = RunFilter { until: Some(until), limit: usize::MAX, ..of_job() };
            let distance = |run: &RunView| run.id.moment().ms_since(at).abs();
            found.nearest.extend(select(session, &of_again, AGAIN)?.into_iter().min_by_key(distance));
            let oldest = session.run(limits::QUERY, async move |client: &Client| {
                let row =
                    client.query_one("SELECT min(occurrence) FROM runs WHERE cell = $1", &[&session.cell]).await?;
                Ok(row.try_get::<_, Option<i64>>(0)?)
            });
            found.oldest = oldest?.and_then(Instant::from_millis);
            Ok(found)
        })
    }

    pub(in crate::store) fn dead_letter(&self, run: &RunId) -> Result<Body, StoreError> {
        let found = self.query(|session| {
            session.run(limits::QUERY, async move |client: &Client| {
                let sql = "SELECT state, steps, policy, label FROM runs
                           WHERE cell = $1 AND occurrence = $2 AND plugin = $3 AND device = $4 AND job = $5 AND origin = $6";
                let (occurrence, origin) = (run.occurrence.millis(), run.origin.to_string());
                let (plugin, device, job) = (run.plugin.as_str(), run.device.as_str(), run.job.as_str());
                let row = client.query_opt(sql, &[&session.cell, &occurrence, &plugin, &device, &job, &origin]).await?;
                let Some(row) = row else { return Ok(Err(None)) };
                let damage = |what| Damage::Row { table: "runs", row: 1, what };
                let state = parse_state(row.try_get(0)?).map_err(damage)?;
                let steps = row.try_get::<_, Option<&str>>(1)?.filter(|_| state == RunState::Failed);
                let Some(steps) = steps else { return Ok(Err(Some(state))) };
                let policy = policy_from_json(row.try_get(2)?).map_err(damage)?;
                Ok(Ok(body_from_json(&run.job, row.try_get(3)?, &policy, steps).map_err(damage)?))
            })
        })?;
        found.map_err(|state| StoreError::NotFailed { run: run.clone(), state })
    }

    pub(in crate::store) fn collect_ended<T: Default + Send>(
        &self,
        CountFilter { window: (from, to), plugin, device }: &CountFilter,
        mut collect: impl FnMut(&mut T, EndedRun<'_>) + Send,
    ) -> Result<T, StoreError> {
        let sql = format!(
            "SELECT plugin, device, job, state, occurrence, ({OF_TRIGGER})::int::int8, label FROM runs
             WHERE cell = $1 AND state <> 'running' AND occurrence >= $2 AND occurrence < $3
                   AND ($4::text IS NULL OR plugin = $4) AND ($5::text IS NULL OR device = $5) ORDER BY occurrence"
        );
        let (from, to) = (from.millis(), to.millis());
        self.query(|session| {
            session.run(limits::QUERY, async move |client: &Client| {
                let mut collected = T::default();
                each_row(client, "runs", &sql, &[&session.cell, &from, &to, plugin, device], |row| {
                    collect(&mut collected, rows::ended_run(row)?);
                    Ok(())
                })
                .await?;
                Ok(collected)
            })
        })
    }

    pub(in crate::store) fn count_ended<T: Default + Send>(
        &self,
        CountFilter { window: (from, to), plugin, device }: &CountFilter,
        (by, buckets): (CountBy, u32),
        mut collect: impl FnMut(&mut T, Count<'_>) + Send,
    ) -> Result<T, StoreError> {
        let (of_plugin, group) = by.columns();
        let sql = format!(
            "SELECT (occurrence - $2) * $6 / ($3 - $2), {of_plugin}, {group}, state, count(*) FROM runs
             WHERE cell = $1 AND state <> 'running' AND occurrence >= $2 AND occurrence < $3
                   AND ($4::text IS NULL OR plugin = $4) AND ($5::text IS NULL OR device = $5)
             GROUP BY 1, 2, 3, 4"
        );
        let (from, to, buckets) = (from.millis(), to.millis(), i64::from(buckets));
        self.query(|session| {
            session.run(limits::QUERY, async move |client: &Client| {
                let mut collected = T::default();
                each_row(client, "runs", &sql, &[&session.cell, &from, &to, plugin, device, &buckets], |row| {
                    collect(&mut collected, rows::count(row)?);
                    Ok(())
                })
                .await?;
                Ok(collected)
            })
        })
    }
}

fn under_way(session: &Session, filter: &RunFilter) -> Result<Vec<RunView>, Fault> {
    let Some(every) = filter.under_way() else { return Ok(Vec::new()) };
    let mut runs = select(session, &every, UNDER_WAY)?;
    filter.page_of_those_under_way(&mut runs);
    Ok(runs)
}

/// Lists runs of a kind, the newest occurrence first, or with `in_order` the oldest.
fn select(session: &Session, filter: &RunFilter, which: &str) -> Result<Vec<RunView>, Fault> {
    let (behind, order) = if filter.in_order { (">", "ASC") } else { ("<", "DESC") };
    let sql = format!(
        "SELECT plugin, device, job, occurrence, origin, state, reason, started, ended, attempts,
                (SELECT time_zone FROM devices JOIN plugins ON plugins.cell = devices.cell AND plugins.id = devices.plugin
                 WHERE devices.cell = $1 AND plugins.name = runs.plugin AND devices.name = runs.device LIMIT 1),
                (number IS NOT NULL)::int::int8, steps, steps_done, start, failed, cancelled, note, why, label, messages
         FROM runs
         WHERE cell = $1 AND {which} AND occurrence >= $2 AND occurrence <= $3
               AND ($4::text[] IS NULL OR state = ANY ($4))
               AND ($5::text IS NULL OR plugin = $5) AND ($6::text IS NULL OR device = $6)
               AND ($7::text IS NULL OR job = $7)
               AND ($8::int8 IS NULL OR (occurrence, plugin, device, job, origin) {behind} ($8, $9, $10, $11, $12))
         ORDER BY occurrence {order}, plugin {order}, device {order}, job {order}, origin {order} LIMIT $13"
    );
    let since = filter.since.unwrap_or(Instant::MIN).millis();
    let until = filter.until.map_or(Instant::MAX, |until| until.plus_ms(-1)).millis();
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let states = (!states.is_empty()).then_some(states);
    let after = filter.after.as_ref().map(|RunCursor { run, .. }| run);
    let place = after.map(|run| run.occurrence.millis());
    let name = |of: Option<&str>| of.unwrap_or_default().to_owned();
    let plugin = name(after.map(|run| run.plugin.as_str()));
    let device = name(after.map(|run| run.device.as_str()));
    let job = name(after.map(|run| run.job.as_str()));
    let origin = after.map(|run| run.origin.to_string()).unwrap_or_default();
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    session.run(limits::QUERY, async move |client: &Client| {
        let params: [&(dyn ToSql + Sync); 13] = [
            &session.cell,
            &since,
            &until,
            &states,
            &filter.plugin,
            &filter.device,
            &filter.job,
            &place,
            &plugin,
            &device,
            &job,
            &origin,
            &limit,
        ];
        let mut runs = Vec::new();
        each_row(client, "runs", &sql, &params, |row| {
            runs.push(rows::view(row)?);
            Ok(())
        })
        .await?;
        Ok(runs)
    })
}

/// Returns the runs that have ended up to now.
pub(super) fn ended(source: &Source) -> Result<last_outcomes::Source, Box<dyn Error + Send + Sync>> {
    let session = Session::open(&source.0.address, source.0.cell)?;
    // From the first read on, the transaction sees one state.
    session.run(limits::QUERY, async move |client: &Client| {
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT series FROM cells").await?;
        Ok(())
    })?;
    Ok(Box::new(move |take| {
        let sql = format!("SELECT {} FROM runs WHERE cell = $1 AND state <> 'running'", rows::LAST_OUTCOMES);
        let mut ended = Vec::new();
        session.run(limits::LOAD, async |client: &Client| {
            each_row(client, "runs", &sql, &[&session.cell], |row: &Row<'_>| {
                ended.extend(rows::last_outcome(row).ok());
                Ok(())
            })
            .await
        })?;
        ended.into_iter().for_each(take);
        Ok(())
    }))
}
