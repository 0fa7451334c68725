//! The timeline: past runs and expected messages in the order of time.

mod ahead;

use std::collections::HashMap;

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::{
    body::Body,
    event::JobKey,
    names::{DeviceName, JobId, PluginName, RunId},
    outcome::RunState,
    scheduler::JobStatus,
    time::Instant,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use self::ahead::{Expected, Planned, SortKey, ahead, copy_jobs};
use super::{
    extract::Query,
    jobs::{TaskRecord, level},
    limits,
    page::{Limit, Page, cursor, resume},
    params::{Device, Job, Plugin, Time},
    problem::{Answered, Problem},
    runs::RunRecord,
    state::ApiState,
};
use crate::{
    clock, job_json,
    store::{self, RunView},
};

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
    /// What is paused, so that the message will not be sent: its `plugin`, its `device`, or the `job` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(plugin|device|job)$")]
    pub(crate) paused: Option<String>,
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
    /// The maximum number of items; a page with long messages has fewer
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page; takes precedence over `from` and `to`
    cursor: Option<String>,
}

/// The position of a page: the period, and the last run and the last expected message so far.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    window: (Instant, Instant),
    run: Option<RunId>,
    expected: Option<SortKey>,
}

/// A filter by plugin and device name.
type OwnerFilter = (Option<PluginName>, Option<DeviceName>);

/// Get the timeline between two times
///
/// Has the runs that have been decided, and each message that is expected after them, with the time at which it will be
/// sent, including jitter. Expected messages may change with new plans and, for `every`, when the clock is set.
#[utoipa::path(get, path = "/api/v1/timeline", tag = "jobs", params(TimelineQuery),
    responses(
        (status = 200, body = Page<TimelineRecord>),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The timeline has too many jobs"),
    ))]
pub(super) async fn timeline(
    State(state): State<ApiState>,
    Query(query): Query<TimelineQuery>,
) -> Answered<Page<TimelineRecord>> {
    let TimelineQuery { from, to, plugin, device, limit: Limit(limit), cursor: at } = query;
    let progress = match resume(at.as_deref(), Progress::parse)? {
        Some(progress) => progress,
        None => Progress { window: window(from, to)?, run: None, expected: None },
    };
    let owner: OwnerFilter = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    // Before the runs are read: an occurrence that is decided meanwhile is found among those.
    let jobs = jobs(&state, &owner).await?;
    let (window, after) = (progress.window, progress.expected.clone());
    let found = tokio::task::spawn_blocking(move || {
        let (expected, is_all) = ahead(&jobs, window, after.as_ref(), limit + 1);
        (jobs, expected, is_all)
    });
    let (jobs, expected, is_all) = found.await.map_err(|error| Problem::bug(&error))?;
    let filter = store::RunFilter {
        plugin: owner.0.map(|name| name.to_string()),
        device: owner.1.map(|name| name.to_string()),
        since: Some(window.0),
        until: Some(window.1),
        after: progress.run.clone().map(|run| store::RunCursor { due: None, run }),
        limit: limit + 1,
        in_order: true,
        ..store::RunFilter::default()
    };
    let runs = state.read(move |data| store::runs(data, &filter)).await?;
    if !is_all && expected.is_empty() {
        let detail = "the timeline has too many entries";
        return Err(suggest_filter(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)));
    }
    Ok(Json(merge(&state, &jobs, (expected, is_all), &runs, progress, limit)))
}

fn suggest_filter(problem: Problem) -> Problem {
    problem.hint("select a plugin with `plugin`, or a device with `device`")
}

