//! The reasons of outcomes in words, with times in the device's time zone.

use roost_scheduler::{
    names::PluginName,
    outcome::{Attempt, Cancelled, Cause, Denied, Failed, Missed, MissedReason, Outcome, Several, Skipped},
};

use super::text::{BY_OPERATOR, Sentence, length, line, lines};
use crate::config::grant::{Access, how_broker_allows};

impl Sentence {
    /// Returns the reason of an outcome and, if known, a hint.
    pub(super) fn reason(&self, plugin: &PluginName, outcome: &Outcome) -> (String, Option<String>) {
        let reason = match outcome {
            Outcome::Failed(failed) => return failure(failed),
            Outcome::Missed(Missed { why: why @ MissedReason::TooLate { cause, .. }, .. }) => {
                return (line(&self.missed(why)), advice(plugin, cause));
            }
            Outcome::Missed(Missed { why, .. }) => self.missed(why),
            Outcome::Skipped(skipped) => self.skipped(*skipped),
            Outcome::Cancelled(cancelled) => self.cancelled(cancelled),
            Outcome::Denied(denied) => self::denied(plugin, denied),
            Outcome::Succeeded(_) => outcome.to_string(),
        };
        (line(&reason), None)
    }

    /// Returns the clause about the other occurrences that a record covers, or an empty string.
    pub(super) fn several(&self, outcome: &Outcome) -> String {
        let Some(Several { since, count, more }) = outcome.several() else { return String::new() };
        let at_least = if more { "at least " } else { "" };
        format!(", one of {at_least}{count} since {}", self.local(since))
    }

    fn missed(&self, why: &MissedReason) -> String {
        match why {
            MissedReason::TooLate { late_ms, grace_ms, cause } => {
                let (late, grace) = (length(*late_ms), length(i64::from(*grace_ms)));
                format!("{cause}; it would have started {late} late, and its grace is {grace}")
            }
            MissedReason::TooMany(_) => why.to_string(),
            MissedReason::Superseded { job: None, by } => format!(
                "when it could have started, the run of {} was due as well, and only the newest missed run is caught up",
                self.local(*by)
            ),
            MissedReason::Superseded { job: Some(job), by } => format!(
                "when it could have started, `{job}` of {} was due as well, and only the newest missed run of their group is caught up",
                self.local(*by)
            ),
        }
    }

    fn skipped(&self, skipped: Skipped) -> String {
        match skipped {
            Skipped::EarlierRun(earlier) => format!("the run of {} had not ended", self.local(earlier)),
            Skipped::Paused { what, .. } => Outcome::Skipped(Skipped::Paused { what, several: None }).to_string(),
            Skipped::TooManyWaiting(_) | Skipped::TooManyRunning(_) => Outcome::Skipped(skipped).to_string(),
            Skipped::ByOperator => BY_OPERATOR.into(),
        }
    }

    fn cancelled(&self, cancelled: &Cancelled) -> String {
        match cancelled {
            Cancelled::Replaced { by } => format!("the run of {} replaced it", self.local(*by)),
            Cancelled::NewerOfGroup { job, by } => {
                format!("a newer run of its group, `{job}` of {}, replaced it", self.local(*by))
            }
            Cancelled::Restored => {
                "the database was restored from a backup that was made before the run ended; its messages may have been sent"
                    .into()
            }
            other => other.to_string(),
        }
    }
}

/// Returns the reason why a step failed for good, and a hint.
fn failure(failed: &Failed) -> (String, Option<String>) {
    match &failed.last {
        Attempt::Unanswered(why) => {
            let (why, hint) = lines(why);
            (Failed { last: Attempt::Unanswered(why), ..failed.clone() }.to_string(), hint)
        }
        Attempt::Prevented(why) => (format!("step {} was given up: {}", failed.step, line(why)), None),
        last => (line(&failed.to_string()), advice_on(last)),
    }
}

/// Returns a hint for a failed attempt, if one is known.
fn advice_on(attempt: &Attempt) -> Option<String> {
    match attempt {
        Attempt::EndedLink { topic, .. } => Some(how_broker_allows(topic.as_str(), Access::Publish)),
        _ => None,
    }
}

/// Returns the reason of a failed attempt, and a hint.
pub(super) fn attempt(attempt: &Attempt) -> (String, Option<String>) {
    match attempt {
        Attempt::Unanswered(why) => lines(why),
        other => (line(&other.to_string()), advice_on(other)),
    }
}

/// Returns what a run waits for, in the present tense.
pub(super) fn cause(cause: &Cause) -> String {
    line(&cause.lasting().to_string())
}

/// Returns a hint for what a run waits or has waited for, if one is known.
pub(super) fn advice(plugin: &PluginName, cause: &Cause) -> Option<String> {
    match cause {
        Cause::OverRate { .. } => {
            let name = if *plugin == PluginName::host() { "api" } else { plugin.as_str() };
            let table = format!("`[rates.plugins.{name}]` of `roost.toml`");
            Some(format!("to allow a higher rate, raise `per_second` or `burst` in {table}, and restart Roost"))
        }
        Cause::HeldBack(topic) => Some(how_broker_allows(topic.as_str(), Access::Publish)),
        _ => None,
    }
}

fn denied(plugin: &PluginName, denied: &Denied) -> String {
    let is_api = *plugin == PluginName::host();
    let subject = if is_api { "ad-hoc jobs" } else { "its plugin" };
    let by = if is_api { ", by `[grants.api]` in `roost.toml`" } else { "" };
    match denied {
        Denied::Topic(topic) => format!("{subject} may not publish to `{topic}`{by}"),
        Denied::Report(topic) => format!("{subject} may not read `{topic}`{by}"),
        Denied::Qos { topic, qos, most } => {
            let (qos, most) = (*qos as u8, *most as u8);
            format!("{subject} may not publish to `{topic}` with QoS {qos}, only up to {most}{by}")
        }
        Denied::Retain(topic) => format!("{subject} may not publish a retained message to `{topic}`{by}"),
        Denied::Resource(_) | Denied::NotGranted(_) | Denied::HoldTooLong { .. } => {
            Outcome::Denied(denied.clone()).to_string()
        }
    }
}
