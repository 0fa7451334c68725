//! How the host is.

use axum::{Json, extract::State};
use roost_scheduler::{
    names::{DeviceName, PluginName},
    scheduler::Scheduler,
    time::Instant,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    health, limits,
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::{
    clock,
    mqtt::Info,
    zones::{self, InUse},
};

/// How a host is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) version: String,
    /// When it started, by the wall clock.
    #[schema(format = DateTime)]
    pub(crate) started: String,
    pub(crate) uptime_ms: u64,
    pub(crate) clock: ClockStatus,
    #[serde(default)]
    pub(crate) time_zones: TimeZonesStatus,
    pub(crate) link: LinkStatus,
    pub(crate) store: StoreStatus,
    pub(crate) counts: Counts,
    #[serde(default)]
    pub(crate) faults: Faults,
    #[serde(default)]
    pub(crate) paused: Paused,
    /// Whether it is stopping.
    pub(crate) stopping: bool,
    /// Why the host does not do its work, if it does not: what `/readyz` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready: Option<String>,
}

/// What its clock shows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClockStatus {
    #[schema(format = DateTime)]
    pub(crate) now: String,
    /// The zone of what is not of a device.
    pub(crate) zone: String,
}

/// The rules of time zones.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct TimeZonesStatus {
    /// The IANA release that is in use, such as `2026f`, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,
    /// The system's folder that it comes from. None: the release is the one that is built in, which is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<String>,
    /// Why the system's rules are not used, or not all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<String>,
}

impl From<InUse> for TimeZonesStatus {
    fn from(InUse { release, folder, faults, missing: _ }: InUse) -> Self {
        Self { release, folder: folder.map(|folder| folder.display().to_string()), faults }
    }
}

/// The connection to the broker.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LinkStatus {
    pub(crate) up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
    /// The address of the broker, while there is a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "mqtt://127.0.0.1:1883")]
    pub(crate) broker: Option<String>,
    /// The version of MQTT that is spoken on it, `5` or `3.1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(5|3\\.1\\.1)$")]
    pub(crate) protocol: Option<String>,
    /// Topics at which the broker ended the connection: they are tried again now and then, alone.
    #[serde(default)]
    pub(crate) held_back: HeldBack,
}

/// Topics that are held back.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeldBack {
    pub(crate) count: usize,
    /// The first of them.
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

/// The database.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreStatus {
    /// Whether what is decided can be kept.
    pub(crate) writes: bool,
}

/// How many there are.
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

/// What does not run as its files say. `GET /api/v1/plugins` and `GET /api/v1/devices` say why.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Faults {
    /// Plugins whose newest files were refused.
    pub(crate) plugins: usize,
    /// Devices that keep the plan they have, because the last one was at fault.
    pub(crate) devices: usize,
}

/// What people have paused: plugins, devices and jobs.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Paused {
    pub(crate) count: usize,
    /// The names of the first of them, such as `sprinkler/garden`.
    pub(crate) first: Vec<String>,
}

impl Paused {
    fn add(&mut self, names: Vec<String>) {
        self.count += names.len();
        let room = limits::PAUSED_NAMES.saturating_sub(self.first.len());
        self.first.extend(names.into_iter().take(room));
    }
}

/// What the host says of itself
#[utoipa::path(get, path = "/api/v1/status", tag = "host", responses((status = 200, body = Status)))]
pub(super) async fn status(State(state): State<ApiState>) -> Answered<Status> {
    let (counts, link_since, writes, stopping) = state
        .look(|scheduler| (counts(scheduler), scheduler.link_since(), scheduler.can_keep(), scheduler.is_stopping()))
        .await?;
    let (faults, paused) = troubles(&state).await?;
    let not_ready = health::not_ready(&state).await?;
    let zone = state.zone();
    let text = |at: Instant| at.in_zone(zone);
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started: text(state.started()),
        uptime_ms: state.uptime_ms(),
        clock: ClockStatus { now: text(clock::now()), zone: zone.name().into() },
        time_zones: zones::in_use().into(),
        link: LinkStatus::new(link_since.map(text), state.link().get()),
        store: StoreStatus { writes },
        counts,
        faults,
        paused,
        stopping,
        not_ready,
    }))
}

/// What does not run, and what is not to, counted in pieces.
async fn troubles(state: &ApiState) -> Result<(Faults, Paused), Problem> {
    let mut paused = Paused::default();
    let mut faults = Faults { plugins: state.plugins().board.faults(), devices: 0 };
    let mut after = None;
    loop {
        let (of_devices, names, last) = state.inspect(move |scheduler| of_devices(scheduler, after)).await?;
        faults.devices += of_devices;
        paused.add(names);
        after = last;
        if after.is_none() {
            break;
        }
    }
    let mut from = Some(0);
    while let Some(key) = from {
        let (jobs, next) = state.inspect(move |scheduler| scheduler.paused_jobs(key)).await?;
        paused.add(jobs.iter().map(|(plugin, device, job)| format!("{plugin}/{device}/{job}")).collect());
        from = next;
    }
    Ok((faults, paused))
}

/// A place among all devices: a plugin, and a device of it that has been looked at.
type After = (PluginName, Option<DeviceName>);

/// Of some devices, and of their plugins: how many are at fault, what is paused, and where to look on.
fn of_devices(scheduler: &Scheduler, after: Option<After>) -> (usize, Vec<String>, Option<After>) {
    let (mut faults, mut paused, mut left) = (0, Vec::new(), limits::DEVICES_PER_QUERY);
    let mut from = after;
    loop {
        let (name, device) = match from {
            Some((name, device @ Some(_))) => (name, device),
            last => {
                let last = last.map(|(name, _)| name);
                let Some(plugin) = scheduler.plugins_after(last.as_ref()).next() else { return (faults, paused, None) };
                paused.extend(plugin.is_paused.then(|| plugin.name.to_string()));
                (plugin.name.clone(), None)
            }
        };
        let mut last = None;
        for device in scheduler.devices_after(&name, device.as_ref()).take(left) {
            faults += usize::from(device.error.is_some());
            paused.extend(device.is_paused.then(|| format!("{}/{}", device.plugin, device.name)));
            (left, last) = (left - 1, Some(device.name.clone()));
        }
        // A plugin without devices takes a place as well.
        left = left.saturating_sub(1);
        if left == 0 {
            return (faults, paused, Some((name, last)));
        }
        from = Some((name, None));
    }
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
