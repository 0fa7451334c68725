//! The settings files of plugins. A body is the text of the file rather than JSON with the text in it: what a program
//! reads, it can change and send back as it is, and comments stay.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
};
use roost_scheduler::{
    event::Digest,
    names::{DeviceName, PluginName},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::SemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::{Path, Query},
        params::{Plugin, PluginPath},
        preconditions::{expected, tag},
        problem::Problem,
        state::ApiState,
    },
    records::{DeviceDifferencesRecord, SettingsRecord},
    uploads::{Days, NotWritten, body, parse_name, trial_record},
};
use crate::{
    plugins::{Expected, SETTINGS_BYTES, SettingsFile, Tried, places},
    report::{counted, utf8},
};

const TOML: &str = "application/toml";

/// The text of a settings file.
#[derive(ToSchema)]
#[schema(value_type = String, example = "[config]\nclose_offset = \"10m\"  # after dusk\n")]
#[allow(dead_code, reason = "it only describes the body, which is read in chunks")]
struct SettingsText(String);

/// Get the text of a plugin's settings file
///
/// A plugin without such a file has the default settings.
#[utoipa::path(get, path = "/api/v1/plugins/{plugin}/settings", tag = "plugins",
    params(PluginPath),
    responses(
        (status = 200, body = SettingsText, content_type = "application/toml", description = "The text of the file",
            headers(("ETag" = String, description = "The SHA-256 of the text, in quotes, for `If-Match`"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such file"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "The file cannot be read, or a link leads to a file outside of the plugin folder"),
    ))]
pub(in super::super) async fn settings(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<([(HeaderName, String); 3], String), Problem> {
    let SettingsFile { text, digest } = file(&state, &plugin).await?.ok_or_else(|| {
        let problem = Problem::not_found(format!("plugin `{plugin}` has no settings file"));
        problem.hint("it has the default settings; a file is made by `PUT` with `If-None-Match: *`")
    })?;
    // The text may have passwords.
    let cache = (header::CACHE_CONTROL, "no-store".to_owned());
    Ok(([(header::CONTENT_TYPE, TOML.to_owned()), (header::ETAG, tag(digest)), cache], text))
}

/// Returns the settings file of a plugin, if it has one.
pub(crate) async fn file(state: &ApiState, plugin: &PluginName) -> Result<Option<SettingsFile>, Problem> {
    Ok(state.plugins().installer.settings(plugin).await?)
}

/// Checks whether a plugin has a settings file.
pub(crate) async fn has_file(state: &ApiState, plugin: &PluginName) -> bool {
    state.plugins().installer.has_settings(plugin).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SettingsQuery {
    /// Whether the settings are only checked, and not written
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
    /// The number of devices whose new plan may be refused: if there are more, nothing is written. Without it, settings are
    /// written as long as one device has a plan
    #[param(example = 0)]
    refused_at_most: Option<usize>,
}

/// Write or check the settings file of a plugin
///
/// The settings are checked first: they are parsed, and the component in the folder is loaded on trial with them. If that
/// fails, the file is not changed; the problem names the line and the key. Otherwise the text is written as it is, and
/// loaded like any other file in the folder; the response does not wait for that. Settings may be written before the
/// component is uploaded. To write, `If-Match` or `If-None-Match` is required, because a change that another program
/// has made meanwhile would be lost for good: unlike a component, settings are not kept for a rollback.
#[utoipa::path(put, path = "/api/v1/plugins/{plugin}/settings", tag = "plugins",
    params(
        PluginPath,
        SettingsQuery,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the text that is replaced, or `*` for any"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there is no settings file yet", example = "*"),
    ),
    request_body(content_type = "application/toml", content = SettingsText, description = "A text of at most 8 MiB"),
    responses(
        (status = 200, body = SettingsRecord, description = "The file is replaced, or the settings are checked",
            headers(("ETag" = String, description = "The SHA-256 of the text, in quotes, if it is written"))),
        (status = 201, body = SettingsRecord, description = "The file is made",
            headers(("ETag" = String, description = "The SHA-256 of the text, in quotes"))),
        NotWritten,
        (status = 428, body = Problem, content_type = "application/problem+json",
            description = "The request does not say which file it replaces"),
    ))]
