//! The outcomes of runs as JSON, with every value that the reason was made of, for programs.

use roost_scheduler::{
    model::Qos,
    names::{JobId, ResourceName},
    outcome::{Cause, Denied, Missed, MissedReason, Outcome, Several, Skipped, Success},
    pause::{Level, Pause, PausedBy},
    time::Instant,
    topic::Topic,
};
use serde::{Deserialize, Serialize};

use super::progress::{CancelledRecord, FailedRecord, LateRecord};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeRecord {
    Late(LateRecord),
    NoSubscriber(NoSubscriberRecord),
    Failed(FailedRecord),
    Missed(MissedRecord),
    Skipped(SkippedRecord),
    Cancelled(CancelledRecord),
    Denied(DeniedRecord),
}

/// A step of a run that succeeded had no subscriber.
#[derive(Serialize, Deserialize)]
struct NoSubscriberRecord {
    /// The first step, counted from 1, for whose topic the broker had no subscriber.
    step: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late: Option<LateRecord>,
}

#[derive(Serialize, Deserialize)]
struct MissedRecord {
    #[serde(flatten)]
    why: MissedReasonRecord,
    #[serde(flatten)]
    several: Option<SeveralRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MissedReasonRecord {
    TooLate {
        late_ms: i64,
        grace_ms: u32,
        cause: CauseRecord,
    },
    TooMany(u32),
    Superseded {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<String>,
        by: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CauseRecord {
    HostAway,
    ClockSet,
    PlannedLate,
    LinkDown,
    Busy,
    OverRate { per_second: u32 },
    EarlierRun,
    Taken(String),
    SlowPlugin,
    Deaf(String),
    HeldBack(String),
}

#[derive(Serialize, Deserialize)]
struct SeveralRecord {
    since: String,
    count: u32,
    /// Whether there were more than `count`.
    more: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SkippedRecord {
    Earlier(String),
    Waiting(u32),
    GoingOn(u32),
    Paused {
        /// The word of the level.
        what: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(flatten)]
        several: Option<SeveralRecord>,
    },
    Unwanted,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeniedRecord {
    Topic(String),
    HostTopic(String),
    Qos { topic: String, qos: u8, most: u8 },
    Retain(String),
    Report(String),
    Resource(String),
    NotGranted(String),
    HoldTooLong { resource: String, hold_ms: u32, longest_ms: u32 },
}

/// Encodes an outcome; `None` if the run succeeded without remarks.
pub(crate) fn outcome_to_json(outcome: &Outcome) -> serde_json::Result<Option<String>> {
    let record = match outcome {
        Outcome::Succeeded(Success::PLAIN) => return Ok(None),
        Outcome::Succeeded(Success { late, no_subscriber: Some(step) }) => {
            OutcomeRecord::NoSubscriber(NoSubscriberRecord { step: *step, late: late.as_ref().map(Into::into) })
        }
        Outcome::Succeeded(Success { late: Some(late), no_subscriber: None }) => OutcomeRecord::Late(late.into()),
        Outcome::Failed(failed) => OutcomeRecord::Failed(failed.into()),
        Outcome::Missed(missed) => OutcomeRecord::Missed(missed.into()),
        Outcome::Skipped(skipped) => OutcomeRecord::Skipped(skipped.into()),
        Outcome::Cancelled(cancelled) => OutcomeRecord::Cancelled(cancelled.into()),
        Outcome::Denied(denied) => OutcomeRecord::Denied(denied.into()),
    };
    serde_json::to_string(&record).map(Some)
}

/// Decodes an outcome.
pub(crate) fn outcome_from_json(text: &str) -> Result<Outcome, String> {
    Ok(match serde_json::from_str(text).map_err(|error| format!("why: {error}"))? {
        OutcomeRecord::Late(late) => Outcome::Succeeded(Success { late: Some(late.into()), no_subscriber: None }),
        OutcomeRecord::NoSubscriber(NoSubscriberRecord { step, late }) => {
            Outcome::Succeeded(Success { late: late.map(Into::into), no_subscriber: Some(step) })
        }
        OutcomeRecord::Failed(failed) => Outcome::Failed(failed.try_into()?),
        OutcomeRecord::Missed(missed) => Outcome::Missed(missed.try_into()?),
        OutcomeRecord::Skipped(skipped) => Outcome::Skipped(skipped.try_into()?),
        OutcomeRecord::Cancelled(cancelled) => Outcome::Cancelled(cancelled.try_into()?),
        OutcomeRecord::Denied(denied) => Outcome::Denied(denied.try_into()?),
    })
}

fn instant(text: &str) -> Result<Instant, String> {
    let at = chrono::DateTime::parse_from_rfc3339(text).map_err(to_text)?;
    Instant::from_millis(at.timestamp_millis()).ok_or_else(|| format!("{text} is not an instant"))
}

fn to_text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn text(at: &Instant) -> String {
    at.to_string()
}

impl From<&Missed> for MissedRecord {
    fn from(Missed { why, several }: &Missed) -> Self {
        let why = match why {
            MissedReason::TooLate { late_ms, grace_ms, cause } => {
                MissedReasonRecord::TooLate { late_ms: *late_ms, grace_ms: *grace_ms, cause: cause.into() }
            }
            MissedReason::TooMany(most) => MissedReasonRecord::TooMany(*most),
            MissedReason::Superseded { job, by } => {
                MissedReasonRecord::Superseded { job: job.as_ref().map(ToString::to_string), by: text(by) }
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
            Cause::OverRate { per_second } => Self::OverRate { per_second: *per_second },
            Cause::EarlierRun => Self::EarlierRun,
            Cause::Taken(name) => Self::Taken(name.to_string()),
            Cause::SlowPlugin => Self::SlowPlugin,
            Cause::SubscribeFailed(reason) => Self::Deaf(reason.clone()),
            Cause::HeldBack(topic) => Self::HeldBack(topic.to_string()),
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
            Skipped::EarlierRun(earlier) => Self::Earlier(text(earlier)),
            Skipped::TooManyWaiting(most) => Self::Waiting(*most),
            Skipped::TooManyRunning(most) => Self::GoingOn(*most),
            Skipped::Paused { by: PausedBy { what, pause }, several } => Self::Paused {
                what: what.as_str().to_owned(),
                from: pause.from().as_ref().map(text),
                until: pause.until().as_ref().map(text),
                reason: pause.reason().map(str::to_owned),
                several: several.as_ref().map(Into::into),
            },
            Skipped::ByOperator => Self::Unwanted,
        }
    }
}

impl From<&Denied> for DeniedRecord {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Topic(topic) => Self::Topic(topic.to_string()),
            Denied::HostTopic(topic) => Self::HostTopic(topic.to_string()),
            Denied::Qos { topic, qos, most } => {
                Self::Qos { topic: topic.to_string(), qos: *qos as u8, most: *most as u8 }
            }
            Denied::Retain(topic) => Self::Retain(topic.to_string()),
            Denied::Report(topic) => Self::Report(topic.to_string()),
            Denied::Resource(name) => Self::Resource(name.to_string()),
            Denied::NotGranted(name) => Self::NotGranted(name.to_string()),
            Denied::HoldTooLong { resource, hold_ms, longest_ms } => {
                Self::HoldTooLong { resource: resource.to_string(), hold_ms: *hold_ms, longest_ms: *longest_ms }
            }
        }
    }
}

impl TryFrom<MissedRecord> for Missed {
    type Error = String;

    fn try_from(MissedRecord { why, several }: MissedRecord) -> Result<Self, String> {
        let why = match why {
            MissedReasonRecord::TooLate { late_ms, grace_ms, cause } => {
                MissedReason::TooLate { late_ms, grace_ms, cause: cause.try_into()? }
            }
            MissedReasonRecord::TooMany(most) => MissedReason::TooMany(most),
            MissedReasonRecord::Superseded { job, by } => {
                let job = job.map(|job| JobId::parse(&job).map_err(to_text)).transpose()?;
                MissedReason::Superseded { job, by: instant(&by)? }
            }
        };
        Ok(Self { why, several: several.map(TryInto::try_into).transpose()? })
    }
}

impl TryFrom<CauseRecord> for Cause {
    type Error = String;

    fn try_from(cause: CauseRecord) -> Result<Self, String> {
        Ok(match cause {
            CauseRecord::HostAway => Self::HostAway,
            CauseRecord::ClockSet => Self::ClockSet,
            CauseRecord::PlannedLate => Self::PlannedLate,
            CauseRecord::LinkDown => Self::LinkDown,
            CauseRecord::Busy => Self::Busy,
            CauseRecord::OverRate { per_second } => Self::OverRate { per_second },
            CauseRecord::EarlierRun => Self::EarlierRun,
            CauseRecord::Taken(name) => Self::Taken(ResourceName::parse(&name).map_err(to_text)?),
            CauseRecord::SlowPlugin => Self::SlowPlugin,
            CauseRecord::Deaf(reason) => Self::SubscribeFailed(reason),
            CauseRecord::HeldBack(topic) => Self::HeldBack(Topic::parse(&topic).map_err(to_text)?),
        })
    }
}

impl TryFrom<SeveralRecord> for Several {
    type Error = String;

    fn try_from(SeveralRecord { since, count, more }: SeveralRecord) -> Result<Self, String> {
        Ok(Self { since: instant(&since)?, count, more })
    }
}

impl TryFrom<SkippedRecord> for Skipped {
    type Error = String;

    fn try_from(skipped: SkippedRecord) -> Result<Self, String> {
        Ok(match skipped {
            SkippedRecord::Earlier(earlier) => Self::EarlierRun(instant(&earlier)?),
            SkippedRecord::Waiting(most) => Self::TooManyWaiting(most),
            SkippedRecord::GoingOn(most) => Self::TooManyRunning(most),
            SkippedRecord::Paused { what, from, until, reason, several } => {
                let what = Level::parse(&what).ok_or_else(|| format!("nothing called {what} can be paused"))?;
                let at = |text: Option<String>| text.as_deref().map(instant).transpose();
                let pause = Pause::new(at(from)?, at(until)?, reason.as_deref()).map_err(to_text)?;
                let by = PausedBy { what, pause: pause.into() };
                Self::Paused { by, several: several.map(TryInto::try_into).transpose()? }
            }
            SkippedRecord::Unwanted => Self::ByOperator,
        })
    }
}

impl TryFrom<DeniedRecord> for Denied {
    type Error = String;

    fn try_from(denied: DeniedRecord) -> Result<Self, String> {
        let topic = |text: String| Topic::parse(&text).map_err(to_text);
        let resource = |text: String| ResourceName::parse(&text).map_err(to_text);
        let qos = |number: u8| Qos::from_number(number).ok_or_else(|| format!("{number} is not a QoS"));
        Ok(match denied {
            DeniedRecord::Topic(text) => Self::Topic(topic(text)?),
            DeniedRecord::HostTopic(text) => Self::HostTopic(topic(text)?),
            DeniedRecord::Qos { topic: text, qos: of, most } => {
                Self::Qos { topic: topic(text)?, qos: qos(of)?, most: qos(most)? }
            }
            DeniedRecord::Retain(text) => Self::Retain(topic(text)?),
            DeniedRecord::Report(text) => Self::Report(topic(text)?),
            DeniedRecord::Resource(name) => Self::Resource(resource(name)?),
            DeniedRecord::NotGranted(name) => Self::NotGranted(resource(name)?),
            DeniedRecord::HoldTooLong { resource: name, hold_ms, longest_ms } => {
                Self::HoldTooLong { resource: resource(name)?, hold_ms, longest_ms }
            }
        })
    }
}
