//! Jobs and their next runs.

use axum::{Json, extract::State};
use roost_scheduler::{
    event::{JobKey, Part},
    names::JobName,
    scheduler::{JobStatus, NextRun, NextStep, RunStatus},
    time::Instant,
    trigger::Almanac,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Path, Query},
    limits,
    pagination::{Limit, Page, resume},
    params::{Device, Job, JobPath, Plugin},
    pauses::PauseRecord,
    problem::{Answered, Problem},
    state::ApiState,
    timeline::OwnerFilter,
};
use crate::{calendars, clock, job_json};

/// A job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// The IANA name of the device's time zone, in which its times are.
    #[serde(default)]
    #[schema(example = "Europe/London")]
    pub(crate) time_zone: String,
    /// A description for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The trigger, in the notation of `roost next`.
    pub(crate) trigger: String,
    /// A warning about a trigger that is easily misread: `1-7 * 1` is not the first Monday of the month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// When its next run is due, whether it will be skipped or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) due: Option<String>,
    /// When its next run is due that neither a pause nor the operator skips, if the one at `due` will be skipped; omitted
    /// if a pause without an end skips all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_run: Option<String>,
    /// Instead of `due`: a time before which the job is not due, because its sun event does not occur until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) not_before: Option<String>,
    /// The occurrences after `due`, as many as were requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) following: Vec<String>,
    /// The messages of a run, in order. Default values are omitted.
    #[schema(value_type = Vec<job_json::StepRecord<'static>>)]
    pub(crate) steps: Value,
    /// The policy for its runs. Default values are omitted.
    #[schema(value_type = job_json::PolicyRecord)]
    pub(crate) policy: Value,
    /// Instead of steps: the task of its plugin that is called when the job is due, and that returns the messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskRecord>,
    /// What is paused now: `all`, its `plugin`, its `device`, or the `job` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(all|plugin|device|job)$")]
    pub(crate) paused: Option<String>,
    /// The pause in force of the job, its device, its plugin or all, or the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    /// The occurrence that the operator has requested to skip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) skip: Option<String>,
    /// When the job was made, if it is an ad-hoc job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) made: Option<String>,
    /// Its runs that have not ended. Omitted in lists of jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) runs: Vec<RunUnderWayRecord>,
}

/// A task, with its arguments.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TaskRecord {
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub(crate) task: String,
    /// Any JSON.
    pub(crate) args: Value,
}

/// A run that has not ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunUnderWayRecord {
    pub(crate) run: String,
    /// What the run does or waits for.
    #[schema(pattern = "^(waiting|held|asking|listening|arming|sent|confirming|pausing|resting)$")]
    pub(crate) state: String,
    /// The nominal start, including jitter.
    #[schema(format = DateTime)]
    pub(crate) start: String,
    /// The next step, counted from 1.
    pub(crate) step: usize,
    /// The number of steps; 0 until its task has returned them.
    pub(crate) of: usize,
    /// The number of attempts at that step so far.
    pub(crate) attempts: u32,
    /// Why the last attempt failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// What the run waits for, or last waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<String>,
    /// The time until which it waits, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) until: Option<String>,
}

impl JobRecord {
    /// Converts a job with as many occurrences as requested. Expensive, because of sun events.
    fn new(status: JobStatus, following: u32, sun: &mut Almanac) -> Self {
        let next_run = status.next_unskipped(sun);
        let JobStatus { plugin, device, site, job, next, job_override, pauses, .. } = status;
        let now = clock::now();
        let text = |at: Instant| at.in_zone(site.zone);
        let (due, not_before) = match next {
            NextRun::Due(at) => (Some(at), None),
            NextRun::NotBefore(at) => (None, Some(at)),
            NextRun::Never => (None, None),
        };
        let mut times = Vec::new();
        let mut last = due;
        while let Some(at) = last.filter(|_| times.len() < following as usize) {
            last = job.trigger.find(at, &site, sun).ok();
            times.extend(last.map(text));
        }
        Self {
            plugin: plugin.to_string(),
            device: device.to_string(),
            job: job.body.id().to_owned(),
            time_zone: site.zone.name().to_owned(),
            label: job.body.label().map(str::to_owned),
            trigger: job.trigger.to_string(),
            note: job.trigger.note(),
            due: due.map(text),
            next_run: next_run.filter(|run| due != Some(*run)).map(text),
            not_before: not_before.map(text),
            following: times,
            steps: serde_json::to_value(job_json::steps(&job.body)).unwrap_or_default(),
            policy: serde_json::to_value(job_json::policy(&job.body.policy())).unwrap_or_default(),
            task: job.body.task().map(|task| TaskRecord {
                task: task.name.to_string(),
                args: serde_json::from_str(&task.args).unwrap_or_default(),
            }),
            paused: pauses.at(now).map(|by| by.what.as_str().to_owned()),
            pause: PauseRecord::shown(&pauses, now, site.zone),
            skip: job_override.skip.filter(|skip| due == Some(*skip)).map(text),
            made: job_override.ad_hoc.map(|ad_hoc| text(ad_hoc.made)),
            runs: Vec::new(),
        }
    }
}

