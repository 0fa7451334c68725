//! Uploads of plugins.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
};
use http_body_util::BodyExt as _;
use roost_scheduler::{event::Loaded, names::PluginName, suggest};
use serde::{Deserialize, Deserializer, de::Error as _};
use tokio::{sync::SemaphorePermit, time::timeout};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::{
    super::{
        extract::{Path, Query},
        limits,
        params::PluginPath,
        preconditions::expected,
        problem::{Answered, Problem},
        state::ApiState,
    },
    differences::differences,
    records::{InstalledRecord, TrialRecord},
};
use crate::{
    clock,
    config::grant::notes,
    plugins::{COMPONENT_BYTES, Expected, Installed, Refused, Tried},
};

/// The bytes of a component.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "it only describes the body, which is read in chunks")]
struct Component(Vec<u8>);

/// Why a file is checked and not written. The folder is not changed.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it only describes the answers")]
pub(super) enum NotWritten {
    /// The file beside it was changed while it was checked, more plans are refused than the request allows, or the folder
    /// cannot be written
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The file in the folder is not the one that the request requires
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(Problem),
    /// The component or the settings are refused
    #[response(status = 422, content_type = "application/problem+json")]
    Faulty(Problem),
}

/// Install or replace a plugin
///
/// The component is checked first: it is compiled and linked with the settings file in the folder, and a plan of each
/// device is requested. If that fails, the folder is not changed. Otherwise the file is written to the folder and
/// loaded like any other file there. The response does not wait for that: the new version runs when `GET
/// /api/v1/plugins/{plugin}` has its `component`. A request may require that the file that it replaces is still the one
/// of the check before, with `replaces` of that check as `If-Match`, or with `If-None-Match: *` if there was none.
#[utoipa::path(put, path = "/api/v1/plugins/{plugin}", tag = "plugins",
    params(
        PluginPath,
        ("If-Match" = Option<String>, Header, description = "The SHA-256 of the component in the folder, in quotes", example = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: the folder has no such component", example = "*"),
    ),
    request_body(content_type = "application/wasm", content = Component, description = "A component of at most 64 MiB"),
    responses(
        (status = 200, body = InstalledRecord, description = "The plugin is replaced"),
        (status = 201, body = InstalledRecord, description = "The plugin is installed"),
        NotWritten,
    ))]
pub(in super::super) async fn upload(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<InstalledRecord>), Problem> {
    let plugin = parse_name(&name)?;
    let expected = expected(request.headers())?;
    let (_turn, component) = receive(&state, request).await?;
    let (trial, beside) = trial(&state, &plugin, component.clone(), Days::default()).await?;
    let Installed { is_new, .. } = state.plugins().installer.install(&plugin, component, [expected, beside]).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(InstalledRecord { new: is_new, trial })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CheckQuery {
    /// The name that the plugin would have
    #[param(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    plugin: String,
    /// The number of days of which changed messages are listed
    #[param(value_type = u32, minimum = 1, maximum = 7, default = 2)]
    #[serde(default)]
    days: Days,
}

/// The number of days of which changed messages are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Days(u32);

impl Default for Days {
    fn default() -> Self {
        Self(limits::CHECK_DAYS)
    }
}

impl<'de> Deserialize<'de> for Days {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        let invalid = || D::Error::custom(format!("it must be 1 to {}", limits::MOST_CHECK_DAYS));
        (1..=limits::MOST_CHECK_DAYS).contains(&number).then_some(Self(number)).ok_or_else(invalid)
    }
}

/// Check a plugin without installing it
///
/// Performs the check of an upload, and returns the same result: which jobs are new, changed or gone, and which messages
/// change within the next days.
#[utoipa::path(post, path = "/api/v1/check", tag = "plugins", params(CheckQuery),
    request_body(content_type = "application/wasm", content = Component, description = "A component of at most 64 MiB"),
    responses(
        (status = 200, body = TrialRecord),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The component is refused"),
    ))]
pub(in super::super) async fn check(
    State(state): State<ApiState>,
    Query(CheckQuery { plugin, days }): Query<CheckQuery>,
    request: Request,
) -> Answered<TrialRecord> {
    try_upload(&state, &plugin, days, request).await.map(Json)
}

/// Checks the component in the body of a request.
pub(crate) async fn try_upload(
    state: &ApiState,
    plugin: &str,
    days: Days,
    request: Request,
) -> Result<TrialRecord, Problem> {
    let plugin = parse_name(plugin)?;
    let (_turn, component) = receive(state, request).await?;
    trial(state, &plugin, component, days).await.map(|(trial, _)| trial)
}

