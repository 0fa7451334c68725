//! Sun events.

use chrono::NaiveTime;

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

/// Due at a sun event of each day, moved and clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sun {
    /// Which.
    pub event: SunEvent,
    /// This much later, or earlier if negative; at most 12 hours.
    pub offset_ms: i32,
    /// If that is earlier than this time of day, on the event's local date, then at this time.
    pub not_before: Option<NaiveTime>,
    /// If that is later than this one, then at this one.
    pub not_after: Option<NaiveTime>,
}

/// When the sun does what, kept for the days and places that were asked for.
#[derive(Debug, Default)]
pub struct Sky {}
