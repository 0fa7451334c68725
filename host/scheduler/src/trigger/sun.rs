//! Sun events.

use std::{collections::HashMap, fmt, mem};

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use solar_positioning::{Horizon, SolarEvents, delta_t};

use super::search::{Never, Search};
use crate::{
    calendar::{next_midnight, to_instant, to_local},
    limits,
    time::{Instant, Location},
    zone::Zone,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A degree of longitude is four minutes of mean solar time.
const DEGREE_MS: f64 = 240_000.0;

/// The largest distance of an occurrence from the mean solar noon of its day: an event by 18 hours and an offset of 12
/// hours; a time of day by 23 hours, 4 hours of a clock that differs from solar time, a skipped hour and an offset of
/// 12 hours.
const REACH_MS: i64 = 40 * HOUR_MS;

/// A sun event. It occurs once on most days, and near the poles on some days not at all or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SunEvent {
    /// The upper edge rises above the horizon (centre at -0°50′).
    Sunrise,
    /// The upper edge sinks below the horizon.
    Sunset,
    /// The centre rises above -6°.
    CivilDawn,
    /// The centre sinks below -6°.
    CivilDusk,
    /// The centre rises above -12°.
    NauticalDawn,
    /// The centre sinks below -12°.
    NauticalDusk,
    /// The centre rises above -18°.
    AstronomicalDawn,
    /// The centre sinks below -18°.
    AstronomicalDusk,
    /// The sun crosses the meridian.
    SolarNoon,
}

impl SunEvent {
    /// All events.
    pub const ALL: [Self; 9] = [
        Self::Sunrise,
        Self::Sunset,
        Self::CivilDawn,
        Self::CivilDusk,
        Self::NauticalDawn,
        Self::NauticalDusk,
        Self::AstronomicalDawn,
        Self::AstronomicalDusk,
        Self::SolarNoon,
    ];

    /// Parses what [`SunEvent::as_str`] returns.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// Returns the name: `sunrise`, `civil-dusk`, ...
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// Returns its usual hour: 6 for morning events, 18 for evening events, 12 for noon. In mean solar time an event is
    /// within half a day of that, at every place and date.
    const fn hour(self) -> i64 {
        self.facts().1
    }

    /// Returns its name, its usual hour, and the horizon that the sun crosses; at noon it crosses the meridian.
    const fn facts(self) -> (&'static str, i64, Option<Horizon>) {
        match self {
            Self::Sunrise => ("sunrise", 6, Some(Horizon::SunriseSunset)),
            Self::Sunset => ("sunset", 18, Some(Horizon::SunriseSunset)),
            Self::CivilDawn => ("civil-dawn", 6, Some(Horizon::CivilTwilight)),
            Self::CivilDusk => ("civil-dusk", 18, Some(Horizon::CivilTwilight)),
            Self::NauticalDawn => ("nautical-dawn", 6, Some(Horizon::NauticalTwilight)),
            Self::NauticalDusk => ("nautical-dusk", 18, Some(Horizon::NauticalTwilight)),
            Self::AstronomicalDawn => ("astronomical-dawn", 6, Some(Horizon::AstronomicalTwilight)),
            Self::AstronomicalDusk => ("astronomical-dusk", 18, Some(Horizon::AstronomicalTwilight)),
            Self::SolarNoon => ("solar-noon", 12, None),
        }
    }
}

