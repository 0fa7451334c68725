//! The density of a timeline: how many runs there are in each part of a period, for any number of jobs.

mod counter;
mod records;

use axum::{Json, extract::State};
use roost_scheduler::{scheduler::RunStatus, time::Instant};
use serde::Deserialize;
use utoipa::IntoParams;

use self::counter::{Counter, Groups, add_past};
pub(crate) use self::records::{By, DensityRecord, GroupRecord, Spread};
use super::{
    super::{
        extract::Query,
        limits,
        params::{Buckets, Device, Plugin, Time},
        problem::{Answered, Problem},
        state::ApiState,
    },
    OwnerFilter, window,
};
use crate::store::{CountBy, CountFilter};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct DensityQuery {
    /// The start. Default: now
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T00:00:00Z")]
    from: Option<Time>,
    /// The end, excluded; at most 400 days after the start. Default: a day after the start
    #[param(value_type = String, required = false, format = DateTime)]
    to: Option<Time>,
    /// The number of equal parts of the period
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 240)]
    #[serde(default)]
    buckets: Buckets,
    /// What the runs are grouped by
    #[param(inline, required = false)]
    #[serde(default = "by_plugin")]
    by: By,
    /// Only runs of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only runs of devices with this name
    #[param(inline)]
    device: Option<Device>,
}

const fn by_plugin() -> By {
    By::Plugin
}

/// Get how many runs there are in each part of a period
///
/// Counts runs by their occurrence, without jitter: those that have ended, those under way, and those that are expected.
/// Unlike the timeline, it has no limit on the number of jobs. A run that ends at this moment may be counted twice, or
/// not yet.
#[utoipa::path(get, path = "/api/v1/timeline/density", tag = "jobs", params(DensityQuery),
    responses((status = 200, body = DensityRecord)))]
pub(in super::super) async fn density(
    State(state): State<ApiState>,
    Query(query): Query<DensityQuery>,
) -> Answered<DensityRecord> {
    let DensityQuery { from, to, buckets: Buckets(buckets), by, plugin, device } = query;
    let owner = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    count(&state, owner, window(from, to, limits::TIMELINE_MS)?, by, buckets).await.map(Json)
}

/// Counts the runs of a period.
pub(crate) async fn count(
    state: &ApiState,
    owner: OwnerFilter,
    window: (Instant, Instant),
    by: By,
    buckets: u32,
) -> Result<DensityRecord, Problem> {
    let mut counter = Counter::new(window, by, buckets);
    let mut from = Some(0);
    while let Some(first) = from {
        let owner = owner.clone();
        let batch = state.inspect(move |scheduler| {
            scheduler.jobs_from((owner.0.as_ref(), owner.1.as_ref()), first, limits::JOBS_PER_QUERY)
        });
        let (jobs, next) = batch.await?;
        let counted = tokio::task::spawn_blocking(move || {
            jobs.iter().for_each(|job| counter.add_job(job));
            counter
        });
        counter = counted.await.map_err(|error| Problem::bug(&error))?;
        from = next;
    }
    let mut from = Some(0);
    while let Some(first) = from {
        let (runs, next) = state.inspect(move |scheduler| scheduler.runs_from(first)).await?;
        runs.iter().filter(|run| is_of(&owner, run)).for_each(|run| counter.add_run(run));
        from = next;
    }
    let filter = CountFilter {
        window,
        plugin: owner.0.map(|name| name.to_string()),
        device: owner.1.map(|name| name.to_string()),
    };
    let zone = state.zone();
    let read = state.read(move |store| {
        let past = store.count_ended(&filter, (by.into(), buckets), |groups: &mut Groups, count| {
            add_past(groups, by, &count);
        })?;
        let more = counter.more;
        let (groups, other) = counter.into_groups(past);
        let (from, to) = (window.0.in_zone(zone), window.1.in_zone(zone));
        Ok(DensityRecord { from, to, buckets, by, groups, other, more })
    });
    read.await
}

impl From<By> for CountBy {
    fn from(by: By) -> Self {
        match by {
            By::Plugin => Self::Plugin,
            By::Device => Self::Device,
            By::Reason => Self::Reason,
        }
    }
}

fn is_of(owner: &OwnerFilter, run: &RunStatus) -> bool {
    let (plugin, device) = owner;
    plugin.as_ref().is_none_or(|name| *name == run.id.plugin)
        && device.as_ref().is_none_or(|name| *name == run.id.device)
}
