//! The timeline: past runs and expected messages in the order of time.

mod ahead;
mod collapse;
pub(super) mod density;
mod forecast;
mod grid;
mod merge;
mod progress;

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::{
    event::JobKey,
    names::{DeviceName, PluginName},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

pub(crate) use self::collapse::{CollapsedRecord, stem};
pub(super) use self::forecast::next_before;
use self::{
    ahead::{Planned, ahead, copy_jobs},
    collapse::{Collapse, recurring},
    grid::Grid,
    merge::merge,
    progress::Progress,
};
use super::{
    extract::Query,
    jobs::TaskRecord,
    limits,
    pagination::{Limit, Page, resume},
    params::{Device, Job, Plugin, Time},
    pauses::PauseRecord,
    problem::{Answered, Problem},
    runs::RunRecord,
    state::ApiState,
};
use crate::{
    clock, job_json,
    store::{CountFilter, Reader, RunCursor, RunFilter, RunView, StoreError},
};

/// The state of what has not become a run yet.
const EXPECTED: &str = "expected";

/// An entry of a timeline: a run or a message or, with `collapse`, all runs of a job that is due often.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TimelineEntry {
    /// A past run, or an expected message.
    One(Box<TimelineRecord>),
    Collapsed(Box<CollapsedRecord>),
}

impl TimelineEntry {
    /// Returns its place in the order of time, in RFC 3339.
    pub(crate) fn time(&self) -> &str {
        match self {
            Self::One(record) => &record.time,
            Self::Collapsed(all) => &all.first,
        }
    }
}

/// A past run, or an expected message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TimelineRecord {
    /// The occurrence of a run, or the time at which a message will be sent.
    #[schema(format = DateTime)]
    pub(crate) time: String,
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The IANA name of the device's time zone, in which the times are.
    #[schema(example = "Europe/London")]
    pub(crate) time_zone: String,
    /// The nominal time, without jitter.
    #[schema(format = DateTime)]
    pub(crate) occurrence: String,
    /// `expected`, or the state or outcome of the run.
    #[schema(pattern = "^(expected|running|succeeded|failed|missed|skipped|cancelled|denied)$")]
    pub(crate) state: String,
    /// A description of the job for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The step of the job, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<u32>,
    /// The message. Default values are omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<job_json::StepRecord<'static>>)]
    pub(crate) message: Option<Value>,
    /// Instead of a message: the task that is called then, and that returns the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskRecord>,
    /// What is paused when its run is due, so that the message will not be sent: `all`, its `plugin`, its `device`, or
    /// the `job` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(all|plugin|device|job)$")]
    pub(crate) paused: Option<String>,
    /// That pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    /// Whether the operator has requested to skip this occurrence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skipped: bool,
    /// The run. If it is under way and not on disk yet, only its names and state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TimelineQuery {
    /// The start. Default: now
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T00:00:00Z")]
    from: Option<Time>,
    /// The end, excluded; at most 400 days after the start. Default: a day after the start
    #[param(value_type = String, required = false, format = DateTime)]
    to: Option<Time>,
    /// Only entries of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only entries of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// A job with more than this number of runs in the period comes as one entry, with their number, the first and
    /// the last; jobs of a device that are due once, and whose ids differ only in numbers, count as one. Default: each
    /// run and message is an entry
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, example = 6)]
    collapse: Option<Limit>,
    /// The maximum number of items; a page with long messages has fewer
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page; takes precedence over `from`, `to` and `collapse`
    cursor: Option<String>,
}

/// A filter by plugin and device name.
pub(crate) type OwnerFilter = (Option<PluginName>, Option<DeviceName>);

/// Get the timeline between two times
///
/// Has the runs that have been decided, and each message that is expected after them, with the time at which it will be
/// sent, including jitter. Expected messages may change with new plans and, for `every`, when the clock is set.
#[utoipa::path(get, path = "/api/v1/timeline", tag = "jobs", params(TimelineQuery),
    responses(
        (status = 200, body = Page<TimelineEntry>),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The timeline has too many jobs"),
    ))]
pub(super) async fn timeline(
    State(state): State<ApiState>,
    Query(query): Query<TimelineQuery>,
) -> Answered<Page<TimelineEntry>> {
    let TimelineQuery { from, to, plugin, device, collapse, limit: Limit(limit), cursor: at } = query;
    let progress = match resume(at.as_deref(), Progress::parse)? {
        Some(progress) => progress,
        None => {
            let collapse = collapse.map(|Limit(above)| u32::try_from(above).unwrap_or(u32::MAX));
            Progress::new(window(from, to, limits::TIMELINE_MS)?, collapse)
        }
    };
    let owner = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    entries(&state, owner, progress, limit).await.map(Json)
}

/// Returns the entries of a period, with jobs that have more than `above` runs as one entry each.
pub(crate) async fn collapsed(
    state: &ApiState,
    owner: OwnerFilter,
    window: (Instant, Instant),
    above: u32,
    limit: usize,
) -> Result<Page<TimelineEntry>, Problem> {
    entries(state, owner, Progress::new(window, Some(above)), limit).await
}

