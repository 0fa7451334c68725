//! Pauses of several devices at once.

use axum::{Json, extract::State};
use roost_scheduler::{
    event::{Done, Request},
    names::{DeviceName, PluginName},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    devices::{DeviceFilter, list},
    extract::Json as Body,
    limits,
    problem::{Answered, Problem},
    state::ApiState,
};

/// Several devices: a list of them, or those with a fault of one reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"devices": ["coop-door/north", "coop-door/south"]}))]
pub(crate) struct DevicesRecord {
    /// The devices, each as `PLUGIN/DEVICE`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 1000)]
    pub(crate) devices: Option<Vec<String>>,
    /// The reason of the fault, as `GET /api/v1/faults` returns it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "step … was given up after … attempts: the device did not confirm the step within …")]
    pub(crate) fault: Option<String>,
}

/// Devices that a request has changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedDevices {
    /// The devices, each as `PLUGIN/DEVICE`. The opposite request undoes the change if it has them
    #[schema(example = json!(["coop-door/north", "coop-door/south"]))]
    pub(crate) devices: Vec<String>,
}

/// Pause several devices until they are resumed
///
/// Either all of them are paused, in one transaction, or none. The response has those that were not paused before. Runs
/// that fall due during the pause are recorded as skipped and are not caught up. Runs that have started continue.
#[utoipa::path(post, path = "/api/v1/devices/pause", tag = "devices", request_body = DevicesRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn pause_devices(
    State(state): State<ApiState>,
    Body(devices): Body<DevicesRecord>,
) -> Answered<ChangedDevices> {
    change_devices(&state, devices, true).await.map(Json)
}

/// Resume several devices
///
/// Either all of them are resumed, in one transaction, or none. The response has those that were paused before.
#[utoipa::path(post, path = "/api/v1/devices/resume", tag = "devices", request_body = DevicesRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn resume_devices(
    State(state): State<ApiState>,
    Body(devices): Body<DevicesRecord>,
) -> Answered<ChangedDevices> {
    change_devices(&state, devices, false).await.map(Json)
}

async fn change_devices(state: &ApiState, of: DevicesRecord, paused: bool) -> Result<ChangedDevices, Problem> {
    let names = match of {
        DevicesRecord { devices: Some(names), fault: None } => names,
        DevicesRecord { devices: None, fault: Some(reason) } => with_fault(state, reason).await?,
        _ => return Err(Problem::bad_request("the body needs `devices` or `fault`, and only one of them")),
    };
    if names.len() > limits::DEVICES_PAUSED {
        let detail = format!("there are more than {} devices", limits::DEVICES_PAUSED);
        return Err(Problem::unprocessable(detail).hint("pause the whole plugin, or some of them at a time"));
    }
    let devices = names.iter().map(|name| parse_device(name)).collect::<Result<_, _>>()?;
    let Done::Devices(changed) = state.request(Request::PauseDevices { devices, paused }).await? else {
        return Err(Problem::bug(&"the scheduler did not name the devices"));
    };
    Ok(ChangedDevices { devices: changed.iter().map(|(plugin, device)| format!("{plugin}/{device}")).collect() })
}

/// Returns the names of the devices with a fault of a reason, at most one more than may be paused at a time.
async fn with_fault(state: &ApiState, reason: String) -> Result<Vec<String>, Problem> {
    let filter = DeviceFilter { reason: Some(reason), ..DeviceFilter::default() };
    let found = list(state, filter, limits::DEVICES_PAUSED + 1, None).await?;
    Ok(found.items.into_iter().map(|device| format!("{}/{}", device.plugin, device.device)).collect())
}

fn parse_device(name: &str) -> Result<(PluginName, DeviceName), Problem> {
    let wrong = |why: &dyn std::fmt::Display| Problem::bad_request(format!("`devices`: {why}"));
    let (plugin, device) =
        name.split_once('/').ok_or_else(|| wrong(&format!("`{name}` is not written as `PLUGIN/DEVICE`")))?;
    Ok((
        PluginName::parse_owner(plugin).map_err(|why| wrong(&why))?,
        DeviceName::parse(device).map_err(|why| wrong(&why))?,
    ))
}
