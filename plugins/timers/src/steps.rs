//! The messages of a job.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use roost_plugin_sdk::{Error, JsonValue, Matches, Messages, Result, Span, milliseconds};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A message, so long after the start of the run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default, deserialize_with = "text")]
    after: Option<Span>,
    #[serde(default, deserialize_with = "number")]
    after_ms: Option<Span>,
    topic: String,
    payload: Option<JsonValue>,
    payload_base64: Option<String>,
    qos: Option<u8>,
    #[serde(default)]
    retain: bool,
    properties: Option<Properties>,
    #[serde(default)]
    once: bool,
    confirm: Option<Confirm>,
}

/// A payload, of which one form is set.
pub(crate) struct Payload {
    pub(crate) payload: Option<JsonValue>,
    pub(crate) payload_base64: Option<String>,
}

/// Properties of MQTT 5.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Properties {
    #[serde(default, deserialize_with = "text")]
    expiry: Option<Span>,
    #[serde(default, deserialize_with = "number")]
    expiry_ms: Option<Span>,
    content_type: Option<String>,
    response_topic: Option<String>,
    #[serde(default)]
    user: Vec<(String, String)>,
}

/// The device's report that a step waits for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    topic: String,
    matches: Condition,
    #[serde(default, deserialize_with = "text")]
    within: Option<Span>,
    #[serde(default, deserialize_with = "number")]
    within_ms: Option<Span>,
    #[serde(default)]
    already: bool,
}

/// The condition on such a report. JSON values and numbers are text, as in the API.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    Any,
    Text(String),
    Base64(String),
    Json { pointer: String, value: String },
    JsonRange { pointer: String, min: String, max: String },
}

/// Returns the messages of the steps of a job with this key.
pub(crate) fn messages(steps: Vec<Step>, key: &str) -> Result<Messages> {
    if steps.is_empty() {
        return Err(Error::new(format!(
            "config `{key}.steps`: there is none; each is a message, with `topic` and `payload`"
        )));
    }
    let (mut messages, mut before) = (Messages::new(), Span::default());
    for (index, step) in steps.into_iter().enumerate() {
        let key = format!("{key}.steps[{index}]");
        let after = either(&key, "after", step.after, step.after_ms)?.unwrap_or_default();
        if after < before {
            let error = format!("config `{key}.after`: {after} is before {before}, when the step before it is due");
            return Err(Error::new(error));
        }
        messages = step.append(messages, after - before, &key)?;
        before = after;
    }
    Ok(messages)
}

impl Step {
    fn append(self, messages: Messages, wait: Span, key: &str) -> Result<Messages> {
        let Self { after: _, after_ms: _, topic, payload, payload_base64, qos, retain, properties, once, confirm } =
            self;
        let payload = Payload { payload, payload_base64 }.bytes(key)?;
        let mut messages = messages.then(wait, topic, payload).qos(qos.unwrap_or(1));
        if retain {
            messages = messages.retain();
        }
        if once {
            messages = messages.once();
        }
        if let Some(properties) = properties {
            messages = properties.apply(messages, &format!("{key}.properties"))?;
        }
        match confirm {
            Some(confirm) => confirm.apply(messages, key),
            None => Ok(messages),
        }
    }
}

impl Payload {
    /// Returns text as it is, and any other value as JSON text; an error has the key of the message.
    pub(crate) fn bytes(self, key: &str) -> Result<Vec<u8>> {
        match (self.payload, self.payload_base64) {
            (None, None) => {
                Err(Error::new(format!("config `{key}.payload`: it is missing; an empty message has `payload = \"\"`")))
            }
            (Some(value), None) => Ok(value.into_payload().into_bytes()),
            (None, Some(text)) => from_base64(&format!("{key}.payload_base64"), &text),
            (Some(_), Some(_)) => {
                Err(Error::new(format!("config `{key}.payload`: there is `payload_base64` too; leave one of them out")))
            }
        }
    }
}

impl Properties {
    fn apply(self, mut messages: Messages, key: &str) -> Result<Messages> {
        if let Some(expiry) = either(key, "expiry", self.expiry, self.expiry_ms)? {
            messages = messages.expiry(expiry);
        }
        if let Some(media_type) = self.content_type {
            messages = messages.content_type(media_type);
        }
        if let Some(topic) = self.response_topic {
            messages = messages.response_topic(topic);
        }
        Ok(self.user.into_iter().fold(messages, |messages, (name, value)| messages.user_property(name, value)))
    }
}

impl Confirm {
    fn apply(self, messages: Messages, key: &str) -> Result<Messages> {
        let key = format!("{key}.confirm");
        let within = either(&key, "within", self.within, self.within_ms)?;
        let within = within.ok_or_else(|| Error::new(format!("config `{key}`: missing field `within`")))?;
        let key = format!("{key}.matches");
        let number = |end: &str, text: &str| {
            let wrong = |_| Error::new(format!("config `{key}.json_range.{end}`: `{text}` is not a number"));
            text.parse::<f64>().map_err(wrong)
        };
        let matches = match self.matches {
            Condition::Any => Matches::any(),
            Condition::Text(text) => text.into(),
            Condition::Base64(text) => Matches::bytes(from_base64(&format!("{key}.base64"), &text)?),
            Condition::Json { pointer, value } => Matches::json(pointer, JsonValue::parse(value)),
            Condition::JsonRange { pointer, min, max } => {
                Matches::json_range(pointer, number("min", &min)?..=number("max", &max)?)
            }
        };
        let messages = messages.confirm(self.topic, matches, within);
        Ok(if self.already { messages.already() } else { messages })
    }
}

fn from_base64(key: &str, text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|_| Error::new(format!("config `{key}`: `{text}` is not base64 with padding")))
}

/// Returns the length of time of a field with this key, which is set with a unit or in milliseconds.
pub(crate) fn either(key: &str, name: &str, text: Option<Span>, number: Option<Span>) -> Result<Option<Span>> {
    if text.is_some() && number.is_some() {
        let error = format!("config `{key}.{name}`: there is `{name}_ms` too; leave one of them out");
        return Err(Error::new(error));
    }
    Ok(text.or(number))
}

/// Reads the length of time of a field: text such as `"1h30m"`. A number has no unit.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Span>, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Span;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a length of time such as `\"90s\"`")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<Span, E> {
            Err(E::custom(format!("`{number}` has no unit, write it like `\"{number}s\"` or `\"{number}m\"`")))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Span, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Text).map(Some)
}

/// Reads the length of time of a field whose name ends in `_ms`: a number of milliseconds.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Span>, D::Error> {
    let number = u32::deserialize(deserializer)?;
    Ok(Some(milliseconds(number.into())))
}
