//! Conditions on reports of devices, and JSON values.

use std::{fmt::Write as _, ops::RangeInclusive};

use crate::bindings::roost::device::types::{self as wit, JsonRange};

/// A condition on a report of a device: see [`Job::confirm`](crate::Job::confirm).
///
/// Text and bytes must match exactly: the report `open` is matched by `"open"`.
///
/// ```
/// use roost_plugin_sdk::{Job, Matches, minutes, seconds};
///
/// let blind = Job::sunset("half").publish("blinds/kitchen/set", "50");
/// let exact = blind.clone().confirm("blinds/kitchen/state", "50", seconds(30));
/// let within = blind.clone().confirm("blinds/kitchen", Matches::json_range("/position", 48.0..=52.0), seconds(30));
/// let stopped = blind.confirm("blinds/kitchen", Matches::json("/moving", false), minutes(1));
/// ```
#[derive(Clone, Debug)]
pub struct Matches(pub(crate) wit::Matches);

/// A JSON value, to compare with or to pass as an argument: made from text, a number, `true` or `false`, `()` for
/// `null`, [members](Self::object), or [JSON text](Self::parse).
#[derive(Clone, Debug)]
pub struct JsonValue(String);

impl Matches {
    /// Matches any message.
    #[must_use]
    pub const fn any() -> Self {
        Self(wit::Matches::Any)
    }

    /// Matches exactly these bytes, at most 4 KiB.
    pub fn bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self(wit::Matches::Bytes(payload.into()))
    }

    /// Matches JSON with this value at a JSON pointer (RFC 6901) such as `/state`; the empty text is the whole
    /// document. Objects are equal regardless of the order of their members, numbers by value.
    pub fn json(pointer: impl Into<String>, value: impl Into<JsonValue>) -> Self {
        Self(wit::Matches::Json(wit::JsonValue { pointer: pointer.into(), value: value.into().0 }))
    }

    /// Matches JSON with a number in this range at a JSON pointer: a blind that is set to 50 may report 49.
    pub fn json_range(pointer: impl Into<String>, range: RangeInclusive<f64>) -> Self {
        let (min, max) = range.into_inner();
        Self(wit::Matches::JsonRange(JsonRange { pointer: pointer.into(), min, max }))
    }
}

impl JsonValue {
    /// Takes JSON text: `{"r": 255, "g": 0}`, `null`. The host refuses a plan with invalid text.
    pub fn parse(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Creates an object with these members.
    ///
    /// ```
    /// # use roost_plugin_sdk::JsonValue;
    /// let args = JsonValue::object([("zone", "lawn".into()), ("minutes", 1.5.into())]);
    /// ```
    #[must_use]
    pub fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        let mut json = String::from("{");
        for (name, value) in members {
            let comma = if json.len() > 1 { "," } else { "" };
            json.extend([comma, Self::from(name).0.as_str(), ":", value.0.as_str()]);
        }
        json.push('}');
        Self(json)
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

impl From<&str> for Matches {
    fn from(text: &str) -> Self {
        Self::bytes(text)
    }
}

impl From<String> for Matches {
    fn from(text: String) -> Self {
        Self::bytes(text)
    }
}

impl From<Vec<u8>> for Matches {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&str> for JsonValue {
    /// Creates a JSON string.
    fn from(text: &str) -> Self {
        let mut json = String::with_capacity(text.len() + 2);
        json.push('"');
        for char in text.chars() {
            match char {
                '"' | '\\' => json.extend(['\\', char]),
                '\0'..='\u{1f}' => _ = write!(json, "\\u{:04x}", u32::from(char)),
                _ => json.push(char),
            }
        }
        json.push('"');
        Self(json)
    }
}

impl From<String> for JsonValue {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

macro_rules! from_displayed {
    ($($type:ty)*) => {$(
        impl From<$type> for JsonValue {
            fn from(value: $type) -> Self {
                Self(value.to_string())
            }
        }
    )*};
}

impl From<()> for JsonValue {
    /// Creates `null`, which means no arguments.
    fn from((): ()) -> Self {
        Self("null".into())
    }
}

from_displayed!(bool i32 u32 i64 f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_json() {
        let cases: [(JsonValue, serde_json::Value); 10] = [
            (().into(), serde_json::Value::Null),
            (JsonValue::object([]), serde_json::json!({})),
            (
                JsonValue::object([("a \"b\"", 1.into()), ("c", JsonValue::object([("d", true.into())]))]),
                serde_json::json!({ "a \"b\"": 1, "c": { "d": true } }),
            ),
            ("open".into(), "open".into()),
            (String::from("a \"b\" \\ \u{1}\n\u{e4}").into(), "a \"b\" \\ \u{1}\n\u{e4}".into()),
            (true.into(), true.into()),
            ((-5).into(), (-5).into()),
            (i64::MAX.into(), i64::MAX.into()),
            (21.5.into(), 21.5.into()),
            (JsonValue::parse("{\"a\": [1]}"), serde_json::json!({ "a": [1] })),
        ];
        for (JsonValue(text), expected) in cases {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected, "{text}");
        }
    }
}
