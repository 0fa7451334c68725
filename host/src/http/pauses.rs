//! Pauses of jobs, devices, plugins and all: set, removed, and shown in records.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use roost_scheduler::{
    event::{Done, Part, Request},
    names::JobName,
    pause::{Pause, PausedBy, Pauses},
    time::Instant,
    trigger::parse_duration,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    extract::{OptionalJson, Path},
    params::{DevicePath, JobPath, Plugin, PluginPath},
    problem::Problem,
    state::ApiState,
};
use crate::{clock, when::When};

/// A new pause: from when, until when, and why. All can be left out: then it begins at once, and lasts until it is
/// removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPauseRecord {
    /// When it begins: an instant with its offset, or a local time of the device (of the host, for a plugin or all).
    /// Default: at once; then it also covers runs that are due already and have not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-03-01T08:00")]
    pub(crate) from: Option<String>,
    /// When it ends, in the same form: what is due then or later runs. Default: when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2027-03-05T08:00")]
    pub(crate) until: Option<String>,
    /// Instead of `until`: how long it lasts from its beginning on.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    #[schema(example = "24h", pattern = "^([0-9]+(d|h|m|s|ms))+$")]
    pub(crate) lasts: Option<String>,
    /// Why, in one line: it is shown with the pause, and with each run that it skips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "rain", max_length = 200)]
    pub(crate) reason: Option<String>,
}

impl NewPauseRecord {
    /// Returns the request that sets a pause again.
    pub(super) fn again(pause: &Pause, zone: Zone) -> Self {
        let text = |at: Instant| at.in_zone(zone);
        let reason = pause.reason().map(str::to_owned);
        Self { from: pause.from().map(text), until: pause.until().map(text), lasts: None, reason }
    }

    /// Returns the pause, with local times taken in a zone.
    pub(super) fn pause(&self, zone: Zone, now: Instant) -> Result<Pause, Problem> {
        let at = |field: &str, text: &Option<String>| {
            let parse = |text: &String| {
                let wrong = |why| Problem::bad_request(format!("`{field}` is not a time: `{text}`")).hint(why);
                text.parse::<When>().map(|when| when.in_zone(zone)).map_err(wrong)
            };
            text.as_ref().map(parse).transpose()
        };
        let (from, mut until) = (at("from", &self.from)?, at("until", &self.until)?);
        if let Some(lasts) = &self.lasts {
            if until.is_some() {
                let problem = Problem::bad_request("a pause has `until` or `for`, not both");
                return Err(problem.hint("`until` is when it ends, `for` is how long it lasts"));
            }
            let wrong = |_| Problem::bad_request(format!("`for` is not a duration: `{lasts}`"));
            let lasts_ms = parse_duration(lasts).map_err(|error| wrong(error).hint("write `24h`, `90m` or `2d12h`"))?;
            // To the second, for those that read it.
            let from = from.unwrap_or(now);
            until = Some(from.plus_ms(i64::try_from(lasts_ms).unwrap_or(i64::MAX)).plus_ms(-(from.millis() % 1_000)));
        }
        if let Some(until) = until.filter(|until| *until <= now) {
            let (until, now) = (until.in_zone(zone), now.in_zone(zone));
            let problem = Problem::bad_request(format!("the pause would have ended already, at {until}: it is {now}"));
            return Err(problem.hint("give an end that is still to come, or leave it out to pause until it is resumed"));
        }
        Pause::new(from, until, self.reason.as_deref())
            .map_err(|fault| Problem::bad_request(format!("the pause cannot be set: {fault}")))
    }
}

/// Pause a job
///
/// Runs that are due from the beginning of the pause on and before its end are recorded as skipped, and are not caught
/// up. Runs that have started continue. Without a body, the pause begins at once and lasts until the job is resumed. A
/// new pause replaces the one that the job has, and the response has that; those of its device, its plugin and all are
/// others.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/pause", tag = "jobs",
    params(JobPath), request_body = Option<NewPauseRecord>,
    responses((status = 204), (status = 200, body = ReplacedPause, description = "It has replaced another pause")))]
pub(super) async fn pause_job(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
    OptionalJson(new): OptionalJson<NewPauseRecord>,
) -> Result<Response, Problem> {
    set(&state, Part::Job(path.name()), new).await
}

