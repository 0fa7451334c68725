//! The devices of plugins.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use roost_scheduler::{
    event::Part,
    names::{DeviceName, PluginName},
    pause::{Level, Pauses},
    scheduler::{DeviceView, DueTime, Scheduler},
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Path, Query},
    faulty_jobs::devices_of_faulty_jobs,
    limits,
    pagination::{Limit, Page, cut, resume},
    params::{Device, DevicePath, Plugin},
    pauses::{self, PauseRecord},
    problem::{Answered, Problem},
    reason_template,
    state::ApiState,
};
use crate::{calendars, clock, store::LastOutcome, zones};

/// A device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeviceRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    pub(crate) time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) longitude: Option<f64>,
    /// When the next plan of the device is requested from its plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) replan_at: Option<String>,
    /// Why its newest plan was refused. Until the next plan, it keeps the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether a plan has been requested and has not arrived yet.
    pub(crate) planning: bool,
    /// Whether a run of it has sent a message and has not ended: what it has begun is still to be ended.
    pub(crate) running: bool,
    /// Whether the device itself is paused now.
    pub(crate) paused: bool,
    /// Whether its plugin is paused now, and all devices of it with it.
    pub(crate) plugin_paused: bool,
    /// The pause in force of the device, its plugin or all, or the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    pub(crate) jobs: usize,
    /// How many of its jobs are paused themselves now.
    pub(crate) paused_jobs: usize,
    /// When the next run of its jobs is due that neither a pause nor the operator skips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) due: Option<String>,
    /// How the last run of its jobs ended, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<LastOutcomeRecord>,
    /// Of the jobs whose last run failed, was missed or was denied, the outcome of the newest, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<LastOutcomeRecord>,
}

impl DeviceRecord {
    /// Returns the record of a device, without what [`complete`] adds.
    fn new(scheduler: &Scheduler, device: DeviceView<'_>) -> Self {
        let running = scheduler.is_running(device.plugin, device.name);
        let DeviceView { plugin, name, site, replan_at, error, plan_requested, jobs, pauses } = device;
        let now = clock::now();
        Self {
            plugin: plugin.to_string(),
            device: name.to_string(),
            time_zone: site.zone.name().into(),
            latitude: site.location.map(|at| at.latitude()),
            longitude: site.location.map(|at| at.longitude()),
            replan_at: Some(replan_at).filter(|at| *at != Instant::MAX).map(|at| at.in_zone(site.zone)),
            error: error.map(str::to_owned),
            planning: plan_requested,
            running,
            paused: is_paused(&pauses, Level::Device, now),
            plugin_paused: is_paused(&pauses, Level::Plugin, now),
            pause: PauseRecord::shown(&pauses, now, site.zone),
            jobs,
            paused_jobs: 0,
            due: None,
            last: None,
            fault: None,
        }
    }

    /// Adds when its next run is due, how many jobs are paused, its last outcome and its newest fault.
    fn with(
        self,
        due: Option<Instant>,
        paused_jobs: usize,
        (last, fault): (Option<LastOutcome>, Option<LastOutcome>),
    ) -> Self {
        let zone = zones::find(&self.time_zone).unwrap_or(Zone::UTC);
        let record = |LastOutcome { run, state, ended, reason }: LastOutcome| {
            let reason = reason.map(|reason| reason.to_string());
            LastOutcomeRecord { run: run.to_string(), state: state.to_string(), reason, ended: ended.in_zone(zone) }
        };
        Self {
            due: due.map(|at| at.in_zone(zone)),
            paused_jobs,
            last: last.map(record),
            fault: fault.map(record),
            ..self
        }
    }
}

