//! The result of a search for an occurrence.

use crate::{limits, time::Instant};

/// The result of a search for an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The occurrence.
    Found(Instant),
    /// Not found up to this instant, from where to continue (I10: one search is bounded): a search forward found
    /// nothing up to and including it, a search backward nothing after it.
    NotUntil(Instant),
    /// There is no occurrence.
    Never(Never),
}

impl Search {
    /// Moves what was found by milliseconds.
    pub(super) fn earlier_by(self, ms: i64) -> Self {
        match self {
            Self::Found(at) => Self::Found(at.plus_ms(-ms)),
            Self::NotUntil(at) => Self::NotUntil(at.plus_ms(-ms)),
            Self::Never(never) => Self::Never(never),
        }
    }
}

/// Why a trigger is never due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Never {
    /// Its only time, or its last one, has passed.
    #[error("its last time has passed")]
    Over,
    /// The calendar has no such day; such expressions are refused.
    #[error("the calendar has no such day")]
    NoSuchDate,
    /// The sun event does not occur at this location.
    #[error("there is no such sun event here within {} days", limits::SUN_DAYS)]
    NoSuchSunEvent,
    /// A sun trigger on a device without a location.
    #[error("the device has no location")]
    NoLocation,
}
