//! Twilight and night, behind the lanes.

use maud::{Markup, html};
use roost_scheduler::trigger::{Band, Light};

use super::scale::Scale;

/// Draws all bands but the day's, each in the tone of its light, over the whole height. Where it stays dark or light,
/// there is no edge.
pub(super) fn sky(bands: &[Band], scale: Scale) -> Markup {
    let dark = bands.iter().filter(|band| band.light != Light::Day);
    let dark = dark.filter_map(|band| Some((band.light, scale.clip((band.from, band.to))?)));
    html! {
        g shape-rendering="crispEdges" {
            @for (light, part) in dark {
                rect.(light) x=(scale.x(part.0)) width=(scale.width(part)) height="100%" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        time::{Instant, Location},
        trigger::Almanac,
    };

    use super::super::scale::{
        instant,
        tests::{at, scale},
    };
    use super::*;

    /// Returns the bands that are drawn: the light, and the instants at which it begins and ends.
    fn drawn(latitude: f64, from: &str, to: &str) -> Vec<(String, Instant, Instant)> {
        let scale = scale(from, to);
        let place = Location::new(latitude, 20.0).unwrap();
        let bands = Almanac::default().bands((scale.from(), scale.to()), place).unwrap();
        let drawing = sky(&bands, scale).into_string();
        let value = |rest: &str, name: &str| {
            let (_, value) = rest.split_once(&format!("{name}=\"")).unwrap();
            value.split('"').next().unwrap().to_owned()
        };
        let rects = drawing.split("<rect ").skip(1).map(|rest| {
            let (x, width) = (value(rest, "x"), value(rest, "width"));
            let end: f64 =
                x.trim_end_matches('%').parse::<f64>().unwrap() + width.trim_end_matches('%').parse::<f64>().unwrap();
            (value(rest, "class"), at(scale, &x), at(scale, &end.to_string()))
        });
        rects.collect()
    }

    #[test]
    fn the_edges_are_within_a_minute_of_the_events_of_the_sun() {
        for (from, to) in
            [("2027-03-01T06:00:00Z", "2027-03-02T18:00:00Z"), ("2027-03-01T06:00:00Z", "2027-03-08T06:00:00Z")]
        {
            let window = (instant(from).unwrap(), instant(to).unwrap());
            let bands = Almanac::default().bands(window, Location::new(51.5, 20.0).unwrap()).unwrap();
            let expected: Vec<&Band> = bands.iter().filter(|band| band.light != Light::Day).collect();
            let drawn = drawn(51.5, from, to);
            assert!(drawn.len() == expected.len() && drawn.len() > 7, "{drawn:?}");
            for ((light, begins, ends), band) in drawn.iter().zip(expected) {
                assert_eq!(light, band.light.as_str());
                let off = begins.ms_since(band.from).abs().max(ends.ms_since(band.to).abs());
                assert!(off < 60_000, "{light} is off by {off} ms");
            }
        }
    }

    #[test]
    fn a_polar_day_has_no_bands_and_a_polar_night_no_day() {
        assert_eq!(drawn(70.0, "2027-06-21T00:00:00Z", "2027-06-23T00:00:00Z"), []);
        let (from, to) = ("2027-12-21T00:00:00Z", "2027-12-23T00:00:00Z");
        let december = drawn(70.0, from, to);
        // From one end to the other, without a gap that would be day.
        assert_eq!((december[0].1, december[december.len() - 1].2), (instant(from).unwrap(), instant(to).unwrap()));
        let gaps = december.windows(2).map(|pair| pair[1].1.ms_since(pair[0].2).abs());
        assert!(gaps.max().unwrap() < 5_000, "{december:?}");
        let pole = drawn(89.0, from, to);
        assert_eq!(pole.len(), 1, "{pole:?}");
        assert_eq!(pole[0].0, "night");
    }
}
