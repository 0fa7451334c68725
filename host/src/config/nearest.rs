//! Suggestions for misspelt words.

/// Returns the candidate that is nearest to `text`, if it differs by few letters.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_are_recognised_and_other_words_are_not() {
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
}
