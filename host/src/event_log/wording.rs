//! The texts of events: in the host's log, in plugins' logs, in event streams.

use roost_scheduler::{
    event::{Announcement, RunEnded},
    outcome::{Cause, Outcome, Success},
    trigger::Duration,
};
use tracing::Level;

use super::HostEvent;
use crate::report::{Report, counted};

impl HostEvent {
    /// Returns the event's level and text, without a hint.
    pub(crate) fn message(&self) -> (Level, String) {
        match self {
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