/// Tries a component. Returns the settings file that it was tried with, too.
async fn trial(
    state: &ApiState,
    plugin: &PluginName,
    component: Arc<[u8]>,
    days: Days,
) -> Result<(TrialRecord, Expected), Problem> {
    let Tried { loaded, beside } = state.plugins().installer.try_out(plugin, component).await?;
    Ok((trial_record(state, loaded, days).await?, beside))
}

/// Compares a version that was loaded on trial with what is there.
pub(super) async fn trial_record(state: &ApiState, loaded: Loaded, Days(days): Days) -> Result<TrialRecord, Problem> {
    let (plugin, version) = (loaded.plugin.clone(), loaded.version);
    let name = plugin.clone();
    let from = clock::now();
    let period = (from, from.plus_ms(i64::from(days) * 86_400_000));
    let running = state.inspect(move |scheduler| scheduler.plugin(&name).map(|plugin| plugin.version)).await?;
    let replaces = match state.plugins().installer.in_folder(&plugin).await {
        // Nothing is known of it: only an upload without a condition replaces it.
        Err(Refused::Conflict(_)) => None,
        found => found?,
    };
    let (notes, grant) = (notes(&loaded.grant), (&loaded.grant).into());
    let (jobs, messages) = differences(state, &plugin, loaded.devices, period).await?;
    Ok(TrialRecord {
        plugin: plugin.to_string(),
        component: version.component.to_string(),
        settings: version.settings.to_string(),
        running: running == Some(version),
        replaces: replaces.map(|digest| digest.to_string()),
        notes,
        grant,
        jobs,
        messages,
    })
}

/// Parses the name of a plugin that may be uploaded.
pub(crate) fn parse_name(name: &str) -> Result<PluginName, Problem> {
    PluginName::parse(name).map_err(|error| {
        let problem = Problem::bad_request(error.to_string());
        match suggest::plugin_name(name) {
            Some(name) => problem.hint(format!("name it `{name}`")),
            None => problem,
        }
    })
}

/// Reads a component from the body of a request, and takes the turn of an upload for what follows. The beginning of it is
/// read before that, so that a client that sends little delays no other.
async fn receive(state: &ApiState, request: Request) -> Result<(Option<SemaphorePermit<'_>>, Arc<[u8]>), Problem> {
    let mut body = Incoming::of(request, (WASM, "a component"), COMPONENT_BYTES)?;
    let place = state.upload_beginnings().await;
    body.read(limits::UPLOAD_BEGINNING).await?;
    let turn = state.uploads().await;
    drop(place);
    Ok((turn, body.rest().await?.into()))
}

const WASM: &str = "application/wasm";

