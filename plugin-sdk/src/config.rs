//! Deserialization of the JSON text that the host passes: a device's settings or a task's arguments.

mod json;
mod mistake;

use serde::de::DeserializeOwned;

use self::{json::Reader, mistake::Mistake};
use crate::{Context, Device, Error, Job, Result, bindings::exports::roost::device::schedule as wit};

/// Deserializes the settings and makes the plan: the entry point of an exported plugin.
pub(crate) fn plan<D: Device>(ctx: &Context) -> Result<Vec<wit::Job>> {
    let device: D = read("config", ctx.config())?;
    device.schedule_jobs(ctx)?.into_iter().map(Job::into_contract).collect()
}

/// Deserializes a text. Errors begin with `subject` and the key where the text is wrong.
pub(crate) fn read<T: DeserializeOwned>(subject: &str, text: &str) -> Result<T> {
    parse(text).map_err(|mistake| Error::new(format_args!("{subject}{mistake}")))
}

/// Deserializes the text of a setting with this key.
pub(crate) fn read_setting<T: DeserializeOwned>(key: &str, text: &str) -> Result<T> {
    parse(text).map_err(|mistake| Error::new(format_args!("config{}", mistake.at_key(key))))
}

fn parse<T: DeserializeOwned>(text: &str) -> std::result::Result<T, Mistake> {
    let mut reader = Reader::new(text);
    T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::{Span, Time};

    fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
        super::read("config", text)
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sprinkler {
        #[allow(dead_code, reason = "only read here")]
        zones: Vec<Zone>,
    }

    #[derive(Debug, Deserialize)]
    struct Zone {
        #[allow(dead_code, reason = "only read here")]
        minutes: u32,
        #[allow(dead_code, reason = "only read here")]
        start: Option<Time>,
        #[allow(dead_code, reason = "only read here")]
        pause: Option<Span>,
    }

    #[test]
    fn a_mistake_is_reported_with_its_key() {
        let cases = [
            ("{}", "config: missing field `zones`"),
            (r#"{"zones":[], "zone":1}"#, "config `zone`: unknown field `zone`, expected `zones`"),
            (
                r#"{"zones":[{"minutes":1},{"minutes":"ten"}]}"#,
                "config `zones[1].minutes`: `\"ten\"` is not a whole number, not negative",
            ),
            (r#"{"zones":[{"minutes":-1}]}"#, "config `zones[0].minutes`: `-1` is not a whole number, not negative"),
            (r#"{"zones":[{"minutes":1.5}]}"#, "config `zones[0].minutes`: `1.5` is not a whole number, not negative"),
            (r#"{"zones":{}}"#, "config `zones`: a table is not a list"),
            (r#"{"zones":[{"minutes":{}}]}"#, "config `zones[0].minutes`: a table is not a whole number, not negative"),
            (r#"{"zones":[[1]]}"#, "config `zones[0]`: a list is not a table"),
            (
                r#"{"zones":[{"minutes":4294967296}]}"#,
                "config `zones[0].minutes`: `4294967296` is not a whole number, not negative",
            ),
            (
                r#"{"zones":[{"minutes":1,"start":"25:00"}]}"#,
                "config `zones[0].start`: there is no time of day `25:00`",
            ),
            (
                r#"{"zones":[{"minutes":1,"pause":5}]}"#,
                "config `zones[0].pause`: `5` is not a length of time, such as `\"90s\"` or `\"1h30m\"`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read::<Sprinkler>(text).unwrap_err().to_string(), expected);
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Everything {
        text: String,
        letter: char,
        small: i8,
        large: u64,
        number: f64,
        whole: f32,
        yes: bool,
        nothing: Option<u8>,
        pair: (u8, String),
        by_number: BTreeMap<u8, Id>,
        by_name: BTreeMap<String, Vec<bool>>,
        days: Vec<Days>,
        any: Vec<Any>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Id(String);

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Days {
        Odd,
        Every(u8),
        Some { of: Vec<u8> },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Any {
        Whole(u8),
        Negative(i64),
        Number(f64),
        Yes(bool),
        Text(String),
        List(Vec<u8>),
        Table(Days),
        Nothing(()),
    }

    #[test]
    fn settings_are_deserialized_as_by_serde_json() {
        let text = r#" {"text":"a \"b\" \\ \/ \u00e9 \ud83d\ude00 \n é", "letter": "é", "small": -128,
            "large": 18446744073709551615, "number": -1.5e3, "whole": 2, "yes": true, "unknown": {"a": [1, {"b": "]}"}]},
            "nothing": null, "pair": [1, "x"], "by_number": {"7": "seven"}, "by_name": {"a \" b": [true, false], "c": []},
            "days": ["odd", {"every": 3}, {"some": {"of": [1, 2]}}],
            "any": [1, -1, 1.5, false, "text", [1], {"every": 2}, null] }
        "#;
        let expected: Everything = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(read::<Everything>(text).expect("the same"), expected);
        assert_eq!(
            read::<serde_json::Value>(text).expect("the same"),
            serde_json::from_str::<serde_json::Value>(text).expect("it is JSON")
        );
    }

    #[test]
    fn truncated_and_trailing_text_is_not_json() {
        let text = r#"{"zones":[{"minutes":1,"start":"06:30"}]}"#;
        for length in 0..text.len() {
            assert!(read::<Sprinkler>(&text[..length]).is_err(), "{}", &text[..length]);
        }
        assert!(read::<Sprinkler>(text).is_ok());
        for bad in ["{} {}", "{\"zones\":[],}", "{\"zones\":[1 2]}", "{zones:[]}", "{\"zones\":[\"\\ud800\"]}"] {
            assert!(read::<Sprinkler>(bad).is_err(), "{bad}");
        }
    }

    #[derive(Debug, Deserialize)]
    struct Chime;

    #[test]
    fn a_plugin_without_settings_has_none() {
        assert!(read::<Chime>("{}").is_ok());
        let error = read::<Chime>(r#"{"loud":true}"#).unwrap_err();
        assert_eq!(error.to_string(), "config `loud`: the plugin has no settings");
    }
}
