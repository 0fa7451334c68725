//! Calendars: the named days that triggers are limited to, such as `holidays`.
//!
//! Their contents belong to the process, like the time zones: jobs, requests and pages all name them, and must refer to
//! the same ones.

use std::sync::{LazyLock, PoisonError, RwLock};

use roost_scheduler::trigger::{Almanac, Calendars};

static IN_USE: LazyLock<RwLock<Calendars>> = LazyLock::new(RwLock::default);

/// Returns the calendars that are in use.
pub(crate) fn in_use() -> Calendars {
    IN_USE.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Returns an almanac with the calendars that are in use.
pub(crate) fn almanac() -> Almanac {
    Almanac::new(in_use())
}
