//! What the sentences and the reasons of explanations are written with: times and lines.

use roost_scheduler::{names::RunId, time::Instant, zone::Zone};

use crate::report::in_one_line;

/// Writes sentences with times in a time zone, as seen from `now`.
pub(super) struct Sentence {
    pub(super) zone: Zone,
    pub(super) now: Instant,
    /// The job's trigger in words, if it is planned.
    pub(super) rule: Option<String>,
}

impl Sentence {
    /// Formats a local time, such as `Mon 2027-03-01 06:30:00 GMT`.
    pub(super) fn local(&self, at: Instant) -> String {
        at.to_utc().with_timezone(&self.zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// Names a run by its job and its local time: `coop-door/north/open of Mon 2027-03-01 06:30:00 GMT`.
    pub(super) fn run(&self, run: &RunId) -> String {
        let RunId { plugin, device, job, .. } = run;
        format!("{plugin}/{device}/{job} of {}", self.local(run.moment()))
    }
}

/// Splits a text into its first line and the rest, which is a hint.
pub(super) fn lines(text: &str) -> (String, Option<String>) {
    match text.split_once('\n') {
        Some((first, rest)) if !rest.trim().is_empty() => {
            (first.trim_end().to_owned(), Some(rest.trim_end().to_owned()))
        }
        _ => (text.trim_end().to_owned(), None),
    }
}

/// Returns a text without a hint in one line.
pub(super) fn line(text: &str) -> String {
    in_one_line(text.trim_end())
}
