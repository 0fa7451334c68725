//! Sun events.

use std::{collections::HashMap, fmt, mem};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use solar_positioning::{Horizon, SolarEvents, delta_t};

use super::{Never, Search};
use crate::{
    calendar::{next_midnight, to_instant, to_local},
    limits,
    time::{Instant, Location},
};

const DAY_MS: i64 = 86_400_000;

/// An occurrence is less than this away from its event: 12 hours of offset, or the length of the event's local date,
/// which is at most 25 hours save for a few dates of the past.
const REACH_MS: i64 = DAY_MS + DAY_MS / 2;

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
}

impl fmt::Display for SunEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Due at a sun event of each day, moved and clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sun {
    /// Which.
    pub event: SunEvent,
    /// This much later, or earlier if negative; at most 12 hours.
    pub offset_ms: i32,
    /// If that is earlier than this time of day, on the event's local date, then at this time.
    pub not_before: Option<NaiveTime>,
    /// If that is later than this one, then at this one. Not before `not_before`.
    pub not_after: Option<NaiveTime>,
}

// Occurrences never decrease from one event to the next, although each is clamped on a date of its own: offset, minimum
// and maximum keep the order of what they are given, and local midnights are in order. Clamped ones may coincide, and
// are one occurrence then, because a search wants the next one to be later.
impl Sun {
    pub(super) fn next(&self, after: Instant, zone: Tz, location: Location, sky: &mut Sky) -> Search {
        let first = day_of(after.plus_ms(-REACH_MS));
        let end = first + i64::from(limits::SUN_DAYS_PER_SEARCH);
        for day in first..end {
            let due = sky.on(self.event, day, location).iter().map(|event| self.due(*event, zone));
            if let Some(due) = due.into_iter().find(|due| *due > after) {
                return Search::Found(due);
            }
        }
        // Later events are due after this, since REACH_MS is all that they can be moved.
        Instant::from_millis(end * DAY_MS - REACH_MS).map_or(Search::Never(Never::Over), Search::NotUntil)
    }

    pub(super) fn last(&self, after: Instant, until: Instant, zone: Tz, location: Location, sky: &mut Sky) -> Search {
        let end = day_of(until.plus_ms(REACH_MS)) + 1;
        let first = end - i64::from(limits::SUN_DAYS_PER_SEARCH);
        for day in (first..end).rev() {
            let due = sky.on(self.event, day, location).iter().rev().map(|event| self.due(*event, zone));
            if let Some(due) = due.into_iter().find(|due| *due <= until) {
                return if due > after { Search::Found(due) } else { Search::Never(Never::Over) };
            }
        }
        match Instant::from_millis(first * DAY_MS + REACH_MS) {
            Some(bound) if bound > after => Search::NotUntil(bound),
            _ => Search::Never(Never::Over),
        }
    }

    fn due(&self, event: Instant, zone: Tz) -> Instant {
        let date = to_local(event, zone).0;
        let moved = event.plus_ms(i64::from(self.offset_ms));
        let raised = self.not_before.map_or(moved, |time| moved.max(to_instant(date, time, zone)));
        self.not_after.map_or(raised, |time| raised.min(to_instant(date, time, zone)))
    }
}

/// When the sun does what, kept for the days and places that were asked for.
///
/// An event takes tens of microseconds to find, and a plan of many doors asks for the same ones again and again.
#[derive(Debug, Default)]
pub struct Sky {
    young: HashMap<Day, Vec<Instant>>,
    /// What was young before; what of it is not asked for until `young` is full is forgotten (I10).
    old: HashMap<Day, Vec<Instant>>,
}

/// One event on one UTC day at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Day {
    event: SunEvent,
    number: i64,
    latitude: u64,
    longitude: u64,
}

impl Sky {
    /// When an event happens on a local date, in order: once on most days, near the poles perhaps never or twice.
    #[must_use]
    pub fn times(&mut self, event: SunEvent, date: NaiveDate, location: Location, zone: Tz) -> Vec<Instant> {
        let start = to_instant(date, NaiveTime::MIN, zone);
        let end = next_midnight(start, zone);
        // A second earlier, for one that is rounded up into the date.
        let days = day_of(start.plus_ms(-1_000))..=day_of(end);
        let mut times: Vec<_> = days.flat_map(|day| self.on(event, day, location).to_vec()).collect();
        times.retain(|at| to_local(*at, zone).0 == date);
        times.dedup();
        times
    }

    /// The events of a UTC day. UTC days rather than local ones, so that the zones of a location share them.
    fn on(&mut self, event: SunEvent, number: i64, location: Location) -> &[Instant] {
        let (latitude, longitude) = (location.latitude().to_bits(), location.longitude().to_bits());
        let day = Day { event, number, latitude, longitude };
        if !self.young.contains_key(&day) && self.young.len() >= limits::SKY_DAYS / 2 {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(day).or_insert_with(|| old.remove(&day).unwrap_or_else(|| events(event, number, location)))
    }
}

/// The UTC day that an instant is on, counted from 1970-01-01.
fn day_of(at: Instant) -> i64 {
    at.millis().div_euclid(DAY_MS)
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

/// Finds the events of a UTC day. None where the library knows no sun: after the year 3000.
fn events(event: SunEvent, day: i64, location: Location) -> Vec<Instant> {
    let mut times = Vec::new();
    let Some(mut start) = DateTime::from_timestamp_millis(day * DAY_MS) else { return times };
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
