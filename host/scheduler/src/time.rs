//! Instants, locations and sites.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::zone::Zone;

/// The beginning of 2026: a clock that shows an earlier time has lost the time, and triggers that follow the wall clock
/// wait until it is set.
pub const CLOCK_LOST_BEFORE: Instant = Instant::from_millis(1_767_225_600_000).expect("2026-01-01");

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
/// From 0 to the end of the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Returns the instant, or `None` if it is out of range.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis < Self::MIN.0 || millis > Self::MAX.0 { None } else { Some(Self(millis)) }
    }

    /// Returns the nearest instant in range.
    #[must_use]
    pub fn from_millis_clamped(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the instant that many milliseconds later (earlier if negative), clamped to the range.
    #[must_use]
    pub fn plus_ms(self, millis: i64) -> Self {
        Self::from_millis_clamped(self.0.saturating_add(millis))
    }

    /// Returns the milliseconds from `earlier` to this; negative if `earlier` is the later one.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Converts to a `chrono` time.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// Returns the time as RFC 3339 in a time zone, with its offset; milliseconds only if there are any.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> String {
        self.to_utc().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }
}

impl<Z: chrono::TimeZone> From<DateTime<Z>> for Instant {
    /// Fractions of a millisecond are cut off; times out of range are clamped.
    fn from(at: DateTime<Z>) -> Self {
        Self::from_millis_clamped(at.timestamp_millis())
    }
}

/// Writes RFC 3339 in UTC: `2027-03-01T06:30:00Z`, with milliseconds only if there are any.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// A point on Earth, WGS 84, degrees, north and east positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    latitude: f64,
    longitude: f64,
}

impl Location {
    /// Returns the location, or `None` unless -90 ≤ latitude ≤ 90 and -180 ≤ longitude ≤ 180.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        valid.then_some(Self { latitude, longitude })
    }

    /// Returns the latitude in degrees, north positive.
    #[must_use]
    pub const fn latitude(self) -> f64 {
        self.latitude
    }

    /// Returns the longitude in degrees, east positive.
    #[must_use]
    pub const fn longitude(self) -> f64 {
        self.longitude
    }
}

/// The site of a device: its time zone, and its location if configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// The zone of cron expressions and times of day.
    pub zone: Zone,
    /// The location, which sun triggers need.
    pub location: Option<Location>,
}
