//! Decisions on an occurrence that is due, by its job's policy: pure functions, each with a table of cases.

pub(crate) mod backoff;
pub(crate) mod grace;
pub(crate) mod misfire;
pub(crate) mod overlap;
