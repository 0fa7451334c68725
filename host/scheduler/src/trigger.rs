//! When a job is due.

mod cron;
mod sun;
mod text;

use std::fmt;

pub use self::{
    cron::{Cron, CronError, Patterns},
    sun::{Sky, Sun, SunEvent},
    text::{TriggerError, parse},
};
use crate::time::{Instant, Site};

/// When a job is due.
///
/// Its text (`Display`) is what a person writes, and [`parse`] reads it back.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Once.
    At(Instant),
    /// In equal steps of time.
    Every(Every),
    /// By the calendar and the clock on the wall.
    Cron(Cron),
    /// By the sun, at the device's location.
    Sun(Sun),
}

/// Due at `anchor + n · period`, in UTC, from the anchor on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// Milliseconds, at least 1,000.
    pub period_ms: u32,
    /// The first due time; by default the epoch.
    pub anchor: Instant,
}

/// What a search for an occurrence found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// It is due then.
    Found(Instant),
    /// Nothing up to and including then; search on from there (I10: one search is bounded).
    NotUntil(Instant),
    /// It is never due again.
    Never(Never),
}

/// Why a trigger is never due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// Its only time, or its last one, has passed.
    Over,
    /// The calendar has no such day.
    NoSuchDate,
    /// The sun does not do that at this location.
    NoSuchSunEvent,
    /// A sun trigger on a device without a location.
    NoLocation,
}

impl Trigger {
    /// The first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Instant, site: &Site, sky: &mut Sky) -> Search {
        let (_, _, _) = (after, site, sky);
        Search::Never(Never::Over)
    }

    /// The newest occurrence in `after < occurrence ≤ until`; `Never` if there is none.
    #[must_use]
    pub fn last(&self, after: Instant, until: Instant, site: &Site, sky: &mut Sky) -> Search {
        let (_, _, _, _) = (after, until, site, sky);
        Search::Never(Never::Over)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
