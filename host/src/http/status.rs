//! The status of the host.

use axum::{Json, extract::State};
use chrono::NaiveDate;
use roost_scheduler::{
    calendar::to_local,
    names::{DeviceName, PluginName},
    pause::{Level, PausedBy, Pauses},
    scheduler::Scheduler,
    time::Instant,
    trigger::{Dates, DayRange},
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    health,
    hosts::Role,
    limits,
    pauses::{self, PauseRecord},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::{
    calendars::{self, CalendarState, Source},
    clock,
    mqtt::Info,
    report::Report,
    zones::{self, InUse},
};

/// The status of the host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) version: String,
    /// The host that answers. Omitted if it shares no database with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<AnsweringHost>,
    /// When the host started, by the system clock.
    #[schema(format = DateTime)]
    pub(crate) started: String,
    pub(crate) uptime_ms: u64,
    pub(crate) clock: ClockStatus,
    #[serde(default)]
    pub(crate) time_zones: TimeZonesStatus,
    /// The calendars in the settings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) calendars: Vec<CalendarStatus>,
    pub(crate) link: LinkStatus,
    /// The devices in Home Assistant. Omitted if `[home_assistant]` is not in the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) home_assistant: Option<HomeAssistantStatus>,
    pub(crate) store: StoreStatus,
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) faults: FaultCounts,
    #[serde(default)]
    pub(crate) paused: Paused,
    /// The same, with a pause of their own that has not begun.
    #[serde(default)]
    pub(crate) will_be_paused: Paused,
    /// The pause of all that is in force, or that will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseRecord>,
    /// Whether it is stopping.
    pub(crate) stopping: bool,
    /// Why the host is not ready, if it is not: the problem that `/readyz` returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready: Option<String>,
    /// The first load of the plugins that were in the folder at the start, until it has ended: before that, plugins,
    /// devices and jobs may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loading: Option<LoadingStatus>,
}

/// The host of several that answers. Everything else in the status is of the owner.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AnsweringHost {
    #[schema(example = "barn")]
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The name of the owner.
    #[schema(example = "attic")]
    pub(crate) owner: String,
}

/// The progress of the first load of the plugins.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LoadingStatus {
    /// The number of plugins that are loaded, refused, or set aside because their files are still being written.
    pub(crate) done: usize,
    /// The number of plugins that were in the folder at the start; 0 until the folder has been read.
    pub(crate) of: usize,
}

/// The clock of the host.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClockStatus {
    #[schema(format = DateTime)]
    pub(crate) now: String,
    /// The time zone for times that do not belong to a device.
    pub(crate) zone: String,
}

/// The time zone rules.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct TimeZonesStatus {
    /// The IANA release that is in use, such as `2026f`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,
    /// The system's folder that the rules are from. Omitted if the built-in rules are used because they are as new or
    /// newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<String>,
    /// Why the system's rules are not used, or only in part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<String>,
}

impl From<InUse> for TimeZonesStatus {
    fn from(InUse { release, folder, faults, missing: _ }: InUse) -> Self {
        Self { release, folder: folder.map(|folder| folder.display().to_string()), faults }
    }
}

/// A calendar in the settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Calendar)]
pub(crate) struct CalendarStatus {
    #[schema(example = "holidays")]
    pub(crate) name: String,
    /// The file with its days. Omitted if they are in the settings themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/etc/roost/holidays.ics")]
    pub(crate) file: Option<String>,
    /// When the contents of the file that are in use were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) as_of: Option<String>,
    /// The number of its days, of a file from a year ago to ten years ahead. Omitted if the file has never been read:
    /// then a job that names the calendar is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub(crate) days: Option<usize>,
    /// The next days from today on, at most 5: dates, and ranges of dates.
    #[schema(example = json!(["2026-12-25", "2027-03-26..2027-03-29"]), max_items = 5)]
    pub(crate) next: Vec<String>,
    /// Why the file cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "the calendar `holidays` cannot be read: /etc/roost/holidays.ics:12: `END:VEVENT` is missing here"
    )]
    pub(crate) error: Option<String>,
    /// What stays in use then, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Events of the file that were not understood, or only in part, at most 6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 6)]
    pub(crate) notes: Vec<String>,
}

