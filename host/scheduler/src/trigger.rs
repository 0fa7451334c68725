//! When a job is due.

mod cron;
mod sun;
mod text;

use std::fmt;

pub(crate) use self::sun::OutOfOrder;
pub use self::{
    cron::{Cron, CronCache, CronError, FindZone},
    sun::{Sun, SunCache, SunEvent},
    text::{Duration, TriggerError, parse, parse_duration, parse_stored},
};
use crate::{
    limits,
    time::{Instant, Site},
};

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
    /// By the sun, at the device's location. In a box, for it is the largest and there may be a million triggers.
    Sun(Box<Sun>),
}

impl From<Sun> for Trigger {
    fn from(sun: Sun) -> Self {
        Self::Sun(Box::new(sun))
    }
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
    /// Not found as far as this instant: search on from there (I10: one search is bounded). [`Trigger::next`] found
    /// nothing up to and including it, [`Trigger::last`] nothing after it.
    NotUntil(Instant),
    /// There is none.
    Never(Never),
}

/// Why a trigger is never due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// Its only time, or its last one, has passed.
    Over,
    /// The calendar has no such day; an expression of that kind is refused.
    NoSuchDate,
    /// The sun does not do that at this location.
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

impl Trigger {
    /// What it stands for, where most people do not expect that.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        if let Self::Cron(cron) = self { cron.note() } else { None }
    }

    /// The first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Instant, site: &Site, sun_cache: &mut SunCache) -> Search {
        match (self, site.location) {
            (Self::At(at), _) if *at > after => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.next(after),
            (Self::Cron(cron), _) => cron.next(after, site.zone),
            (Self::Sun(sun), Some(location)) => sun.next(after, site.zone, location, sun_cache),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        }
    }

    /// The newest occurrence in `after < occurrence ≤ until`; `Never` if there is none, and `NotUntil` if there is none
    /// after that instant: search on with it as `until`.
    #[must_use]
    pub fn last(&self, after: Instant, until: Instant, site: &Site, sun_cache: &mut SunCache) -> Search {
        if until <= after {
            return Search::Never(Never::Over);
        }
        match (self, site.location) {
            (Self::At(at), _) if after < *at && *at <= until => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.last(after, until),
            (Self::Cron(cron), _) => cron.last(after, until, site.zone),
            (Self::Sun(sun), Some(location)) => sun.last(after, until, site.zone, location, sun_cache),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        }
    }

    /// The first occurrence strictly after an instant, however many searches that takes: for people who ask, not for a
    /// loop that has other things to do.
    ///
    /// # Errors
    /// Says why there is none, at the latest when the sun has been looked for on 400 days.
    pub fn find(&self, after: Instant, site: &Site, sun_cache: &mut SunCache) -> Result<Instant, Never> {
        let end = after.plus_ms(i64::from(limits::SUN_DAYS) * 86_400_000);
        let mut from = after;
        loop {
            match self.next(from, site, sun_cache) {
                Search::Found(at) => return Ok(at),
                Search::Never(never) => return Err(never),
                Search::NotUntil(bound) if bound >= end => return Err(Never::NoSuchSunEvent),
                Search::NotUntil(bound) => from = bound,
            }
        }
    }
}

impl Every {
    fn next(self, after: Instant) -> Search {
        if after < self.anchor {
            return Search::Found(self.anchor);
        }
        let period = i64::from(self.period_ms);
        let periods = after.ms_since(self.anchor) / period + 1;
        let next = Instant::from_millis(self.anchor.millis() + periods * period);
        next.map_or(Search::Never(Never::Over), Search::Found)
    }

    fn last(self, after: Instant, until: Instant) -> Search {
        let since_anchor = until.ms_since(self.anchor);
        let last = until.plus_ms(-(since_anchor % i64::from(self.period_ms)));
        if since_anchor >= 0 && last > after { Search::Found(last) } else { Search::Never(Never::Over) }
    }
}
