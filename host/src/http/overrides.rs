//! The operator's overrides of jobs: run now, skip, pause.

use axum::{extract::State, http::StatusCode};
use roost_scheduler::{
    event::{Part, Request},
    pause::Pause,
};

use super::{
    extract::Path,
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

pub(super) async fn pause(state: &ApiState, what: Part, paused: bool) -> Result<StatusCode, Problem> {
    state
        .request(Request::Pause { what, pause: paused.then_some(Pause::UNTIL_RESUMED) })
        .await
        .map(|_| StatusCode::NO_CONTENT)
}
