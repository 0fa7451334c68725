//! The result of a search for an occurrence.

use std::fmt;

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

/// Why a trigger is never due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// Its only time, or its last one, has passed.
    Over,
    /// The calendar has no such day; such expressions are refused.
    NoSuchDate,
    /// The sun event does not occur at this location.
    NoSuchSunEvent,
    /// A sun trigger on a device without a location.
    NoLocation,
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("its last time has passed"),
            Self::NoSuchDate => f.write_str("the calendar has no such day"),
            Self::NoSuchSunEvent => write!(f, "there is no such sun event here within {} days", limits::SUN_DAYS),
            Self::NoLocation => f.write_str("the device has no location"),
        }
    }
}
