//! Due occurrences of jobs: which become runs, and which are recorded.

pub(super) mod admission;
mod catch_up;
mod groups;
pub(super) mod passed;
mod timers;
