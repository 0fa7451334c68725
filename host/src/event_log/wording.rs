//! The texts of events: in the host's log, in plugins' logs, in event streams.

use roost_scheduler::{
    event::{Announcement, ByHand, Part, PauseChange, RunEnded},
    outcome::{Cause, Outcome, Success},
    trigger::Duration,
};
use tracing::Level;

use super::HostEvent;
use crate::report::{Report, counted};

/// Returns what a pause was set on, in words.
fn named(what: &Part) -> String {
    match what {
        Part::All => "everything".into(),
        Part::Plugin(plugin) => format!("`{plugin}`"),
        Part::Device(plugin, device) => format!("`{plugin}/{device}`"),
        Part::Job((plugin, device, job)) => format!("`{plugin}/{device}/{job}`"),
    }
}

fn by_hand(change: &ByHand) -> String {
    let (plugin, device, job) = change.job();
    match change {
        ByHand::Made(_) => format!("job `{plugin}/{device}/{job}` was made by hand"),
        ByHand::Replaced(_) => format!("job `{plugin}/{device}/{job}` was replaced by hand"),
        ByHand::Cancelled(_) => format!("job `{plugin}/{device}/{job}` was cancelled by hand"),
        ByHand::Skipped(run) => format!("the skip of {run} was set"),
        ByHand::SkipUndone(run) => format!("the skip of {run} was undone"),
        ByHand::RunNow(run) => format!("{run} was requested by hand"),
        ByHand::Replayed(run) => format!("the replay {run} was requested by hand"),
    }
}

impl HostEvent {
    /// Returns the event's level and text, without a hint.
    pub(crate) fn message(&self) -> (Level, String) {
        match self {
            Self::ByHand(change) => (Level::INFO, by_hand(change)),
            Self::Started { run, .. } => (Level::INFO, format!("started {run}")),
            Self::Ended(run) => {
                let RunEnded { id, outcome, .. } = &**run;
                let level = match outcome {
                    Outcome::Succeeded(Success { late: None, .. }) | Outcome::Skipped(_) | Outcome::Cancelled(_) => {
                        Level::INFO
                    }
                    _ => Level::WARN,
                };
                let reason =
                    if *outcome == Outcome::Succeeded(Success::PLAIN) { String::new() } else { format!(": {outcome}") };
                (level, format!("{} {id}{reason}", outcome.state()))
            }
            Self::Planned(Announcement { plugin, new, changed, gone, unchanged, .. }) => {
                let text =
                    format!("jobs of `{plugin}`: {new} new, {changed} changed, {gone} gone, {unchanged} unchanged");
                (Level::INFO, text)
            }
            Self::PlanRefused { plugin, device, error } => {
                (Level::WARN, format!("device `{plugin}/{device}` keeps the plan it has: {error}"))
            }
            Self::NotLoaded { report, .. } => {
                let without_hint = Report { hint: None, ..(**report).clone() };
                (Level::ERROR, without_hint.to_string())
            }
            Self::Loaded { plugin, devices, jobs, grant } => {
                let (devices, jobs) = (counted(*devices as u64, "device"), counted(*jobs as u64, "job"));
                (Level::INFO, format!("{plugin} loaded: {devices}, {jobs}; {grant}"))
            }
            Self::Freed { run, resource, held_ms } => {
                let held = Duration(held_ms.unsigned_abs());
                (
                    Level::WARN,
                    format!("{run} held `{resource}` for {held}, and continues without it, because it owes steps"),
                )
            }
            Self::Removed(plugin) => (Level::INFO, format!("{plugin} removed: its file is gone")),
            Self::Logged { level, line, .. } => (*level, line.to_string()),
            Self::Link { up: true } => (Level::INFO, "connected to the broker".into()),
            Self::Link { up: false } => (Level::WARN, Cause::LinkDown.lasting().to_string()),
            Self::ClockSet { by_ms, now } => {
                let how = if *by_ms < 0 { "back" } else { "forward" };
                (Level::WARN, format!("the clock was set {how} by {}, to {now}", Duration(by_ms.unsigned_abs())))
            }
            Self::Pause { what, pause, change } => {
                let what = named(what);
                let suffix = pause.suffix(&|at| at.to_string());
                let from = pause.from().map(|from| format!(" from {from}")).unwrap_or_default();
                (
                    Level::INFO,
                    match change {
                        PauseChange::Set => format!("the pause of {what} was set{from}{suffix}"),
                        PauseChange::Begun => format!("the pause of {what} has begun{suffix}"),
                        PauseChange::Ended => format!("the pause of {what} has ended"),
                        PauseChange::Removed => format!("the pause of {what} was removed"),
                    },
                )
            }
        }
    }

    /// Writes the event to the host's log.
    pub(crate) fn log(&self) {
        let (level, mut text) = self.message();
        if let Self::NotLoaded { report, .. } = self {
            text = report.to_string();
        }
        match level {
            Level::ERROR => tracing::error!("{text}"),
            Level::WARN => tracing::warn!("{text}"),
            _ => tracing::info!("{text}"),
        }
    }
}