impl fmt::Display for SunEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A trigger that is due at a sun event of each day, with an offset and limits.
///
/// Each event belongs to a morning, a noon or an evening, and an evening may last beyond midnight: a time of day means
/// the one within half a day of 06:00 for morning events, of 12:00 for solar noon, and of 18:00 for evening events,
/// each moved by the offset. So `sunset not-after 22:00` is never after midnight, even if the sun sets at 00:47.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    pub(super) fn next(&self, after: Instant, zone: Zone, location: Location, almanac: &mut Almanac) -> Search {
        let first = solar_day(after.plus_ms(-REACH_MS), location);
        let end = first + i64::from(limits::SUN_DAYS_PER_SEARCH);
        let mut later = |day| self.due(day, zone, location, almanac).into_iter().find(|due| *due > after);
        for day in first..end {
            if let Some(due) = later(day) {
                let next = self.otherwise.and_then(|_| later(day + 1));
                return Search::Found(next.map_or(due, |next| next.min(due)));
            }
        }
        // Later events are due after this, because an occurrence is at most REACH_MS from its noon.
        let bound = solar_noon(end, location) - REACH_MS;
        Instant::from_millis(bound).map_or(Search::Never(Never::Over), Search::NotUntil)
    }

    pub(super) fn last(
        &self,
        after: Instant,
        until: Instant,
        zone: Zone,
        location: Location,
        almanac: &mut Almanac,
    ) -> Search {
        let end = solar_day(until.plus_ms(REACH_MS), location) + 1;
        let first = end - i64::from(limits::SUN_DAYS_PER_SEARCH);
        let mut earlier = |day| self.due(day, zone, location, almanac).into_iter().rfind(|due| *due <= until);
        for day in (first..end).rev() {
            if let Some(due) = earlier(day) {
                let before = self.otherwise.and_then(|_| earlier(day - 1));
                let due = before.map_or(due, |before| before.max(due));
                return if due > after { Search::Found(due) } else { Search::Never(Never::Over) };
            }
        }
        match Instant::from_millis(solar_noon(first - 1, location) + REACH_MS) {
            Some(bound) if bound > after => Search::NotUntil(bound),
            _ => Search::Never(Never::Over),
        }
    }

    /// Returns whether its event occurs on the morning, noon or evening of a local date.
    #[must_use]
    pub fn occurs_on(&self, date: NaiveDate, location: Location, zone: Zone, almanac: &mut Almanac) -> bool {
        let day = solar_day(to_instant(date, NOON, zone), location);
        !almanac.on(self.event, day, location).is_empty()
    }

    /// Returns its occurrences on a solar day, in order: one, or near the poles perhaps none or two.
    fn due(&self, day: i64, zone: Zone, location: Location, almanac: &mut Almanac) -> Vec<Instant> {
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

    /// Returns a time of day on the morning or evening of the day with this noon.
    fn on(&self, noon: NaiveDateTime, time: NaiveTime) -> NaiveDateTime {
        let start = self.start(noon);
        let same_date = start.date().and_time(time);
        if same_date < start { same_date + Days::new(1) } else { same_date }
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

/// Returns how far mean solar time is ahead of UTC, in milliseconds.
fn ahead_ms(location: Location) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 12 hours")]
    let ahead = (location.longitude() * DEGREE_MS).round() as i64;
    ahead
}

/// Returns the day of mean solar time of an instant, counted from 1970-01-01.
pub(super) fn solar_day(at: Instant, location: Location) -> i64 {
    (at.millis() + ahead_ms(location)).div_euclid(DAY_MS)
}

/// Returns the mean solar noon of a day, in milliseconds since 1970.
fn solar_noon(day: i64, location: Location) -> i64 {
    day * DAY_MS + DAY_MS / 2 - ahead_ms(location)
}

/// A cache of the times of sun events, by day and location.
///
/// An event takes tens of microseconds to compute, and a plan of many doors needs the same ones again and again.
#[derive(Debug, Default)]
pub struct Almanac {
    young: HashMap<Day, Vec<Instant>>,
    /// The previous `young`; entries that are not used until `young` is full are dropped (I10).
    old: HashMap<Day, Vec<Instant>>,
}

/// One event on one solar day at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Day {
    event: SunEvent,
    number: i64,
    latitude: u64,
    longitude: u64,
}

impl Almanac {
    /// Returns the times of an event on a local date, in order: one on most days, near the poles perhaps none or two.
    #[must_use]
    pub fn times(&mut self, event: SunEvent, date: NaiveDate, location: Location, zone: Zone) -> Vec<Instant> {
        let start = to_instant(date, NaiveTime::MIN, zone);
        let end = next_midnight(start, zone);
        let days = solar_day(start, location) - 1..=solar_day(end, location) + 1;
        let mut times: Vec<_> = days.flat_map(|day| self.on(event, day, location).to_vec()).collect();
        times.retain(|at| to_local(*at, zone).0 == date);
        times.dedup();
        times
    }

