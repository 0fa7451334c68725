//! Liveness and readiness, for monitoring programs.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use roost_scheduler::{outcome::Cause, scheduler::Scheduler, time::CLOCK_LOST_BEFORE};

use super::{problem::Problem, state::ApiState};
use crate::{clock, mqtt::BuiltInHealth};

/// The host is healthy.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// Of a host that shares a database: whether an owner answers. Between two owners, it is healthy and can only wait
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<bool>,
}

impl Health {
    const OK: Self = Self { status: "ok", answers: None };

    /// The health of a host that shares a database.
    pub(crate) const fn of_several(answers: bool) -> Self {
        Self { answers: Some(answers), ..Self::OK }
    }
}

/// Check that the host is alive
///
/// Succeeds if the loop of the host responds; with `[store] url`, if this host works, as the owner or as a standby.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    state.inspect(|_| ()).await?;
    Ok(Json(Health::OK))
}

/// Check that the host is ready
///
/// The host is ready when its clock is set, the plugins that were in the folder at the start are loaded, refused or set
/// aside because their files are still being written, it is connected to the broker, the built-in broker, if used,
/// responds, and the database can be written. With `[store] url`, it is ready when the owner is, and can be reached.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, body = Health),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "The host is not ready, for the reason in `detail`"),
    )
)]
pub(super) async fn readyz(State(state): State<ApiState>) -> Result<Response, Problem> {
    match not_ready(&state).await? {
        None => Ok(Json(Health::OK).into_response()),
        Some(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    }
}

/// Returns why the host is not ready, if it is not.
pub(super) async fn not_ready(state: &ApiState) -> Result<Option<String>, Problem> {
    let statuses = &state.plugins().statuses;
    let loading = statuses.first_loads.progress();
    // Only until the host has been ready once: a later version replaces the one before without a gap.
    let versions = if state.has_been_ready() { Vec::new() } else { statuses.versions() };
    let broker = state.broker().and_then(BuiltInHealth::problem);
    let reason = state.inspect(move |scheduler| {
        let is_taken = |(name, version): &(_, _)| scheduler.plugin(name).is_some_and(|found| found.version == *version);
        let trouble = host_trouble(scheduler).or_else(|| match loading {
            Some((_, 0)) => Some("the plugins are being loaded: their folder is being read".to_owned()),
            Some((ended, of)) => Some(format!("the plugins are being loaded: {ended} of {of} done")),
            None if versions.iter().all(is_taken) => None,
            None => Some("the plugins are being loaded: their jobs are being activated".to_owned()),
        });
        trouble.or_else(|| link_trouble(scheduler, broker))
    });
    let reason = reason.await?;
    if reason.is_none() {
        state.set_ready();
    }
    Ok(reason)
}

/// Returns why the host cannot load plugins, if it cannot.
fn host_trouble(scheduler: &Scheduler) -> Option<String> {
    let now = clock::now();
    match () {
        () if scheduler.is_stopping() => Some("the host is stopping".to_owned()),
        () if !scheduler.can_keep() => Some("the database cannot be written: see the host's log".to_owned()),
        () if now < CLOCK_LOST_BEFORE => {
            Some(format!("the clock is not set: it shows {now}, and no job runs before it is set"))
        }
        () => None,
    }
}

/// Returns why nothing can be sent, if so. `broker` is the problem of the built-in broker, if any.
fn link_trouble(scheduler: &Scheduler, broker: Option<String>) -> Option<String> {
    broker.or_else(|| scheduler.link_since().is_none().then(|| Cause::LinkDown.lasting().to_string()))
}
