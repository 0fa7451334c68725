//! The operator's overrides of jobs: run now, skip.

use axum::extract::State;
use roost_scheduler::event::Request;

use super::{
    extract::Path,
    params::JobPath,
    problem::Answered,
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
