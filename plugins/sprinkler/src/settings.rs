//! The settings of a controller.

use std::fmt;

use roost_plugin_sdk::Span;
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// The settings of a controller and its zones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sprinkler {
    pub(crate) zones: Vec<Zone>,
    /// When the first zone is turned on, on `days`.
    pub(crate) start: Option<Starts>,
    #[serde(default = "all")]
    pub(crate) days: String,
    /// Months without watering, 1 to 12.
    #[serde(default)]
    pub(crate) months_off: Vec<u8>,
    /// Instead of `start`: the period of rounds, day and night. For mist over seedlings.
    pub(crate) every: Option<Span>,
    /// How much of `water` the zones get.
    #[serde(default)]
    pub(crate) percent: Percent,
    /// The pause between two zones, for the pressure to recover. If negative, the next valve is opened so long before
    /// the one before it is closed.
    #[serde(default)]
    pub(crate) pause: Span,
    /// The longest time a zone is watered without a pause, unless the zone has its own.
    pub(crate) cycle: Option<Span>,
    /// The shortest pause of a zone between two cycles, for the water to soak in, unless the zone has its own.
    #[serde(default)]
    pub(crate) soak: Span,
    pub(crate) master: Option<Master>,
    /// The resource that this and other controllers draw from: a `[[resource]]` in `roost.toml`.
    pub(crate) pump: Option<String>,
    /// How late a round may begin, for example because the pump is in use. Default: an hour with `start`, 5 minutes
    /// with `every`.
    pub(crate) grace: Option<Span>,
    /// The command topic of valves without their own; `{zone}` stands for the name. Default:
    /// `sprinkler/<device>/{zone}/set`.
    pub(crate) topic: Option<String>,
    /// `{seconds}` and `{minutes}` stand for the time that the valve will be open.
    #[serde(default = "on")]
    pub(crate) on_payload: String,
    #[serde(default = "off")]
    pub(crate) off_payload: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zone {
    pub(crate) name: String,
    /// How long the valve is open.
    pub(crate) water: Span,
    /// Zones of one group are opened together, when the first of them is due.
    pub(crate) group: Option<String>,
    pub(crate) cycle: Option<Span>,
    pub(crate) soak: Option<Span>,
    pub(crate) topic: Option<String>,
    pub(crate) on_payload: Option<String>,
    pub(crate) off_payload: Option<String>,
    /// Whether the master valve is opened for this zone.
    #[serde(default = "yes")]
    pub(crate) master: bool,
}

/// The valve before all others, or a pump.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Master {
    /// Default: `sprinkler/<device>/master/set`.
    pub(crate) topic: Option<String>,
    /// How long it is opened before the first valve; if negative, after it.
    #[serde(default)]
    pub(crate) lead: Span,
    /// How long it is closed after the last valve; if negative, before it.
    #[serde(default)]
    pub(crate) lag: Span,
    pub(crate) on_payload: Option<String>,
    pub(crate) off_payload: Option<String>,
}

/// The starts of rounds: one or several times of day or triggers.
pub(crate) struct Starts(pub(crate) Vec<String>);

/// How much of `water` the zones get: the same all year, or a number for each month.
pub(crate) struct Percent(pub(crate) Vec<u16>);

impl Default for Percent {
    fn default() -> Self {
        Self(vec![100])
    }
}

fn all() -> String {
    "all".into()
}

fn on() -> String {
    "ON".into()
}

fn off() -> String {
    "OFF".into()
}

const fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for Starts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = Starts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of day, a trigger such as `\"finish sunrise\"`, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Starts, E> {
                Ok(Starts(vec![text.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Starts, A::Error> {
                let mut starts = Vec::new();
                while let Some(start) = list.next_element()? {
                    starts.push(start);
                }
                Ok(Starts(starts))
            }
        }

        deserializer.deserialize_any(TextOrList)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrList;

        impl<'de> Visitor<'de> for NumberOrList {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1000, or a list of twelve, one for each month")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Percent, E> {
                match u16::try_from(number) {
                    Ok(percent @ ..=1_000) => Ok(Percent(vec![percent])),
                    _ => Err(E::custom(format!("{number} is not 0 to 1000"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Percent, A::Error> {
                let mut months = Vec::new();
                while let Some(Percent(month)) = list.next_element()? {
                    months.extend(month);
                }
                match months.len() {
                    12 => Ok(Percent(months)),
                    count => Err(de::Error::custom(format!("it has {count} numbers, and a year has 12 months"))),
                }
            }
        }

        deserializer.deserialize_any(NumberOrList)
    }
}
