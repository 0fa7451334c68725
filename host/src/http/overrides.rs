//! The operator's overrides of jobs: run now, skip, pause.

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::{
    event::{Done, Part, Request},
    names::{DeviceName, JobName, PluginName},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    devices::{DeviceFilter, list},
    extract::{Json as Body, Path},
    limits,
    params::{DevicePath, JobPath},
    problem::{Answered, Problem},
    runs::{RunName, run_name},
    state::ApiState,
};

/// Run a job now, in addition to its trigger
///
/// Returns the name of the run. It queues behind the job's other runs. A paused job runs as well.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/run", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = RunName)))]
pub(super) async fn run_now(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<RunName> {
    run_name(state.request(Request::RunNow(path.name())).await?)
}

/// Skip a job's next run
///
/// Returns the name of the run that will be skipped.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = RunName)))]
pub(super) async fn skip(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<RunName> {
    run_name(state.request(Request::Skip { job: path.name(), undo: false }).await?)
}

/// Undo the skip of a job's next run
#[utoipa::path(delete, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = RunName)))]
pub(super) async fn unskip(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<RunName> {
    run_name(state.request(Request::Skip { job: path.name(), undo: true }).await?)
}

/// Pause a job until it is resumed
///
/// Runs that fall due during the pause are recorded as skipped and are not caught up. Runs that have started continue.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/pause", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn pause_job(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Result<StatusCode, Problem> {
    pause(&state, Part::Job(path.name()), true).await
}

/// Resume a job
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/resume", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn resume_job(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
) -> Result<StatusCode, Problem> {
    pause(&state, Part::Job(path.name()), false).await
}

/// Pause the jobs of a device until it is resumed
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/pause", tag = "devices",
    params(DevicePath),
    responses((status = 204)))]
pub(super) async fn pause_device(
    State(state): State<ApiState>,
    Path(path): Path<DevicePath>,
) -> Result<StatusCode, Problem> {
    let (plugin, device) = path.name();
    pause(&state, Part::Device(plugin, device), true).await
}

/// Resume the jobs of a device
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/resume", tag = "devices",
    params(DevicePath),
    responses((status = 204)))]
pub(super) async fn resume_device(
    State(state): State<ApiState>,
    Path(path): Path<DevicePath>,
) -> Result<StatusCode, Problem> {
    let (plugin, device) = path.name();
    pause(&state, Part::Device(plugin, device), false).await
}

/// Several devices: a list of them, or those with a fault of one reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"devices": ["coop-door/north", "coop-door/south"]}))]
pub(crate) struct DevicesRecord {
    /// The devices, each as `PLUGIN/DEVICE`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 1000)]
    pub(crate) devices: Option<Vec<String>>,
    /// The reason of the fault, as `GET /api/v1/faults` returns it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "step … was given up after … attempts: the device did not confirm the step within …")]
    pub(crate) reason: Option<String>,
}

/// Devices that a request has changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedDevices {
    /// The devices, each as `PLUGIN/DEVICE`. The opposite request undoes the change if it has them
    #[schema(example = json!(["coop-door/north", "coop-door/south"]))]
    pub(crate) devices: Vec<String>,
}

/// Pause several devices until they are resumed
///
/// Either all of them are paused, in one transaction, or none. The response has those that were not paused before. Runs
/// that fall due during the pause are recorded as skipped and are not caught up. Runs that have started continue.
#[utoipa::path(post, path = "/api/v1/pause", tag = "devices", request_body = DevicesRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn pause_devices(
    State(state): State<ApiState>,
    Body(devices): Body<DevicesRecord>,
) -> Answered<ChangedDevices> {
    change_devices(&state, devices, true).await.map(Json)
}

/// Resume several devices
///
/// Either all of them are resumed, in one transaction, or none. The response has those that were paused before.
#[utoipa::path(post, path = "/api/v1/resume", tag = "devices", request_body = DevicesRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn resume_devices(
    State(state): State<ApiState>,
    Body(devices): Body<DevicesRecord>,
) -> Answered<ChangedDevices> {
    change_devices(&state, devices, false).await.map(Json)
}

async fn change_devices(state: &ApiState, of: DevicesRecord, paused: bool) -> Result<ChangedDevices, Problem> {
    let names = match of {
        DevicesRecord { devices: Some(names), reason: None } => names,
        DevicesRecord { devices: None, reason: Some(reason) } => with_fault(state, reason).await?,
        _ => return Err(Problem::bad_request("the body needs `devices` or `reason`, and only one of them")),
    };
    if names.len() > limits::DEVICES_PAUSED {
        let detail = format!("there are more than {} devices", limits::DEVICES_PAUSED);
        return Err(Problem::unprocessable(detail).hint("pause the whole plugin, or some of them at a time"));
    }
    let devices = names.iter().map(|name| parse_device(name)).collect::<Result<_, _>>()?;
    let Done::Devices(changed) = state.request(Request::PauseDevices { devices, paused }).await? else {
        return Err(Problem::bug(&"the scheduler did not name the devices"));
    };
    Ok(ChangedDevices { devices: changed.iter().map(|(plugin, device)| format!("{plugin}/{device}")).collect() })
}

/// Returns the names of the devices with a fault of a reason, at most one more than may be paused at a time.
async fn with_fault(state: &ApiState, reason: String) -> Result<Vec<String>, Problem> {
    let filter = DeviceFilter { reason: Some(reason), ..DeviceFilter::default() };
    let found = list(state, filter, limits::DEVICES_PAUSED + 1, None).await?;
    Ok(found.items.into_iter().map(|device| format!("{}/{}", device.plugin, device.device)).collect())
}

fn parse_device(name: &str) -> Result<(PluginName, DeviceName), Problem> {
    let wrong = |why: &dyn std::fmt::Display| Problem::bad_request(format!("`devices`: {why}"));
    let (plugin, device) =
        name.split_once('/').ok_or_else(|| wrong(&format!("`{name}` is not written as `PLUGIN/DEVICE`")))?;
    Ok((
        PluginName::parse_owner(plugin).map_err(|why| wrong(&why))?,
        DeviceName::parse(device).map_err(|why| wrong(&why))?,
    ))
}

/// Returns the jobs that are paused themselves, in batches.
pub(super) async fn paused_jobs(state: &ApiState) -> Result<Vec<JobName>, Problem> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(key) = from {
        let (jobs, next) = state.inspect(move |scheduler| scheduler.paused_jobs(key)).await?;
        found.extend(jobs);
        from = next;
    }
    Ok(found)
}

pub(super) async fn pause(state: &ApiState, what: Part, paused: bool) -> Result<StatusCode, Problem> {
    state.request(Request::Pause { what, paused }).await.map(|_| StatusCode::NO_CONTENT)
}
