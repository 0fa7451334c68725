//! How runs ended, as JSON: every value that the reason was made of, for programs that want to know why.

use roost_scheduler::{
    outcome::{Cause, Denied, Level, Missed, Outcome, Several, Skipped, Why},
    time::Instant,
};
use serde::Serialize;

use super::progress::{CancelledRecord, FailedRecord, LateRecord};

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeRecord {
    Late(LateRecord),
    Failed(FailedRecord),
    Missed(MissedRecord),
    Skipped(SkippedRecord),
    Cancelled(CancelledRecord),
    Denied(DeniedRecord),
}

#[derive(Serialize)]
struct MissedRecord {
    #[serde(flatten)]
    why: WhyRecord,
    #[serde(flatten)]
    several: Option<SeveralRecord>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum WhyRecord {
    TooLate {
        late_ms: i64,
        grace_ms: u32,
        cause: CauseRecord,
    },
    TooMany(u32),
    Superseded {
        #[serde(skip_serializing_if = "Option::is_none")]
        job: Option<String>,
        by: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum CauseRecord {
    HostAway,
    ClockSet,
    PlannedLate,
    LinkDown,
    Busy,
    EarlierRun,
    Taken(String),
    SlowPlugin,
    Deaf(String),
}

#[derive(Serialize)]
struct SeveralRecord {
    since: String,
    count: u32,
    /// Whether there were more than were counted.
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum SkippedRecord {
    Earlier(String),
    Waiting(u32),
    GoingOn(u32),
    Paused {
        what: &'static str,
        #[serde(flatten)]
        several: Option<SeveralRecord>,
    },
    Unwanted,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum DeniedRecord {
    Topic(String),
    Report(String),
    Resource(String),
}

/// `None` of a run that simply succeeded.
pub(crate) fn outcome_to_json(outcome: &Outcome) -> serde_json::Result<Option<String>> {
    let record = match outcome {
        Outcome::Succeeded(None) => return Ok(None),
        Outcome::Succeeded(Some(late)) => OutcomeRecord::Late(late.into()),
        Outcome::Failed(failed) => OutcomeRecord::Failed(failed.into()),
        Outcome::Missed(missed) => OutcomeRecord::Missed(missed.into()),
        Outcome::Skipped(skipped) => OutcomeRecord::Skipped(skipped.into()),
        Outcome::Cancelled(cancelled) => OutcomeRecord::Cancelled(cancelled.into()),
        Outcome::Denied(denied) => OutcomeRecord::Denied(denied.into()),
    };
    serde_json::to_string(&record).map(Some)
}

fn text(at: &Instant) -> String {
    at.to_string()
}

impl From<&Missed> for MissedRecord {
    fn from(Missed { why, several }: &Missed) -> Self {
        let why = match why {
            Why::TooLate { late_ms, grace_ms, cause } => {
                WhyRecord::TooLate { late_ms: *late_ms, grace_ms: *grace_ms, cause: cause.into() }
            }
            Why::TooMany(most) => WhyRecord::TooMany(*most),
            Why::Superseded { job, by } => {
                WhyRecord::Superseded { job: job.as_ref().map(ToString::to_string), by: text(by) }
            }
        };
        Self { why, several: several.as_ref().map(Into::into) }
    }
}

impl From<&Cause> for CauseRecord {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::HostAway => Self::HostAway,
            Cause::ClockSet => Self::ClockSet,
            Cause::PlannedLate => Self::PlannedLate,
            Cause::LinkDown => Self::LinkDown,
            Cause::Busy => Self::Busy,
            Cause::EarlierRun => Self::EarlierRun,
            Cause::Taken(name) => Self::Taken(name.to_string()),
            Cause::SlowPlugin => Self::SlowPlugin,
            Cause::Deaf(reason) => Self::Deaf(reason.clone()),
        }
    }
}

impl From<&Several> for SeveralRecord {
    fn from(Several { since, count, more }: &Several) -> Self {
        Self { since: text(since), count: *count, more: *more }
    }
}

impl From<&Skipped> for SkippedRecord {
    fn from(skipped: &Skipped) -> Self {
        match skipped {
            Skipped::Earlier(earlier) => Self::Earlier(text(earlier)),
            Skipped::Waiting(most) => Self::Waiting(*most),
            Skipped::GoingOn(most) => Self::GoingOn(*most),
            Skipped::Paused { what, several } => {
                let what = match what {
                    Level::Plugin => "plugin",
                    Level::Device => "device",
                    Level::Job => "job",
                };
                Self::Paused { what, several: several.as_ref().map(Into::into) }
            }
            Skipped::Unwanted => Self::Unwanted,
        }
    }
}

impl From<&Denied> for DeniedRecord {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Topic(topic) => Self::Topic(topic.to_string()),
            Denied::Report(topic) => Self::Report(topic.to_string()),
            Denied::Resource(name) => Self::Resource(name.to_string()),
        }
    }
}
