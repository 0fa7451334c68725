//! Why a run ended as it did, in words for people and by the device's clock.

use roost_scheduler::{
    names::PluginName,
    outcome::{Attempt, Cancelled, Cause, Denied, Failed, Missed, MissedReason, Outcome, Several, Skipped},
    trigger::Duration,
};

use super::sentence::{BY_HAND, Sentence};
use crate::{
    config::grant::{Access, how_broker_allows},
    report::in_one_line,
};

/// The first line of a text of several, and the others, which say what to do.
pub(super) fn lines(text: &str) -> (String, Option<String>) {
    match text.split_once('\n') {
        Some((first, rest)) if !rest.trim().is_empty() => {
            (first.trim_end().to_owned(), Some(rest.trim_end().to_owned()))
        }
        _ => (text.trim_end().to_owned(), None),
    }
}

/// A text that has no hint in it.
pub(super) fn line(text: &str) -> String {
    in_one_line(text.trim_end())
}

/// How long that is, to the second if it is longer.
pub(super) fn length(ms: i64) -> Duration {
    let ms = ms.unsigned_abs();
    Duration(if ms < 1_000 { ms } else { ms - ms % 1_000 })
}

impl Sentence {
    /// Why, and what to do, where that is known.
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

    /// Whom a record stands for, behind how it ended.
    pub(super) fn several(&self, outcome: &Outcome) -> String {
        let Some(Several { since, count, more }) = outcome.several() else { return String::new() };
        let at_least = if more { "at least " } else { "" };
        format!(", one of {at_least}{count} since {}", self.local(since))
    }

    fn missed(&self, why: &MissedReason) -> String {
        match why {
            MissedReason::TooLate { late_ms, grace_ms, cause } => {
                let (late, grace) = (length(*late_ms), length(i64::from(*grace_ms)));
                format!("{cause}; it would have started {late} late, and may start no more than {grace} late")
            }
            MissedReason::TooMany(most) => waiting(*most),
            MissedReason::Superseded { job: None, by } => format!(
                "when it could have started, the run of {} was due as well, and only the newest is made up for",
                self.local(*by)
            ),
            MissedReason::Superseded { job: Some(job), by } => format!(
                "when it could have started, `{job}` of {} was due as well, and only the newest of their group is made up for",
                self.local(*by)
            ),
        }
    }

    fn skipped(&self, skipped: Skipped) -> String {
        match skipped {
            Skipped::EarlierRun(earlier) => format!("the run of {} had not ended", self.local(earlier)),
            Skipped::Paused { what, .. } => Outcome::Skipped(Skipped::Paused { what, several: None }).to_string(),
            Skipped::TooManyWaiting(most) => waiting(most),
            Skipped::TooManyRunning(most) => {
                format!("{most} of its runs were going on already, and no more may at once")
            }
            Skipped::ByOperator => BY_HAND.into(),
        }
    }

    fn cancelled(&self, cancelled: &Cancelled) -> String {
        match cancelled {
            Cancelled::Replaced { by } => format!("the run of {} replaced it", self.local(*by)),
            Cancelled::NewerOfGroup { job, by } => {
                format!("a newer run of its group, `{job}` of {}, took its place", self.local(*by))
            }
            Cancelled::Restored => {
                "this Roost was restored from a backup that was made before it had ended; it may have been done all the same"
                    .into()
            }
            other => other.to_string(),
        }
    }
}

fn waiting(most: u32) -> String {
    format!("{most} of its runs were waiting already, and no more may")
}

/// Why a step was given up.
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

/// What to do about an attempt that did not get through, where that is known.
fn advice_on(attempt: &Attempt) -> Option<String> {
    match attempt {
        Attempt::EndedLink { topic, .. } => Some(how_broker_allows(topic.as_str(), Access::Publish)),
        _ => None,
    }
}

/// Why an attempt did not get through.
pub(super) fn attempt(attempt: &Attempt) -> (String, Option<String>) {
    match attempt {
        Attempt::Unanswered(why) => lines(why),
        other => (line(&other.to_string()), advice_on(other)),
    }
}

/// What holds a run up now.
pub(super) fn cause(cause: &Cause) -> String {
    match cause {
        Cause::OverRate { .. } => cause.to_string().replacen("had", "has", 1),
        Cause::EarlierRun => "an earlier run has not ended".into(),
        Cause::Taken(name) => format!("`{name}` is taken"),
        other => line(&other.to_string()),
    }
}

/// What to do about what holds a run up, or did.
pub(super) fn advice(plugin: &PluginName, cause: &Cause) -> Option<String> {
    match cause {
        Cause::OverRate { .. } => {
            let name = if *plugin == PluginName::of_host() { "api" } else { plugin.as_str() };
            let table = format!("`[rates.plugins.{name}]` of `roost.toml`");
            Some(format!("to allow it more, raise `per_second` or `burst` in {table}, and start Roost again"))
        }
        Cause::HeldBack(topic) => Some(how_broker_allows(topic.as_str(), Access::Publish)),
        _ => None,
    }
}

fn denied(plugin: &PluginName, denied: &Denied) -> String {
    let is_api = *plugin == PluginName::of_host();
    let whose = if is_api { "jobs made by hand" } else { "its plugin" };
    let by = if is_api { ", by `[grants.api]` in `roost.toml`" } else { "" };
    match denied {
        Denied::Topic(topic) => format!("{whose} may not publish to `{topic}`{by}"),
        Denied::Report(topic) => format!("{whose} may not read `{topic}`{by}"),
        Denied::Qos { topic, qos, most } => {
            let (qos, most) = (*qos as u8, *most as u8);
            format!("{whose} may not publish to `{topic}` with QoS {qos}, only up to {most}{by}")
        }
        Denied::Retain(topic) => format!("{whose} may not publish a retained message to `{topic}`{by}"),
        Denied::Resource(_) | Denied::NotGranted(_) | Denied::HoldTooLong { .. } => {
            Outcome::Denied(denied.clone()).to_string()
        }
    }
}