/// Reads the body of a request, within the bounds of its size and time. `kind` is its content type, with its name.
pub(super) async fn body(request: Request, kind: (&str, &'static str), most: u64) -> Result<Vec<u8>, Problem> {
    let mut body = Incoming::of(request, kind, most)?;
    body.reserve();
    body.read(most).await?;
    Ok(body.bytes)
}

/// A body that is being read.
struct Incoming {
    body: Body,
    bytes: Vec<u8>,
    is_complete: bool,
    /// The number of bytes that it is said to have.
    length: u64,
    name: &'static str,
    most: u64,
}

impl Incoming {
    fn of(request: Request, (kind, name): (&str, &'static str), most: u64) -> Result<Self, Problem> {
        let found = request.headers().get(header::CONTENT_TYPE).and_then(|found| found.to_str().ok());
        let found = found.map(|found| found.split(';').next().unwrap_or(found).trim());
        if !found.is_some_and(|found| found.eq_ignore_ascii_case(kind)) {
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be {name}"));
            return Err(problem.hint(format!("send `Content-Type: {kind}`")));
        }
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > most) {
            return Err(too_large(name, most));
        }
        let length = length.unwrap_or_default();
        Ok(Self { body: request.into_body(), bytes: Vec::new(), is_complete: false, length, name, most })
    }

    /// Makes room for all of it.
    fn reserve(&mut self) {
        let all = usize::try_from(self.length).unwrap_or_default();
        self.bytes.reserve_exact(all.saturating_sub(self.bytes.len()));
    }

    /// Reads until there are more bytes than so many, or all.
    async fn read(&mut self, enough: u64) -> Result<(), Problem> {
        let read = timeout(limits::UPLOAD_BODY, async {
            while !self.is_complete && self.bytes.len() as u64 <= enough {
                self.read_part().await?;
            }
            Ok(())
        });
        read.await.unwrap_or_else(|_| {
            let detail = format!("the body was not received within {} s", limits::UPLOAD_BODY.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        })
    }

    async fn read_part(&mut self) -> Result<(), Problem> {
        let slow = |_| {
            let detail = format!("no part of the body was received for {} s", limits::UPLOAD_STALL.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        };
        let Some(frame) = timeout(limits::UPLOAD_STALL, self.body.frame()).await.map_err(slow)? else {
            self.is_complete = true;
            return Ok(());
        };
        let frame = frame.map_err(|error| Problem::bad_request(format!("the body is incomplete: {error}")))?;
        let Ok(data) = frame.into_data() else { return Ok(()) };
        if self.bytes.len() as u64 + data.len() as u64 > self.most {
            return Err(too_large(self.name, self.most));
        }
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    /// Reads the rest, which others wait for: it must come at some speed.
    async fn rest(mut self) -> Result<Vec<u8>, Problem> {
        self.reserve();
        while !self.is_complete {
            let next = self.bytes.len() as u64 + limits::UPLOAD_BEGINNING;
            timeout(limits::UPLOAD_STALL, self.read(next)).await.unwrap_or_else(|_| {
                let (mib, s) = (limits::UPLOAD_BEGINNING >> 20, limits::UPLOAD_STALL.as_secs());
                let detail = format!("less than {mib} MiB of the body was received within {s} s");
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
                    .hint("use a faster connection: other uploads wait"))
            })?;
        }
        Ok(self.bytes)
    }
}

fn too_large(name: &str, most: u64) -> Problem {
    let detail = format!("{name} may have at most {most} bytes ({} MiB)", most >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Faulty(report) => Self::of(StatusCode::UNPROCESSABLE_ENTITY, report),
            Refused::Unknown(report) => Self::of(StatusCode::NOT_FOUND, report),
            Refused::Conflict(report) => Self::of(StatusCode::CONFLICT, report),
            Refused::Changed(report) => Self::of(StatusCode::PRECONDITION_FAILED, report),
            Refused::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the host is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use hyper::body::Frame;
    use tokio::time::{Interval, interval};

    use super::*;

    #[tokio::test]
    async fn the_size_of_a_body_is_bounded_with_and_without_a_content_length() {
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
            let read = async {
                let mut body =
                    Incoming::of(request(length, kind, vec![0; bytes].into()), (WASM, "a component"), COMPONENT_BYTES)?;
                body.read(limits::UPLOAD_BEGINNING).await?;
                body.rest().await
            };
            let read = read.await;
            let expected =
                read.as_ref().map_or_else(|problem| problem.status, |bytes| if bytes.is_empty() { 0 } else { 200 });
            assert_eq!(expected, status, "{length:?} {kind} {bytes}");
        }
    }

    /// A body of which the first part comes at once, and then a byte now and then, for ever.
    struct Dripping(Option<Bytes>, Interval);

    impl hyper::body::Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let first = self.0.take();
            if first.is_none() && self.1.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(Frame::data(first.unwrap_or(Bytes::from_static(b"0"))))))
        }
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up_once_others_wait_for_it() {
        let beginning = vec![0; usize::try_from(limits::UPLOAD_BEGINNING).unwrap() + 1];
        let body = Dripping(Some(beginning.into()), interval(limits::UPLOAD_STALL / 10));
        let request = Request::builder().header(header::CONTENT_TYPE, WASM).body(Body::new(body)).unwrap();
        let mut body = Incoming::of(request, (WASM, "a component"), COMPONENT_BYTES).unwrap();
        body.read(limits::UPLOAD_BEGINNING).await.unwrap();
        assert!(!body.is_complete && body.bytes.len() as u64 > limits::UPLOAD_BEGINNING);
        let problem = body.rest().await.unwrap_err();
        assert!(problem.status == 408 && problem.detail.starts_with("less than 1 MiB of the body"), "{problem:?}");
    }

    #[test]
    fn a_valid_name_is_suggested_for_an_invalid_one() {
        assert!(parse_name("coop-door").is_ok());
        assert_eq!(parse_name("coop_door").unwrap_err().hint.as_deref(), Some("name it `coop-door`"));
        assert_eq!(parse_name("roost").unwrap_err().status, 400);
    }
}