impl CalendarStatus {
    fn new(state: CalendarState, now: Instant, zone: Zone) -> Self {
        let CalendarState { name, source, dates, as_of, fault, notes } = state;
        let file = if let Source::File(file) = source { Some(file.display().to_string()) } else { None };
        let today = to_local(now, zone).0;
        let shown = |(from, to): &(NaiveDate, NaiveDate)| DayRange::Dates(*from, *to).to_string();
        let later = dates.iter().flat_map(Dates::ranges).filter(|(_, to)| *to >= today);
        let next = later.take(limits::CALENDAR_DAYS).map(shown).collect();
        let (error, hint) = match fault {
            Some(Report { what, causes, hint }) => (Some([vec![what], causes].concat().join(": ")), hint),
            None => (None, None),
        };
        Self {
            name: name.to_string(),
            file,
            as_of: as_of.map(|at| at.in_zone(zone)),
            days: dates.as_ref().map(Dates::count),
            next,
            error,
            hint,
            notes,
        }
    }
}

/// The connection to the broker.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LinkStatus {
    pub(crate) up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
    /// The address of the broker, while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "mqtt://127.0.0.1:1883")]
    pub(crate) broker: Option<String>,
    /// The version of MQTT in use, `5` or `3.1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(5|3\\.1\\.1)$")]
    pub(crate) protocol: Option<String>,
    /// Topics that are held back because the broker closes the connection at messages to them. They are retried
    /// occasionally.
    #[serde(default)]
    pub(crate) held_back: HeldBack,
}

/// Topics that are held back.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeldBack {
    pub(crate) count: usize,
    /// The first topics.
    pub(crate) first: Vec<String>,
}

impl LinkStatus {
    fn new(since: Option<String>, info: Info) -> Self {
        let Info { broker, protocol, held_back, held_back_count } = info;
        Self {
            up: since.is_some(),
            since,
            broker,
            protocol: protocol.map(str::to_owned),
            held_back: HeldBack { count: held_back_count, first: held_back },
        }
    }
}

/// The devices in Home Assistant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct HomeAssistantStatus {
    /// Whether there is a connection for them, besides the link.
    pub(crate) up: bool,
    /// The number of devices that the broker has descriptions of.
    #[schema(minimum = 0)]
    pub(crate) devices: usize,
    /// The first thing that the broker has refused on this connection, or on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "a message to `homeassistant/device/roost/config`: the user is not authorized (0x87)")]
    pub(crate) refused: Option<String>,
}

/// The database.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreStatus {
    /// Whether the database can be written.
    pub(crate) writes: bool,
}

/// Numbers of objects.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counts {
    pub(crate) plugins: usize,
    pub(crate) devices: usize,
    pub(crate) jobs: usize,
    /// Runs that have not ended.
    pub(crate) runs: usize,
    /// Messages that the broker has not acknowledged yet.
    pub(crate) attempts: usize,
}

/// Numbers of refused versions and plans. The reasons are in `GET /api/v1/plugins` and `GET /api/v1/devices`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultCounts {
    /// Plugins with newest files that were refused.
    pub(crate) plugins: usize,
    /// Devices that keep an earlier plan because the newest one was refused.
    pub(crate) devices: usize,
}

/// The plugins, devices and jobs that are paused now, or will be.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Paused {
    pub(crate) count: usize,
    /// The first names, such as `sprinkler/garden`.
    pub(crate) first: Vec<String>,
    /// Their pauses, in the same order.
    #[serde(default)]
    pub(crate) pauses: Vec<PauseRecord>,
}

impl Paused {
    fn add(&mut self, paused: Vec<(String, PausedBy)>, zone: Zone) {
        self.count += paused.len();
        let room = limits::PAUSED_NAMES.saturating_sub(self.first.len());
        for (name, by) in paused.into_iter().take(room) {
            self.first.push(name);
            self.pauses.push(PauseRecord::new(&by, zone));
        }
    }
}

/// Get the status of the host
#[utoipa::path(get, path = "/api/v1/status", tag = "host", responses((status = 200, body = Status)))]
pub(super) async fn status(State(state): State<ApiState>) -> Answered<Status> {
    host_status(&state).await.map(Json)
}

