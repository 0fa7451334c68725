//! Triggers: when a job is due.

mod cron;
mod light;
mod search;
mod sun;
mod text;

pub(crate) use self::sun::OutOfOrder;
pub use self::{
    cron::{Cron, CronCache, CronError, FindZone},
    light::{Band, Light},
    search::{Never, Search},
    sun::{Almanac, Sun, SunEvent},
    text::{Duration, TriggerError, parse, parse_duration, parse_stored},
};
use crate::{
    limits,
    time::{Instant, Site},
};

/// When a job is due.
///
/// Its text (`Display`) is what a user writes, and [`parse`] parses it.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Once, at an instant.
    At(Instant),
    /// In equal periods.
    Every(Every),
    /// By the calendar and the wall clock.
    Cron(Cron),
    /// By the sun, at the device's location. Boxed, because it is the largest and there may be a million triggers.
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

impl Trigger {
    /// Returns a note on its meaning if that is not what most users expect.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        if let Self::Cron(cron) = self { cron.note() } else { None }
    }

    /// Returns the first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Instant, site: &Site, almanac: &mut Almanac) -> Search {
        match (self, site.location) {
            (Self::At(at), _) if *at > after => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.next(after),
            (Self::Cron(cron), _) => cron.next(after, site.zone),
            (Self::Sun(sun), Some(location)) => sun.next(after, site.zone, location, almanac),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        }
    }

    /// Returns the newest occurrence in `after < occurrence ≤ until`; `Never` if there is none, and `NotUntil` if there
    /// is none after that instant: continue with it as `until`.
    #[must_use]
    pub fn last(&self, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Search {
        if until <= after {
            return Search::Never(Never::Over);
        }
        match (self, site.location) {
            (Self::At(at), _) if after < *at && *at <= until => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.last(after, until),
            (Self::Cron(cron), _) => cron.last(after, until, site.zone),
            (Self::Sun(sun), Some(location)) => sun.last(after, until, site.zone, location, almanac),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        }
    }

    /// Returns the first occurrence strictly after an instant, however many searches that takes: for interactive use,
    /// not for the scheduler's loop.
    ///
    /// # Errors
    /// Returns why there is none, at the latest after 400 days without the sun event.
    pub fn find(&self, after: Instant, site: &Site, almanac: &mut Almanac) -> Result<Instant, Never> {
        let end = after.plus_ms(i64::from(limits::SUN_DAYS) * 86_400_000);
        let mut from = after;
        loop {
            match self.next(from, site, almanac) {
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
