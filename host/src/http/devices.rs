//! The devices of plugins.

use axum::{Json, extract::State};
use roost_scheduler::{
    names::{DeviceName, PluginName},
    scheduler::{DeviceView, Scheduler},
    time::Instant,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::Query,
    page::{Limit, Page, cut, resume},
    params::{Device, Plugin},
    problem::Answered,
    state::ApiState,
};

/// A device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeviceRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    pub(crate) time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) longitude: Option<f64>,
    /// When the next plan of the device is requested from its plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) replan_at: Option<String>,
    /// Why its newest plan was refused. Until the next plan, it keeps the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Whether a plan has been requested and has not arrived yet.
    pub(crate) planning: bool,
    /// Whether the device itself is paused. A device is also held by the pause of its plugin.
    pub(crate) paused: bool,
    pub(crate) jobs: usize,
}

impl From<DeviceView<'_>> for DeviceRecord {
    fn from(device: DeviceView<'_>) -> Self {
        let DeviceView { plugin, name, site, replan_at, error, plan_requested, jobs, is_paused } = device;
        Self {
            plugin: plugin.to_string(),
            device: name.to_string(),
            time_zone: site.zone.name().into(),
            latitude: site.location.map(|at| at.latitude()),
            longitude: site.location.map(|at| at.longitude()),
            replan_at: Some(replan_at).filter(|at| *at != Instant::MAX).map(|at| at.in_zone(site.zone)),
            error: error.map(str::to_owned),
            planning: plan_requested,
            paused: is_paused,
            jobs,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicesQuery {
    /// Only devices of this plugin
    #[param(inline)]
    plugin: Option<Plugin>,
    /// The maximum number of items
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 100)]
    #[serde(default)]
    limit: Limit,
    /// The value of `next` of the previous page
    cursor: Option<String>,
}

/// A position in the list of all devices: after this device, or at the beginning of this plugin.
type After = (PluginName, Option<DeviceName>);

/// List devices, ordered by plugin and name
#[utoipa::path(get, path = "/api/v1/devices", tag = "plugins", params(DevicesQuery),
    responses((status = 200, body = Page<DeviceRecord>)))]
pub(super) async fn devices(
    State(state): State<ApiState>,
    Query(DevicesQuery { plugin, limit: Limit(limit), cursor: at }): Query<DevicesQuery>,
) -> Answered<Page<DeviceRecord>> {
    let after = resume(at.as_deref(), |text| {
        let (plugin, device) = text.split_once('/')?;
        Some((PluginName::parse_owner(plugin).ok()?, Some(DeviceName::parse(device).ok()?)))
    })?;
    let only = plugin.map(|Plugin(name)| name);
    let found = state.inspect(move |scheduler| devices_after(scheduler, only.as_ref(), after, limit + 1)).await?;
    let (items, next) = cut(found, limit, |last| format!("{}/{}", last.plugin, last.device));
    Ok(Json(Page { items, next }))
}

fn devices_after(
    scheduler: &Scheduler,
    only: Option<&PluginName>,
    after: Option<After>,
    most: usize,
) -> Vec<DeviceRecord> {
    let mut found = Vec::new();
    let mut at = match (only, after) {
        (Some(only), Some((plugin, device))) if *only == plugin => Some((plugin, device)),
        (Some(only), _) => Some((only.clone(), None)),
        (None, Some(after)) => Some(after),
        (None, None) => scheduler.plugins_after(None).next().map(|plugin| (plugin.name.clone(), None)),
    };
    while let Some((plugin, device)) = at {
        let left = most - found.len();
        found.extend(scheduler.devices_after(&plugin, device.as_ref()).take(left).map(DeviceRecord::from));
        if found.len() == most || only.is_some() {
            break;
        }
        at = scheduler.plugins_after(Some(&plugin)).next().map(|plugin| (plugin.name.clone(), None));
    }
    found
}
