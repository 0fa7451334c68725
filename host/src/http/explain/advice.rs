//! The reasons of outcomes with times in the device's time zone, and hints.

use roost_scheduler::{
    names::PluginName,
    outcome::{Attempt, Cause, Failed, Missed, MissedReason, Outcome, Several},
};

use super::text::{Sentence, line, lines};
use crate::config::grant::{Access, how_broker_allows};

impl Sentence {
    /// Returns the reason of an outcome and, if known, a hint.
    pub(super) fn reason(&self, plugin: &PluginName, outcome: &Outcome) -> (String, Option<String>) {
        let reason = outcome.reason(&|at| self.local(at)).to_string();
        match outcome {
            Outcome::Failed(Failed { last: Attempt::Unanswered(_), .. }) => lines(&reason),
            Outcome::Failed(Failed { last, .. }) => (line(&reason), advice_on(last)),
            Outcome::Missed(Missed { why: MissedReason::TooLate { cause, .. }, .. }) => {
                (line(&reason), advice(plugin, cause))
            }
            _ => (line(&reason), None),
        }
    }

    /// Returns the clause about the other occurrences that a record covers, or an empty string.
    pub(super) fn several(&self, outcome: &Outcome) -> String {
        let clause = |several: Several| format!(", one of {} since {}", several.quantity(), self.local(several.since));
        outcome.several().map(clause).unwrap_or_default()
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
