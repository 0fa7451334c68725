//! Host events as JSON, in streams and in logs.

use std::sync::Arc;

use bytes::Bytes;
use roost_scheduler::{
    event::{Announcement, ByHand, Part, PauseChange, RunEnded},
    pause::{self, Pause, PausedBy},
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use tracing::Level;
use utoipa::ToSchema;

use super::{pauses::PauseRecord, runs::RunRecord};
use crate::event_log::{Entry, EventLog, HostEvent};

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HostEventRecord {
    /// The id of the event, to continue from as `after` or `Last-Event-ID`.
    pub(crate) id: String,
    #[schema(format = DateTime)]
    pub(crate) time: String,
    /// The subject: a run, a plan, a version of a plugin, a log line of a plugin, the connection to the broker, the
    /// clock, a pause, or what a request has changed of a job.
    #[schema(pattern = "^(run|plan|plugin|log|link|clock|pause|job)$")]
    pub(crate) kind: String,
    #[schema(pattern = "^(error|warn|info|debug|trace)$")]
    pub(crate) level: String,
    /// A description in plain text.
    pub(crate) text: String,
    /// How to solve the problem, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plugin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// For kind `run`: the run, which has begun if its state is `running`, or else has ended. A run of a single message
    /// is only reported when it has ended. Times are in the host's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunRecord>,
    /// For kind `plan`: what the plan has changed, unless it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanRecord>,
    /// For kind `link`: whether the host is connected to the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up: Option<bool>,
    /// For kind `clock`: by how many milliseconds the clock was set; negative if it was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by_ms: Option<i64>,
    /// For kind `pause`: the pause, and what became of it. Times are in the host's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause: Option<PauseChangeRecord>,
    /// For kind `job`: the job, and what a request has changed of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobChangeRecord>,
}

/// What a request has changed of a job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobChangeRecord {
    /// `made`, `replaced` and `cancelled`: a job made by hand was. `skipped`: its next run is to be left out; `skip-undone`:
    /// not any more. `run-now`: a run was added beside its trigger. `replayed`: one was added that replays a failed one.
    #[schema(pattern = "^(made|replaced|cancelled|skipped|skip-undone|run-now|replayed)$")]
    pub(crate) change: String,
    /// The job; its plugin and its device are those of the event.
    pub(crate) job: String,
    /// The run that is to be skipped, or not any more, or was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "coop-door/north/open/2027-03-01T06:30:00Z")]
    pub(crate) run: Option<String>,
}

/// What became of a pause.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PauseChangeRecord {
    /// `set`: it was set, and has begun if it has no beginning. `begun` and `ended`: that time has come. `removed`: it was
    /// removed before its end.
    #[schema(pattern = "^(set|begun|ended|removed)$")]
    pub(crate) change: String,
    /// The job, if it was set on a job; its plugin and its device are those of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    #[serde(flatten)]
    pub(crate) pause: PauseRecord,
}

/// The number of jobs that a plan has changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanRecord {
    /// Whether the plan is of a new version of the plugin.
    pub(crate) loaded: bool,
    pub(crate) new: usize,
    pub(crate) changed: usize,
    pub(crate) gone: usize,
    pub(crate) unchanged: usize,
}

/// A server-sent event.
#[derive(ToSchema)]
#[schema(as = ServerSentEvent)]
pub(super) struct Streamed<'e> {
    /// The id of the event, to continue from as `Last-Event-ID` or `after`.
    pub(super) id: &'e str,
    /// The kind of the event, or `gap`.
    #[schema(pattern = "^(run|plan|plugin|log|link|clock|pause|job|gap)$")]
    pub(super) event: &'e str,
    /// A `HostEventRecord` as JSON; of a `gap`, a `GapRecord`.
    #[schema(content_media_type = "application/json")]
    pub(super) data: &'e str,
}

/// A gap in a stream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GapRecord {
    /// The number of lost events, of all kinds; `null` if it is unknown because the host has been restarted since.
    #[schema(required)]
    pub(crate) missed: Option<u64>,
}

/// Formats the id of an event, such as `19a2b3c4d5e-17`: the time at which the host started, and the event's number.
pub(super) fn id(event_log: &EventLog, number: u64) -> String {
    format!("{:x}-{number}", event_log.start().millis())
}

/// Parses an id into the time at which the host started and the event's number.
pub(super) fn parse_id(id: &str) -> Option<(Instant, u64)> {
    let (start, number) = id.split_once('-')?;
    Some((Instant::from_millis(i64::from_str_radix(start, 16).ok()?)?, number.parse().ok()?))
}

/// Returns an event as it is sent to all subscribers. It is encoded once.
pub(super) fn frame(event_log: &EventLog, entry: &Entry, zone: Zone) -> Bytes {
    let frame = entry.frame.get_or_init(|| {
        let record = HostEventRecord::new(event_log, entry, zone);
        let data = serde_json::to_string(&record).unwrap_or_default();
        Streamed { id: &record.id, event: &record.kind, data: &data }.encode()
    });
    frame.clone()
}

