//! Sun events, and their times.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use solar_positioning::{Horizon, SolarEvents, delta_t};

use crate::time::{Instant, Location};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A degree of longitude is four minutes of mean solar time.
const DEGREE_MS: f64 = 240_000.0;

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
    /// The sun is at its lowest, on the other side of the meridian.
    SolarMidnight,
    /// The centre rises above an elevation.
    Rising(Elevation),
    /// The centre sinks below an elevation.
    Setting(Elevation),
}

/// The angle of the sun's centre above the horizon, without refraction; negative below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elevation {
    /// Thousandths of a degree: whole numbers, because the time of an event is a part of a run's id.
    thousandths: i32,
}

impl Elevation {
    /// Returns the elevation of so many degrees, rounded to thousandths, or `None` unless it is -90 to 90.
    #[must_use]
    pub fn from_degrees(degrees: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 90,000")]
        let thousandths = || (degrees * 1_000.0).round() as i32;
        (-90.0..=90.0).contains(&degrees).then(|| Self { thousandths: thousandths() })
    }

    /// Returns the elevation in degrees.
    #[must_use]
    pub fn degrees(self) -> f64 {
        f64::from(self.thousandths) / 1_000.0
    }
}

impl SunEvent {
    /// The events that have a name.
    pub const NAMED: [Self; 10] = [
        Self::Sunrise,
        Self::Sunset,
        Self::CivilDawn,
        Self::CivilDusk,
        Self::NauticalDawn,
        Self::NauticalDusk,
        Self::AstronomicalDawn,
        Self::AstronomicalDusk,
        Self::SolarNoon,
        Self::SolarMidnight,
    ];

    /// Finds an event by its name: `sunrise`, `civil-dusk`, ...
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|event| event.name() == name)
    }

    /// Returns the name, or only the direction if it is at an elevation.
    pub(super) fn name(self) -> &'static str {
        self.facts().0
    }

    /// Returns its usual hour: 6 for morning events, 18 for evening events, 12 for noon, 24 for midnight. In mean solar
    /// time an event is within half a day of that, at every place and date.
    pub(super) fn hour(self) -> i64 {
        self.facts().1
    }

    /// Returns whether the sun crosses a horizon, not the meridian.
    pub(super) fn crosses_horizon(self) -> bool {
        self.facts().2.is_some()
    }

    /// Returns its name, its usual hour, and the horizon that the sun crosses; at noon and midnight it crosses the
    /// meridian.
    fn facts(self) -> (&'static str, i64, Option<Horizon>) {
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
            Self::SolarMidnight => ("solar-midnight", 24, None),
            Self::Rising(elevation) => ("rising", 6, Some(Horizon::Custom(elevation.degrees()))),
            Self::Setting(elevation) => ("setting", 18, Some(Horizon::Custom(elevation.degrees()))),
        }
    }
}

/// Writes `sunrise`, or `sun at -3.1 setting`.
impl fmt::Display for SunEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rising(elevation) | Self::Setting(elevation) => {
                write!(f, "sun at {} {}", elevation.degrees(), self.name())
            }
            _ => f.pad(self.name()),
        }
    }
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
pub(super) fn solar_noon(day: i64, location: Location) -> i64 {
    day * DAY_MS + DAY_MS / 2 - ahead_ms(location)
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
pub(super) fn events(event: SunEvent, day: i64, location: Location) -> Vec<Instant> {
    let mut times = Vec::new();
    let start = solar_noon(day, location) + (event.hour() - 24) * HOUR_MS;
    let Some(mut start) = DateTime::from_timestamp_millis(start) else { return times };
    let Ok(delta_t) = delta_t::estimate_from_date_like(&start) else { return times };
    let end = start + TimeDelta::milliseconds(DAY_MS);
    let sun = SolarEvents::new();
    let place = solar_positioning::Location { latitude: location.latitude(), longitude: location.longitude() };
    // At midnight the sun is on the meridian of the other side.
    let antipode = if place.longitude > 0.0 { place.longitude - 180.0 } else { place.longitude + 180.0 };
    let next = |start: &DateTime<Utc>| match event.facts() {
        (_, 6, Some(horizon)) => sun.next_rise(start, &end, place, delta_t, horizon),
        (_, _, Some(horizon)) => sun.next_set(start, &end, place, delta_t, horizon),
        (_, 24, None) => sun.next_transit(start, &end, antipode, delta_t),
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