/// Returns a page of the timeline.
async fn entries(
    state: &ApiState,
    owner: OwnerFilter,
    progress: Progress,
    limit: usize,
) -> Result<Page<TimelineEntry>, Problem> {
    // Before the runs are read: an occurrence that is decided meanwhile is found among those.
    let mut jobs = jobs(state, &owner).await?;
    let (window, after) = (progress.window, progress.expected.clone());
    let filter = RunFilter {
        plugin: owner.0.map(|name| name.to_string()),
        device: owner.1.map(|name| name.to_string()),
        since: Some(window.0),
        until: Some(window.1),
        after: progress.run.clone().map(|run| RunCursor { due: None, run }),
        limit: limit + 1,
        in_order: true,
        ..RunFilter::default()
    };
    let (mut collapse, mut collapsed) = (None, Vec::new());
    if let Some((above, last)) = progress.collapse.clone() {
        let (filter, host) = (filter.clone(), state.zone());
        let read = state.read(move |store| {
            let collapse = find_collapsed(store, &filter, &jobs, window, above)?;
            let records = collapse.after(last).take(limit + 1);
            let records: Vec<_> =
                records.filter_map(|(key, one)| Some((key.clone(), one.record(&key.1, &jobs, host)?))).collect();
            jobs.retain(|job| !collapse.has_job(&job.status));
            Ok((jobs, collapse, records))
        });
        let found;
        (jobs, found, collapsed) = read.await?;
        collapse = Some(found);
    }
    let found = tokio::task::spawn_blocking(move || {
        let (expected, is_all) = ahead(&jobs, window, after.as_ref(), limit + 1);
        (jobs, expected, is_all)
    });
    let (jobs, expected, is_all) = found.await.map_err(|error| Problem::bug(&error))?;
    let read = state.read(move |store| match collapse {
        None => store.runs(&filter),
        Some(collapse) => runs_except(store, filter, &collapse),
    });
    let runs = read.await?;
    if !is_all && expected.is_empty() {
        let detail = "the timeline has too many entries";
        return Err(suggest_filter(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)));
    }
    Ok(merge(state, &jobs, (expected, is_all), &runs, collapsed, progress, limit))
}

/// Finds the jobs with more runs in the period than `above`.
fn find_collapsed(
    store: &Reader,
    RunFilter { plugin, device, .. }: &RunFilter,
    jobs: &[Planned],
    window: (Instant, Instant),
    above: u32,
) -> Result<Collapse, StoreError> {
    let (recurring, grid) = (recurring(jobs), Grid::new(window, limits::COLLAPSED_BUCKETS));
    let filter = CountFilter { window, plugin: plugin.clone(), device: device.clone() };
    let past = store.collect_ended(&filter, |past, run| Collapse::add_ended(past, (&recurring, grid), run))?;
    Ok(Collapse::new(past, jobs, (recurring, grid), window, above))
}

/// Lists the runs of jobs that are not collapsed.
fn runs_except(store: &Reader, filter: RunFilter, collapse: &Collapse) -> Result<Vec<RunView>, StoreError> {
    let (limit, mut runs) = (filter.limit, Vec::new());
    let mut batch = RunFilter { limit: limits::PAGE as usize, ..filter };
    loop {
        let found = store.runs(&batch)?;
        let is_last = found.len() < batch.limit;
        batch.after = found.last().map(|last| RunCursor { due: None, run: last.id.clone() });
        runs.extend(found.into_iter().filter(|run| !collapse.has_run(&run.id)));
        if is_last || runs.len() >= limit {
            runs.truncate(limit);
            return Ok(runs);
        }
    }
}

fn suggest_filter(problem: Problem) -> Problem {
    problem.hint("select a plugin with `plugin`, or a device with `device`")
}

/// Returns a period of at most `longest_ms`; by default a day from now on.
pub(super) fn window(from: Option<Time>, to: Option<Time>, longest_ms: i64) -> Result<(Instant, Instant), Problem> {
    let from = from.map_or_else(clock::now, |Time(at)| at);
    let to = to.map_or_else(|| from.plus_ms(limits::DEFAULT_TIMELINE_MS), |Time(at)| at);
    match to.ms_since(from) {
        ..=0 => Err(Problem::bad_request("`to` must be later than `from`")),
        length if length <= longest_ms => Ok((from, to)),
        _ => {
            let days = longest_ms / limits::DAY_MS;
            Err(Problem::bad_request(format!("`to` may be at most {days} days after `from`")))
        }
    }
}

/// Copies the jobs, in batches, to not hold up the loop.
async fn jobs(state: &ApiState, owner: &OwnerFilter) -> Result<Vec<Planned>, Problem> {
    let (mut jobs, mut from): (Vec<Planned>, JobKey) = (Vec::new(), 0);
    loop {
        let owner = owner.clone();
        let batch = state.inspect(move |scheduler| copy_jobs(scheduler, (owner.0.as_ref(), owner.1.as_ref()), from));
        let (batch, next) = batch.await?;
        jobs.extend(batch);
        if jobs.len() > limits::TIMELINE_JOBS {
            let detail = format!("a timeline may have at most {} jobs, and there are more", limits::TIMELINE_JOBS);
            return Err(suggest_filter(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)));
        }
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    jobs.sort_by_cached_key(|job| job.status.name());
    Ok(jobs)
}
