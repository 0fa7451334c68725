//! Whether it lives, and whether it does its work: for programs that watch over it.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use roost_scheduler::{limits::CLOCK_LOST_BEFORE, scheduler::Scheduler};

use super::{problem::Problem, state::ApiState};
use crate::{clock, mqtt::BuiltInHealth, report::counted};

/// It lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Whether the host lives: its loop answers
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz(State(desk): State<ApiState>) -> Result<Json<Health>, Problem> {
    desk.look(|_| ()).await?;
    Ok(Json(Health { status: "ok" }))
}

/// Whether the host does its work
///
/// It does when its clock is set, the plugins that lay in the folder when it started are loaded or refused, it is connected
/// to the broker, which answers if it is the built-in one, and what it decides can be kept.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, body = Health),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "What it waits for"),
    )
)]
pub(super) async fn readyz(State(desk): State<ApiState>) -> Result<Response, Problem> {
    match not_ready(&desk).await? {
        None => Ok(Json(Health { status: "ok" }).into_response()),
        Some(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    }
}

/// Why the host does not do its work, if it does not.
pub(super) async fn not_ready(desk: &ApiState) -> Result<Option<String>, Problem> {
    let board = &desk.plugins().board;
    let (first_loads_ended, loads) = (board.have_first_loads_ended(), board.loads());
    // Only until the scheduler has taken them once: a later version takes over without a gap.
    let versions = if desk.has_been_ready() { Vec::new() } else { board.versions() };
    let broker = desk.broker().and_then(BuiltInHealth::problem);
    let reason = desk.look(move |scheduler| {
        let is_taken = |(name, version): &(_, _)| scheduler.plugin(name).is_some_and(|found| found.version == *version);
        match host_trouble(scheduler, broker) {
            None if !first_loads_ended => {
                Some(format!("plugins are being loaded: {} to go", counted(loads as u64, "plugin")))
            }
            None if !versions.iter().all(is_taken) => Some("the jobs of plugins are being taken up".to_owned()),
            trouble => trouble,
        }
    });
    let reason = reason.await?;
    if reason.is_none() {
        desk.note_ready();
    }
    Ok(reason)
}

/// Why the host does not do its work, plugins apart. `broker`: what is wrong with the built-in one.
fn host_trouble(scheduler: &Scheduler, broker: Option<String>) -> Option<String> {
    let now = clock::now();
    let trouble = match () {
        () if scheduler.is_stopping() => "the host is stopping",
        () if !scheduler.can_keep() => "nothing can be written to disk any more: the host's log says why",
        () if now < CLOCK_LOST_BEFORE => {
            return Some(format!("the clock is not set: it shows {now}, and nothing is planned before it is set"));
        }
        () if broker.is_some() => return broker,
        () if scheduler.link_since().is_none() => "there is no connection to the broker",
        () => return None,
    };
    Some(trouble.to_owned())
}
