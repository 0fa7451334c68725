//! Devices' reports, and the conditions that they are compared with.

use std::{cell::OnceCell, sync::Arc};

use roost_scheduler::{limits::REPORT_BYTES, model::Matches};
use serde_json::{Number, Value};

use super::limits;
use crate::report::in_one_line;

/// A condition on reports: a [`Matches`] with its JSON parsed.
#[derive(Debug)]
pub(super) enum Condition {
    Any,
    Bytes(Arc<[u8]>),
    Json {
        pointer: String,
        value: Value,
    },
    JsonRange {
        pointer: String,
        min: f64,
        max: f64,
    },
    /// The condition's value is not JSON, so that nothing matches. The contract refuses such plans.
    Never,
}

impl From<&Matches> for Condition {
    fn from(matches: &Matches) -> Self {
        match matches {
            Matches::Any => Self::Any,
            Matches::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Matches::Json { pointer, value } => match serde_json::from_str(value) {
                Ok(value) => Self::Json { pointer: pointer.clone(), value },
                Err(_) => Self::Never,
            },
            Matches::JsonRange { pointer, min, max } => {
                Self::JsonRange { pointer: pointer.clone(), min: *min, max: *max }
            }
        }
    }
}

/// A payload that is parsed as JSON at most once, and only if a condition needs it.
pub(super) struct Report<'payload> {
    payload: &'payload [u8],
    json: OnceCell<Option<Value>>,
}

impl<'payload> Report<'payload> {
    pub(super) fn new(payload: &'payload [u8]) -> Self {
        Self { payload, json: OnceCell::new() }
    }

    /// Checks whether the report meets a condition.
    pub(super) fn matches(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Any => true,
            Condition::Bytes(bytes) => *self.payload == **bytes,
            Condition::Json { pointer, value } => self.at(pointer).is_some_and(|found| equal(found, value)),
            Condition::JsonRange { pointer, min, max } => {
                let number = self.at(pointer).and_then(Value::as_f64);
                number.is_some_and(|number| (*min..=*max).contains(&number))
            }
            Condition::Never => false,
        }
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        let read = || serde_json::from_slice(self.payload).ok();
        self.json
            .get_or_init(|| if self.payload.len() > limits::REPORT_JSON_BYTES { None } else { read() })
            .as_ref()?
            .pointer(pointer)
    }

    /// The number of bytes that were parsed as JSON.
    pub(super) fn json_bytes(&self) -> usize {
        if self.json.get().is_some() && self.payload.len() <= limits::REPORT_JSON_BYTES {
            self.payload.len()
        } else {
            0
        }
    }

    /// Returns the beginning of the payload as printable text, in at most [`REPORT_BYTES`].
    pub(super) fn excerpt(&self) -> String {
        // A character that is cut in two here lies beyond the excerpt.
        let start = &self.payload[..self.payload.len().min(REPORT_BYTES + 4)];
        let mut excerpt = in_one_line(&String::from_utf8_lossy(start));
        // Neither step shortens a text, so that this holds as well if the payload is longer than `start`.
        if excerpt.len() > REPORT_BYTES {
            const MORE: &str = "…";
            excerpt.truncate(excerpt.floor_char_boundary(REPORT_BYTES - MORE.len()));
            excerpt.push_str(MORE);
        }
        excerpt
    }
}

/// Compares JSON values: numbers by their value, objects regardless of the order of their members.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => equal_numbers(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| equal(one, other)))
        }
        (one, other) => one == other,
    }
}

/// Compares exactly, except that integers beyond 64 bits were rounded by the parser.
fn equal_numbers(one: &Number, other: &Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one == other,
        (Some(integer), None) => other.as_f64().is_some_and(|float| is_integer(float, integer)),
        (None, Some(integer)) => one.as_f64().is_some_and(|float| is_integer(float, integer)),
        (None, None) => one.as_f64() == other.as_f64(),
    }
}

