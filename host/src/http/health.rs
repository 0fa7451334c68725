//! Whether it lives, and whether it does its work: for programs that watch over it.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{desk::Desk, problem::Problem};

/// It lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Whether the host lives: its loop answers
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz(State(desk): State<Desk>) -> Result<Json<Health>, Problem> {
    desk.look(|_| ()).await?;
    Ok(Json(Health { status: "ok" }))
}

/// Whether the host does its work
///
/// It does when it is connected to the broker, and what it decides can be kept.
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
pub(super) async fn readyz(State(desk): State<Desk>) -> Result<Response, Problem> {
    let wrong = desk.look(|scheduler| match () {
        () if scheduler.is_stopping() => Some("the host is stopping"),
        () if !scheduler.can_keep() => Some("nothing can be kept any more: the host's log says why"),
        () if scheduler.link_since().is_none() => Some("there is no connection to the broker"),
        () => None,
    });
    match wrong.await? {
        None => Ok(Json(Health { status: "ok" }).into_response()),
        Some(wrong) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, wrong)),
    }
}
