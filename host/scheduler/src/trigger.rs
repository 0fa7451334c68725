//! Triggers: when a job is due.

mod almanac;
mod calendars;
mod cron;
mod days;
mod light;
mod search;
mod sun;
mod sun_event;
mod text;

pub(crate) use self::sun::OutOfOrder;
pub use self::{
    almanac::Almanac,
    calendars::{Calendars, Dates},
    cron::{Cron, CronCache, CronError, FindZone},
    days::{DayOfYear, DayRange, DaySet, Days, Interval, LeftOut, Unit, meant_days, parse_dates},
    light::{Band, Light},
    search::{Never, Search},
    sun::Sun,
    sun_event::{Elevation, SunEvent},
    text::{Context, Duration, TriggerError, parse, parse_duration, parse_stored},
};
use chrono::NaiveDate;

use crate::{
    calendar::to_local,
    limits,
    mutants::{Mutation, mutated},
    time::{Instant, Site},
    zone::Zone,
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
    /// Milliseconds, 1,000 to 315,576,000,000 (3,652 days and a half).
    pub period_ms: u64,
    /// The first due time; by default the epoch.
    pub anchor: Instant,
}

impl Trigger {
    /// Returns a note on its meaning if that is not what most users expect.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let (mut notes, is_every_day) = match self {
            Self::Cron(cron) => (cron.notes(), cron.is_every_day()),
            Self::At(_) | Self::Every(_) | Self::Sun(_) => (Vec::new(), true),
        };
        notes.extend(self.days().filter(|_| is_every_day).and_then(Days::note));
        (!notes.is_empty()).then(|| notes.join("; and "))
    }

    /// Returns the days to which it is limited, if it is.
    #[must_use]
    pub fn days(&self) -> Option<&Days> {
        match self {
            Self::At(_) | Self::Every(_) => None,
            Self::Cron(cron) => cron.days(),
            Self::Sun(sun) => sun.days.as_deref(),
        }
    }

    /// Returns how long before its times it is due, in milliseconds, if runs are to end at them; 0 if the length of a run
    /// is not known yet.
    #[must_use]
    pub fn finish(&self) -> Option<u32> {
        if mutated(Mutation::FinishIsIgnored) {
            return None;
        }
        match self {
            Self::At(_) | Self::Every(_) => None,
            Self::Cron(cron) => cron.finish,
            Self::Sun(sun) => sun.finish,
        }
    }

    /// Sets how long before its times it is due, so that runs end at them.
    pub(crate) fn set_finish(&mut self, ms: Option<u32>) {
        match self {
            Self::At(_) | Self::Every(_) => {}
            Self::Cron(cron) => cron.finish = ms,
            Self::Sun(sun) => sun.finish = ms,
        }
    }

    /// Returns the zone whose rules move its occurrences.
    #[must_use]
    pub fn zone(&self, site: &Site) -> Option<Zone> {
        match self {
            Self::At(_) | Self::Every(_) => None,
            Self::Cron(cron) => Some(cron.zone.unwrap_or(site.zone)),
            Self::Sun(_) => Some(site.zone),
        }
    }

    /// Returns the first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Instant, site: &Site, almanac: &mut Almanac) -> Search {
        let finish = self.finish().map_or(0, i64::from);
        let after = after.plus_ms(finish);
        let search = match (self, site.location) {
            (Self::At(at), _) if *at > after => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.next(after),
            (Self::Cron(cron), _) => cron.next(after, site.zone, &almanac.calendars),
            (Self::Sun(sun), Some(location)) => sun.next(after, site.zone, location, almanac),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        };
        search.earlier_by(finish)
    }

    /// Returns the newest occurrence in `after < occurrence ≤ until`; `Never` if there is none, and `NotUntil` if there
    /// is none after that instant: continue with it as `until`.
    #[must_use]
    pub fn last(&self, after: Instant, until: Instant, site: &Site, almanac: &mut Almanac) -> Search {
        if until <= after {
            return Search::Never(Never::Over);
        }
        let finish = self.finish().map_or(0, i64::from);
        let (after, until) = (after.plus_ms(finish), until.plus_ms(finish));
        let search = match (self, site.location) {
            (Self::At(at), _) if after < *at && *at <= until => Search::Found(*at),
            (Self::At(_), _) => Search::Never(Never::Over),
            (Self::Every(every), _) => every.last(after, until),
            (Self::Cron(cron), _) => cron.last(after, until, site.zone, &almanac.calendars),
            (Self::Sun(sun), Some(location)) => sun.last(after, until, site.zone, location, almanac),
            (Self::Sun(_), None) => Search::Never(Never::NoLocation),
        };
        search.earlier_by(finish)
    }

    /// Returns the trigger without its limits to days, if it has any.
    #[must_use]
    pub fn on_every_day(&self) -> Option<Self> {
        self.days()?;
        match self {
            Self::At(_) | Self::Every(_) => None,
            Self::Cron(cron) => Some(Self::Cron(cron.on_every_day())),
            Self::Sun(sun) => Some(Sun { days: None, ..(**sun).clone() }.into()),
        }
    }

    /// Returns the limit to days that leaves out an occurrence which the trigger would have without it, and the date.
    #[must_use]
    pub fn left_out(&self, at: Instant, site: &Site, almanac: &mut Almanac) -> Option<(NaiveDate, LeftOut<'_>)> {
        let days = self.days()?;
        if self.next(at.plus_ms(-1), site, almanac) == Search::Found(at) {
            return None;
        }
        if self.on_every_day()?.next(at.plus_ms(-1), site, almanac) != Search::Found(at) {
            return None;
        }
        let due = at.plus_ms(self.finish().map_or(0, i64::from));
        let dates = match (self, site.location) {
            (Self::Sun(sun), Some(location)) => sun.dates_of(due, (site.zone, location), almanac),
            // The clock may have skipped its time of day beyond midnight.
            _ => [due, due.plus_ms(-1)]
                .map(|at| self.zone(site).map(|zone| to_local(at, zone).0))
                .into_iter()
                .flatten()
                .collect(),
        };
        dates.into_iter().find_map(|date| Some((date, days.left_out(date, &almanac.calendars)?)))
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
    /// Returns the period in milliseconds.
    #[must_use]
    pub fn period(self) -> i64 {
        i64::try_from(self.period_ms).unwrap_or(i64::MAX).max(1)
    }

    fn next(self, after: Instant) -> Search {
        if after < self.anchor {
            return Search::Found(self.anchor);
        }
        let period = self.period();
        let periods = after.ms_since(self.anchor) / period + 1;
        let next = Instant::from_millis(self.anchor.millis() + periods * period);
        next.map_or(Search::Never(Never::Over), Search::Found)
    }

    fn last(self, after: Instant, until: Instant) -> Search {
        let since_anchor = until.ms_since(self.anchor);
        let last = until.plus_ms(-(since_anchor % self.period()));
        if since_anchor >= 0 && last > after { Search::Found(last) } else { Search::Never(Never::Over) }
    }
}
