//! Day, twilight and night.

use std::fmt;

use chrono::DateTime;
use solar_positioning::{Horizon, SolarPositions, delta_t};

use super::sun::{Almanac, SunEvent, solar_day};
use crate::time::{Instant, Location};

/// How light it is, by the height of the sun's centre above the horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Light {
    /// Above -0°50′: from sunrise to sunset.
    Day,
    /// Above -6°.
    CivilTwilight,
    /// Above -12°.
    NauticalTwilight,
    /// Above -18°.
    AstronomicalTwilight,
    /// Below that.
    Night,
}

impl Light {
    /// All of them, from the lightest to the darkest.
    pub const ALL: [Self; 5] =
        [Self::Day, Self::CivilTwilight, Self::NauticalTwilight, Self::AstronomicalTwilight, Self::Night];

    /// Returns the name: `day`, `civil-twilight`, ...
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::CivilTwilight => "civil-twilight",
            Self::NauticalTwilight => "nautical-twilight",
            Self::AstronomicalTwilight => "astronomical-twilight",
            Self::Night => "night",
        }
    }

    /// Returns how light it is; `None` beyond the years that the library supports, to 3000.
    fn at(at: Instant, location: Location) -> Option<Self> {
        let time = DateTime::from_timestamp_millis(at.millis())?;
        let place = solar_positioning::Location { latitude: location.latitude(), longitude: location.longitude() };
        let delta_t = delta_t::estimate_from_date_like(&time).ok()?;
        let height = SolarPositions::new().at(&time, place, 0.0, delta_t, None).ok()?.elevation_angle();
        let horizons =
            [Horizon::SunriseSunset, Horizon::CivilTwilight, Horizon::NauticalTwilight, Horizon::AstronomicalTwilight];
        let crossed = horizons.iter().filter(|horizon| height < horizon.elevation_angle()).count();
        Some(Self::ALL[crossed])
    }
}

impl fmt::Display for Light {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A stretch of time in which it is equally light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// How light it is.
    pub light: Light,
    /// Its start.
    pub from: Instant,
    /// Its end, excluded.
    pub to: Instant,
}

