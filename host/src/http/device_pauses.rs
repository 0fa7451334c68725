//! Pauses of several devices at once.

use std::sync::Arc;

use axum::{Json, extract::State};
use roost_scheduler::{
    event::Part,
    names::{DeviceName, PluginName},
    pause::Pause,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    devices::{DeviceFilter, list},
    extract::Json as Body,
    limits,
    pauses::{NewPauseRecord, replace},
    problem::{Answered, Problem},
    state::ApiState,
};
use crate::clock;

/// Several devices, or those with a fault of one reason, and the pause that each of them gets, with local times of the host.
// Not made of other records: a description of both would be `allOf` of two closed objects, which no body matches.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"devices": ["coop-door/north", "coop-door/south"], "for": "24h", "reason": "rain"}))]
pub(crate) struct DevicesPauseRecord {
    /// The devices, each as `PLUGIN/DEVICE`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 1000)]
    pub(crate) devices: Option<Vec<String>>,
    /// The reason of the fault, as `GET /api/v1/faults` returns it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// When it begins, as of one device
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// When it ends, as of one device
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// Instead of `until`: how long it lasts from its beginning on
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schema(example = "24h", pattern = "^([0-9]+(d|h|m|s|ms))+$")]
    pub(crate) lasts: Option<String>,
    /// Why, in one line
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "rain", max_length = 200)]
    pub(crate) reason: Option<String>,
}

/// Several devices that lose their pauses, or those with a fault of one reason; and others that get one back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"devices": ["coop-door/north", "coop-door/south"]}))]
pub(crate) struct DevicesResumeRecord {
    /// The devices, each as `PLUGIN/DEVICE`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 1000)]
    pub(crate) devices: Option<Vec<String>>,
    /// The reason of the fault, as `GET /api/v1/faults` returns it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "step … was given up after … attempts: the device did not confirm the step within …")]
    pub(crate) fault: Option<String>,
    /// The pauses to set, of other devices
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 1000)]
    pub(crate) replaced: Vec<DevicePauseRecord>,
}

/// The pause of one of several devices.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"device": "coop-door/south", "pause": {"until": "2027-03-05T08:00:00+00:00", "reason": "holidays"}}))]
pub(crate) struct DevicePauseRecord {
    /// The device, as `PLUGIN/DEVICE`
    pub(crate) device: String,
    /// With local times of the host
    pub(crate) pause: NewPauseRecord,
}

/// Devices that a request has changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChangedDevices {
    /// The devices that had no pause before and have one now, or had one that is removed, each as `PLUGIN/DEVICE`
    #[schema(example = json!(["coop-door/north", "coop-door/south"]))]
    pub(crate) devices: Vec<String>,
    /// The pauses that were replaced by others, each with its device
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) replaced: Vec<DevicePauseRecord>,
}

/// Pause several devices
///
/// Either all of them are paused, in one transaction, or none, as each of them would be alone: the pause replaces the one
/// that a device has. The response, as the body of `POST /api/v1/devices/resume`, undoes it.
#[utoipa::path(post, path = "/api/v1/devices/pause", tag = "devices", request_body = DevicesPauseRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn pause_devices(
    State(state): State<ApiState>,
    Body(new): Body<DevicesPauseRecord>,
) -> Answered<ChangedDevices> {
    let DevicesPauseRecord { devices, fault, from, until, lasts, reason } = new;
    let pause = NewPauseRecord { from, until, lasts, reason }.pause(state.zone(), clock::now())?;
    change_devices(&state, (devices, fault), Some(pause.into()), &[]).await.map(Json)
}

/// Resume several devices
///
/// Either all of them are resumed, in one transaction, or none. A device loses its pause, also one that has not begun; those
/// in `replaced` get that pause instead.
#[utoipa::path(post, path = "/api/v1/devices/resume", tag = "devices", request_body = DevicesResumeRecord,
    responses(
        (status = 200, body = ChangedDevices),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "One of them does not exist; none is changed"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "There are more than 1,000; none is changed"),
    ))]
pub(super) async fn resume_devices(
    State(state): State<ApiState>,
    Body(DevicesResumeRecord { devices, fault, replaced }): Body<DevicesResumeRecord>,
) -> Answered<ChangedDevices> {
    change_devices(&state, (devices, fault), None, &replaced).await.map(Json)
}

/// Sets one pause on devices, or removes theirs: on those that are named, or those with a fault. Sets those of others.
async fn change_devices(
    state: &ApiState,
    of: (Option<Vec<String>>, Option<String>),
    pause: Option<Arc<Pause>>,
    others: &[DevicePauseRecord],
) -> Result<ChangedDevices, Problem> {
    let names = match of {
        (Some(names), None) => names,
        (None, Some(reason)) => with_fault(state, reason).await?,
        _ => return Err(Problem::bad_request("the body needs `devices` or `fault`, and only one of them")),
    };
    if names.len() + others.len() > limits::DEVICES_PAUSED {
        let detail = format!("there are more than {} devices", limits::DEVICES_PAUSED);
        return Err(Problem::unprocessable(detail).hint("pause the whole plugin, or some of them at a time"));
    }
    let (zone, now) = (state.zone(), clock::now());
    let others = others.iter().map(|DevicePauseRecord { device, pause }| {
        Ok((parse_device(device)?, Some(Arc::new(pause.pause(zone, now)?))))
    });
    let pauses = names.iter().map(|name| Ok((parse_device(name)?, pause.clone()))).chain(others);
    let pauses = pauses.collect::<Result<Vec<_>, Problem>>()?;
    let before = replace(state, pauses.clone()).await?;
    let mut changed = ChangedDevices { devices: Vec::new(), replaced: Vec::new() };
    for ((part, pause), before) in pauses.iter().zip(before) {
        let Part::Device(plugin, device) = part else { continue };
        let device = format!("{plugin}/{device}");
        match (pause, before) {
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => changed.devices.push(device),
            (Some(pause), Some(before)) if *pause == before => {}
            (Some(_), Some(before)) => {
                changed.replaced.push(DevicePauseRecord { device, pause: NewPauseRecord::again(&before, zone) });
            }
        }
    }
    Ok(changed)
}

/// Returns the names of the devices with a fault of a reason, at most one more than may be paused at a time.
async fn with_fault(state: &ApiState, reason: String) -> Result<Vec<String>, Problem> {
    let filter = DeviceFilter { reason: Some(reason), ..DeviceFilter::default() };
    let found = list(state, filter, limits::DEVICES_PAUSED + 1, None).await?;
    Ok(found.items.into_iter().map(|device| format!("{}/{}", device.plugin, device.device)).collect())
}

fn parse_device(name: &str) -> Result<Part, Problem> {
    let wrong = |why: &dyn std::fmt::Display| Problem::bad_request(format!("`devices`: {why}"));
    let (plugin, device) =
        name.split_once('/').ok_or_else(|| wrong(&format!("`{name}` is not written as `PLUGIN/DEVICE`")))?;
    Ok(Part::Device(
        PluginName::parse_owner(plugin).map_err(|why| wrong(&why))?,
        DeviceName::parse(device).map_err(|why| wrong(&why))?,
    ))
}
