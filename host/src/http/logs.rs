//! What plugins wrote, and what was said about them.

use axum::{Json, extract::State};
use roost_scheduler::{event::Part, names::PluginName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Path, Query},
    host_events::{HostEventRecord, id, parse_id},
    not_found::not_found,
    page::Limit,
    params::{Plugin, PluginPath},
    problem::{Answered, Problem},
    state::ApiState,
};

/// Of a plugin's log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Logs {
    /// The oldest first.
    pub(crate) items: Vec<HostEventRecord>,
    /// Whether there is more behind them already.
    pub(crate) more: bool,
    /// What to ask with as `after` for what comes behind them, here or of the events.
    pub(crate) next: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// How many at the most
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// Those behind the one with this id; of a host that has ended: all. Without it, the newest
    #[param(pattern = "^[0-9a-f]{1,12}-[0-9]{1,18}$")]
    after: Option<String>,
}

/// What a plugin wrote, and what its author needs to mend it
///
/// Its lines, whether its versions were taken, plans that were refused, runs that failed, were missed or denied: the newest
/// 500, fewer where they are long, since the host started. They outlive its versions, and the plugin by an hour.
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}/logs", tag = "plugins",
    params(PluginPath, LogsQuery),
    responses((status = 200, body = Logs)))]
pub(super) async fn logs(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(name) }): Path<PluginPath>,
    Query(LogsQuery { limit: Limit(limit), after }): Query<LogsQuery>,
) -> Answered<Logs> {
    let after = number(&state, after)?;
    if !state.event_log().plugins().contains(&name) {
        let wanted = name.clone();
        if !state.inspect(move |scheduler| scheduler.plugin(&wanted).is_some()).await? {
            return Err(not_found(&state, Part::Plugin(name)).await);
        }
    }
    Ok(Json(some(&state, &[name], after, limit)))
}

/// The same of all plugins
#[utoipa::path(get, path = "/api/v1/logs", tag = "plugins", params(LogsQuery), responses((status = 200, body = Logs)))]
pub(super) async fn all_logs(
    State(state): State<ApiState>,
    Query(LogsQuery { limit: Limit(limit), after }): Query<LogsQuery>,
) -> Answered<Logs> {
    let after = number(&state, after)?;
    Ok(Json(some(&state, &state.event_log().plugins(), after, limit)))
}

fn number(state: &ApiState, after: Option<String>) -> Result<Option<u64>, Problem> {
    let number = after.map(|id| match parse_id(&id) {
        Some((start, number)) => Ok(if start == state.event_log().start() { number } else { 0 }),
        None => Err(Problem::bad_request(format!("`{id}` is not an event's id"))),
    });
    number.transpose()
}

fn some(state: &ApiState, plugins: &[PluginName], after: Option<u64>, limit: usize) -> Logs {
    let event_log = state.event_log();
    // What comes meanwhile is not among them, whosever it is.
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
