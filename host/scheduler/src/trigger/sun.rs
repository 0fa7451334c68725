//! Triggers at sun events.

use std::sync::Arc;

use chrono::{Days as DayCount, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::{
    almanac::Almanac,
    calendars::Calendars,
    days::{Days, end_of_search, start_of_search},
    search::{Never, Search},
    sun_event::{SunEvent, solar_day, solar_noon},
};
use crate::{
    calendar::{to_instant, to_local},
    limits,
    mutants::{Mutation, mutated},
    time::{Instant, Location},
    zone::Zone,
};

const HOUR_MS: i64 = 3_600_000;

/// The largest distance of an occurrence from the mean solar noon of its day: an event by 18 hours and an offset of 12
/// hours; a time of day by 23 hours, 4 hours of a clock that differs from solar time, a skipped hour and an offset of
/// 12 hours.
const REACH_MS: i64 = 40 * HOUR_MS;

/// A trigger that is due at a sun event of each day, with an offset and limits.
///
/// Each event belongs to a morning, a noon or an evening, and an evening may last beyond midnight: a time of day means
/// the one within half a day of 06:00 for morning events, of 12:00 for solar noon, and of 18:00 for evening events,
/// each moved by the offset. So `sunset not-after 22:00` is never after midnight, even if the sun sets at 00:47. A limit to
/// days means the date of that morning, noon or evening.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sun {
    /// The event.
    pub event: SunEvent,
    /// The offset in milliseconds, negative if earlier; at most 12 hours.
    pub offset_ms: i32,
    /// The earliest time of day, on the event's morning or evening.
    pub not_before: Option<NaiveTime>,
    /// The latest time of day. Not before `not_before`.
    pub not_after: Option<NaiveTime>,
    /// The time of day on a morning or evening without the event; if `None`, it is not due then. Within the other two.
    pub otherwise: Option<NaiveTime>,
    /// The days to which it is limited, if it is.
    pub days: Option<Arc<Days>>,
    /// How long before its times it is due, in milliseconds, so that a run ends at them.
    pub finish: Option<u32>,
}

// Occurrences never decrease from one event to the next, although each is limited on a day of its own: offset, minimum
// and maximum keep the order of their arguments, and times of day are in order. Limited ones may coincide, and are one
// occurrence then, because a search looks for a later one. Only a fallback may be later than the next day's event, very
// near a pole or where it is far from six o'clock; so a search that has a fallback examines one more day.
impl Sun {
    /// Returns the first two of its times of day that are not in order.
    pub(crate) fn out_of_order(&self) -> Option<OutOfOrder> {
        let times = [("not-before", self.not_before), ("otherwise", self.otherwise), ("not-after", self.not_after)];
        let times: Vec<_> = times.into_iter().filter_map(|(name, time)| Some((name, time?))).collect();
        let noon = NaiveDate::default().and_time(NOON);
        let wrong = |pair: &&[(&str, NaiveTime)]| self.on(noon, pair[0].1) > self.on(noon, pair[1].1);
        let (earlier, later) = times.windows(2).find(wrong).map(|pair| (pair[0], pair[1]))?;
        Some(OutOfOrder { earlier, later, counted_from: self.start(noon).time() })
    }

    /// Returns a trigger at an event, without any limits.
    #[must_use]
    pub const fn at(event: SunEvent) -> Self {
        let (not_before, not_after, otherwise, days, finish) = (None, None, None, None, None);
        Self { event, offset_ms: 0, not_before, not_after, otherwise, days, finish }
    }

    pub(super) fn next(&self, after: Instant, zone: Zone, location: Location, almanac: &mut Almanac) -> Search {
        let site = (zone, location);
        let mut day = solar_day(after.plus_ms(-REACH_MS), location);
        let end = end_of_search(self.date_of(day, site));
        for _ in 0..limits::SUN_DAYS_PER_SEARCH {
            match self.first_day(day, end, site, &almanac.calendars) {
                Some(first) => day = first,
                None => break,
            }
            let mut later = |day| self.due(day, site, almanac).into_iter().find(|due| *due > after);
            if let Some(due) = later(day) {
                let next = self.otherwise.and_then(|_| later(day + 1));
                return Search::Found(next.map_or(due, |next| next.min(due)));
            }
            day += 1;
        }
        // Later events are due after this, because an occurrence is at most REACH_MS from its noon.
        match Instant::from_millis(solar_noon(day, location) - REACH_MS) {
            Some(bound) if bound > after => Search::NotUntil(bound),
            Some(_) => Search::Never(self.no_more_days()),
            None => Search::Never(Never::Over),
        }
    }

    pub(super) fn last(
        &self,
        after: Instant,
        until: Instant,
        zone: Zone,
        location: Location,
        almanac: &mut Almanac,
    ) -> Search {
        let site = (zone, location);
        let mut day = solar_day(until.plus_ms(REACH_MS), location);
        // None is looked for where it would be too early.
        let earliest = self.date_of(solar_day(after.plus_ms(-REACH_MS), location), site);
        let start = start_of_search(self.date_of(day, site)).max(earliest);
        for _ in 0..limits::SUN_DAYS_PER_SEARCH {
            match self.last_day(day, start, site, &almanac.calendars) {
                Some(last) => day = last,
                None => return Search::Never(Never::Over),
            }
            let mut earlier = |day| self.due(day, site, almanac).into_iter().rfind(|due| *due <= until);
            if let Some(due) = earlier(day) {
                let before = self.otherwise.and_then(|_| earlier(day - 1));
                let due = before.map_or(due, |before| before.max(due));
                return if due > after { Search::Found(due) } else { Search::Never(Never::Over) };
            }
            day -= 1;
        }
        match Instant::from_millis(solar_noon(day, location) + REACH_MS) {
            Some(bound) if bound > after => Search::NotUntil(bound),
            _ => Search::Never(Never::Over),
        }
    }