/// Returns the size of a job's messages.
fn bytes(job: &JobStatus) -> usize {
    job.job.body.steps().map(|step| step.payload.len() + step.topic().len()).sum()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Only jobs of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only jobs of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// The number of occurrences to return after the next one
    #[param(value_type = u32, minimum = 0, maximum = 10, default = 0)]
    #[serde(default)]
    next: Following,
    /// The maximum number of items; a page with long messages has fewer
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobQuery {
    /// The number of occurrences to return after the next one
    #[param(value_type = u32, minimum = 0, maximum = 10, default = 0)]
    #[serde(default)]
    next: Following,
}

#[derive(Clone, Copy, Debug, Default)]
struct Following(u32);

impl<'de> Deserialize<'de> for Following {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        if number <= limits::FOLLOWING {
            Ok(Self(number))
        } else {
            Err(serde::de::Error::custom(format!("it must be 0 to {}", limits::FOLLOWING)))
        }
    }
}

/// List jobs, in no particular order
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, body = Page<JobRecord>)))]
pub(super) async fn jobs(State(state): State<ApiState>, Query(query): Query<JobsQuery>) -> Answered<Page<JobRecord>> {
    let JobsQuery { plugin, device, next: Following(following), limit: Limit(limit), cursor } = query;
    let of = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    list(&state, of, following, limit, cursor.as_deref()).await.map(Json)
}

/// Returns a page of jobs, each with as many occurrences after the next one, from a cursor on.
pub(crate) async fn list(
    state: &ApiState,
    of: OwnerFilter,
    following: u32,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<JobRecord>, Problem> {
    let mut from = resume(cursor, |text| text.parse::<JobKey>().ok())?;
    let (mut found, mut size): (Vec<JobStatus>, usize) = (Vec::new(), 0);
    let mut next = loop {
        let (of, most) = (of.clone(), (limit - found.len()).min(limits::JOBS_PER_QUERY));
        let batch = state.inspect(move |scheduler| {
            scheduler.jobs_from((of.0.as_ref(), of.1.as_ref()), from.unwrap_or_default(), most)
        });
        let (jobs, next) = batch.await?;
        size += jobs.iter().map(bytes).sum::<usize>();
        found.extend(jobs);
        from = next;
        if next.is_none() || found.len() == limit || size > limits::PAGE_BYTES {
            break next;
        }
    };
    if let Some(end) = page_end(&found) {
        next = found.get(end).map(|job| job.key);
        found.truncate(end);
    }
    // On another thread, because sun events are expensive.
    let records = tokio::task::spawn_blocking(move || {
        let mut sun = calendars::almanac();
        found.into_iter().map(|job| JobRecord::new(job, following, &mut sun)).collect()
    });
    let items = records.await.map_err(|error| Problem::bug(&error))?;
    Ok(Page { items, next: next.map(|key| super::pagination::cursor(&key.to_string())) })
}

/// Returns the number of jobs after which a page has too many bytes. It has at least one job.
fn page_end(jobs: &[JobStatus]) -> Option<usize> {
    let mut size = 0;
    let end = jobs.iter().position(|job| {
        size += bytes(job);
        size > limits::PAGE_BYTES
    })?;
    Some(end.max(1)).filter(|end| *end < jobs.len())
}

/// Get a job and its runs that have not ended
#[utoipa::path(get, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs",
    params(JobPath, JobQuery),
    responses((status = 200, body = JobRecord)))]
pub(super) async fn job(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
    Query(JobQuery { next: Following(following) }): Query<JobQuery>,
) -> Answered<JobRecord> {
    record(&state, path.name(), following).await.map(Json)
}

/// Returns a job with its runs that have not ended, and as many occurrences after the next one as requested.
pub(crate) async fn record(state: &ApiState, name: JobName, following: u32) -> Result<JobRecord, Problem> {
    let (plugin, device, job) = name.clone();
    let found = state.inspect(move |scheduler| {
        let found = scheduler.job(&plugin, &device, &job)?;
        let runs: Vec<_> = scheduler.runs_of_job(found.key).take(limits::RUNS_OF_JOB).collect();
        Some((found, runs))
    });
    let Some((job, runs)) = found.await? else { return Err(state.not_found(Part::Job(name)).await) };
    let runs = runs.iter().map(|run| RunUnderWayRecord::new(run, job.site.zone)).collect();
    let record = tokio::task::spawn_blocking(move || JobRecord::new(job, following, &mut calendars::almanac()));
    Ok(JobRecord { runs, ..record.await.map_err(|error| Problem::bug(&error))? })
}

impl RunUnderWayRecord {
    fn new(run: &RunStatus, zone: Zone) -> Self {
        let RunStatus { id, phase, start, next: NextStep { step, of, .. }, attempts, last, held_by, .. } = run;
        Self {
            run: id.to_string(),
            state: phase.as_str().into(),
            start: start.in_zone(zone),
            step: *step,
            of: *of,
            attempts: *attempts,
            last: last.as_ref().map(ToString::to_string),
            held_by: held_by.as_ref().map(ToString::to_string),
            until: run.until().map(|at| at.in_zone(zone)),
        }
    }
}
