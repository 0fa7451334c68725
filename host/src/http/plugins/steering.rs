//! What people do with plugins that are there.

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::event::{Part, Request};

use super::{
    super::{
        extract::Path,
        not_found::not_found,
        params::{Plugin, PluginPath},
        problem::{Answered, Problem},
        state::ApiState,
    },
    records::{RemovedRecord, RolledBackRecord},
};
use crate::plugins::Installed;

/// Ask all devices of a plugin for their plans
///
/// As at midnight. The answer comes before the plans do.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/replan", tag = "plugins",
    params(PluginPath),
    responses((status = 204, description = "They are being asked")))]
pub(in super::super) async fn replan(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<StatusCode, Problem> {
    ask(&state, Request::Replan(plugin)).await
}

/// Start nothing of a plugin
///
/// What has started goes on, and what is owed is sent. What comes due meanwhile is recorded as skipped.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/pause", tag = "plugins",
    params(PluginPath),
    responses((status = 204, description = "It is paused")))]
pub(in super::super) async fn pause(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<StatusCode, Problem> {
    ask(&state, Request::Pause { what: Part::Plugin(plugin), paused: true }).await
}

/// Start what comes due of a plugin again
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/resume", tag = "plugins",
    params(PluginPath),
    responses((status = 204, description = "It goes on")))]
pub(in super::super) async fn resume(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<StatusCode, Problem> {
    ask(&state, Request::Pause { what: Part::Plugin(plugin), paused: false }).await
}

async fn ask(state: &ApiState, what: Request) -> Result<StatusCode, Problem> {
    state.request(what).await.map(|_| StatusCode::NO_CONTENT)
}

/// Remove a plugin
///
/// Its `.wasm` is taken out of the folder, its settings stay there. The host counts it as gone when the file has been away for
/// 3 s; what its runs owe is sent.
#[utoipa::path(delete, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(PluginPath),
    responses((status = 202, body = RemovedRecord, description = "Its file is gone, and so will be its jobs")))]
pub(in super::super) async fn remove(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<(StatusCode, Json<RemovedRecord>), Problem> {
    state.plugins().installer.remove(&plugin).await?;
    Ok((StatusCode::ACCEPTED, Json(RemovedRecord { plugin: plugin.to_string() })))
}

/// Undo the last change of a plugin's file
///
/// What ran before takes the place of what runs; where another file lies in the folder than the one that runs, such as one that
/// was refused, what runs takes its place. Settings stay as they are. To do it again goes forward again.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/rollback", tag = "plugins",
    params(PluginPath),
    responses(
        (status = 200, body = RolledBackRecord, description = "It lies in the folder, and is taken up as any other file there"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "There is no version to go back to"),
    ))]
pub(in super::super) async fn roll_back(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Answered<RolledBackRecord> {
    if state.plugins().board.plugin(&plugin).is_none() {
        return Err(not_found(&state, Part::Plugin(plugin)).await);
    }
    let Installed { component, .. } = state.plugins().installer.roll_back(&plugin).await?;
    Ok(Json(RolledBackRecord { plugin: plugin.to_string(), component: component.to_string() }))
}