/// How the last run of a device ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LastOutcomeRecord {
    pub(crate) run: String,
    #[schema(pattern = "^(succeeded|failed|missed|skipped|cancelled|denied)$")]
    pub(crate) state: String,
    /// Why it failed, was missed or was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) ended: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicesQuery {
    /// Only devices of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// Only devices with this text in `PLUGIN/DEVICE`, whether in capitals or not
    #[param(value_type = String, required = false, max_length = 130, example = "door/nor")]
    #[serde(default)]
    q: NamePart,
    /// Only devices whose newest plan was refused, or of which the last run of a job failed, was missed or was denied;
    /// with `false`, only the others
    fault: Option<bool>,
    /// Only devices with a fault of this reason, as `GET /api/v1/faults` returns it
    #[param(example = "step … was given up after … attempts: the device did not confirm the step within …")]
    reason: Option<String>,
    /// Only devices that are paused themselves, with their plugin, or of which a job is paused; with `false`, only the
    /// others
    paused: Option<bool>,
    /// The maximum number of items
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page
    cursor: Option<String>,
}

/// A part of a device's name, in any case.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamePart(pub(crate) String);

impl<'de> Deserialize<'de> for NamePart {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.chars().count() > limits::PART_CHARS {
            return Err(D::Error::custom(format!("it has more than {} characters", limits::PART_CHARS)));
        }
        Ok(Self(text))
    }
}

/// Which devices are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceFilter {
    pub(crate) plugin: Option<PluginName>,
    /// The whole name of a device.
    pub(crate) device: Option<DeviceName>,
    /// A part of `PLUGIN/DEVICE`; empty for all.
    pub(crate) part: NamePart,
    pub(crate) is_faulty: Option<bool>,
    /// The reason of a fault, as [`super::faults`] groups them.
    pub(crate) reason: Option<String>,
    pub(crate) is_paused: Option<bool>,
}

impl DeviceFilter {
    /// Checks whether a device is listed, where `part` is in lower case. `faulty` has the devices of which a job is at
    /// fault.
    fn matches(&self, device: &DeviceView<'_>, faulty: &HashSet<Name>, paused: &PausedJobs) -> bool {
        let DeviceView { plugin, name, error, pauses, .. } = device;
        let has_paused =
            || pauses.at(clock::now()).is_some() || paused.contains_key(&((*plugin).clone(), (*name).clone()));
        let has_reason = |error: &str| {
            let of_plan = || reason_template::of_fault(error, [plugin.as_str(), name.as_str(), ""]);
            self.reason.as_ref().is_none_or(|reason| *reason == of_plan())
        };
        let is_faulty = || error.is_some_and(has_reason) || faulty.contains(&((*plugin).clone(), (*name).clone()));
        self.is_paused.is_none_or(|expected| expected == has_paused())
            && self.device.as_ref().is_none_or(|expected| expected == *name)
            && (self.part.0.is_empty() || format!("{plugin}/{name}").to_ascii_lowercase().contains(&self.part.0))
            && self.is_faulty.or(self.reason.as_ref().map(|_| true)).is_none_or(|expected| expected == is_faulty())
    }
}

/// Checks whether a device, or its plugin, is paused itself.
pub(super) fn is_paused(pauses: &Pauses, what: Level, now: Instant) -> bool {
    pauses.of(what).is_some_and(|by| by.pause.covers(now))
}

/// A position in the list of all devices: after this device, or at the beginning of this plugin.
pub(super) type After = (PluginName, Option<DeviceName>);

/// List devices, ordered by plugin and name
#[utoipa::path(get, path = "/api/v1/devices", tag = "plugins", params(DevicesQuery),
    responses((status = 200, body = Page<DeviceRecord>)))]
pub(super) async fn devices(
    State(state): State<ApiState>,
    Query(query): Query<DevicesQuery>,
) -> Answered<Page<DeviceRecord>> {
    let DevicesQuery { plugin, q: part, fault, reason, paused, limit: Limit(limit), cursor } = query;
    let plugin = plugin.map(|Plugin(name)| name);
    let filter = DeviceFilter { plugin, part, is_faulty: fault, reason, is_paused: paused, ..DeviceFilter::default() };
    Ok(Json(list(&state, filter, limit, cursor.as_deref()).await?))
}

