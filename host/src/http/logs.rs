//! The logs of plugins.

use axum::{Json, extract::State};
use roost_scheduler::{event::Part, names::PluginName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Path, Query},
    host_events::{HostEventRecord, id, parse_id},
    pagination::Limit,
    params::{Plugin, PluginPath},
    problem::{Answered, Problem},
    state::ApiState,
};

/// A part of the log of a plugin, or of all plugins.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Logs {
    /// The entries, oldest first.
    pub(crate) items: Vec<HostEventRecord>,
    /// Whether there are newer entries already.
    pub(crate) more: bool,
    /// The value of `after` for the entries that follow, here and in the stream of events.
    pub(crate) next: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// The maximum number of items
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// Only entries after the one with this id; all entries if the host has been restarted since. Default: the newest
    /// entries
    #[param(pattern = "^[0-9a-f]{1,12}-[0-9]{1,18}$")]
    after: Option<String>,
}

/// Get the log of a plugin
///
/// Has what the plugin has logged, and the host's messages about it: loaded and refused versions, refused plans, and
/// runs that failed, were missed or were denied. The host keeps the newest 500 entries of each plugin since it started,
/// fewer if they are long, and up to an hour after the plugin is removed.
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}/logs", tag = "plugins",
    params(PluginPath, LogsQuery),
    responses((status = 200, body = Logs)))]
pub(super) async fn logs(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(name) }): Path<PluginPath>,
    Query(LogsQuery { limit: Limit(limit), after }): Query<LogsQuery>,
) -> Answered<Logs> {
    let after = number(&state, after)?;
    of_plugin(&state, name, after, limit).await.map(Json)
}

async fn of_plugin(state: &ApiState, name: PluginName, after: Option<u64>, limit: usize) -> Result<Logs, Problem> {
    // One that is being loaded has logged nothing yet.
    if !state.event_log().plugins().contains(&name) && state.plugins().statuses.plugin(&name).is_none() {
        let plugin = name.clone();
        if !state.inspect(move |scheduler| scheduler.plugin(&plugin).is_some()).await? {
            return Err(state.not_found(Part::Plugin(name)).await);
        }
    }
    Ok(entries(state, &[name], after, limit))
}

/// Returns the newest entries of the log of a plugin, or of all plugins.
pub(crate) async fn newest(state: &ApiState, plugin: Option<PluginName>, limit: usize) -> Result<Logs, Problem> {
    match plugin {
        Some(plugin) => of_plugin(state, plugin, None, limit).await,
        None => Ok(entries(state, &state.event_log().plugins(), None, limit)),
    }
}

/// Get the logs of all plugins
#[utoipa::path(get, path = "/api/v1/logs", tag = "plugins", params(LogsQuery), responses((status = 200, body = Logs)))]
pub(super) async fn all_logs(
    State(state): State<ApiState>,
    Query(LogsQuery { limit: Limit(limit), after }): Query<LogsQuery>,
) -> Answered<Logs> {
    let after = number(&state, after)?;
    Ok(Json(entries(&state, &state.event_log().plugins(), after, limit)))
}

fn number(state: &ApiState, after: Option<String>) -> Result<Option<u64>, Problem> {
    let number = after.map(|id| match parse_id(&id) {
        Some((start, number)) => Ok(if start == state.event_log().start() { number } else { 0 }),
        None => Err(Problem::bad_request(format!("`{id}` is not the id of an event"))),
    });
    number.transpose()
}

fn entries(state: &ApiState, plugins: &[PluginName], after: Option<u64>, limit: usize) -> Logs {
    let event_log = state.event_log();
    // Excludes entries that are added meanwhile, so that the order across plugins is consistent.
    let last = event_log.last();
    let mut entries: Vec<_> = plugins.iter().flat_map(|plugin| event_log.logged(plugin, after, limit + 1)).collect();
    entries.retain(|entry| entry.number <= last);
    entries.sort_unstable_by_key(|entry| entry.number);
    let too_many = entries.len().saturating_sub(limit);
    let more = after.is_some() && too_many > 0;
    if more {
        entries.truncate(limit);
    } else {
        entries.drain(..too_many);
    }
    let next = entries.last().filter(|_| more).map_or(last, |entry| entry.number);
    let items = entries.iter().map(|entry| HostEventRecord::new(event_log, entry, state.zone())).collect();
    Logs { items, more, next: id(event_log, next) }
}
