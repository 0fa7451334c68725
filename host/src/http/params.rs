//! Names and times in requests, which are validated when they are deserialized and described by a pattern.

use std::fmt;

use roost_scheduler::{
    calendar::no_such_time,
    names::{DeviceName, JobId, JobName, PluginName},
    outcome::RunState,
    time::Instant,
};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::limits;

fn parse_with<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

macro_rules! word {
    ($(#[$doc:meta])* $type:ident, $inner:ty, $parse:expr, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $type(pub(super) $inner);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                parse_with(from, $parse).map(Self)
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).into()
            }
        }

        impl ToSchema for $type {}
    };
}

word!(
    /// The name of a plugin, or `roost` for the host's own jobs.
    Plugin, PluginName, PluginName::parse_owner, r"^[a-z0-9][a-z0-9-]{0,62}$"
);
word!(
    /// The name of a device.
    Device, DeviceName, DeviceName::parse, r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
);
word!(
    /// The id of a job.
    Job, JobId, JobId::parse, r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
);

/// States of runs that have not ended, or outcomes; empty for all.
#[derive(Clone, Debug, Default)]
pub(super) struct States(pub(super) Vec<RunState>);

impl<'de> Deserialize<'de> for States {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let state = |word: &str| RunState::parse(word).ok_or_else(|| D::Error::unknown_variant(word, &RunState::WORDS));
        text.split(',').map(state).collect::<Result<_, _>>().map(Self)
    }
}

/// An instant in RFC 3339.
#[derive(Clone, Debug)]
pub(super) struct Time(pub(super) Instant);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parse_with(from, parse_time).map(Self)
    }
}

/// Parses an instant. Times before 1970 are clamped.
fn parse_time(text: &str) -> Result<Instant, String> {
    let at = chrono::DateTime::parse_from_rfc3339(text);
    let wrong = |_| match no_such_time(text) {
        Some(why) => format!("`{text}`: {why}"),
        None => format!("`{text}` is not a time: write it like `2027-03-01T06:30:00Z`"),
    };
    at.map(Instant::from).map_err(wrong)
}

/// Parses a whole number from 1 to `most`.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(from: D, most: u32) -> Result<u32, D::Error> {
    parse_with(from, |text| {
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("`{text}` is not a whole number from 1 to {most}"))
    })
}

/// The number of equal parts of a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets(pub(super) u32);

impl Default for Buckets {
    fn default() -> Self {
        Self(limits::DEFAULT_BUCKETS)
    }
}

impl<'de> Deserialize<'de> for Buckets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        whole_number(from, limits::BUCKETS).map(Self)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PluginPath {
    #[param(inline)]
    pub(super) plugin: Plugin,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DevicePath {
    #[param(inline)]
    plugin: Plugin,
    #[param(inline)]
    device: Device,
}

impl DevicePath {
    pub(super) fn name(self) -> (PluginName, DeviceName) {
        (self.plugin.0, self.device.0)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct JobPath {
    #[param(inline)]
    plugin: Plugin,
    #[param(inline)]
    device: Device,
    #[param(inline)]
    job: Job,
}

impl JobPath {
    pub(super) fn name(self) -> JobName {
        (self.plugin.0, self.device.0, self.job.0)
    }
}
