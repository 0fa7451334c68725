//! What was meant, if what is written is nearly a word that is known.

use chrono_tz::{TZ_VARIANTS, Tz};

/// The candidate that a slip of the fingers away from `text`, if there is one.
pub(crate) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let text = text.to_lowercase().replace('-', "_");
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase().replace('-', "_");
        strsim::damerau_levenshtein(&text, &candidate)
    };
    let furthest = (text.chars().count() / 3).clamp(1, 3);
    let near = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, _)| *distance <= furthest).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Reads the name of a time zone; the error is a hint.
pub(crate) fn zone(name: &str) -> Result<Tz, String> {
    name.parse().or_else(|_| {
        let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
        let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
        let by_city = || {
            let city_meant = nearest(&name.replace(' ', "_"), names().map(city))?;
            names().find(|zone| city(zone) == city_meant)
        };
        Err(match nearest(name, names()).or_else(by_city) {
            Some(zone) => format!("did you mean `{zone}`?"),
            None => "time zones have IANA names, such as `Europe/London` or `UTC`".to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["time_zone", "latitude", "longitude", "data"];
        for (text, expected) in [
            ("time_zon", Some("time_zone")),
            ("timezone", Some("time_zone")),
            ("time-zone", Some("time_zone")),
            ("Latitude", Some("latitude")),
            ("lattitude", Some("latitude")),
            ("date", Some("data")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(text, known), expected, "{text}");
        }
    }

    #[test]
    fn the_nearest_time_zone_is_named() {
        assert_eq!(zone("Europe/London"), Ok(Tz::Europe__London));
        for (text, meant) in [
            ("Europe/Lodon", "Europe/London"),
            ("london", "Europe/London"),
            ("New York", "America/New_York"),
            ("Australia/Sidney", "Australia/Sydney"),
        ] {
            assert_eq!(zone(text), Err(format!("did you mean `{meant}`?")), "{text}");
        }
        assert!(zone("Middle Earth").unwrap_err().contains("IANA"));
    }
}
