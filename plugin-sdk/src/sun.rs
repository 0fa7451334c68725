//! Sun events, and locations on Earth.

use serde::Deserialize;

use crate::bindings::roost::device::types as wit;

/// A sun event. It occurs once on most days, and near the poles on some days not at all or twice.
///
/// In settings it is written as text, such as `"civil-dusk"`.
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

/// The location of a device, WGS 84.
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

impl From<wit::SunEvent> for SunEvent {
    fn from(event: wit::SunEvent) -> Self {
        match event {
            wit::SunEvent::Sunrise => Self::Sunrise,
            wit::SunEvent::Sunset => Self::Sunset,
            wit::SunEvent::CivilDawn => Self::CivilDawn,
            wit::SunEvent::CivilDusk => Self::CivilDusk,
            wit::SunEvent::NauticalDawn => Self::NauticalDawn,
            wit::SunEvent::NauticalDusk => Self::NauticalDusk,
            wit::SunEvent::AstronomicalDawn => Self::AstronomicalDawn,
            wit::SunEvent::AstronomicalDusk => Self::AstronomicalDusk,
            wit::SunEvent::SolarNoon => Self::SolarNoon,
        }
    }
}
