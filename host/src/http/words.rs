//! Names and times in requests: checked when they are read, and described by their pattern.

use std::fmt;

use roost_scheduler::{
    names::{DeviceName, JobId, PluginName},
    time::Instant,
};
use serde::{Deserialize, Deserializer, de::Error as _};

fn parsed<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

macro_rules! word {
    ($(#[$doc:meta])* $type:ident, $inner:ty, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $type(pub(super) $inner);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                parsed(from, $parse).map(Self)
            }
        }
    };
}

word!(
    /// A plugin, or `roost`, whose the jobs are that no plugin has.
    Plugin, PluginName, PluginName::parse_owner
);
word!(
    /// A device.
    Device, DeviceName, DeviceName::parse
);
word!(
    /// A job.
    Job, JobId, JobId::parse
);
word!(
    /// An instant: RFC 3339.
    Time, Instant, time
);

/// What is before 1970 is as far as that.
fn time(text: &str) -> Result<Instant, String> {
    let at = chrono::DateTime::parse_from_rfc3339(text);
    let wrong = |_| format!("`{text}` is not a time: write it like `2027-03-01T06:30:00Z`");
    at.map(Instant::from).map_err(wrong)
}