pub(in super::super) async fn write_settings(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Query(SettingsQuery { dry_run, refused_at_most }): Query<SettingsQuery>,
    request: Request,
) -> Result<(StatusCode, Option<[(HeaderName, String); 1]>, Json<SettingsRecord>), Problem> {
    let plugin = parse_name(&name)?;
    let received = receive(&state, request).await?;
    if !dry_run && received.expected == Expected::Anything {
        let detail = "the request does not say which settings it replaces";
        let problem = Problem::new(StatusCode::PRECONDITION_REQUIRED, detail);
        return Err(problem.hint(
            "send `If-Match` with the `ETag` of the settings that were read, or `If-None-Match: *` if there are none",
        ));
    }
    let (record, beside) = check(&state, &plugin, &received).await?;
    let mut status = StatusCode::OK;
    if !dry_run {
        expect_plans(&record, refused_at_most)?;
        let Received { text, expected, .. } = received;
        let written = state.plugins().installer.write_settings(&plugin, text, [expected, beside]).await?;
        if written.is_new {
            status = StatusCode::CREATED;
        }
    }
    // A text that is only checked is not that of the file.
    let tag = (!dry_run).then(|| [(header::ETAG, tag(&record.sha256))]);
    Ok((status, tag, Json(SettingsRecord { written: !dry_run, ..record })))
}

/// Refuses settings with which more plans are refused than the request allows.
fn expect_plans(SettingsRecord { plugin, trial, .. }: &SettingsRecord, most: Option<usize>) -> Result<(), Problem> {
    let refused = trial.as_ref().map_or(0, |trial| trial.jobs.refused);
    match most {
        Some(most) if refused > most => {
            let devices = counted(refused as u64, "device");
            let detail =
                format!("the settings of plugin `{plugin}` were not written: {devices} would have no new plan");
            Err(Problem::new(StatusCode::CONFLICT, detail)
                .hint("check them with `?dry_run=true`, which has the reasons, or raise `refused_at_most`"))
        }
        _ => Ok(()),
    }
}

/// Adds the lines of the text at which plans are refused.
fn locate(plugin: &PluginName, text: &str, devices: &mut [DeviceDifferencesRecord]) {
    let mut refused = Vec::new();
    for device in devices {
        if device.error.is_some()
            && let Ok(name) = DeviceName::parse(&device.device)
        {
            refused.push((name, device));
        }
    }
    if refused.is_empty() {
        return;
    }
    let errors: Vec<_> =
        refused.iter().map(|(name, device)| (name, device.error.as_deref().unwrap_or_default())).collect();
    let found = places(text, plugin, &errors);
    for ((_, device), place) in refused.into_iter().zip(found) {
        device.line = place.map(|(line, _)| line);
    }
}

/// Settings that a request has brought.
pub(crate) struct Received<'s> {
    pub(crate) text: String,
    /// The file that the request expects.
    expected: Expected,
    /// Its place among the texts that are received or checked at a time.
    _place: Option<SemaphorePermit<'s>>,
}

/// Reads the settings in the body of a request.
pub(crate) async fn receive(state: &ApiState, request: Request) -> Result<Received<'_>, Problem> {
    let expected = expected(request.headers())?;
    let place = state.settings().await;
    let bytes = body(request, (TOML, "the text of a settings file"), SETTINGS_BYTES).await?;
    Ok(Received { text: utf8(bytes).map_err(Problem::unprocessable)?, expected, _place: place })
}

/// Checks settings, and whether the file is the one that their request expects. Returns the component that they were
/// checked with, too.
pub(crate) async fn check(
    state: &ApiState,
    plugin: &PluginName,
    Received { text, expected, .. }: &Received<'_>,
) -> Result<(SettingsRecord, Expected), Problem> {
    state.plugins().installer.expect_settings(plugin, expected.clone()).await?;
    let digest = Digest(Sha256::digest(text).into());
    // Taken when the text is there, so that a slow client does not delay the checks of others.
    let _turn = state.trials_of_settings().await;
    let Tried { loaded, beside } = state.plugins().installer.try_settings(plugin, text.clone()).await?;
    let trial = match loaded {
        Some(loaded) => {
            let mut trial = trial_record(state, loaded, Days::default()).await?;
            locate(plugin, text, &mut trial.jobs.devices);
            Some(trial)
        }
        None => None,
    };
    let record = SettingsRecord { plugin: plugin.to_string(), sha256: digest.to_string(), written: false, trial };
    Ok((record, beside))
}
