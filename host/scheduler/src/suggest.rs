//! Suggestions for misspelt words: which word is near enough, and how the question is worded.

use std::fmt::Display;

use crate::{limits, names::PluginName};

/// Returns the candidate that a word was most likely meant for: the one with the fewest different letters, at most a
/// third of the word's and three, or one that ends in the word, as `civil-dusk` in `dusk`, and `Europe/London` in
/// `London`. Upper case and separators make no difference.
///
/// ```
/// use roost_scheduler::suggest::nearest;
/// assert_eq!(nearest("time-zon", ["time_zone", "latitude"]), Some("time_zone"));
/// assert_eq!(nearest("colour", ["time_zone", "latitude"]), None);
/// ```
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > limits::SUGGESTION_BYTES {
        return None;
    }
    let word = comparable(word);
    let letters = word.chars().count();
    let furthest = (letters / 3).min(3);
    let distance = |candidate: &str| {
        let candidate = comparable(candidate);
        let start = candidate.strip_suffix(&word).filter(|start| letters > 3 && start.ends_with('_'));
        start.map_or_else(|| strsim::damerau_levenshtein(&word, &candidate), |_| 0)
    };
    let near = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, _)| *distance <= furthest).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

fn comparable(word: &str) -> String {
    word.to_lowercase().replace(['-', ' ', '/'], "_")
}

/// Returns the question whether something else was meant.
pub fn did_you_mean(meant: impl Display) -> String {
    format!("did you mean `{meant}`?")
}

/// Returns the plugin name that is most like a text, such as a file's name: Cargo writes `coop_door.wasm` for a crate
/// called `coop-door`.
#[must_use]
pub fn plugin_name(text: &str) -> Option<PluginName> {
    let stem = text.strip_suffix(".wasm").unwrap_or(text);
    let letters = stem.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let name = letters.collect::<String>().to_ascii_lowercase();
    PluginName::parse(name.trim_matches('-')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_are_recognised_and_other_words_are_not() {
        let known = ["time_zone", "latitude", "longitude", "data", "coop-door", "Europe/London"];
        for (text, expected) in [
            ("time_zon", Some("time_zone")),
            ("timezone", Some("time_zone")),
            ("time-zone", Some("time_zone")),
            ("zone", Some("time_zone")),
            ("Latitude", Some("latitude")),
            ("lattitude", Some("latitude")),
            ("date", Some("data")),
            ("door", Some("coop-door")),
            ("oor", None),
            ("europe/lodnon", Some("Europe/London")),
            ("london", Some("Europe/London")),
            ("colour", None),
            ("x", None),
            (&"time_zone".repeat(9), None),
        ] {
            assert_eq!(nearest(text, known), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_name_is_made_a_plugin_name() {
        let suggestion = |name: &str| plugin_name(name).map(|name| name.to_string());
        assert_eq!(suggestion("coop_door"), Some("coop-door".into()));
        assert_eq!(suggestion("Coop Door.wasm"), Some("coop-door".into()));
        assert_eq!(suggestion("___"), None);
    }
}
