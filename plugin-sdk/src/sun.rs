//! The sun, and where on Earth it is seen from.

use serde::Deserialize;

use crate::bindings::roost::device::types as wit;

/// Something the sun does. It happens once on most days, and on some days near the poles not at all or twice.
///
/// In settings it is text, such as `"civil-dusk"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SunEvent {
    /// The upper edge rises above the horizon.
    Sunrise,
    /// The upper edge sinks below the horizon.
    Sunset,
    /// The centre rises above -6°: bright enough to work outside.
    CivilDawn,
    /// The centre sinks below -6°.
    CivilDusk,
    /// The centre rises above -12°.
    NauticalDawn,
    /// The centre sinks below -12°.
    NauticalDusk,
    /// The centre rises above -18°: the end of full darkness.
    AstronomicalDawn,
    /// The centre sinks below -18°.
    AstronomicalDusk,
    /// The sun crosses the meridian. Happens every day.
    SolarNoon,
}

/// Where a device is, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
}

impl From<SunEvent> for wit::SunEvent {
    fn from(event: SunEvent) -> Self {
        match event {
            SunEvent::Sunrise => Self::Sunrise,
            SunEvent::Sunset => Self::Sunset,
            SunEvent::CivilDawn => Self::CivilDawn,
            SunEvent::CivilDusk => Self::CivilDusk,
            SunEvent::NauticalDawn => Self::NauticalDawn,
            SunEvent::NauticalDusk => Self::NauticalDusk,
            SunEvent::AstronomicalDawn => Self::AstronomicalDawn,
            SunEvent::AstronomicalDusk => Self::AstronomicalDusk,
            SunEvent::SolarNoon => Self::SolarNoon,
        }
    }
}
