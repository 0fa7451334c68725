//! JSON values.

use std::fmt::{self, Write as _};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Visitor},
};

use crate::{Result, config};

/// A JSON value, to compare with or to pass as an argument: made from text, a number, `true` or `false`, `()` for
/// `null`, [members](Self::object), or [JSON text](Self::parse).
#[derive(Clone, Debug)]
pub struct JsonValue(String);

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

    /// Deserializes the value of a setting with this key, `lamps[1]`: for settings of which each entry is read by itself,
    /// so that its name can be added to an error.
    ///
    /// ```
    /// # use roost_plugin_sdk::JsonValue;
    /// #[derive(Debug, serde::Deserialize)]
    /// struct Lamp {
    ///     brightness: u8,
    /// }
    ///
    /// let lamp = JsonValue::parse(r#"{"brightness": 300}"#);
    /// let error = lamp.read::<Lamp>("lamps[1]").unwrap_err();
    /// assert_eq!(error.to_string(), "config `lamps[1].brightness`: `300` is not a whole number from 0 to 255");
    /// ```
    ///
    /// # Errors
    /// Returns an error, which begins with the key of what is wrong, if the value does not fit the type.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        config::read_setting(key, &self.0)
    }

    /// Returns the value as the payload of a message: text as it is, anything else as JSON text.
    #[must_use]
    pub fn into_payload(self) -> String {
        self.read("payload").unwrap_or(self.0)
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

/// The name by which [`JsonValue`] asks the reader of settings for text that is not parsed.
pub(crate) const UNPARSED: &str = "$roost::unparsed";

impl<'de> Deserialize<'de> for JsonValue {
    /// Takes a setting or an argument of any type as it is written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Unparsed;

        impl Visitor<'_> for Unparsed {
            type Value = JsonValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a setting or an argument")
            }

            fn visit_str<E>(self, json: &str) -> std::result::Result<JsonValue, E> {
                Ok(JsonValue::parse(json))
            }
        }

        deserializer.deserialize_newtype_struct(UNPARSED, Unparsed)
    }
}

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

    #[test]
    fn any_setting_is_a_value() {
        #[derive(Deserialize)]
        struct Lamp {
            payload: Vec<JsonValue>,
        }

        let json = r#"{"state":"O\"N","on_time":90,"level":1.0,"far":-3e2,"all":[true,null,{}],"none":[]}"#;
        let config = JsonValue::parse(format!(r#"{{ "payload" : [ {json} , "a" ]}}"#));
        let mut payload = config::read::<Lamp>("config", &config.0).unwrap().payload.into_iter();
        assert_eq!(payload.next().map(JsonValue::into_payload).as_deref(), Some(json));
        assert_eq!(payload.next().map(JsonValue::into_payload).as_deref(), Some("a"));
        let error = JsonValue::parse(r#"{"payload": [1, {"a": ]}"#).read::<Lamp>("lamps[0]").err();
        assert_eq!(error.unwrap().to_string(), "config `lamps[0].payload[1]`: it is not JSON");
        assert_eq!(JsonValue::from("a \"b\"").into_payload(), "a \"b\"");
        assert_eq!(JsonValue::from(5).into_payload(), "5");
    }
}
