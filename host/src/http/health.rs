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
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Check that the host is alive
///
/// Succeeds if the loop of the host responds.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    state.inspect(|_| ()).await?;
    Ok(Json(Health { status: "ok" }))
}

/// Check that the host is ready
///
/// The host is ready when its clock is set, the plugins that were in the folder at the start are loaded or refused, it
/// is connected to the broker, the built-in broker, if used, responds, and the database can be written.
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
        None => Ok(Json(Health { status: "ok" }).into_response()),
        Some(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    }
}

/// Returns why the host is not ready, if it is not.
pub(super) async fn not_ready(state: &ApiState) -> Result<Option<String>, Problem> {
    let statuses = &state.plugins().statuses;
    let (first_loads_ended, loads) = (statuses.have_first_loads_ended(), statuses.loads());
    // Only until the host has been ready once: a later version replaces the one before without a gap.
    let versions = if state.has_been_ready() { Vec::new() } else { statuses.versions() };
    let broker = state.broker().and_then(BuiltInHealth::problem);
    let reason = state.inspect(move |scheduler| {
        let is_taken = |(name, version): &(_, _)| scheduler.plugin(name).is_some_and(|found| found.version == *version);
        match host_trouble(scheduler, broker) {
            None if !first_loads_ended => Some(format!("plugins are loading: {loads} remaining")),
            None if !versions.iter().all(is_taken) => Some("the jobs of plugins are being activated".to_owned()),
            trouble => trouble,
        }
    });
    let reason = reason.await?;
    if reason.is_none() {
        state.set_ready();
    }
    Ok(reason)
}

/// Returns why the host is not ready, apart from its plugins. `broker` is the problem of the built-in broker, if any.
fn host_trouble(scheduler: &Scheduler, broker: Option<String>) -> Option<String> {
    let now = clock::now();
    let trouble = match () {
        () if scheduler.is_stopping() => "the host is stopping",
        () if !scheduler.can_keep() => "the database cannot be written: see the host's log",
        () if now < CLOCK_LOST_BEFORE => {
            return Some(format!("the clock is not set: it shows {now}, and no job runs before it is set"));
        }
        () if broker.is_some() => return broker,
        () if scheduler.link_since().is_none() => return Some(Cause::LinkDown.lasting().to_string()),
        () => return None,
    };
    Some(trouble.to_owned())
}
