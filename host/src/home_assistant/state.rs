//! The state of a device and of the host, as one JSON object each.

use roost_scheduler::zone::Zone;
use serde::{Deserialize, Serialize};

use super::{
    device_view::{DeviceView, Next},
    limits,
};
use crate::{
    http::{ApiState, Problem, grouped},
    store::LastOutcome,
};

/// Reads which host has published a state. `None`: one of an older version, or no host.
pub(super) fn host_of(state: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct OfHost {
        host: String,
    }
    serde_json::from_slice(state).ok().map(|OfHost { host }| host)
}

/// The state of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct DeviceState {
    /// The client id of the host that has the device.
    host: String,
    #[serde(flatten)]
    pub(super) urgent: Urgent,
    #[serde(flatten)]
    pub(super) runs: Runs,
}

/// What automations wait for: published at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Urgent {
    paused: bool,
    /// The jobs that are paused themselves or with the device.
    paused_jobs: Vec<String>,
    /// Why its plan was refused, or why the newest of its last runs that went wrong did.
    problem: Option<String>,
    running: bool,
}

/// What changes with each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Runs {
    next: Option<NextState>,
    last: Option<LastState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NextState {
    at: String,
    job: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LastState {
    run: String,
    job: String,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    ended: String,
}

impl DeviceState {
    pub(super) fn new(host: &str, view: &DeviceView) -> Self {
        let DeviceView { zone, is_paused, is_running, error, last, fault, next, jobs, .. } = view;
        let of_fault = || fault.as_ref().map(fault_text);
        Self {
            host: host.to_owned(),
            urgent: Urgent {
                paused: *is_paused,
                paused_jobs: jobs.iter().filter(|job| job.is_paused).map(|job| job.id.to_string()).collect(),
                problem: error.clone().or_else(of_fault),
                running: *is_running,
            },
            runs: Runs {
                next: next.as_ref().map(|next| NextState::new(next, *zone)),
                last: last.as_ref().map(|last| LastState::new(last, *zone)),
            },
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        // It has only texts, booleans and lists.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn fault_text(LastOutcome { run, state, reason, .. }: &LastOutcome) -> String {
    match reason {
        Some(reason) => format!("{} {state}: {reason}", run.job),
        None => format!("{} {state}", run.job),
    }
}

impl NextState {
    pub(super) fn new(Next { at, job, label, message }: &Next, zone: Zone) -> Self {
        let text = |payload: &[u8]| {
            let is_shown = payload.len() <= limits::PAYLOAD_BYTES;
            String::from_utf8(payload.to_vec()).ok().filter(|_| is_shown)
        };
        let (topic, payload) = message.as_ref().map(|(topic, payload)| (topic.clone(), text(payload))).unzip();
        Self { at: at.in_zone(zone), job: job.to_string(), label: label.clone(), topic, payload: payload.flatten() }
    }
}

impl LastState {
    fn new(LastOutcome { run, state, ended, reason }: &LastOutcome, zone: Zone) -> Self {
        Self {
            run: run.to_string(),
            job: run.job.to_string(),
            outcome: state.to_string(),
            reason: reason.as_ref().map(ToString::to_string),
            ended: ended.in_zone(zone),
        }
    }
}

/// The state of the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct HostState {
    /// Its client id.
    host: String,
    /// The plugins, devices and jobs that have a problem, by the first of their reasons.
    problem: Option<String>,
    pub(super) faults: usize,
    next: Option<NextOfAll>,
    /// The runs that have failed, were missed or were denied since the host started.
    failed: u64,
    lateness_p99_ms: Option<u32>,
    plugins: usize,
    devices: usize,
    jobs: usize,
}

/// The next run of all devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct NextOfAll {
    pub(super) plugin: String,
    pub(super) device: String,
    #[serde(flatten)]
    pub(super) next: NextState,
}

impl HostState {
    pub(super) async fn new(host: &str, state: &ApiState, next: Option<NextOfAll>) -> Result<Self, Problem> {
        let groups = grouped(state).await?.groups;
        let faults = groups.iter().map(|group| group.count).sum();
        let [plugins, devices, jobs] = state
            .inspect(|scheduler| [scheduler.plugin_count(), scheduler.device_count(), scheduler.job_count()])
            .await?;
        let is_failure = |word: &str| matches!(word, "failed" | "missed" | "denied");
        let metrics = state.metrics();
        Ok(Self {
            host: host.to_owned(),
            problem: groups.first().map(|first| match faults {
                1 => first.example.clone(),
                _ => format!("{faults} faults; {} of them: {}", first.count, first.reason),
            }),
            faults,
            next,
            failed: metrics.ended().filter(|(word, _)| is_failure(word)).map(|(_, count)| count).sum(),
            lateness_p99_ms: metrics.lateness.bound_ms(0.99),
            plugins,
            devices,
            jobs,
        })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
