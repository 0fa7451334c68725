//! The timeline: past runs and expected messages in the order of time.

mod ahead;
mod collapse;
pub(super) mod density;
mod forecast;

use std::{collections::HashMap, path::Path};

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

pub(crate) use self::collapse::CollapsedRecord;
pub(super) use self::forecast::next_before;
use self::{
    ahead::{Expected, Planned, SortKey, ahead, copy_jobs},
    collapse::{Collapse, CollapsedKey, recurring},
};
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
    store::{self, CountFilter, RunCursor, RunFilter, RunView, StoreError},
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

/// The position of a page: the period, and the last run, expected message and collapsed entry so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    window: (Instant, Instant),
    run: Option<RunId>,
    expected: Option<SortKey>,
    /// The number of runs above which a job is one entry, and the last of these entries.
    collapse: Option<(u32, Option<CollapsedKey>)>,
}

impl Progress {
    /// Returns the beginning of a period.
    pub(super) const fn new(window: (Instant, Instant), collapse: Option<u32>) -> Self {
        let collapse = match collapse {
            Some(above) => Some((above, None)),
            None => None,
        };
        Self { window, run: None, expected: None, collapse }
    }
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
    window: (Instant, Instant),
    above: u32,
    limit: usize,
) -> Result<Page<TimelineEntry>, Problem> {
    entries(state, (None, None), Progress::new(window, Some(above)), limit).await
}