impl Almanac {
    /// Returns how light it is in a period, without gaps: each band ends at a sun event, to the second, or at the end of
    /// the period. In a polar night or day, one band may last for the whole of it. `None` after the year 3000. A day
    /// takes about 24 events to compute, so the period should not be long.
    #[must_use]
    pub fn bands(&mut self, (from, to): (Instant, Instant), location: Location) -> Option<Vec<Band>> {
        let mut ends = vec![to];
        for day in solar_day(from, location) - 1..=solar_day(to, location) + 1 {
            for event in SunEvent::ALL.into_iter().filter(|event| *event != SunEvent::SolarNoon) {
                ends.extend(self.on(event, day, location).iter().filter(|at| (from < **at) && (**at < to)));
            }
        }
        ends.sort_unstable();
        let (mut bands, mut start): (Vec<Band>, _) = (Vec::new(), from);
        for end in ends {
            // The middle decides: whatever the events, no band is named wrongly.
            let light = Light::at(start.plus_ms(end.ms_since(start) / 2), location)?;
            match bands.last_mut() {
                Some(last) if last.light == light => last.to = end,
                _ if end > start => bands.push(Band { light, from: start, to: end }),
                _ => {}
            }
            start = end;
        }
        Some(bands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse::<DateTime<chrono::Utc>>().unwrap().into()
    }

    fn bands(latitude: f64, longitude: f64, from: &str, to: &str) -> Vec<Band> {
        let location = Location::new(latitude, longitude).unwrap();
        let bands = Almanac::default().bands((at(from), at(to)), location).unwrap();
        assert!(bands.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].light != pair[1].light));
        assert_eq!((bands[0].from, bands[bands.len() - 1].to), (at(from), at(to)));
        bands
    }

    fn shown(bands: &[Band]) -> Vec<String> {
        let minute = |at: Instant| at.plus_ms(30_000).to_string()[11..16].to_owned();
        bands.iter().map(|band| format!("{} {}", minute(band.from), band.light)).collect()
    }

    #[test]
    fn a_day_has_nine_bands() {
        let greenwich = bands(51.4779, -0.0015, "2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z");
        let expected = [
            "00:00 night",
            "04:55 astronomical-twilight",
            "05:34 nautical-twilight",
            "06:12 civil-twilight",
            "06:46 day",
            "17:40 civil-twilight",
            "18:13 nautical-twilight",
            "18:52 astronomical-twilight",
            "19:31 night",
        ];
        assert_eq!(shown(&greenwich), expected);
    }

    #[test]
    fn polar_days_and_nights_have_no_edges() {
        let june = bands(70.0, 25.0, "2027-06-10T00:00:00Z", "2027-06-20T00:00:00Z");
        assert_eq!(june.iter().map(|band| band.light).collect::<Vec<_>>(), [Light::Day]);
        let december = bands(70.0, 25.0, "2027-12-20T12:00:00Z", "2027-12-21T12:00:00Z");
        assert!(december.iter().all(|band| band.light > Light::Day) && december.len() == 7, "{:?}", shown(&december));
        let pole = bands(90.0, 0.0, "2027-12-20T00:00:00Z", "2027-12-30T00:00:00Z");
        assert_eq!(pole.iter().map(|band| band.light).collect::<Vec<_>>(), [Light::Night]);
    }

    #[test]
    fn the_bands_change_at_the_events_that_triggers_use() {
        // Also in the days when the sun rises for the first time, and sets for the last time.
        for (latitude, from, to) in [
            (51.5, "2027-10-30T00:00:00Z", "2027-11-02T00:00:00Z"),
            (70.0, "2027-01-10T00:00:00Z", "2027-02-09T00:00:00Z"),
            (70.0, "2027-05-10T00:00:00Z", "2027-06-09T00:00:00Z"),
            (-66.0, "2027-12-10T00:00:00Z", "2028-01-09T00:00:00Z"),
        ] {
            let location = Location::new(latitude, 25.0).unwrap();
            let mut cache = Almanac::default();
            let mut events = Vec::new();
            for day in solar_day(at(from), location) - 1..=solar_day(at(to), location) + 1 {
                for (event, before, after) in [
                    (SunEvent::Sunrise, Light::CivilTwilight, Light::Day),
                    (SunEvent::Sunset, Light::Day, Light::CivilTwilight),
                    (SunEvent::CivilDusk, Light::CivilTwilight, Light::NauticalTwilight),
                    (SunEvent::NauticalDawn, Light::AstronomicalTwilight, Light::NauticalTwilight),
                    (SunEvent::AstronomicalDusk, Light::AstronomicalTwilight, Light::Night),
                ] {
                    events.extend(cache.on(event, day, location).iter().map(|at| (*at, before, after)));
                }
            }
            events.retain(|(time, ..)| at(from) < *time && *time < at(to));
            assert!(events.len() > 10);
            let bands = bands(latitude, 25.0, from, to);
            for (time, before, after) in events {
                let pair = bands.windows(2).find(|pair| pair[0].to == time).unwrap();
                assert_eq!((pair[0].light, pair[1].light), (before, after), "{latitude} {time}");
            }
        }
    }

    #[test]
    fn the_height_of_the_sun_is_right_in_the_middle_of_each_band() {
        let location = Location::new(60.0, 10.0).unwrap();
        for band in bands(60.0, 10.0, "2027-04-01T00:00:00Z", "2027-04-15T00:00:00Z") {
            let quarter = band.from.plus_ms(band.to.ms_since(band.from) / 4);
            assert_eq!(Light::at(quarter, location), Some(band.light), "{band:?}");
        }
        assert_eq!(Almanac::default().bands((at("3005-01-01T00:00:00Z"), at("3005-01-02T00:00:00Z")), location), None);
    }
}
