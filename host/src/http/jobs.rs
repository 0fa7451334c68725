//! Jobs, and when they are due.

use axum::{Json, extract::State};
use roost_scheduler::{
    body::PackedJob,
    event::{JobKey, Override, Part},
    names::{DeviceName, JobId, PluginName},
    outcome::Level,
    scheduler::{JobView, NextRun, RunUnderWay},
    time::{Instant, Site},
    trigger::SunCache,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Path, Query},
    limits,
    missing::missing,
    page::{Limit, Page, cursor, resume},
    params::{Device, Job, JobPath, Plugin},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::records;

/// A job.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    #[schema(inline, value_type = Job)]
    pub(crate) job: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// As `roost next` takes it.
    pub(crate) trigger: String,
    /// What the trigger may be mistaken for: `1-7 * 1` is not the first Monday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// When its next run is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) due: Option<String>,
    /// Instead, where that is not known: not before then, for the sun does not do that for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) not_before: Option<String>,
    /// When it is due after that, as often as was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) following: Vec<String>,
    /// What it sends, one after the other. What is usual is left out.
    #[schema(value_type = Vec<records::StepRecord<'static>>)]
    pub(crate) steps: Value,
    /// How its runs are treated. What is usual is left out.
    #[schema(value_type = records::PolicyRecord)]
    pub(crate) policy: Value,
    /// Instead of steps: what its plugin is asked to do then, and says what to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskRecord>,
    /// What is paused of it: all of its `plugin`, all of its `device`, or the `job` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(plugin|device|job)$")]
    pub(crate) paused: Option<String>,
    /// The occurrence that is left out, because a person asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) skip: Option<String>,
    /// When it was made by hand, of a job that no plan has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) made: Option<String>,
    /// Its runs that have not ended; of a single job only.
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
    /// What it does or waits for.
    #[schema(pattern = "^(waiting|held|asking|listening|arming|sent|confirming|pausing|resting)$")]
    pub(crate) state: String,
    /// When it should start, or should have.
    #[schema(format = DateTime)]
    pub(crate) start: String,
    /// The step that is done next, counted from 1.
    pub(crate) step: usize,
    /// How many there are; none as long as its plugin has not said what to send.
    pub(crate) of: usize,
    /// Attempts at that step so far.
    pub(crate) attempts: u32,
    /// How the last one ended, if it did not get through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// What holds it up, or did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_by: Option<String>,
    /// Until when it waits, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) until: Option<String>,
}

/// A job as it is taken along from the loop, which does not wait until it is JSON.
struct JobSnapshot {
    key: JobKey,
    plugin: PluginName,
    device: DeviceName,
    site: Site,
    job: PackedJob,
    next: NextRun,
    wish: Override,
    paused: Option<Level>,
}

impl From<JobView<'_>> for JobSnapshot {
    fn from(view: JobView<'_>) -> Self {
        let JobView { key, plugin, device, site, job, next, job_override: wish, paused, .. } = view;
        let (plugin, device, wish) = (plugin.clone(), device.clone(), wish.cloned().unwrap_or_default());
        Self { key, plugin, device, site: *site, job: job.clone(), next, wish, paused }
    }
}

impl JobSnapshot {
    /// Of its messages.
    fn bytes(&self) -> usize {
        self.job.body.steps().map(|step| step.payload.len() + step.topic().len()).sum()
    }

    fn into_record(self, following: u32, sky: &mut SunCache) -> JobRecord {
        let Self { plugin, device, site, job, next, wish, paused, .. } = self;
        let text = |at: Instant| at.in_zone(site.zone);
        let (due, not_before) = match next {
            NextRun::Due(at) => (Some(at), None),
            NextRun::NotBefore(at) => (None, Some(at)),
            NextRun::Never => (None, None),
        };
        let mut times = Vec::new();
        let mut last = due;
        while let Some(at) = last.filter(|_| times.len() < following as usize) {
            last = job.trigger.find(at, &site, sky).ok();
            times.extend(last.map(text));
        }
        JobRecord {
            plugin: plugin.to_string(),
            device: device.to_string(),
            job: job.body.id().to_owned(),
            label: job.body.label().map(str::to_owned),
            trigger: job.trigger.to_string(),
            note: job.trigger.note(),
            due: due.map(text),
            not_before: not_before.map(text),
            following: times,
            steps: serde_json::to_value(records::steps(&job.body)).unwrap_or_default(),
            policy: serde_json::to_value(records::policy(&job.body.policy())).unwrap_or_default(),
            task: job.body.task().map(|task| TaskRecord {
                task: task.name.to_string(),
                args: serde_json::from_str(&task.args).unwrap_or_default(),
            }),
            paused: paused.map(|what| level(what).to_owned()),
            skip: wish.skip.filter(|skip| due == Some(*skip)).map(text),
            made: wish.ad_hoc.map(|by_hand| text(by_hand.made)),
            runs: Vec::new(),
        }
    }
}

