//! Plugins that are loaded.

use axum::{Json, extract::State};
use roost_scheduler::{
    event::Version,
    names::{DeviceName, PluginName},
    scheduler::PluginView,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    desk::Desk,
    extract::{Path, Query},
    limits,
    page::{Limit, Page, cursor, resume},
    problem::{Answered, Problem},
    words::Plugin,
};

/// A plugin that is loaded.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PluginRecord {
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    pub(crate) plugin: String,
    /// SHA-256 of its file; missing where no version has been taken up completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<String>,
    /// SHA-256 of everything that is said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<String>,
    /// Whether nothing of it is started.
    pub(crate) paused: bool,
    pub(crate) grant: GrantRecord,
    pub(crate) devices: usize,
    pub(crate) jobs: usize,
}

/// What a plugin may do: MQTT topic filters.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GrantRecord {
    pub(crate) publish: Vec<String>,
    pub(crate) subscribe: Vec<String>,
}

impl PluginRecord {
    /// Without its jobs, which are counted apart.
    fn new(plugin: &PluginView<'_>) -> Self {
        let version = Some(plugin.version).filter(|version| *version != Version::NONE);
        let texts = |filters: &[roost_scheduler::topic::TopicFilter]| {
            filters.iter().map(|filter| filter.as_str().to_owned()).collect()
        };
        Self {
            plugin: plugin.name.to_string(),
            component: version.map(|version| version.component.to_string()),
            settings: version.map(|version| version.settings.to_string()),
            grant: GrantRecord { publish: texts(&plugin.grant.publish), subscribe: texts(&plugin.grant.subscribe) },
            paused: plugin.is_paused,
            devices: plugin.devices,
            jobs: 0,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// How many at the most
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before
    cursor: Option<String>,
}

/// The plugins that are loaded, by name
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", params(Wanted),
    responses((status = 200, body = Page<PluginRecord>)))]
pub(super) async fn plugins(
    State(desk): State<Desk>,
    Query(Wanted { limit: Limit(limit), cursor: at }): Query<Wanted>,
) -> Answered<Page<PluginRecord>> {
    let after = resume(at.as_deref(), |text| PluginName::parse(text).ok())?;
    let look = move |scheduler: &roost_scheduler::scheduler::Scheduler| {
        let found = scheduler.plugins_after(after.as_ref()).take(limit + 1);
        found.map(|plugin| (plugin.name.clone(), PluginRecord::new(&plugin))).collect::<Vec<_>>()
    };
    let mut found = desk.look(look).await?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|(name, _)| cursor(name.as_str()));
    let mut items = Vec::with_capacity(found.len());
    for (name, record) in found {
        items.push(PluginRecord { jobs: jobs_of(&desk, &name).await?, ..record });
    }
    Ok(Json(Page { items, next }))
}

/// A plugin
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(("plugin" = String, Path, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")),
    responses((status = 200, body = PluginRecord)))]
pub(super) async fn plugin(State(desk): State<Desk>, Path(Plugin(name)): Path<Plugin>) -> Answered<PluginRecord> {
    let wanted = name.clone();
    let found = desk.look(move |scheduler| scheduler.plugin(&wanted).map(|plugin| PluginRecord::new(&plugin))).await?;
    let record = found.ok_or_else(|| none(&name))?;
    Ok(Json(PluginRecord { jobs: jobs_of(&desk, &name).await?, ..record }))
}

/// There is no such plugin.
pub(super) fn none(name: &PluginName) -> Problem {
    Problem::not_found(format!("there is no plugin `{name}`")).hint("`roost plugins` shows those that are loaded")
}

/// Counted in pieces: a plugin may have many devices.
async fn jobs_of(desk: &Desk, plugin: &PluginName) -> Result<usize, Problem> {
    let (mut count, mut after): (usize, Option<DeviceName>) = (0, None);
    loop {
        let plugin = plugin.clone();
        let piece = desk.look(move |scheduler| {
            let devices = scheduler.devices_after(&plugin, after.as_ref()).take(limits::DEVICES_PER_LOOK);
            let (mut jobs, mut seen, mut last) = (0, 0, None);
            for device in devices {
                (jobs, seen, last) = (jobs + device.jobs, seen + 1, Some(device.name));
            }
            (jobs, last.filter(|_| seen == limits::DEVICES_PER_LOOK).cloned())
        });
        let (jobs, last) = piece.await?;
        count += jobs;
        if last.is_none() {
            return Ok(count);
        }
        after = last;
    }
}
