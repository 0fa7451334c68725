//! What the sentences and the reasons of explanations are written with: times, lengths of time, lines.

use roost_scheduler::{outcome::Level, time::Instant, trigger::Duration, zone::Zone};

use crate::report::in_one_line;

/// Writes sentences with times in a time zone, as seen from `now`.
pub(super) struct Sentence {
    pub(super) zone: Zone,
    pub(super) now: Instant,
}

pub(super) const fn level(what: Level) -> &'static str {
    match what {
        Level::Plugin => "its plugin",
        Level::Device => "its device",
        Level::Job => "its job",
    }
}

/// The reason why an occurrence is skipped by an override.
pub(super) const BY_OPERATOR: &str = "the operator requested it";

impl Sentence {
    /// Formats a local time, such as `Mon 2027-03-01 06:30:00 GMT`.
    pub(super) fn local(&self, at: Instant) -> String {
        at.to_utc().with_timezone(&self.zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
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

/// Returns a length of time, rounded down to seconds if it is longer than one.
pub(super) fn length(ms: i64) -> Duration {
    let ms = ms.unsigned_abs();
    Duration(if ms < 1_000 { ms } else { ms - ms % 1_000 })
}