fn window(from: Option<Time>, to: Option<Time>) -> Result<(Instant, Instant), Problem> {
    let from = from.map_or_else(clock::now, |Time(at)| at);
    let to = to.map_or_else(|| from.plus_ms(limits::DEFAULT_TIMELINE_MS), |Time(at)| at);
    match to.ms_since(from) {
        ..=0 => Err(Problem::bad_request("`to` must be later than `from`")),
        1..=limits::TIMELINE_MS => Ok((from, to)),
        _ => Err(Problem::bad_request("`to` may be at most 400 days after `from`")),
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

/// Merges runs and expected messages in the order of time, up to the end of the shorter list if that is not complete.
fn merge(
    state: &ApiState,
    jobs: &[Planned],
    (expected, is_all): (Vec<Expected>, bool),
    runs: &[RunView],
    mut progress: Progress,
    limit: usize,
) -> Page<TimelineRecord> {
    let known: HashMap<&RunId, bool> = runs.iter().map(|run| (&run.id, run.next.is_none())).collect();
    // If the expected messages are not complete, the runs are included up to their end.
    let end = expected.last().filter(|_| !is_all).map(|last| last.key.at);
    let (mut expected, mut runs) = (expected.into_iter().peekable(), runs.iter().peekable());
    let (mut items, mut bytes) = (Vec::new(), 0);
    let is_more = loop {
        let next_run = runs.peek().map(|run| run.id.occurrence);
        let is_run = match (next_run, expected.peek()) {
            (None, None) => break !is_all,
            (Some(at), None) if end.is_some_and(|end| at > end) => break true,
            (Some(_), None) => true,
            (Some(at), Some(one)) => at <= one.key.at,
            (None, Some(_)) => false,
        };
        if items.len() == limit || bytes > limits::PAGE_BYTES {
            break true;
        }
        if is_run {
            let Some(run) = runs.next() else { break false };
            progress.run = Some(run.id.clone());
            items.push(run_record(state, run));
        } else {
            let Some(one) = expected.next() else { break false };
            let job = &jobs[one.job];
            // A run that was decided meanwhile, or is on disk, is among the runs.
            let run = one.run.as_ref().map_or_else(|| job.status.run(one.key.occurrence), |run| run.id.clone());
            let is_known = known.get(&run).is_some_and(|has_ended| *has_ended || one.key.step == 0);
            if !is_known {
                let (record, length) = expected_record(&job.status, one.body(jobs), &one);
                bytes += length;
                items.push(record);
            }
            progress.expected = Some(one.key);
        }
    };
    Page { items, next: is_more.then(|| cursor(&progress.to_string())) }
}

fn run_record(state: &ApiState, run: &RunView) -> TimelineRecord {
    let record = RunRecord::new(run, state.zone(), clock::now());
    TimelineRecord {
        time: record.occurrence.clone(),
        plugin: record.plugin.clone(),
        device: record.device.clone(),
        job: record.job.clone(),
        occurrence: record.occurrence.clone(),
        state: record.state.clone(),
        label: None,
        step: None,
        message: None,
        task: None,
        paused: None,
        skipped: false,
        run: Some(record),
    }
}

/// Returns the record of an expected message, and the size of the message in bytes.
fn expected_record(job: &JobStatus, body: &Body, one: &Expected) -> (TimelineRecord, usize) {
    let SortKey { at, occurrence, step, .. } = one.key;
    let has_begun = one.run.as_ref().is_some_and(|run| run.started.is_some());
    let text = |at: Instant| at.in_zone(job.site.zone);
    let number = step.checked_sub(1).map(|step| step as usize);
    let step_ref = number.and_then(|number| body.step(number));
    let length = step_ref.as_ref().map_or(0, |step| step.payload.len() + step.topic().len());
    let record = TimelineRecord {
        time: text(at),
        plugin: job.plugin.to_string(),
        device: job.device.to_string(),
        job: job.job.body.id().to_owned(),
        occurrence: text(occurrence),
        state: if step == 0 { RunState::Running.as_str() } else { "expected" }.into(),
        label: job.job.body.label().map(str::to_owned),
        step: number.and_then(|_| step_ref.map(|_| step)),
        message: step_ref.map(|step| serde_json::to_value(job_json::step(&step)).unwrap_or_default()),
        task: number.and_then(|_| body.task()).map(|task| TaskRecord {
            task: task.name.to_string(),
            args: serde_json::from_str(&task.args).unwrap_or_default(),
        }),
        paused: job.paused.filter(|_| step > 0 && !has_begun).map(|what| level(what).to_owned()),
        skipped: one.run.is_none() && job.job_override.skip == Some(occurrence),
        run: one.run.as_ref().map(|run| RunRecord::under_way(&run.id, run.started, job.site.zone)),
    };
    (record, length)
}

/// Formats the position, such as `1803859200000 1803945600000 coop/north/open/2027-03-01T06:30:00Z
/// 1803861000000/coop/north/open/1803861000000/1`, with `-` for missing parts.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", self.window.0.millis(), self.window.1.millis())?;
        match &self.run {
            Some(run) => write!(f, "{run} ")?,
            None => f.write_str("- ")?,
        }
        match &self.expected {
            Some(SortKey { at, job: (plugin, device, job), occurrence, step }) => {
                write!(f, "{}/{plugin}/{device}/{job}/{}/{step}", at.millis(), occurrence.millis())
            }
            None => f.write_str("-"),
        }
    }
}

impl Progress {
    fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| Instant::from_millis(text.parse().ok()?);
        let [from, to, run, expected] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let run = if run == "-" { None } else { Some(run.parse().ok()?) };
        let sort_key = |text: &str| {
            let [at, plugin, device, job, occurrence, step] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
            let plugin = PluginName::parse_owner(plugin).ok()?;
            let job = (plugin, DeviceName::parse(device).ok()?, JobId::parse(job).ok()?);
            Some(SortKey { at: time(at)?, job, occurrence: time(occurrence)?, step: step.parse().ok()? })
        };
        let expected = if expected == "-" { None } else { Some(sort_key(expected)?) };
        let window = (time(from)?, time(to)?);
        // A forged cursor must not exceed the longest period.
        let is_window = (1..=limits::TIMELINE_MS).contains(&window.1.ms_since(window.0));
        Some(Self { window, run, expected }).filter(|_| is_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_parsed_as_they_are_formatted() {
        for text in [
            "1803859200000 1803945600000 - -",
            "1803859200000 1803945600000 coop/north/open/2027-03-01T06:30:00Z/series-2 -",
            "1803859200000 1803945600000 - 1803861000000/roost/api/siesta/1803861000000/1",
        ] {
            assert_eq!(Progress::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "1 2 -",
            "1 2 x -",
            "1 2 - 1/a/b",
            "1 2 - - -",
            "-1 2 - -",
            "2 1 - -",
            "1803859200000 253402300799000 - -",
        ] {
            assert!(Progress::parse(bad).is_none(), "{bad}");
        }
    }
}