/// Returns the status of the host.
pub(crate) async fn host_status(state: &ApiState) -> Result<Status, Problem> {
    let (counts, link_since, writes, stopping) = state
        .inspect(|scheduler| (counts(scheduler), scheduler.link_since(), scheduler.can_keep(), scheduler.is_stopping()))
        .await?;
    let (faults, [paused, will_be_paused]) = faults_and_pauses(state).await?;
    let pauses = state.inspect(Scheduler::pauses_of_all).await?;
    let not_ready = health::not_ready(state).await?;
    let loading = state.plugins().statuses.first_loads.progress().map(|(done, of)| LoadingStatus { done, of });
    let (zone, now) = (state.zone(), clock::now());
    let text = |at: Instant| at.in_zone(zone);
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        host: state.is_shared().then(|| AnsweringHost {
            name: state.name().into(),
            role: Role::Owner,
            owner: state.name().into(),
        }),
        started: text(state.started()),
        uptime_ms: state.uptime_ms(),
        clock: ClockStatus { now: text(now), zone: zone.name().into() },
        time_zones: zones::in_use().into(),
        calendars: calendars::states().into_iter().map(|state| CalendarStatus::new(state, now, zone)).collect(),
        link: LinkStatus::new(link_since.map(text), state.link().get()),
        home_assistant: state.home_assistant(),
        store: StoreStatus { writes },
        counts,
        faults,
        paused,
        will_be_paused,
        pause: PauseRecord::shown(&pauses, now, zone),
        stopping,
        not_ready,
        loading,
    })
}

/// Counts faults, and pauses: those in force, and those to come, in batches.
async fn faults_and_pauses(state: &ApiState) -> Result<(FaultCounts, [Paused; 2]), Problem> {
    let mut pauses = [Paused::default(), Paused::default()];
    let now = clock::now();
    let mut add = |all: Vec<(String, PausedBy)>| {
        let (paused, will_be_paused) = all.into_iter().partition(|(_, by)| by.pause.covers(now));
        pauses.iter_mut().zip([paused, will_be_paused]).for_each(|(pauses, all)| pauses.add(all, state.zone()));
    };
    let mut faults = FaultCounts { plugins: state.plugins().statuses.faults(), devices: 0 };
    let mut after = None;
    loop {
        let (of_devices, names, last) = state.inspect(move |scheduler| of_devices(scheduler, after)).await?;
        faults.devices += of_devices;
        add(names);
        after = last;
        if after.is_none() {
            break;
        }
    }
    let jobs = pauses::paused_jobs(state).await?;
    let jobs = jobs.into_iter().map(|((plugin, device, job), by)| (format!("{plugin}/{device}/{job}"), by));
    add(jobs.collect());
    Ok((faults, pauses))
}

/// A position in the list of all devices: a plugin, and the device of it that was visited last.
type After = (PluginName, Option<DeviceName>);

/// Visits a batch of devices and their plugins. Returns the number of faults, the names of what is paused, and the
/// position to continue from.
fn of_devices(scheduler: &Scheduler, after: Option<After>) -> (usize, Vec<(String, PausedBy)>, Option<After>) {
    let (mut faults, mut paused, mut left) = (0, Vec::new(), limits::DEVICES_PER_QUERY);
    let (mut from, now) = (after, clock::now());
    loop {
        let (name, device) = match from {
            Some((name, device @ Some(_))) => (name, device),
            last => {
                let last = last.map(|(name, _)| name);
                let Some(plugin) = scheduler.plugins_after(last.as_ref()).next() else { return (faults, paused, None) };
                paused.extend(own(&plugin.pauses, Level::Plugin, now).map(|by| (plugin.name.to_string(), by)));
                (plugin.name.clone(), None)
            }
        };
        let mut last = None;
        for device in scheduler.devices_after(&name, device.as_ref()).take(left) {
            faults += usize::from(device.error.is_some());
            let by = own(&device.pauses, Level::Device, now);
            paused.extend(by.map(|by| (format!("{}/{}", device.plugin, device.name), by)));
            (left, last) = (left - 1, Some(device.name.clone()));
        }
        // A plugin without devices counts as well.
        left = left.saturating_sub(1);
        if left == 0 {
            return (faults, paused, Some((name, last)));
        }
        from = Some((name, None));
    }
}

/// Returns the pause of a plugin or a device itself, unless it has ended.
fn own(pauses: &Pauses, what: Level, now: Instant) -> Option<PausedBy> {
    pauses.of(what).filter(|by| !by.pause.is_over(now)).cloned()
}

fn counts(scheduler: &Scheduler) -> Counts {
    Counts {
        plugins: scheduler.plugin_count(),
        devices: scheduler.device_count(),
        jobs: scheduler.job_count(),
        runs: scheduler.run_count(),
        attempts: scheduler.attempts_under_way(),
    }
}