impl Streamed<'_> {
    /// Encodes it. `data` must be a single line, as JSON is here.
    pub(super) fn encode(&self) -> Bytes {
        let Self { id, event, data } = self;
        format!("id: {id}\nevent: {event}\ndata: {data}\n\n").into()
    }
}

impl HostEventRecord {
    pub(super) fn new(event_log: &EventLog, entry: &Entry, zone: Zone) -> Self {
        let what = &entry.what;
        let (level, text) = what.message();
        let mut record = Self {
            id: id(event_log, entry.number),
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
            pause: None,
            job: None,
        };
        match what {
            HostEvent::Started { run, at } => record.run = Some(RunRecord::under_way(run, None, Some(*at), zone)),
            HostEvent::Ended(run) => record.run = Some(ended(run, zone)),
            HostEvent::Planned(announcement) => record.plan = Some(announcement.into()),
            HostEvent::NotLoaded { report, .. } => record.hint.clone_from(&report.hint),
            HostEvent::Link { up } => record.up = Some(*up),
            HostEvent::ClockSet { by_ms, .. } => record.by_ms = Some(*by_ms),
            HostEvent::Pause { what, pause, change } => {
                record.pause = Some(PauseChangeRecord::new(what, pause.clone(), *change, zone));
            }
            HostEvent::ByHand(change) => record.job = Some(change.into()),
            HostEvent::PlanRefused { .. }
            | HostEvent::Loaded { .. }
            | HostEvent::Freed { .. }
            | HostEvent::Removed(_)
            | HostEvent::Logged { .. } => {}
        }
        record
    }
}

impl PauseChangeRecord {
    fn new(what: &Part, pause: Arc<Pause>, change: PauseChange, zone: Zone) -> Self {
        let change = match change {
            PauseChange::Set => "set",
            PauseChange::Begun => "begun",
            PauseChange::Ended => "ended",
            PauseChange::Removed => "removed",
        };
        let (level, job) = match what {
            Part::All => (pause::Level::All, None),
            Part::Plugin(_) => (pause::Level::Plugin, None),
            Part::Device(..) => (pause::Level::Device, None),
            Part::Job((.., job)) => (pause::Level::Job, Some(job.to_string())),
        };
        let pause = PauseRecord::new(&PausedBy { what: level, pause }, zone);
        Self { change: change.to_owned(), job, pause }
    }
}

impl From<&ByHand> for JobChangeRecord {
    fn from(by_hand: &ByHand) -> Self {
        let change = match by_hand {
            ByHand::Made(_) => "made",
            ByHand::Replaced(_) => "replaced",
            ByHand::Cancelled(_) => "cancelled",
            ByHand::Skipped(_) => "skipped",
            ByHand::SkipUndone(_) => "skip-undone",
            ByHand::RunNow(_) => "run-now",
            ByHand::Replayed(_) => "replayed",
        };
        let (.., job) = by_hand.job();
        Self { change: change.into(), job: job.to_string(), run: by_hand.run().map(ToString::to_string) }
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
        state: outcome.state().to_string(),
        reason: Some(outcome.text(&|at| at.in_zone(zone)).to_string()).filter(|reason| !reason.is_empty()),
        ended: Some(ended.in_zone(zone)),
        attempts: Some(*attempts),
        note: note.as_deref().map(str::to_owned),
        ..RunRecord::under_way(id, None, *begun, zone)
    }
}

impl From<&Announcement> for PlanRecord {
    fn from(announcement: &Announcement) -> Self {
        let Announcement { loaded, new, changed, gone, unchanged, .. } = *announcement;
        Self { loaded, new, changed, gone, unchanged }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use roost_scheduler::names::{DeviceName, JobId, PluginName};

    use super::*;

    #[test]
    fn an_event_about_a_pause_says_what_became_of_which() {
        let at = |millis| Instant::from_millis(millis);
        let pause: Arc<Pause> = Pause::new(None, at(1_803_891_600_000), Some("rain")).unwrap().into();
        let (plugin, device) = (PluginName::parse("coop").unwrap(), DeviceName::parse("north").unwrap());
        let job = Part::Job((plugin, device, JobId::parse("open").unwrap()));
        let json = |what: &Part, change| {
            serde_json::to_string(&PauseChangeRecord::new(what, pause.clone(), change, Zone::UTC)).unwrap()
        };
        expect![[r#"
            {"change":"set","job":"open","until":"2027-03-01T09:00:00Z","reason":"rain","by":"job"}
            {"change":"ended","until":"2027-03-01T09:00:00Z","reason":"rain","by":"all"}"#]]
        .assert_eq(&[json(&job, PauseChange::Set), json(&Part::All, PauseChange::Ended)].join("\n"));
    }
}
