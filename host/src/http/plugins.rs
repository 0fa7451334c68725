//! Plugins.

mod differences;
mod messages;
mod records;
pub(super) mod settings;
pub(super) mod steering;
pub(super) mod uploads;

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use roost_scheduler::{
    event::Part,
    names::{DeviceName, PluginName},
};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use self::records::Core;
pub(crate) use self::records::{
    ChangedMessageRecord, DeviceDifferencesRecord, DifferencesRecord, FaultRecord, GrantRecord, InstalledRecord,
    LimitsRecord, MessageChangesRecord, PluginRecord, RemovedRecord, RolledBackRecord, SettingsRecord,
    TaskDescriptionRecord, TrialRecord, UsedRecord,
};
use super::{
    extract::{Path, Query},
    limits,
    pagination::{Limit, Page, cut, resume},
    params::{Plugin, PluginPath},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::plugins::PluginStatus;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginsQuery {
    /// The maximum number of items
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page
    cursor: Option<String>,
}

/// List plugins, ordered by name: those that run, and those with refused files
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", params(PluginsQuery),
    responses((status = 200, body = Page<PluginRecord>)))]
pub(super) async fn plugins(
    State(state): State<ApiState>,
    Query(PluginsQuery { limit: Limit(limit), cursor: at }): Query<PluginsQuery>,
) -> Answered<Page<PluginRecord>> {
    list(&state, at.as_deref(), limit).await.map(Json)
}

/// Returns a page of plugins. `cursor` is the `next` of the previous page.
pub(crate) async fn list(state: &ApiState, cursor: Option<&str>, limit: usize) -> Result<Page<PluginRecord>, Problem> {
    let after = resume(cursor, |text| PluginName::parse_owner(text).ok())?;
    let mut found: BTreeMap<PluginName, (Option<Core>, Option<PluginStatus>)> = BTreeMap::new();
    for (name, status) in state.plugins().statuses.plugins_after(after.as_ref(), limit + 1) {
        found.entry(name).or_default().1 = Some(status);
    }
    let query = move |scheduler: &roost_scheduler::scheduler::Scheduler| {
        let found = scheduler.plugins_after(after.as_ref()).take(limit + 1);
        found.map(|plugin| (plugin.name.clone(), Core::from(plugin))).collect::<Vec<_>>()
    };
    for (name, core) in state.inspect(query).await? {
        found.entry(name).or_default().0 = Some(core);
    }
    let (found, next) = cut(found.into_iter().collect(), limit, |(name, _)| name.to_string());
    let mut items = Vec::with_capacity(found.len());
    for (name, (core, status)) in found {
        let record = PluginRecord::new(name.to_string(), core.as_ref(), status.as_ref(), state.zone());
        items.push(counted(state, &name, record).await?);
    }
    Ok(Page { items, next })
}

/// Get a plugin and its tasks
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(PluginPath),
    responses((status = 200, body = PluginRecord)))]
pub(super) async fn plugin(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(name) }): Path<PluginPath>,
) -> Answered<PluginRecord> {
    let record = record(&state, &name).await?;
    let tasks = tasks(&state, name).await;
    Ok(Json(PluginRecord { tasks, ..record }))
}

/// Asks a plugin for its tasks. Returns none if it does not run, or does not return them in time.
pub(crate) async fn tasks(state: &ApiState, name: PluginName) -> Option<Vec<TaskDescriptionRecord>> {
    state.plugins().statuses.plugin(&name)?.running?;
    let tasks = timeout(limits::TASKS, state.plugins().queries.tasks(name)).await.ok()?.ok()?;
    Some(tasks.into_iter().map(Into::into).collect())
}

/// Returns a plugin, without its tasks: the plugin is not asked for them.
pub(crate) async fn record(state: &ApiState, name: &PluginName) -> Result<PluginRecord, Problem> {
    let status = state.plugins().statuses.plugin(name);
    let plugin = name.clone();
    let core = state.inspect(move |scheduler| scheduler.plugin(&plugin).map(Core::from)).await?;
    if core.is_none() && status.is_none() {
        return Err(state.not_found(Part::Plugin(name.clone())).await);
    }
    let record = PluginRecord::new(name.to_string(), core.as_ref(), status.as_ref(), state.zone());
    counted(state, name, record).await
}

/// Adds the numbers of jobs of a plugin and of its devices with refused plans. They are counted in batches, because a
/// plugin may have many devices.
async fn counted(state: &ApiState, plugin: &PluginName, mut record: PluginRecord) -> Result<PluginRecord, Problem> {
    let mut after: Option<DeviceName> = None;
    loop {
        let plugin = plugin.clone();
        let batch = state.inspect(move |scheduler| {
            let devices = scheduler.devices_after(&plugin, after.as_ref()).take(limits::DEVICES_PER_QUERY);
            let (mut counts, mut seen, mut last) = ([0; 3], 0, None);
            for device in devices {
                let is_refused = device.error.is_some();
                let of_device = [device.jobs, is_refused.into(), (is_refused && device.jobs == 0).into()];
                counts.iter_mut().zip(of_device).for_each(|(count, number)| *count += number);
                (seen, last) = (seen + 1, Some(device.name));
            }
            (counts, last.filter(|_| seen == limits::DEVICES_PER_QUERY).cloned())
        });
        let ([jobs, faults, without_plan], last) = batch.await?;
        record.jobs += jobs;
        record.faults += faults;
        record.without_plan += without_plan;
        if last.is_none() {
            return Ok(record);
        }
        after = last;
    }
}
