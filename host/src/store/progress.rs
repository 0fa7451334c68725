//! The JSON columns of a run's progress.

use roost_scheduler::{
    event::Progress,
    names::JobId,
    outcome::{Attempt, Cancelled, Failed, Late},
    time::Instant,
    topic::Topic,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailedRecord {
    step: usize,
    attempts: u32,
    last: AttemptRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AttemptRecord {
    LinkLost,
    HostStopped,
    Refused(String),
    EndedLink {
        topic: String,
        how: String,
    },
    NoSubscriber,
    Overtaken,
    PossiblySent,
    Prevented(String),
    Unanswered(String),
    NoReport {
        within_ms: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CancelledRecord {
    DeviceRemoved,
    PluginRemoved,
    Replaced { by: i64 },
    NewerOfGroup { job: String, by: i64 },
    Abandoned,
    Restored,
    JobCancelled,
    JobReplaced,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LateRecord {
    step: usize,
    late_ms: i64,
}

/// The parts of a run's progress that are stored as JSON; `None` becomes NULL.
pub(super) struct ProgressText {
    pub(super) failed: Option<String>,
    pub(super) cancelled: Option<String>,
    pub(super) late: Option<String>,
}

pub(super) fn progress_to_json(progress: &Progress) -> serde_json::Result<ProgressText> {
    let Progress { failed, cancelled, late, .. } = progress;
    Ok(ProgressText {
        failed: failed.as_ref().map(|failed| serde_json::to_string(&FailedRecord::from(failed))).transpose()?,
        cancelled: cancelled.as_ref().map(|why| serde_json::to_string(&CancelledRecord::from(why))).transpose()?,
        late: late.as_ref().map(|late| serde_json::to_string(&LateRecord::from(late))).transpose()?,
    })
}

pub(super) fn failed_from_json(text: &str) -> Result<Failed, String> {
    serde_json::from_str::<FailedRecord>(text).map_err(|error| format!("failed: {error}"))?.try_into()
}

pub(super) fn cancelled_from_json(text: &str) -> Result<Cancelled, String> {
    serde_json::from_str::<CancelledRecord>(text).map_err(|error| format!("cancelled: {error}"))?.try_into()
}

pub(super) fn late_from_json(text: &str) -> Result<Late, String> {
    serde_json::from_str(text).map(LateRecord::into).map_err(|error| format!("late: {error}"))
}

impl From<LateRecord> for Late {
    fn from(LateRecord { step, late_ms }: LateRecord) -> Self {
        Self { step, late_ms }
    }
}

impl TryFrom<FailedRecord> for Failed {
    type Error = String;

    fn try_from(FailedRecord { step, attempts, last }: FailedRecord) -> Result<Self, String> {
        let last = match last {
            AttemptRecord::LinkLost => Attempt::LinkLost,
            AttemptRecord::HostStopped => Attempt::HostStopped,
            AttemptRecord::Refused(reason) => Attempt::Refused(reason),
            AttemptRecord::EndedLink { topic, how } => {
                Attempt::EndedLink { topic: Topic::parse(&topic).map_err(|error| error.to_string())?, how }
            }
            AttemptRecord::NoSubscriber => Attempt::NoSubscriber,
            AttemptRecord::Overtaken => Attempt::Overtaken,
            AttemptRecord::PossiblySent => Attempt::PossiblySent,
            AttemptRecord::Prevented(why) => Attempt::Prevented(why),
            AttemptRecord::Unanswered(why) => Attempt::Unanswered(why),
            AttemptRecord::NoReport { within_ms, said } => Attempt::NoReport { within_ms, last_report: said },
        };
        Ok(Self { step, attempts, last })
    }
}

impl TryFrom<CancelledRecord> for Cancelled {
    type Error = String;

    fn try_from(record: CancelledRecord) -> Result<Self, String> {
        let instant = |millis: i64| Instant::from_millis(millis).ok_or_else(|| format!("{millis} is not an instant"));
        Ok(match record {
            CancelledRecord::DeviceRemoved => Self::DeviceRemoved,
            CancelledRecord::PluginRemoved => Self::PluginRemoved,
            CancelledRecord::Replaced { by } => Self::Replaced { by: instant(by)? },
            CancelledRecord::NewerOfGroup { job, by } => {
                let job = JobId::parse(&job).map_err(|error| error.to_string())?;
                Self::NewerOfGroup { job, by: instant(by)? }
            }
            CancelledRecord::Abandoned => Self::Abandoned,
            CancelledRecord::Restored => Self::Restored,
            CancelledRecord::JobCancelled => Self::JobCancelled,
            CancelledRecord::JobReplaced => Self::JobReplaced,
        })
    }
}

impl From<&Late> for LateRecord {
    fn from(Late { step, late_ms }: &Late) -> Self {
        Self { step: *step, late_ms: *late_ms }
    }
}

impl From<&Failed> for FailedRecord {
    fn from(Failed { step, attempts, last }: &Failed) -> Self {
        let last = match last {
            Attempt::LinkLost => AttemptRecord::LinkLost,
            Attempt::HostStopped => AttemptRecord::HostStopped,
            Attempt::Refused(reason) => AttemptRecord::Refused(reason.clone()),
            Attempt::EndedLink { topic, how } => {
                AttemptRecord::EndedLink { topic: topic.to_string(), how: how.clone() }
            }
            Attempt::NoSubscriber => AttemptRecord::NoSubscriber,
            Attempt::Overtaken => AttemptRecord::Overtaken,
            Attempt::PossiblySent => AttemptRecord::PossiblySent,
            Attempt::Prevented(why) => AttemptRecord::Prevented(why.clone()),
            Attempt::Unanswered(why) => AttemptRecord::Unanswered(why.clone()),
            Attempt::NoReport { within_ms, last_report } => {
                AttemptRecord::NoReport { within_ms: *within_ms, said: last_report.clone() }
            }
        };
        Self { step: *step, attempts: *attempts, last }
    }
}

impl From<&Cancelled> for CancelledRecord {
    fn from(cancelled: &Cancelled) -> Self {
        match cancelled {
            Cancelled::DeviceRemoved => Self::DeviceRemoved,
            Cancelled::PluginRemoved => Self::PluginRemoved,
            Cancelled::Replaced { by } => Self::Replaced { by: by.millis() },
            Cancelled::NewerOfGroup { job, by } => Self::NewerOfGroup { job: job.as_str().to_owned(), by: by.millis() },
            Cancelled::Abandoned => Self::Abandoned,
            Cancelled::Restored => Self::Restored,
            Cancelled::JobCancelled => Self::JobCancelled,
            Cancelled::JobReplaced => Self::JobReplaced,
        }
    }
}