    /// Returns the events of a morning, a noon or an evening: those within half a day of six, twelve or eighteen
    /// o'clock of mean solar time, before or after midnight. Such days do not depend on a time zone, so that all zones
    /// share them.
    pub(super) fn on(&mut self, event: SunEvent, number: i64, location: Location) -> &[Instant] {
        let (latitude, longitude) = (location.latitude().to_bits(), location.longitude().to_bits());
        let day = Day { event, number, latitude, longitude };
        if !self.young.contains_key(&day) && self.young.len() >= limits::ALMANAC_DAYS / 2 {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(day).or_insert_with(|| old.remove(&day).unwrap_or_else(|| events(event, number, location)))
    }
}

/// Rounds to whole seconds: an event's time is a part of a run's id, and a later version of the library may differ by
/// milliseconds.
fn rounded(at: DateTime<Utc>) -> Option<Instant> {
    Instant::from_millis((at.timestamp_millis() + 500).div_euclid(1_000) * 1_000)
}

/// The shortest time between two events of a kind, up to `NEAR_A_POLE`: a day's event may be earlier than that of the
/// day before, most of all before the events cease, but there only by an hour or two.
const HOURS_APART: i64 = 20;
const NEAR_A_POLE: f64 = 85.0;

/// Computes the events of a solar day. There are none after the year 3000, which the library does not support.
fn events(event: SunEvent, day: i64, location: Location) -> Vec<Instant> {
    let mut times = Vec::new();
    let start = solar_noon(day, location) + (event.hour() - 24) * HOUR_MS;
    let Some(mut start) = DateTime::from_timestamp_millis(start) else { return times };
    let Ok(delta_t) = delta_t::estimate_from_date_like(&start) else { return times };
    let end = start + TimeDelta::milliseconds(DAY_MS);
    let sun = SolarEvents::new();
    let place = solar_positioning::Location { latitude: location.latitude(), longitude: location.longitude() };
    let next = |start: &DateTime<Utc>| match event.facts() {
        (_, 6, Some(horizon)) => sun.next_rise(start, &end, place, delta_t, horizon),
        (_, _, Some(horizon)) => sun.next_set(start, &end, place, delta_t, horizon),
        (_, _, None) => sun.next_transit(start, &end, place.longitude, delta_t),
    };
    let apart = TimeDelta::hours(if location.latitude().abs() < NEAR_A_POLE { HOURS_APART } else { 0 });
    // There are at most two on a day; the bound is for a faulty library.
    while times.len() < 4
        && start < end
        && let Ok(Some(at)) = next(&start)
        && at > start
    {
        times.extend(rounded(at));
        start = at + apart;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all events of a year, each searched from the previous one on.
    fn of_a_year(latitude: f64, rises: bool, horizon: Horizon) -> Vec<DateTime<Utc>> {
        let mut start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let end: DateTime<Utc> = "2027-01-01T00:00:00Z".parse().unwrap();
        let place = solar_positioning::Location { latitude, longitude: 20.0 };
        let (sun, mut found) = (SolarEvents::new(), Vec::new());
        while let Ok(Some(at)) = match rises {
            true => sun.next_rise(&start, &end, place, 69.0, horizon),
            false => sun.next_set(&start, &end, place, 69.0, horizon),
        } {
            found.push(at);
            start = at;
        }
        found
    }

    #[test]
    fn two_events_of_a_kind_are_far_apart() {
        for latitude in [-84.9, 60.0, 84.9] {
            for (rises, horizon) in [
                (true, Horizon::SunriseSunset),
                (false, Horizon::SunriseSunset),
                (true, Horizon::CivilTwilight),
                (false, Horizon::NauticalTwilight),
                (true, Horizon::AstronomicalTwilight),
                (false, Horizon::AstronomicalTwilight),
            ] {
                let events = of_a_year(latitude, rises, horizon);
                let least = events.windows(2).map(|pair| pair[1] - pair[0]).min();
                assert!(least.is_none_or(|least| least > TimeDelta::hours(HOURS_APART)), "{latitude}: {least:?}");
            }
        }
    }
}
