//! Where something is: a time zone and a location, each of which may be left to someone else to say.

use chrono_tz::Tz;
use roost_scheduler::time::{Location, Site};

use super::{
    document::{Table, Value},
    nearest::zone,
};
use crate::report::Report;

/// The keys that say it, in a table of settings.
pub(crate) const KEYS: [&str; 3] = ["time_zone", "latitude", "longitude"];

/// As much as is said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) zone: Option<Tz>,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
}

impl Place {
    /// From [`KEYS`] of a table.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Report> {
        Ok(Self {
            zone: table.get("time_zone").map(|value| read_zone(&value)).transpose()?,
            latitude: table.get("latitude").map(|value| read_degrees(&value, 90.0)).transpose()?,
            longitude: table.get("longitude").map(|value| read_degrees(&value, 180.0)).transpose()?,
        })
    }

    /// Both or neither; the error says which is missing.
    pub(crate) fn location(&self) -> Result<Option<Location>, String> {
        match (self.latitude, self.longitude) {
            (None, None) => Ok(None),
            (Some(_), None) => Err("there is a `latitude`, but no `longitude`".to_owned()),
            (None, Some(_)) => Err("there is a `longitude`, but no `latitude`".to_owned()),
            (Some(latitude), Some(longitude)) => Location::new(latitude, longitude)
                .map(Some)
                .ok_or_else(|| "`latitude` must be -90 to 90, and `longitude` -180 to 180".to_owned()),
        }
    }

    /// What is not said is as in `otherwise`.
    pub(crate) fn site(&self, otherwise: &Site) -> Result<Site, String> {
        let location = self.location()?.or(otherwise.location);
        Ok(Site { zone: self.zone.unwrap_or(otherwise.zone), location })
    }
}

/// What to do about half a location.
pub(crate) const HALF_A_LOCATION: &str = "give both, in degrees, north and east positive, or neither";

fn read_zone(value: &Value<'_>) -> Result<Tz, Report> {
    let name = value.text()?;
    zone(name).map_err(|hint| value.error(format!("`{name}` is not a time zone")).hint(hint))
}

fn read_degrees(value: &Value<'_>, most: f64) -> Result<f64, Report> {
    let degrees = value.number()?;
    if (-most..=most).contains(&degrees) {
        return Ok(degrees);
    }
    Err(value.error(format!("{degrees} degrees is out of range: it must be -{most} to {most}")))
}