/// Returns a page of the timeline.
pub(super) async fn entries(
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
        let read = state.read(move |data| {
            let collapse = find_collapsed(data, &filter, &jobs, window, above)?;
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
    let read = state.read(move |data| match collapse {
        None => store::runs(data, &filter),
        Some(collapse) => runs_except(data, filter, &collapse),
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
    data: &Path,
    RunFilter { plugin, device, .. }: &RunFilter,
    jobs: &[Planned],
    window: (Instant, Instant),
    above: u32,
) -> Result<Collapse, StoreError> {
    let recurring = recurring(jobs);
    let filter = CountFilter { window, plugin: plugin.clone(), device: device.clone() };
    let past = store::collect_ended(data, &filter, |past, run| Collapse::add_ended(past, &recurring, run))?;
    Ok(Collapse::new(past, jobs, recurring, window, above))
}

/// Lists the runs of jobs that are not collapsed.
fn runs_except(data: &Path, filter: RunFilter, collapse: &Collapse) -> Result<Vec<RunView>, StoreError> {
    let (limit, mut runs) = (filter.limit, Vec::new());
    let mut batch = RunFilter { limit: limits::PAGE as usize, ..filter };
    loop {
        let found = store::runs(data, &batch)?;
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

/// Merges runs, collapsed entries and expected messages in the order of time, up to the end of the expected messages if
/// these are not complete.
fn merge(
    state: &ApiState,
    jobs: &[Planned],
    (expected, is_all): (Vec<Expected>, bool),
    runs: &[RunView],
    collapsed: Vec<(CollapsedKey, CollapsedRecord)>,
    mut progress: Progress,
    limit: usize,
) -> Page<TimelineEntry> {
    let known: HashMap<&RunId, bool> = runs.iter().map(|run| (&run.id, run.next.is_none())).collect();
    let end = expected.last().filter(|_| !is_all).map(|last| last.key.at);
    let mut expected = expected.into_iter().peekable();
    let mut runs = runs.iter().peekable();
    let mut collapsed = collapsed.into_iter().peekable();
    let (mut items, mut bytes) = (Vec::new(), 0);
    let is_more = loop {
        let next_run = runs.peek().map(|run| run.id.occurrence);
        let next_collapsed = collapsed.peek().map(|((at, _), _)| *at);
        let next_expected = expected.peek().map(|one| one.key.at);
        let Some(next) = [next_run, next_collapsed, next_expected].into_iter().flatten().min() else { break !is_all };
        if next_expected.is_none() && end.is_some_and(|end| next > end) {
            break true;
        }
        if items.len() == limit || bytes > limits::PAGE_BYTES {
            break true;
        }
        if let Some(run) = runs.next_if(|run| run.id.occurrence == next) {
            progress.run = Some(run.id.clone());
            items.push(TimelineEntry::One(Box::new(run_record(state, run))));
        } else if let Some((key, record)) = collapsed.next_if(|((at, _), _)| *at == next) {
            progress.collapse = progress.collapse.map(|(above, _)| (above, Some(key)));
            items.push(TimelineEntry::Collapsed(Box::new(record)));
        } else if let Some(one) = expected.next() {
            let job = &jobs[one.job];
            // A run that was decided meanwhile, or is on disk, is among the runs.
            let run = one.run.as_ref().map_or_else(|| job.status.run(one.key.occurrence), |run| run.id.clone());
            let is_known = known.get(&run).is_some_and(|has_ended| *has_ended || one.key.step == 0);
            if !is_known {
                let (record, length) = expected_record(&job.status, one.body(jobs), &one);
                bytes += length;
                items.push(TimelineEntry::One(Box::new(record)));
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
        time_zone: run.zone.unwrap_or_else(|| state.zone()).name().to_owned(),
        occurrence: record.occurrence.clone(),
        state: record.state.clone(),
        label: record.label.clone(),
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
        time_zone: job.site.zone.name().to_owned(),
        occurrence: text(occurrence),
        state: if step == 0 { RunState::Running.as_str() } else { EXPECTED }.into(),
        label: job.job.body.label().map(str::to_owned),
        step: number.and_then(|_| step_ref.map(|_| step)),
        message: step_ref.map(|step| serde_json::to_value(job_json::step(&step)).unwrap_or_default()),
        task: number.and_then(|_| body.task()).map(|task| TaskRecord {
            task: task.name.to_string(),
            args: serde_json::from_str(&task.args).unwrap_or_default(),
        }),
        paused: job.paused.filter(|_| step > 0 && !has_begun).map(|what| level(what).to_owned()),
        skipped: one.run.is_none() && job.job_override.skip == Some(occurrence),
        run: one.run.as_ref().map(|run| RunRecord::under_way(&run.id, run.body.label(), run.started, job.site.zone)),
    };
    (record, length)
}

/// Formats the position, such as `1803859200000 1803945600000 coop/north/open/2027-03-01T06:30:00Z
/// 1803861000000/coop/north/open/1803861000000/1`, with `-` for missing parts; and if jobs are collapsed, ` 6
/// 1803859200000/coop/north/mist-*`.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", self.window.0.millis(), self.window.1.millis())?;
        match &self.run {
            Some(run) => write!(f, "{run} ")?,
            None => f.write_str("- ")?,
        }
        match &self.expected {
            Some(SortKey { at, job: (plugin, device, job), occurrence, step }) => {
                write!(f, "{}/{plugin}/{device}/{job}/{}/{step}", at.millis(), occurrence.millis())?;
            }
            None => f.write_str("-")?,
        }
        match &self.collapse {
            Some((above, Some((at, name)))) => write!(f, " {above} {}/{name}", at.millis()),
            Some((above, None)) => write!(f, " {above} -"),
            None => Ok(()),
        }
    }
}

impl Progress {
    fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| Instant::from_millis(text.parse().ok()?);
        let parts: Vec<_> = text.split(' ').collect();
        let ([from, to, run, expected], collapse) = parts.split_first_chunk()?;
        let run = if *run == "-" { None } else { Some(run.parse().ok()?) };
        let sort_key = |text: &str| {
            let [at, plugin, device, job, occurrence, step] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
            let plugin = PluginName::parse_owner(plugin).ok()?;
            let job = (plugin, DeviceName::parse(device).ok()?, JobId::parse(job).ok()?);
            Some(SortKey { at: time(at)?, job, occurrence: time(occurrence)?, step: step.parse().ok()? })
        };
        let expected = if *expected == "-" { None } else { Some(sort_key(expected)?) };
        let collapse = match collapse {
            [] => None,
            [above, last] => {
                let key = |text: &str| {
                    let (at, name) = text.split_once('/')?;
                    Some((time(at)?, name.to_owned()))
                };
                let above = above.parse().ok().filter(|above| (1..=limits::PAGE).contains(above))?;
                Some((above, if *last == "-" { None } else { Some(key(last)?) }))
            }
            _ => return None,
        };
        let window = (time(from)?, time(to)?);
        // A forged cursor must not exceed the longest period.
        let is_window = (1..=limits::TIMELINE_MS).contains(&window.1.ms_since(window.0));
        Some(Self { window, run, expected, collapse }).filter(|_| is_window)
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
            "1803859200000 1803945600000 - - 6 -",
            "1803859200000 1803945600000 - - 6 1803861000000/coop/north/mist-*",
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
            "1803859200000 1803945600000 - - 6",
            "1803859200000 1803945600000 - - 0 -",
            "1803859200000 1803945600000 - - 6 x/y",
            "1803859200000 253402300799000 - -",
        ] {
            assert!(Progress::parse(bad).is_none(), "{bad}");
        }
    }
}
