//! Sun events.

use std::{collections::HashMap, fmt, mem};

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use solar_positioning::{Horizon, SolarEvents, delta_t};

use super::{Never, Search};
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

/// An occurrence is at most this far from the mean solar noon of its day: an event by 18 hours, and 12 hours of offset; a
/// time of day by 23 hours, 4 of a clock that does not show the sun's time, an hour that is skipped, and 12 of offset.
const REACH_MS: i64 = 40 * HOUR_MS;

/// Something the sun does. It happens once on most days, and on some days near the poles not at all or twice.
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
    /// All of them.
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

    /// Reads what [`SunEvent::as_str`] writes.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// `sunrise`, `civil-dusk`, ...
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sunrise => "sunrise",
            Self::Sunset => "sunset",
            Self::CivilDawn => "civil-dawn",
            Self::CivilDusk => "civil-dusk",
            Self::NauticalDawn => "nautical-dawn",
            Self::NauticalDusk => "nautical-dusk",
            Self::AstronomicalDawn => "astronomical-dawn",
            Self::AstronomicalDusk => "astronomical-dusk",
            Self::SolarNoon => "solar-noon",
        }
    }

    /// The hour that it is usually at: 6 for what happens in the morning, 18 for what happens in the evening, 12 for noon.
    /// In mean solar time it is within half a day of that, wherever and whenever it happens.
    const fn hour(self) -> i64 {
        match self {
            Self::Sunrise | Self::CivilDawn | Self::NauticalDawn | Self::AstronomicalDawn => 6,
            Self::Sunset | Self::CivilDusk | Self::NauticalDusk | Self::AstronomicalDusk => 18,
            Self::SolarNoon => 12,
        }
    }
}

impl fmt::Display for SunEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Due at a sun event of each day, moved and clamped.
///
/// A day of the sun is a morning, a noon or an evening, and an evening may last beyond midnight: a time of day means the one
/// within half a day of 06:00 for what happens in the morning, of 12:00 for solar noon, of 18:00 for what happens in the
/// evening, each moved by the offset. So `sunset not-after 22:00` is never after midnight, also where the sun sets at 00:47.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sun {
    /// Which.
    pub event: SunEvent,
    /// This much later, or earlier if negative; at most 12 hours.
    pub offset_ms: i32,
    /// If that is earlier than this time of the event's morning or evening, then at this time.
    pub not_before: Option<NaiveTime>,
    /// If that is later than this one, then at this one. Not before `not_before`.
    pub not_after: Option<NaiveTime>,
    /// On a morning or evening without the event, at this time; without it, not at all. Within the other two.
    pub otherwise: Option<NaiveTime>,
}

// Occurrences never decrease from one event to the next, although each is clamped on a day of its own: offset, minimum and
// maximum keep the order of what they are given, and times of day are in order. Clamped ones may coincide, and are one
// occurrence then, because a search wants the next one to be later. Only a fallback may be later than the next day's event,
// very near a pole or where it is far from six o'clock; so a search that has one looks a day further.
impl Sun {
    /// The first two of its times of day that are not in order.
    pub(crate) fn out_of_order(&self) -> Option<OutOfOrder> {
        let times = [("not-before", self.not_before), ("otherwise", self.otherwise), ("not-after", self.not_after)];
        let times: Vec<_> = times.into_iter().filter_map(|(name, time)| Some((name, time?))).collect();
        let noon = NaiveDate::default().and_time(NOON);
        let wrong = |pair: &&[(&str, NaiveTime)]| self.on(noon, pair[0].1) > self.on(noon, pair[1].1);
        let (earlier, later) = times.windows(2).find(wrong).map(|pair| (pair[0], pair[1]))?;
        Some(OutOfOrder { earlier, later, counted_from: self.start(noon).time() })
    }