/// Resume a job
///
/// Removes its pause, also one that has not begun.
#[utoipa::path(post, path = "/api/v1/jobs/{plugin}/{device}/{job}/resume", tag = "jobs",
    params(JobPath),
    responses((status = 204)))]
pub(super) async fn resume_job(
    State(state): State<ApiState>,
    Path(path): Path<JobPath>,
) -> Result<StatusCode, Problem> {
    remove(&state, Part::Job(path.name())).await
}

/// Pause the jobs of a device
///
/// As for a job. A new pause replaces the one that the device has.
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/pause", tag = "devices",
    params(DevicePath), request_body = Option<NewPauseRecord>,
    responses((status = 204), (status = 200, body = ReplacedPause, description = "It has replaced another pause")))]
pub(super) async fn pause_device(
    State(state): State<ApiState>,
    Path(path): Path<DevicePath>,
    OptionalJson(new): OptionalJson<NewPauseRecord>,
) -> Result<Response, Problem> {
    let (plugin, device) = path.name();
    set(&state, Part::Device(plugin, device), new).await
}

/// Resume the jobs of a device
#[utoipa::path(post, path = "/api/v1/devices/{plugin}/{device}/resume", tag = "devices",
    params(DevicePath),
    responses((status = 204)))]
pub(super) async fn resume_device(
    State(state): State<ApiState>,
    Path(path): Path<DevicePath>,
) -> Result<StatusCode, Problem> {
    let (plugin, device) = path.name();
    remove(&state, Part::Device(plugin, device)).await
}

/// Pause the jobs of a plugin
///
/// As for a job; local times are those of the host. Owed messages are sent. A new pause replaces the one that the plugin
/// has.
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/pause", tag = "plugins",
    params(PluginPath), request_body = Option<NewPauseRecord>,
    responses(
        (status = 204, description = "The plugin is paused, or will be"),
        (status = 200, body = ReplacedPause, description = "The same, and it has replaced another pause"),
    ))]
pub(super) async fn pause(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
    OptionalJson(new): OptionalJson<NewPauseRecord>,
) -> Result<Response, Problem> {
    set(&state, Part::Plugin(plugin), new).await
}

/// Resume the jobs of a plugin
#[utoipa::path(post, path = "/api/v1/plugins/{plugin}/resume", tag = "plugins",
    params(PluginPath),
    responses((status = 204, description = "The plugin is resumed")))]
pub(super) async fn resume(
    State(state): State<ApiState>,
    Path(PluginPath { plugin: Plugin(plugin) }): Path<PluginPath>,
) -> Result<StatusCode, Problem> {
    remove(&state, Part::Plugin(plugin)).await
}

/// Pause the jobs of all plugins, and those made over the API
///
/// As for a job; local times are those of the host. Owed messages are sent. A new pause replaces the one of all.
#[utoipa::path(post, path = "/api/v1/pause", tag = "host", request_body = Option<NewPauseRecord>,
    responses(
        (status = 204, description = "Everything is paused, or will be"),
        (status = 200, body = ReplacedPause, description = "The same, and it has replaced another pause"),
    ))]
pub(super) async fn pause_all(
    State(state): State<ApiState>,
    OptionalJson(new): OptionalJson<NewPauseRecord>,
) -> Result<Response, Problem> {
    set(&state, Part::All, new).await
}

/// Remove the pause of all
///
/// Plugins, devices and jobs that are paused themselves stay so.
#[utoipa::path(post, path = "/api/v1/resume", tag = "host",
    responses((status = 204, description = "All that is not paused itself is resumed")))]
pub(super) async fn resume_all(State(state): State<ApiState>) -> Result<StatusCode, Problem> {
    remove(&state, Part::All).await
}

/// The pause that a new one has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"replaced": {"until": "2027-03-05T08:00:00+00:00", "reason": "holidays"}}))]
pub(crate) struct ReplacedPause {
    /// It had not ended. As the body of the same request, it is set again
    pub(crate) replaced: NewPauseRecord,
}

