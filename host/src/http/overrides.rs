//! What people want of jobs that are there: now, not, or not the next time.

use axum::{extract::State, http::StatusCode};
use roost_scheduler::event::{Part, Request};

use super::{
    extract::Path,
    params::{DevicePath, JobPath},
    problem::{Answered, Problem},
    runs::{Which, which},
    state::ApiState,
};

/// Run a job now, besides its trigger
///
/// The answer names the run. It starts behind the job's runs that are there, also where the job is paused.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/run", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = Which)))]
pub(super) async fn run_now(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<Which> {
    which(state.request(Request::RunNow(path.name())).await?)
}

/// Leave out a job's next run
///
/// The answer names the run that will be left out.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = Which)))]
pub(super) async fn skip(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<Which> {
    which(state.request(Request::Skip { job: path.name(), undo: false }).await?)
}

/// Do not leave it out, after all
#[utoipa::path(delete, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(JobPath),
    responses((status = 200, body = Which)))]
pub(super) async fn unskip(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Answered<Which> {
    which(state.request(Request::Skip { job: path.name(), undo: true }).await?)
}

/// Start no run of a job, until it is resumed
///
/// What falls due meanwhile is recorded as skipped, and not made up for. What has started goes on.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/pause", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn pause_job(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Result<StatusCode, Problem> {
    pause(&state, Part::Job(path.name()), true).await
}

/// Start runs of a job again
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/resume", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn resume_job(State(state): State<ApiState>, Path(path): Path<JobPath>) -> Result<StatusCode, Problem> {
    pause(&state, Part::Job(path.name()), false).await
}

/// Start no run of a device's jobs, until it is resumed
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

/// Start runs of a device's jobs again
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
    state.request(Request::Pause { what, paused }).await.map(|_| StatusCode::NO_CONTENT)
}
