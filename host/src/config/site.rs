//! Settings of a site: a time zone and a location, each of which may have a default from elsewhere.

use roost_scheduler::time::{Location, Site};
use roost_scheduler::zone::Zone;

use super::document::{Table, Value};
use crate::{report::Report, zones};

/// The keys of a site in a table of settings.
pub(crate) const SITE_KEYS: [&str; 3] = ["time_zone", "latitude", "longitude"];

/// A site as configured, possibly in part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SiteSettings {
    pub(crate) zone: Option<Zone>,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
}

impl SiteSettings {
    /// Reads [`SITE_KEYS`] of a table.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Report> {
        Ok(Self {
            zone: table.get("time_zone").map(|value| value.parsed(zones::find)).transpose()?,
            latitude: table.get("latitude").map(|value| read_degrees(&value, 90.0)).transpose()?,
            longitude: table.get("longitude").map(|value| read_degrees(&value, 180.0)).transpose()?,
        })
    }

    /// Returns the location, if both coordinates are configured.
    ///
    /// # Errors
    /// If only one is, or if one is out of range.
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

    /// Returns the site, completed by `default`.
    pub(crate) fn site(&self, default: &Site) -> Result<Site, String> {
        let location = self.location()?.or(default.location);
        Ok(Site { zone: self.zone.unwrap_or(default.zone), location })
    }
}

/// The hint for half a location.
pub(crate) const HALF_A_LOCATION: &str = "give both, in degrees, north and east positive, or neither";

fn read_degrees(value: &Value<'_>, most: f64) -> Result<f64, Report> {
    let degrees = value.number()?;
    within(degrees, most).map_err(|rule| value.error(format!("`{}` is {degrees}: {rule}", value.key())))
}

fn within(degrees: f64, most: f64) -> Result<f64, String> {
    if (-most..=most).contains(&degrees) { Ok(degrees) } else { Err(format!("degrees are -{most} to {most}")) }
}

/// Parses the value of `--latitude`.
pub(super) fn parse_latitude(text: &str) -> Result<f64, String> {
    parse_degrees(text, 90.0)
}

/// Parses the value of `--longitude`.
pub(super) fn parse_longitude(text: &str) -> Result<f64, String> {
    parse_degrees(text, 180.0)
}

fn parse_degrees(text: &str, most: f64) -> Result<f64, String> {
    let degrees = text.parse().map_err(|_| "it is not a number of degrees, such as `51.5`".to_owned())?;
    within(degrees, most)
}