    /// Returns the dates of the mornings, noons or evenings whose occurrence is at an instant: one, rarely two.
    pub(super) fn dates_of(&self, at: Instant, site: (Zone, Location), almanac: &mut Almanac) -> Vec<NaiveDate> {
        let on_every_day = Self { days: None, ..self.clone() };
        let reach = solar_day(at.plus_ms(-REACH_MS), site.1)..=solar_day(at.plus_ms(REACH_MS), site.1);
        reach
            .filter(|day| on_every_day.due(*day, site, almanac).contains(&at))
            .map(|day| self.date_of(day, site))
            .collect()
    }

    /// Returns the first solar day from one on, and before a date, that is not left out.
    fn first_day(&self, day: i64, end: NaiveDate, site: (Zone, Location), calendars: &Calendars) -> Option<i64> {
        let Some(days) = &self.days else { return Some(day) };
        let date = self.date_of(day, site);
        let first = days.first_from(date, end, calendars)?;
        Some(day + (first - date).num_days().max(0))
    }

    /// Returns the last solar day up to one, and not before a date, that is not left out.
    fn last_day(&self, day: i64, start: NaiveDate, site: (Zone, Location), calendars: &Calendars) -> Option<i64> {
        let Some(days) = &self.days else { return Some(day) };
        let date = self.date_of(day, site);
        let last = days.last_until(date, start, calendars)?;
        Some(day - (date - last).num_days().max(0))
    }

    fn no_more_days(&self) -> Never {
        if self.days.as_ref().is_some_and(|days| days.follow_calendars()) { Never::NoSuchDate } else { Never::Over }
    }

    /// Returns whether its event occurs on the morning, noon or evening of a local date.
    #[must_use]
    pub fn occurs_on(&self, date: NaiveDate, location: Location, zone: Zone, almanac: &mut Almanac) -> bool {
        let day = solar_day(to_instant(date, NOON, zone), location);
        !almanac.on(self.event, day, location).is_empty()
    }

    /// Returns its occurrences on a solar day, in order: one, or near the poles perhaps none or two.
    fn due(&self, day: i64, (zone, location): (Zone, Location), almanac: &mut Almanac) -> Vec<Instant> {
        let is_left_out = |days: &Arc<Days>| !days.contain(self.date_of(day, (zone, location)), &almanac.calendars);
        if self.days.as_ref().is_some_and(is_left_out) {
            return Vec::new();
        }
        let at = |time| {
            let local = self.on(noon_of(day, zone, location), time);
            to_instant(local.date(), local.time(), zone)
        };
        let (not_before, not_after) = (self.not_before.map(at), self.not_after.map(at));
        let events = almanac.on(self.event, day, location);
        if events.is_empty() {
            return self.otherwise.map(at).into_iter().collect();
        }
        let due = events.iter().map(|event| {
            let moved = event.plus_ms(i64::from(self.offset_ms));
            let raised = not_before.map_or(moved, |time| moved.max(time));
            not_after.map_or(raised, |time| raised.min(time))
        });
        due.collect()
    }

    /// Returns the date of its morning, noon or evening on a solar day, on the clocks of a zone.
    fn date_of(&self, day: i64, (zone, location): (Zone, Location)) -> NaiveDate {
        let noon = noon_of(day, zone, location);
        if mutated(Mutation::EveningHasDateOfItsTime) {
            return (noon + TimeDelta::hours(self.event.hour() - 12)).date();
        }
        noon.date()
    }

    /// Returns a time of day on the morning or evening of the day with this noon.
    fn on(&self, noon: NaiveDateTime, time: NaiveTime) -> NaiveDateTime {
        let start = self.start(noon);
        let same_date = start.date().and_time(time);
        if same_date < start { same_date + DayCount::new(1) } else { same_date }
    }

    /// Returns when that morning or evening begins: half a day before the event's hour.
    fn start(&self, noon: NaiveDateTime) -> NaiveDateTime {
        noon + TimeDelta::hours(self.event.hour() - 24) + TimeDelta::milliseconds(self.offset_ms.into())
    }
}

/// Two times of day of a sun trigger that are out of order, with their names in the contract.
pub(crate) struct OutOfOrder {
    pub(crate) earlier: (&'static str, NaiveTime),
    pub(crate) later: (&'static str, NaiveTime),
    /// When the day of the trigger begins.
    pub(crate) counted_from: NaiveTime,
}

const NOON: NaiveTime = NaiveTime::from_hms_opt(12, 0, 0).expect("a time of day");

/// Returns what a clock shows at noon of a solar day: 12:00. If it differs from solar time by more than four hours, the
/// zone is not that of the location, as in a container that has only UTC; then solar noon counts.
fn noon_of(day: i64, zone: Zone, location: Location) -> NaiveDateTime {
    let (date, time) = to_local(Instant::from_millis_clamped(solar_noon(day, location)), zone);
    date.and_time(if (8..16).contains(&time.hour()) { NOON } else { time })
}
