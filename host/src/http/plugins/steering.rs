//! Commands for plugins: replan, remove, roll back.

use axum::{Json, extract::State, http::StatusCode};
use roost_scheduler::event::{Part, Request};

use super::{
    super::{
        extract::Path,
        params::{Plugin, PluginPath},
        problem::{Answered, Problem},
        state::ApiState,
    },
    records::{RemovedRecord, RolledBackRecord},
};
use crate::plugins::Installed;

/// Request new plans for all devices of a plugin, as at midnight
///
/// The response does not wait for the plans.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/replan", tag = "plugins",
    params(PluginPath),
    responses((status = 204, description = "The plans are requested")))]
pub(in super::super) async fn replan(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<StatusCode, Problem> {
    request(&state, Request::Replan(plugin)).await
}

async fn request(state: &ApiState, what: Request) -> Result<StatusCode, Problem> {
    state.request(what).await.map(|_| StatusCode::NO_CONTENT)
}

/// Remove a plugin
///
/// Deletes its `.wasm` file from the plugin folder; its settings file stays, if it has one. The host removes its jobs when the file
/// has been missing for 3 s, and sends the owed messages of its runs.
#[utoipa::path(delete, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(PluginPath),
    responses((status = 202, body = RemovedRecord, description = "The file is deleted, and the jobs will be removed")))]
pub(in super::super) async fn remove(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<(StatusCode, Json<RemovedRecord>), Problem> {
    state.plugins().installer.remove(&plugin).await?;
    let settings = state.plugins().installer.has_settings(&plugin).await;
    Ok((StatusCode::ACCEPTED, Json(RemovedRecord { plugin: plugin.to_string(), settings })))
}

/// Roll a plugin back to its previous version
///
/// A second request undoes the rollback. If the file in the folder is not the version that runs, for example because it
/// was refused, it is replaced by the version that runs. The settings file is not changed.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/rollback", tag = "plugins",
    params(PluginPath),
    responses(
        (status = 200, body = RolledBackRecord, description = "The previous version is in the folder, and is loaded like any other file there"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "There is no previous version"),
    ))]
pub(in super::super) async fn roll_back(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Answered<RolledBackRecord> {
    if state.plugins().statuses.plugin(&plugin).is_none() {
        return Err(state.not_found(Part::Plugin(plugin)).await);
    }
    let Installed { digest, .. } = state.plugins().installer.roll_back(&plugin).await?;
    Ok(Json(RolledBackRecord { plugin: plugin.to_string(), component: digest.to_string() }))
}