pub(super) const fn level(what: Level) -> &'static str {
    match what {
        Level::Plugin => "plugin",
        Level::Device => "device",
        Level::Job => "job",
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsQuery {
    /// Only those of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only those of devices with this name
    #[param(inline)]
    device: Option<Device>,
    /// How many times to tell after the next one
    #[param(value_type = u32, minimum = 0, maximum = 10, default = 0)]
    #[serde(default)]
    next: Following,
    /// How many at the most; with long messages a page has fewer
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct JobQuery {
    /// How many times to tell after the next one
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

/// The jobs, in the order in which they were first planned, more or less
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, body = Page<JobRecord>)))]
pub(super) async fn jobs(State(desk): State<ApiState>, Query(wanted): Query<JobsQuery>) -> Answered<Page<JobRecord>> {
    let JobsQuery { plugin, device, next: Following(following), limit: Limit(limit), cursor: at } = wanted;
    let of = (plugin.map(|Plugin(name)| name), device.map(|Device(name)| name));
    let mut from = resume(at.as_deref(), |text| text.parse::<JobKey>().ok())?;
    let (mut taken, mut bytes): (Vec<JobSnapshot>, usize) = (Vec::new(), 0);
    let mut next = loop {
        let (of, most) = (of.clone(), (limit - taken.len()).min(limits::JOBS_PER_LOOK));
        let piece = desk.look(move |scheduler| {
            let of = (of.0.as_ref(), of.1.as_ref());
            let (jobs, next) = scheduler.jobs_from(of, from.unwrap_or_default(), most);
            (jobs.into_iter().map(JobSnapshot::from).collect::<Vec<_>>(), next)
        });
        let (jobs, next) = piece.await?;
        bytes += jobs.iter().map(JobSnapshot::bytes).sum::<usize>();
        taken.extend(jobs);
        from = next;
        if next.is_none() || taken.len() == limit || bytes > limits::PAGE_BYTES {
            break next;
        }
    };
    if let Some(place) = too_much(&taken) {
        next = taken.get(place).map(|job| job.key);
        taken.truncate(place);
    }
    // The sun takes long, and others ask as well.
    let made = tokio::task::spawn_blocking(move || {
        let mut sky = SunCache::default();
        taken.into_iter().map(|job| job.into_record(following, &mut sky)).collect()
    });
    let items = made.await.map_err(|error| Problem::bug(&error))?;
    Ok(Json(Page { items, next: next.map(|key| cursor(&key.to_string())) }))
}

/// Where a page has to end. It has one job, however long that is.
fn too_much(taken: &[JobSnapshot]) -> Option<usize> {
    let mut bytes = 0;
    let place = taken.iter().position(|job| {
        bytes += job.bytes();
        bytes > limits::PAGE_BYTES
    })?;
    Some(place.max(1)).filter(|place| *place < taken.len())
}

/// A job, and its runs that have not ended
#[utoipa::path(get, path = "/api/v1/jobs/{plugin}/{device}/{job}", tag = "jobs",
    params(JobPath, JobQuery),
    responses((status = 200, body = JobRecord)))]
pub(super) async fn job(
    State(desk): State<ApiState>,
    Path(path): Path<JobPath>,
    Query(JobQuery { next: Following(following) }): Query<JobQuery>,
) -> Answered<JobRecord> {
    let (plugin, device, job) = path.name();
    record(&desk, plugin, device, job, following).await.map(Json)
}

pub(super) async fn record(
    desk: &ApiState,
    plugin: PluginName,
    device: DeviceName,
    job: JobId,
    following: u32,
) -> Result<JobRecord, Problem> {
    let name = (plugin.clone(), device.clone(), job.clone());
    let found = desk.look(move |scheduler| {
        let found = scheduler.job(&plugin, &device, &job)?;
        let zone = found.site.zone;
        let runs = scheduler.runs_of_job(found.key).take(limits::RUNS).map(|run| under_way(&run, zone)).collect();
        Some((JobSnapshot::from(found), runs))
    });
    let found: Option<(JobSnapshot, Vec<_>)> = found.await?;
    let Some((taken, runs)) = found else { return Err(missing(desk, Part::Job(name)).await) };
    let made = tokio::task::spawn_blocking(move || taken.into_record(following, &mut SunCache::default()));
    Ok(JobRecord { runs, ..made.await.map_err(|error| Problem::bug(&error))? })
}

fn under_way(run: &RunUnderWay<'_>, zone: Zone) -> RunUnderWayRecord {
    let RunUnderWay { id, start, step, of, state, attempts, until, .. } = *run;
    let (last, held_by) = (run.last.map(ToString::to_string), run.held_by.map(ToString::to_string));
    let until = until.map(|at| at.in_zone(zone));
    RunUnderWayRecord {
        run: id.to_string(),
        state: state.into(),
        start: start.in_zone(zone),
        step,
        of,
        attempts,
        last,
        held_by,
        until,
    }
}
