//! The state of a run in one word, for the database, for programs and for users.

use std::fmt;

/// The state of a run: it runs, or has ended with an [`Outcome`](super::Outcome).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It has not ended.
    Running,
    /// Every step is done.
    Succeeded,
    /// A step was tried and given up.
    Failed,
    /// It was due and could not start in time.
    Missed,
    /// It was due and was left out.
    Skipped,
    /// It was cancelled.
    Cancelled,
    /// It was not allowed.
    Denied,
}

impl RunState {
    /// All states.
    pub const ALL: [Self; 7] =
        [Self::Running, Self::Succeeded, Self::Failed, Self::Missed, Self::Skipped, Self::Cancelled, Self::Denied];
    /// Their words, in the same order.
    pub const WORDS: [&str; 7] = ["running", "succeeded", "failed", "missed", "skipped", "cancelled", "denied"];

    /// Returns its word, for the database and for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// Parses its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