    pub(super) fn next(&self, after: Instant, zone: Zone, location: Location, sun_cache: &mut SunCache) -> Search {
        let first = solar_day(after.plus_ms(-REACH_MS), location);
        let end = first + i64::from(limits::SUN_DAYS_PER_SEARCH);
        let mut later = |day| self.due(day, zone, location, sun_cache).into_iter().find(|due| *due > after);
        for day in first..end {
            if let Some(due) = later(day) {
                let next = self.otherwise.and_then(|_| later(day + 1));
                return Search::Found(next.map_or(due, |next| next.min(due)));
            }
        }
        // Later events are due after this, since REACH_MS is all that they can be moved.
        let bound = solar_noon(end, location) - REACH_MS;
        Instant::from_millis(bound).map_or(Search::Never(Never::Over), Search::NotUntil)
    }

    pub(super) fn last(
        &self,
        after: Instant,
        until: Instant,
        zone: Zone,
        location: Location,
        sun_cache: &mut SunCache,
    ) -> Search {
        let end = solar_day(until.plus_ms(REACH_MS), location) + 1;
        let first = end - i64::from(limits::SUN_DAYS_PER_SEARCH);
        let mut earlier = |day| self.due(day, zone, location, sun_cache).into_iter().rfind(|due| *due <= until);
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

    /// Whether its event happens on the morning, noon or evening of a local date.
    #[must_use]
    pub fn happens_on(&self, date: NaiveDate, location: Location, zone: Zone, sun_cache: &mut SunCache) -> bool {
        let day = solar_day(to_instant(date, NOON, zone), location);
        !sun_cache.on(self.event, day, location).is_empty()
    }

    /// When it is due on a day of the sun, in order: once, or near the poles perhaps never or twice.
    fn due(&self, day: i64, zone: Zone, location: Location, sun_cache: &mut SunCache) -> Vec<Instant> {
        let at = |time| {
            let local = self.on(noon_of(day, zone, location), time);
            to_instant(local.date(), local.time(), zone)
        };
        let (not_before, not_after) = (self.not_before.map(at), self.not_after.map(at));
        let events = sun_cache.on(self.event, day, location);
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

    /// A time of day on the morning or evening of the day with this noon.
    fn on(&self, noon: NaiveDateTime, time: NaiveTime) -> NaiveDateTime {
        let start = self.start(noon);
        let same_date = start.date().and_time(time);
        if same_date < start { same_date + Days::new(1) } else { same_date }
    }

    /// When it begins: half a day before the event's hour.
    fn start(&self, noon: NaiveDateTime) -> NaiveDateTime {
        noon + TimeDelta::hours(self.event.hour() - 24) + TimeDelta::milliseconds(self.offset_ms.into())
    }
}

/// Two times of day of a sun trigger, by the names that the contract gives them, of which the first should be the earlier.
pub(crate) struct OutOfOrder {
    pub(crate) earlier: (&'static str, NaiveTime),
    pub(crate) later: (&'static str, NaiveTime),
    /// When its day begins.
    pub(crate) counted_from: NaiveTime,
}

const NOON: NaiveTime = NaiveTime::from_hms_opt(12, 0, 0).expect("a time of day");

/// What a clock shows at noon of a day of the sun: 12:00. Where it shows something else by more than four hours when the sun
/// is highest, the zone is not that of the place, as in a container that knows only UTC; there the sun's own noon counts.
fn noon_of(day: i64, zone: Zone, location: Location) -> NaiveDateTime {
    let (date, time) = to_local(Instant::from_millis_clamped(solar_noon(day, location)), zone);
    date.and_time(if (8..16).contains(&time.hour()) { NOON } else { time })
}

/// How far mean solar time is ahead of UTC.
fn ahead_ms(location: Location) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 12 hours")]
    let ahead = (location.longitude() * DEGREE_MS).round() as i64;
    ahead
}

/// The day of mean solar time that an instant is on, counted from 1970-01-01.
fn solar_day(at: Instant, location: Location) -> i64 {
    (at.millis() + ahead_ms(location)).div_euclid(DAY_MS)
}

/// Mean solar noon of such a day, in milliseconds since 1970.
fn solar_noon(day: i64, location: Location) -> i64 {
    day * DAY_MS + DAY_MS / 2 - ahead_ms(location)
}

/// When the sun does what, kept for the days and places that were asked for.
///
/// An event takes tens of microseconds to find, and a plan of many doors asks for the same ones again and again.
#[derive(Debug, Default)]
pub struct SunCache {
    young: HashMap<Day, Vec<Instant>>,
    /// What was young before; what of it is not asked for until `young` is full is forgotten (I10).
    old: HashMap<Day, Vec<Instant>>,
}

/// One event on one day of the sun at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Day {
    event: SunEvent,
    number: i64,
    latitude: u64,
    longitude: u64,
}

impl SunCache {
    /// When an event happens on a local date, in order: once on most days, near the poles perhaps never or twice.
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

    /// The events of a morning, a noon or an evening: those within half a day of six, twelve or eighteen o'clock of mean
    /// solar time, be it before midnight or after. Such days do not depend on a zone, so that all zones share them.
    fn on(&mut self, event: SunEvent, number: i64, location: Location) -> &[Instant] {
        let (latitude, longitude) = (location.latitude().to_bits(), location.longitude().to_bits());
        let day = Day { event, number, latitude, longitude };
        if !self.young.contains_key(&day) && self.young.len() >= limits::SUN_CACHE_DAYS / 2 {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(day).or_insert_with(|| old.remove(&day).unwrap_or_else(|| events(event, number, location)))
    }
}

/// To whole seconds: an event's time is a part of a run's identity, and a later version of the library may well differ
/// by milliseconds.
fn rounded(at: DateTime<Utc>) -> Option<Instant> {
    Instant::from_millis((at.timestamp_millis() + 500).div_euclid(1_000) * 1_000)
}

/// So long after an event there is no other one of its kind, as far from the poles as this: a day's event may come earlier
/// than that of the day before, most of all when it is about to come no more, but there only by an hour or two.
const HOURS_APART: i64 = 20;
const NEAR_A_POLE: f64 = 85.0;

/// Finds the events of a day of the sun. None where the library knows no sun: after the year 3000.
fn events(event: SunEvent, day: i64, location: Location) -> Vec<Instant> {
    let mut times = Vec::new();
    let start = solar_noon(day, location) + (event.hour() - 24) * HOUR_MS;
    let Some(mut start) = DateTime::from_timestamp_millis(start) else { return times };
    let Ok(delta_t) = delta_t::estimate_from_date_like(&start) else { return times };
    let end = start + TimeDelta::milliseconds(DAY_MS);
    let sun = SolarEvents::new();
    let place = solar_positioning::Location { latitude: location.latitude(), longitude: location.longitude() };
    let next = |start: &DateTime<Utc>| match event {
        SunEvent::Sunrise => sun.next_rise(start, &end, place, delta_t, Horizon::SunriseSunset),
        SunEvent::Sunset => sun.next_set(start, &end, place, delta_t, Horizon::SunriseSunset),
        SunEvent::CivilDawn => sun.next_rise(start, &end, place, delta_t, Horizon::CivilTwilight),
        SunEvent::CivilDusk => sun.next_set(start, &end, place, delta_t, Horizon::CivilTwilight),
        SunEvent::NauticalDawn => sun.next_rise(start, &end, place, delta_t, Horizon::NauticalTwilight),
        SunEvent::NauticalDusk => sun.next_set(start, &end, place, delta_t, Horizon::NauticalTwilight),
        SunEvent::AstronomicalDawn => sun.next_rise(start, &end, place, delta_t, Horizon::AstronomicalTwilight),
        SunEvent::AstronomicalDusk => sun.next_set(start, &end, place, delta_t, Horizon::AstronomicalTwilight),
        SunEvent::SolarNoon => sun.next_transit(start, &end, place.longitude, delta_t),
    };
    let apart = TimeDelta::hours(if location.latitude().abs() < NEAR_A_POLE { HOURS_APART } else { 0 });
    // At most two on a day; the bound is for a library that is wrong.
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

    /// All events of a year, each looked for from the one before on.
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
