//! What happened, as JSON: in streams and in logs.

use std::fmt::Write as _;

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, RunEnded},
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use tracing::Level;
use utoipa::ToSchema;

use super::runs::RunRecord;
use crate::event_log::{Entry, EventLog, HostEvent};

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HostEventRecord {
    /// What to go on from: as `after`, or as `Last-Event-ID`.
    pub(crate) id: String,
    #[schema(format = DateTime)]
    pub(crate) time: String,
    /// What it is about: a run, a plan, a version of a plugin, what a plugin wrote, the connection to the broker, the clock.
    #[schema(pattern = "^(run|plan|plugin|log|link|clock)$")]
    pub(crate) kind: String,
    #[schema(pattern = "^(error|warn|info|debug|trace)$")]
    pub(crate) level: String,
    /// For people.
    pub(crate) text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// Of kind `run`: it has begun, if its state is `running`, or has ended. One that has but a message to send is reported when
    /// it has ended. Times are in the host's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
    /// Of kind `plan`, where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanRecord>,
    /// Of kind `link`: whether there is a connection to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<bool>,
    /// Of kind `clock`: by how much it was set; negative if back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by_ms: Option<i64>,
}

/// How many jobs a plan has changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanRecord {
    /// Whether it came with a new version.
    pub(crate) loaded: bool,
    pub(crate) new: usize,
    pub(crate) changed: usize,
    pub(crate) gone: usize,
    pub(crate) unchanged: usize,
}

/// What a stream could not tell.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GapRecord {
    /// How many happenings, of whatever kind; `null` where that is not known, for they were of a host that has ended.
    #[schema(required)]
    pub(crate) missed: Option<u64>,
}

/// `19a2b3c4d5e-17`: of which start of the host, and which one.
pub(super) fn id(feed: &EventLog, number: u64) -> String {
    format!("{:x}-{number}", feed.start().millis())
}

/// What an id stands for: when the host started whose it is, and its number.
pub(super) fn parse_id(id: &str) -> Option<(Instant, u64)> {
    let (start, number) = id.split_once('-')?;
    Some((Instant::from_millis(i64::from_str_radix(start, 16).ok()?)?, number.parse().ok()?))
}

/// As it is sent to all who follow: made once.
pub(super) fn frame(feed: &EventLog, entry: &Entry, zone: Zone) -> Bytes {
    let made = entry.frame.get_or_init(|| {
        let record = HostEventRecord::new(feed, entry, zone);
        event(&record.id, &record.kind, &serde_json::to_string(&record).unwrap_or_default())
    });
    made.clone()
}

/// A server-sent event. JSON is one line.
pub(super) fn event(id: &str, kind: &str, data: &str) -> Bytes {
    let mut text = String::with_capacity(id.len() + kind.len() + data.len() + 24);
    let _ = write!(text, "id: {id}\nevent: {kind}\ndata: {data}\n\n");
    text.into()
}

impl HostEventRecord {
    pub(super) fn new(feed: &EventLog, entry: &Entry, zone: Zone) -> Self {
        let what = &entry.what;
        let (level, text) = what.message();
        let mut record = Self {
            id: id(feed, entry.number),
            time: entry.at.in_zone(zone),
            kind: what.kind().word().into(),
            level: word(level).into(),
            text,
            hint: None,
            plugin: what.plugin().map(ToString::to_string),
            device: what.device().map(ToString::to_string),
            run: None,
            plan: None,
            up: None,
            by_ms: None,
        };
        match what {
            HostEvent::Started { run, at } => record.run = Some(RunRecord::under_way(run, Some(*at), zone)),
            HostEvent::Ended(run) => record.run = Some(ended(run, zone)),
            HostEvent::Planned(announcement) => record.plan = Some(announcement.into()),
            HostEvent::NotLoaded { report, .. } => record.hint.clone_from(&report.hint),
            HostEvent::Link { up } => record.up = Some(*up),
            HostEvent::ClockSet { by_ms, .. } => record.by_ms = Some(*by_ms),
            HostEvent::PlanRefused { .. }
            | HostEvent::Loaded { .. }
            | HostEvent::Freed { .. }
            | HostEvent::Removed(_)
            | HostEvent::Logged { .. } => {}
        }
        record
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn ended(run: &RunEnded, zone: Zone) -> RunRecord {
    let RunEnded { id, outcome, started: begun, ended, attempts, note, .. } = run;
    RunRecord {
        state: outcome.word().into(),
        reason: Some(outcome.to_string()).filter(|reason| !reason.is_empty()),
        ended: Some(ended.in_zone(zone)),
        attempts: Some(*attempts),
        note: note.as_deref().map(str::to_owned),
        ..RunRecord::under_way(id, *begun, zone)
    }
}

impl From<&Announcement> for PlanRecord {
    fn from(announcement: &Announcement) -> Self {
        let Announcement { loaded, new, changed, gone, unchanged, .. } = *announcement;
        Self { loaded, new, changed, gone, unchanged }
    }
}