/// Sets a pause. The response has the one that it has replaced.
pub(crate) async fn set(state: &ApiState, what: Part, new: Option<NewPauseRecord>) -> Result<Response, Problem> {
    let zone = zone_of(state, &what).await?;
    let pause = Arc::new(new.unwrap_or_default().pause(zone, clock::now())?);
    let before = replace(state, vec![(what, Some(pause.clone()))]).await?.pop().flatten();
    Ok(match before.filter(|before| *before != pause) {
        Some(before) => Json(ReplacedPause { replaced: NewPauseRecord::again(&before, zone) }).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Removes a pause.
pub(crate) async fn remove(state: &ApiState, what: Part) -> Result<StatusCode, Problem> {
    replace(state, vec![(what, None)]).await.map(|_| StatusCode::NO_CONTENT)
}

/// Sets or removes pauses, all or none. Returns those that there were before, unless they had ended.
pub(super) async fn replace(
    state: &ApiState,
    pauses: Vec<(Part, Option<Arc<Pause>>)>,
) -> Result<Vec<Option<Arc<Pause>>>, Problem> {
    match state.request(Request::Pause(pauses)).await? {
        Done::Pauses(before) => Ok(before),
        _ => Err(Problem::bug(&"the scheduler did not name the pauses")),
    }
}

/// Returns the jobs with a pause of their own that has not ended, in batches.
pub(super) async fn paused_jobs(state: &ApiState) -> Result<Vec<(JobName, PausedBy)>, Problem> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    while let Some(key) = from {
        let (jobs, next) = state.inspect(move |scheduler| scheduler.paused_jobs(key)).await?;
        found.extend(jobs);
        from = next;
    }
    Ok(found)
}

/// Returns the zone of the local times of a pause: the device's, or the host's. Of what does not exist, too.
async fn zone_of(state: &ApiState, what: &Part) -> Result<Zone, Problem> {
    let (Part::Device(plugin, device) | Part::Job((plugin, device, _))) = what.clone() else {
        return Ok(state.zone());
    };
    let zone = state.inspect(move |scheduler| scheduler.device(&plugin, &device).map(|device| device.site.zone));
    Ok(zone.await?.unwrap_or_else(|| state.zone()))
}

/// A pause that is in force or will be: what is due from its beginning on and before its end is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PauseRecord {
    /// When it begins, or has begun; omitted if it began when it was set, and also covers what had not started then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) from: Option<String>,
    /// When it ends; omitted if it lasts until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) until: Option<String>,
    /// Why it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "rain", max_length = 200)]
    pub(crate) reason: Option<String>,
    /// What it was set on: `all`, the `plugin`, the `device` or the `job`.
    #[schema(pattern = "^(all|plugin|device|job)$")]
    pub(crate) by: String,
}

impl PauseRecord {
    pub(crate) fn new(by: &PausedBy, zone: Zone) -> Self {
        let (what, pause): (_, &Pause) = (by.what, &by.pause);
        let text = |at: Instant| at.in_zone(zone);
        Self {
            from: pause.from().map(text),
            until: pause.until().map(text),
            reason: pause.reason().map(str::to_owned),
            by: what.as_str().to_owned(),
        }
    }

    /// Writes it for users, after the name of what is paused: `paused until 08:00 (rain)`. Also returns whether it has
    /// begun.
    pub(crate) fn in_words(&self, now: Instant, time: impl Fn(&str) -> String) -> (String, bool) {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).map_or(Instant::MIN, Into::into);
        let from = self.from.as_deref().filter(|from| at(from) > now);
        let has_begun = from.is_none();
        let from = from.map(|from| format!(" from {}", time(from))).unwrap_or_default();
        let until = self.until.as_deref().map(|until| format!(" until {}", time(until))).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        (format!("paused{from}{until}{reason}"), has_begun)
    }

    /// Checks whether what is due at an instant is skipped.
    pub(crate) fn covers(&self, at: Instant) -> bool {
        let is_at_most = |text: &String| DateTime::parse_from_rfc3339(text).is_ok_and(|time| Instant::from(time) <= at);
        self.from.as_ref().is_none_or(is_at_most) && !self.until.as_ref().is_some_and(is_at_most)
    }

    /// Returns the pause to show of those that apply: the one in force, or the next one.
    pub(crate) fn shown(pauses: &Pauses, now: Instant, zone: Zone) -> Option<Self> {
        pauses.shown(now).map(|by| Self::new(by, zone))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use expect_test::expect;
    use roost_scheduler::pause::Level;

    use super::*;
    use crate::zones::zone;

    fn pause(body: &str) -> Result<Pause, String> {
        let new: NewPauseRecord = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let now = DateTime::parse_from_rfc3339("2027-03-01T06:30:00Z").unwrap().into();
        new.pause(zone("Europe/Berlin"), now)
            .map_err(|problem| [problem.detail].into_iter().chain(problem.hint).collect::<Vec<_>>().join("\nhint: "))
    }

    #[test]
    fn a_pause_has_local_times_and_an_end_or_a_length() {
        let shown = |body: &str| {
            let pause = pause(body).unwrap();
            let text = |at: Option<Instant>| at.map_or("-".to_owned(), |at| at.to_string());
            format!("{} {} {}", text(pause.from()), text(pause.until()), pause.reason().unwrap_or("-"))
        };
        expect![[r#"
            - - -
            - 2027-03-02T06:30:00Z rain
            2027-03-05T07:00:00Z 2027-03-06T07:00:00Z -
            - 2027-03-28T06:00:00Z -
            2027-03-01T00:00:00Z - -"#]]
        .assert_eq(
            &[
                "{}",
                r#"{"for": "24h", "reason": "rain"}"#,
                r#"{"from": "2027-03-05T08:00", "for": "1d"}"#,
                r#"{"until": "2027-03-28T08:00"}"#,
                r#"{"from": "2027-03-01T00:00:00Z"}"#,
            ]
            .map(shown)
            .join("\n"),
        );
    }

    #[test]
    fn a_pause_that_cannot_be_is_refused_with_its_reason() {
        let fault = |body: &str| pause(body).unwrap_err();
        expect![[r#"
            a pause has `until` or `for`, not both
            hint: `until` is when it ends, `for` is how long it lasts
            the pause would have ended already, at 2027-03-01T07:30:00+01:00: it is 2027-03-01T07:30:00+01:00
            hint: give an end that is still to come, or leave it out to pause until it is resumed
            the pause would have ended already, at 2027-03-01T07:30:00+01:00: it is 2027-03-01T07:30:00+01:00
            hint: give an end that is still to come, or leave it out to pause until it is resumed
            `for` is not a duration: `a day`
            hint: write `24h`, `90m` or `2d12h`
            `until` is not a time: `tomorrow`
            hint: write `2027-03-01T06:30:00Z`, with `Z` or an offset such as `+01:00`, or a local time: `2027-03-01` or `2027-03-01T06:30`
            the pause cannot be set: it would end at 2027-03-05T07:00:00Z, which is not after its beginning at 2027-03-06T07:00:00Z
            the pause cannot be set: its reason has to be one line of printable text
            unknown field `to`, expected one of `from`, `until`, `for`, `reason` at line 1 column 5"#]].assert_eq(
            &[
                r#"{"until": "2027-03-05T08:00", "for": "24h"}"#,
                r#"{"until": "2027-03-01T07:30"}"#,
                r#"{"for": "0s"}"#,
                r#"{"for": "a day"}"#,
                r#"{"until": "tomorrow"}"#,
                r#"{"from": "2027-03-06T08:00", "until": "2027-03-05T08:00"}"#,
                r#"{"reason": "rain\nand hail"}"#,
                r#"{"to": "2027-03-05T08:00"}"#,
            ]
            .map(fault)
            .join("\n"),
        );
    }

    #[test]
    fn a_pause_that_was_replaced_is_set_again_by_the_same_request() {
        for body in ["{}", r#"{"from": "2027-03-01T00:00:00.250Z", "until": "2027-03-28T08:00", "reason": "rain"}"#] {
            let before = pause(body).unwrap();
            let again = NewPauseRecord::again(&before, zone("Europe/Berlin"));
            assert_eq!(pause(&serde_json::to_string(&again).unwrap()), Ok(before));
        }
    }

    /// Returns a pause, for a reason.
    pub(in super::super) fn paused_by(what: Level, from: Option<Instant>, until: Option<Instant>) -> PausedBy {
        PausedBy { what, pause: Pause::new(from, until, Some("rain")).unwrap().into() }
    }

    /// Returns a pause that lasts until it is removed.
    pub(in super::super) fn until_resumed(what: Level) -> PausedBy {
        PausedBy { what, pause: Pause::UNTIL_RESUMED.into() }
    }
}