/// The conversion is exact: a float without a fraction is an integer, and larger ones saturate far outside 64 bits.
fn is_integer(float: f64, integer: i128) -> bool {
    float.fract() == 0.0 && float as i128 == integer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(payload: impl AsRef<[u8]>, matches: &Matches) -> bool {
        Report::new(payload.as_ref()).matches(&matches.into())
    }

    fn json(pointer: &str, value: &str) -> Matches {
        Matches::Json { pointer: pointer.to_owned(), value: value.to_owned() }
    }

    fn range(pointer: &str, min: f64, max: f64) -> Matches {
        Matches::JsonRange { pointer: pointer.to_owned(), min, max }
    }

    #[test]
    fn bytes_are_compared_as_they_are() {
        for payload in [&b""[..], b"open", b"\xFF\x00"] {
            assert!(is_match(payload, &Matches::Any));
            assert!(is_match(payload, &Matches::Bytes(payload.into())));
            assert!(!is_match(payload, &Matches::Bytes(b"Open"[..].into())));
        }
        assert!(!is_match("open ", &Matches::Bytes(b"open"[..].into())));
    }

    #[test]
    fn json_is_compared_by_value() {
        for (payload, pointer, value, expected) in [
            (r#"{"state":"open"}"#, "/state", r#""open""#, true),
            (r#"{"state":"open"}"#, "/state", r#""OPEN""#, false),
            (r#"{"state":"open"}"#, "/State", r#""open""#, false),
            (r#" {"state" : "\u006fpen"}  "#, "/state", r#""open""#, true),
            (r#"{"state":"shut","state":"open"}"#, "/state", r#""open""#, true),
            (r#""open""#, "", r#""open""#, true),
            ("true", "", "true", true),
            ("true", "", "1", false),
            ("null", "", "null", true),
            ("{}", "/state", "null", false),
            (r#"{"":{"":1}}"#, "//", "1", true),
            (r#"{"a/b":{"c~d":1}}"#, "/a~1b/c~0d", "1", true),
            (r#"{"~1":1}"#, "/~01", "1", true),
            ("[10,20]", "/1", "20", true),
            ("[10,20]", "/01", "20", false),
            ("[10,20]", "/+1", "20", false),
            ("[10,20]", "/-", "20", false),
            ("[10,20]", "/2", "null", false),
            ("[10,20]", "", "[10, 20.0]", true),
            ("[10,20]", "", "[20,10]", false),
            ("[10,20]", "", "[10]", false),
            (r#"{"a":1,"b":[2]}"#, "", r#"{"b":[2.0],"a":1}"#, true),
            (r#"{"a":1,"b":[2]}"#, "", r#"{"a":1}"#, false),
            (r#"{"a":1}"#, "", r#"{"b":1}"#, false),
            ("open", "", r#""open""#, false),
            ("", "", "null", false),
            (r#"{"state":"open"}x"#, "/state", r#""open""#, false),
            (r#"{"state":"open""#, "/state", r#""open""#, false),
        ] {
            assert_eq!(is_match(payload, &json(pointer, value)), expected, "{payload} at `{pointer}` is {value}");
        }
        assert!(!is_match("open", &json("", "open")), "a condition that is not JSON never matches");
        assert!(!is_match(b"\"\xFF\"", &json("", "\"\u{FFFD}\"")), "not UTF-8");
        assert!(!is_match("[".repeat(100_000), &json("", "[]")), "too deep");
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (one, other, expected) in [
            ("1", "1.0", true),
            ("1", "1.5", false),
            ("100", "1e2", true),
            ("0", "-0.0", true),
            ("0.1", "1e-1", true),
            ("-1", "1", false),
            ("9007199254740993", "9007199254740993", true),
            ("9007199254740993", "9007199254740992", false),
            ("9007199254740993", "9007199254740992.0", false),
            ("9007199254740992", "9007199254740992.0", true),
            ("18446744073709551615", "18446744073709551614", false),
            ("18446744073709551615", "18446744073709551616", false),
            ("-9223372036854775808", "-9223372036854775808.0", true),
            ("9223372036854775807", "9223372036854775808.0", false),
            ("18446744073709551616", "18446744073709551616.0", true),
            ("1e300", "1E+300", true),
            ("1e999", "1e999", false),
        ] {
            assert_eq!(is_match(one, &json("", other)), expected, "{one} is {other}");
            assert_eq!(is_match(other, &json("", one)), expected, "{other} is {one}");
        }
    }

    #[test]
    fn a_range_includes_both_ends() {
        for (payload, expected) in [
            (r#"{"position":49}"#, true),
            (r#"{"position":48.5}"#, true),
            (r#"{"position":51.5}"#, true),
            (r#"{"position":48.4}"#, false),
            (r#"{"position":52}"#, false),
            (r#"{"position":"50"}"#, false),
            (r#"{"position":null}"#, false),
            ("50", false),
            ("NaN", false),
        ] {
            assert_eq!(is_match(payload, &range("/position", 48.5, 51.5)), expected, "{payload}");
        }
        assert!(is_match("18446744073709551615", &range("", 0.0, 1e300)));
    }

    #[test]
    fn json_is_parsed_once_and_only_for_conditions_that_need_it() {
        let report = Report::new(b"{\"a\":1}");
        assert!(report.matches(&Condition::Any));
        assert_eq!(report.json_bytes(), 0);
        assert!(report.matches(&(&json("/a", "1")).into()));
        assert_eq!(report.json_bytes(), 7);
        let long = format!("{{\"a\":1,\"b\":\"{}\"}}", "x".repeat(limits::REPORT_JSON_BYTES));
        let report = Report::new(long.as_bytes());
        assert!(!report.matches(&(&json("/a", "1")).into()), "too long to be parsed");
        assert_eq!(report.json_bytes(), 0);
    }

    #[test]
    fn an_excerpt_is_the_printable_beginning() {
        let excerpt = |payload: &[u8]| Report::new(payload).excerpt();
        assert_eq!(excerpt(b"opening"), "opening");
        assert_eq!(excerpt(b"two\nlines\x1b[2J\xFF"), "two\\nlines\\u{1b}[2J\u{FFFD}");
        assert_eq!(excerpt("x".repeat(80).as_bytes()), "x".repeat(80));
        assert_eq!(excerpt("x".repeat(81).as_bytes()), format!("{}…", "x".repeat(77)));
        for long in ["ü".repeat(1_000), "🐓".repeat(1_000), format!("x{}", "€".repeat(1_000)), "\u{200b}".repeat(40)]
        {
            let text = excerpt(long.as_bytes());
            assert!(text.len() <= REPORT_BYTES && text.ends_with('…') && !text.contains('\u{FFFD}'), "{text}");
        }
        assert!(excerpt(&[0xFF; 1_000]).len() <= REPORT_BYTES);
    }
}
