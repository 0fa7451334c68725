//! Conditions on reports of devices.

use std::ops::RangeInclusive;

use crate::{
    JsonValue,
    bindings::roost::device::types::{self as wit, JsonRange},
};

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
        Self(wit::Matches::Json(wit::JsonValue { pointer: pointer.into(), value: value.into().into_text() }))
    }

    /// Matches JSON with a number in this range at a JSON pointer: a blind that is set to 50 may report 49.
    pub fn json_range(pointer: impl Into<String>, range: RangeInclusive<f64>) -> Self {
        let (min, max) = range.into_inner();
        Self(wit::Matches::JsonRange(JsonRange { pointer: pointer.into(), min, max }))
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
