//! Plugins that come as bodies of requests.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
};
use http_body_util::BodyExt as _;
use roost_scheduler::{event::Loaded, names::PluginName};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::{Path, Query},
        limits,
        params::PluginPath,
        problem::{Answered, Problem},
        state::ApiState,
    },
    differences::differences,
    records::{InstalledRecord, TrialRecord},
};
use crate::{
    config::grant::notes,
    plugins::{COMPONENT_BYTES, Installed, Refused, plugin_like},
};

/// A component's bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "it is described, and read in pieces")]
struct Component(Vec<u8>);

/// Install a plugin, or replace it
///
/// It is tried first: compiled, linked, and asked for a plan of each device, with the settings that lie in the folder. If
/// anything of that fails, the folder stays as it was. Otherwise the file is put into the folder, and taken up as any other file
/// there: the answer comes before the new version runs. It does when `GET /api/v1/plugins/{plugin}` has this `component`.
#[utoipa::path(put, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(PluginPath),
    request_body(content_type = "application/wasm", content = Component, description = "A component of at most 64 MiB"),
    responses(
        (status = 200, body = InstalledRecord, description = "It takes the place of another version"),
        (status = 201, body = InstalledRecord, description = "It is new"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "It would be refused; the folder is as it was"),
    ))]
pub(in super::super) async fn upload(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<InstalledRecord>), Problem> {
    let plugin = named(&name)?;
    let component = component(request).await?;
    let loaded = state.plugins().installer.try_out(&plugin, component.clone()).await?;
    let trial = told(&state, loaded).await?;
    let Installed { is_new, .. } = state.plugins().installer.install(&plugin, component).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(InstalledRecord { new: is_new, trial })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct As {
    /// Which plugin it would be
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    plugin: String,
}

/// Try a plugin, and install nothing
///
/// What `PUT` does first, with the same answer.
#[utoipa::path(post, path = "/api/v1/check", tag = "plugins", params(As),
    request_body(content_type = "application/wasm", content = Component, description = "A component of at most 64 MiB"),
    responses(
        (status = 200, body = TrialRecord),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "It would be refused"),
    ))]
pub(in super::super) async fn check(
    State(state): State<ApiState>,
    Query(As { plugin }): Query<As>,
    request: Request,
) -> Answered<TrialRecord> {
    let plugin = named(&plugin)?;
    let component = component(request).await?;
    let loaded = state.plugins().installer.try_out(&plugin, component).await?;
    Ok(Json(told(&state, loaded).await?))
}

async fn told(state: &ApiState, loaded: Loaded) -> Result<TrialRecord, Problem> {
    let (plugin, version) = (loaded.plugin.clone(), loaded.version);
    let of = plugin.clone();
    let running = state.inspect(move |scheduler| scheduler.plugin(&of).map(|plugin| plugin.version)).await?;
    Ok(TrialRecord {
        plugin: plugin.to_string(),
        component: version.component.to_string(),
        settings: version.settings.to_string(),
        running: running == Some(version),
        notes: notes(&loaded.grant),
        grant: (&loaded.grant).into(),
        jobs: differences(state, plugin, loaded.devices).await?,
    })
}

fn named(name: &str) -> Result<PluginName, Problem> {
    PluginName::parse(name).map_err(|error| {
        let problem = Problem::bad_request(error.to_string());
        match plugin_like(name) {
            Some(name) => problem.hint(format!("call it `{name}`")),
            None => problem,
        }
    })
}

/// All of a body that is a component, and comes in time.
async fn component(request: Request) -> Result<Arc<[u8]>, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or(kind).trim());
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/wasm")) {
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be a component");
        return Err(problem.hint("send `Content-Type: application/wasm`"));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > COMPONENT_BYTES) {
        return Err(too_large());
    }
    let body = timeout(limits::UPLOAD_BODY, whole(request.into_body(), length.unwrap_or_default())).await;
    body.unwrap_or_else(|_| {
        let detail = format!("the body did not come within {} s", limits::UPLOAD_BODY.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
    })
}

async fn whole(mut body: Body, length: u64) -> Result<Arc<[u8]>, Problem> {
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(COMPONENT_BYTES)).unwrap_or_default());
    let slow = |_| {
        let detail = format!("of the body, nothing came for {} s", limits::UPLOAD_STALL.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    };
    while let Some(frame) = timeout(limits::UPLOAD_STALL, body.frame()).await.map_err(slow)? {
        let frame = frame.map_err(|error| Problem::bad_request(format!("the body was cut off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() as u64 + data.len() as u64 > COMPONENT_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

fn too_large() -> Problem {
    let detail = format!("a plugin may have {COMPONENT_BYTES} bytes ({} MiB)", COMPONENT_BYTES >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Faulty(report) => Self::of(StatusCode::UNPROCESSABLE_ENTITY, report),
            Refused::Unknown(report) => Self::of(StatusCode::NOT_FOUND, report),
            Refused::Conflict(report) => Self::of(StatusCode::CONFLICT, report),
            Refused::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_has_its_bound_whether_it_says_its_length_or_not() {
        let request = |length: Option<u64>, kind: &str, body: Body| {
            let mut request = Request::builder().header(header::CONTENT_TYPE, kind);
            if let Some(length) = length {
                request = request.header(header::CONTENT_LENGTH, length);
            }
            request.body(body).unwrap()
        };
        let most = COMPONENT_BYTES as usize;
        for (length, kind, bytes, status) in [
            (None, "application/wasm", 3, 200),
            (Some(3), "Application/Wasm; x=y", 3, 200),
            (None, "application/json", 3, 415),
            (Some(COMPONENT_BYTES + 1), "application/wasm", 0, 413),
            (None, "application/wasm", most + 1, 413),
            (None, "application/wasm", most, 200),
        ] {
            let read = component(request(length, kind, vec![0; bytes].into())).await;
            let expected =
                read.as_ref().map_or_else(|problem| problem.status, |bytes| if bytes.is_empty() { 0 } else { 200 });
            assert_eq!(expected, status, "{length:?} {kind} {bytes}");
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_what_was_meant() {
        assert!(named("coop-door").is_ok());
        assert_eq!(named("coop_door").unwrap_err().hint.as_deref(), Some("call it `coop-door`"));
        assert_eq!(named("roost").unwrap_err().status, 400);
    }
}