/// Returns a page of devices, from a cursor on.
pub(crate) async fn list(
    state: &ApiState,
    mut filter: DeviceFilter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<DeviceRecord>, Problem> {
    let mut after = resume(cursor, |text| {
        let (plugin, device) = text.split_once('/')?;
        Some((PluginName::parse_owner(plugin).ok()?, Some(DeviceName::parse(device).ok()?)))
    })?;
    let faulty = match (&filter.is_faulty, &filter.reason) {
        (None, None) => HashSet::new(),
        (_, reason) => devices_of_faulty_jobs(state, reason.as_deref()).await?,
    };
    filter.part.0.make_ascii_lowercase();
    let shared = Arc::new((filter, faulty, paused_jobs(state).await?));
    let mut found = Vec::new();
    loop {
        let (shared, most) = (shared.clone(), limit + 1 - found.len());
        let batch = state.inspect(move |scheduler| {
            let (filter, faulty, paused) = &*shared;
            visit(scheduler, filter.plugin.as_ref(), after, most, |device| {
                let is_listed = filter.matches(&device, faulty, paused);
                is_listed.then(|| ((device.plugin.clone(), device.name.clone()), DeviceRecord::new(scheduler, device)))
            })
        });
        let (devices, next) = batch.await?;
        found.extend(devices);
        after = next;
        if after.is_none() || found.len() > limit {
            break;
        }
    }
    let (found, next) = cut(found, limit, |((plugin, device), _)| format!("{plugin}/{device}"));
    Ok(Page { items: complete(state, found, &shared.2).await?, next })
}

/// The names of a plugin and a device.
type Name = (PluginName, DeviceName);

/// How many jobs of each device are paused themselves.
type PausedJobs = HashMap<Name, usize>;

async fn paused_jobs(state: &ApiState) -> Result<PausedJobs, Problem> {
    let mut of_device = PausedJobs::new();
    let (jobs, now) = (pauses::paused_jobs(state).await?, clock::now());
    for ((plugin, device, _), _) in jobs.into_iter().filter(|(_, by)| by.pause.covers(now)) {
        *of_device.entry((plugin, device)).or_default() += 1;
    }
    Ok(of_device)
}

/// Adds to devices what their views do not have.
async fn complete(
    state: &ApiState,
    devices: Vec<(Name, DeviceRecord)>,
    paused: &PausedJobs,
) -> Result<Vec<DeviceRecord>, Problem> {
    let (names, records): (Vec<_>, Vec<_>) = devices.into_iter().unzip();
    let (names, mut due) = (Arc::new(names), vec![None; records.len()]);
    let mut from = Some((0, 0));
    while let Some(first) = from {
        let names = names.clone();
        let (found, next) = state.inspect(move |scheduler| due_times(scheduler, &names, first)).await?;
        for (index, at) in unskipped(found).await? {
            due[index] = due[index].into_iter().chain([at]).min();
        }
        from = next;
    }
    let outcomes = state.last_outcomes();
    let all = records.into_iter().zip(due).zip(names.iter());
    let all = all.map(|((record, due), name)| {
        record.with(due, paused.get(name).copied().unwrap_or_default(), outcomes.of_device(&name.0, &name.1))
    });
    Ok(all.collect())
}

/// A place in the jobs of a list of devices: the index of a device, and the number of its jobs before it.
type JobPlace = (usize, usize);

/// Returns the times, with those of jobs that skip their next run: they are searched for outside the scheduler's loop.
async fn unskipped(found: Vec<(usize, DueTime)>) -> Result<Vec<(usize, Instant)>, Problem> {
    let search = move || {
        let mut sun = calendars::almanac();
        let mut at = |due| match due {
            DueTime::At(at) => Some(at),
            DueTime::Skipped(job) => job.next_unskipped(&mut sun),
        };
        found.into_iter().filter_map(|(index, due)| Some((index, at(due)?))).collect()
    };
    tokio::task::spawn_blocking(search).await.map_err(|error| Problem::bug(&error))
}

/// Returns when jobs of devices are due, from a device and a job of it on, each with the index of its device; and where
/// to continue, unless those were all. Bounded (I10).
fn due_times(
    scheduler: &Scheduler,
    names: &[Name],
    (first, mut seen): JobPlace,
) -> (Vec<(usize, DueTime)>, Option<JobPlace>) {
    let (mut found, mut left) = (Vec::new(), limits::DUE_TIMES_PER_QUERY);
    for (index, (plugin, device)) in names.iter().enumerate().skip(first) {
        let from = seen;
        let jobs = scheduler.due_times(plugin, device).skip(from).take(left).inspect(|_| seen += 1);
        found.extend(jobs.flatten().map(|due| (index, due)));
        left -= seen - from;
        if left == 0 {
            return (found, Some((index, seen)));
        }
        // A device without jobs counts as well.
        (seen, left) = (0, left - 1);
        if left == 0 {
            return (found, Some((index + 1, 0)));
        }
    }
    (found, None)
}

/// Get a device
#[utoipa::path(get, path = "/api/v1/devices/{plugin}/{device}", tag = "devices", params(DevicePath),
    responses((status = 200, body = DeviceRecord)))]
