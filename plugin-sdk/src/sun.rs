//! Sun events, and locations on Earth.

use serde::Deserialize;

use crate::bindings::roost::device::types as wit;

/// A sun event. It occurs once on most days, and near the poles on some days not at all or twice.
///
/// In settings it is written as text, such as `"civil-dusk"` or `"sun at -3.1 setting"`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
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
    /// The sun crosses the meridian. It occurs every day.
    SolarNoon,
    /// The sun is lowest. It occurs every day, and belongs to the date of the evening before.
    SolarMidnight,
    /// The centre rises above so many degrees, -90 to 90, without refraction.
    Rising(f64),
    /// The centre sinks below so many degrees, likewise.
    Setting(f64),
}

const NAMED: [(&str, SunEvent); 10] = [
    ("sunrise", SunEvent::Sunrise),
    ("sunset", SunEvent::Sunset),
    ("civil-dawn", SunEvent::CivilDawn),
    ("civil-dusk", SunEvent::CivilDusk),
    ("nautical-dawn", SunEvent::NauticalDawn),
    ("nautical-dusk", SunEvent::NauticalDusk),
    ("astronomical-dawn", SunEvent::AstronomicalDawn),
    ("astronomical-dusk", SunEvent::AstronomicalDusk),
    ("solar-noon", SunEvent::SolarNoon),
    ("solar-midnight", SunEvent::SolarMidnight),
];

impl TryFrom<String> for SunEvent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let at_elevation = || {
            let (degrees, direction) = text.strip_prefix("sun at ")?.split_once(' ')?;
            let degrees = parse_degrees(degrees).filter(|degrees| (-90.0..=90.0).contains(degrees))?;
            match direction {
                "rising" => Some(Self::Rising(degrees)),
                "setting" => Some(Self::Setting(degrees)),
                _ => None,
            }
        };
        let named = NAMED.into_iter().find(|(name, _)| *name == text).map(|(_, event)| event);
        named.or_else(at_elevation).ok_or_else(|| {
            let names = NAMED.map(|(name, _)| format!("`{name}`"));
            format!("`{text}` is not a sun event: write {}, or as in `sun at -3.1 setting`", names.join(", "))
        })
    }
}

/// Parses degrees, down to thousandths: `-3.1`. The parser for all floats takes 18 KB of a plugin.
fn parse_degrees(text: &str) -> Option<f64> {
    let (sign, number) = text.strip_prefix('-').map_or((1.0, text), |number| (-1.0, number));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    let thousandths: i32 = format!("{whole}{decimals:0<3}").parse().ok()?;
    Some(sign * f64::from(thousandths) / 1_000.0)
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
            SunEvent::SolarMidnight => Self::SolarMidnight,
            SunEvent::Rising(degrees) => Self::Rising(degrees),
            SunEvent::Setting(degrees) => Self::Setting(degrees),
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
            wit::SunEvent::SolarMidnight => Self::SolarMidnight,
            wit::SunEvent::Rising(degrees) => Self::Rising(degrees),
            wit::SunEvent::Setting(degrees) => Self::Setting(degrees),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elevations_are_read_down_to_thousandths_of_a_degree() {
        let event = |text: &str| SunEvent::try_from(text.to_owned());
        assert_eq!(event("sun at -3.1 setting"), Ok(SunEvent::Setting(-3.1)));
        assert_eq!(event("sun at 6 rising"), Ok(SunEvent::Rising(6.0)));
        assert_eq!(event("sun at -0.833 rising"), Ok(SunEvent::Rising(-0.833)));
        assert_eq!(event("solar-noon"), Ok(SunEvent::SolarNoon));
        for bad in ["sun at 90.1 rising", "sun at 1e1 rising", "sun at 6 up", "sun at - rising", "sun at 6. rising"] {
            assert!(event(bad).unwrap_err().starts_with(&format!("`{bad}` is not a sun event: ")), "{bad}");
        }
    }
}
