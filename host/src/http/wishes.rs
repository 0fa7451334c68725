//! What people want of jobs that are there: now, not, or not the next time.

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::event::{Done, Part, Request};

use super::{
    desk::Desk,
    extract::Path,
    problem::{Answered, Problem},
    runs::Which,
    words::{Device, Job, Plugin},
};

type JobPath = Path<(Plugin, Device, Job)>;
type DevicePath = Path<(Plugin, Device)>;

/// Run a job now, besides its trigger
///
/// The answer names the run. It starts behind the job's runs that are there, also where the job is paused.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/run", tag = "jobs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 200, body = Which)))]
pub(super) async fn run_now(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device), Job(job))): JobPath,
) -> Answered<Which> {
    which(desk.ask(Request::RunNow((plugin, device, job))).await?)
}

/// Leave out a job's next run
///
/// The answer names the run that will be left out.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 200, body = Which)))]
pub(super) async fn skip(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device), Job(job))): JobPath,
) -> Answered<Which> {
    which(desk.ask(Request::Skip { job: (plugin, device, job), undo: false }).await?)
}

/// Do not leave it out, after all
#[utoipa::path(delete, path = "/api/v1/jobs/{plugin}/{device}/{job}/skip", tag = "jobs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 200, body = Which)))]
pub(super) async fn unskip(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device), Job(job))): JobPath,
) -> Answered<Which> {
    which(desk.ask(Request::Skip { job: (plugin, device, job), undo: true }).await?)
}

/// Start no run of a job, until it is resumed
///
/// What falls due meanwhile is recorded as skipped, and not made up for. What has started goes on.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/pause", tag = "jobs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 204)))]
pub(super) async fn pause_job(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device), Job(job))): JobPath,
) -> Result<StatusCode, Problem> {
    pause(&desk, Part::Job((plugin, device, job)), true).await
}

/// Start runs of a job again
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/resume", tag = "jobs",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
        ("job" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 204)))]
pub(super) async fn resume_job(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device), Job(job))): JobPath,
) -> Result<StatusCode, Problem> {
    pause(&desk, Part::Job((plugin, device, job)), false).await
}

/// Start no run of a device's jobs, until it is resumed
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/pause", tag = "devices",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 204)))]
pub(super) async fn pause_device(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device))): DevicePath,
) -> Result<StatusCode, Problem> {
    pause(&desk, Part::Device(plugin, device), true).await
}

/// Start runs of a device's jobs again
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/resume", tag = "devices",
    params(
        ("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$"),
        ("device" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    ),
    responses((status = 204)))]
pub(super) async fn resume_device(
    State(desk): State<Desk>,
    Path((Plugin(plugin), Device(device))): DevicePath,
) -> Result<StatusCode, Problem> {
    pause(&desk, Part::Device(plugin, device), false).await
}

pub(super) async fn pause(desk: &Desk, what: Part, paused: bool) -> Result<StatusCode, Problem> {
    desk.ask(Request::Pause { what, paused }).await.map(|_| StatusCode::NO_CONTENT)
}

fn which(done: Done) -> Answered<Which> {
    match done {
        Done::Run(run) => Ok(Json(Which { run: run.to_string() })),
        other => Err(Problem::bug(&format!("{other:?} is no run"))),
    }
}