pub(super) async fn device(State(state): State<ApiState>, Path(path): Path<DevicePath>) -> Answered<DeviceRecord> {
    find(&state, path.name()).await.map(Json)
}

/// Returns a device.
pub(crate) async fn find(state: &ApiState, name: Name) -> Result<DeviceRecord, Problem> {
    let (plugin, device) = name.clone();
    let query = state.inspect(move |scheduler| Some(DeviceRecord::new(scheduler, scheduler.device(&plugin, &device)?)));
    let Some(record) = query.await? else { return Err(state.not_found(Part::Device(name.0, name.1)).await) };
    let mut records = complete(state, vec![(name, record)], &paused_jobs(state).await?).await?;
    Ok(records.remove(0))
}

/// Returns the names of the first plugins.
pub(crate) async fn plugin_names(state: &ApiState) -> Result<Vec<String>, Problem> {
    let first =
        |scheduler: &Scheduler| scheduler.plugin_names().take(limits::PLUGIN_NAMES).map(ToString::to_string).collect();
    state.inspect(first).await
}

/// Visits devices after a position, all or those of one plugin, and takes at most `most` of them. Returns where to
/// continue, unless those were all. Bounded (I10), so that there may be none although more follow.
pub(super) fn visit<T>(
    scheduler: &Scheduler,
    only: Option<&PluginName>,
    after: Option<After>,
    most: usize,
    mut take: impl FnMut(DeviceView<'_>) -> Option<T>,
) -> (Vec<T>, Option<After>) {
    let (mut found, mut left) = (Vec::new(), limits::DEVICES_PER_QUERY);
    let first =
        |after: Option<&PluginName>| scheduler.plugins_after(after).next().map(|plugin| (plugin.name.clone(), None));
    let mut at = match (only, after) {
        (Some(only), Some((plugin, device))) if *only == plugin => Some((plugin, device)),
        (Some(only), _) => Some((only.clone(), None)),
        (None, Some(after)) => Some(after),
        (None, None) => first(None),
    };
    while let Some((plugin, device)) = at {
        let (mut last, mut has_more) = (device.clone(), false);
        for device in scheduler.devices_after(&plugin, device.as_ref()) {
            has_more = left == 0 || found.len() == most;
            if has_more {
                break;
            }
            left -= 1;
            last = Some(device.name.clone());
            found.extend(take(device));
        }
        if has_more {
            return (found, Some((plugin, last)));
        }
        // A plugin without devices counts as well.
        left = left.saturating_sub(1);
        at = if only.is_some() { None } else { first(Some(&plugin)) };
        if left == 0 {
            break;
        }
    }
    (found, at)
}
