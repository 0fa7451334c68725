//! Day, twilight and night at a device.

use axum::{Json, extract::State};
use roost_scheduler::{
    event::Part,
    names::{DeviceName, PluginName},
    time::{Instant, Location, Site},
    trigger::{Almanac, Band},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::Query,
    limits,
    params::{Device, Plugin, Time},
    problem::{Answered, Problem},
    state::ApiState,
    timeline::window,
};
use crate::config::rules::how_to_locate;

/// How light it is at a device in a period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sun)]
pub(crate) struct SunRecord {
    #[schema(inline, value_type = Plugin)]
    pub(crate) plugin: String,
    #[schema(inline, value_type = Device)]
    pub(crate) device: String,
    pub(crate) time_zone: String,
    /// In degrees, north positive.
    pub(crate) latitude: f64,
    /// In degrees, east positive.
    pub(crate) longitude: f64,
    /// The bands of the period, without gaps. In a polar day or night, one band may last for all of it.
    pub(crate) bands: Vec<BandRecord>,
}

/// A stretch of time in which it is equally light.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Band)]
pub(crate) struct BandRecord {
    /// By the height of the sun's centre: `day` above -0°50′ (from sunrise to sunset), `civil-twilight` above -6°,
    /// `nautical-twilight` above -12°, `astronomical-twilight` above -18°, `night` below that.
    #[schema(pattern = "^(day|civil-twilight|nautical-twilight|astronomical-twilight|night)$")]
    pub(crate) light: &'static str,
    #[schema(format = DateTime, example = "2027-03-01T17:40:12Z")]
    pub(crate) from: String,
    /// The end, excluded.
    #[schema(format = DateTime, example = "2027-03-01T18:13:05Z")]
    pub(crate) to: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct SunQuery {
    #[param(inline)]
    plugin: Plugin,
    #[param(inline)]
    device: Device,
    /// The start. Default: now
    #[param(value_type = String, required = false, format = DateTime, example = "2027-03-01T00:00:00Z")]
    from: Option<Time>,
    /// The end, excluded; at most 31 days after the start. Default: a day after the start
    #[param(value_type = String, required = false, format = DateTime)]
    to: Option<Time>,
}

/// Get when it is day, twilight and night at a device
///
/// The bands change at the sun events by which triggers are due, to the second.
#[utoipa::path(get, path = "/api/v1/sun", tag = "plugins", params(SunQuery),
    responses(
        (status = 200, body = SunRecord),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such device"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "The device has no location"),
    ))]
pub(super) async fn sun(State(state): State<ApiState>, Query(query): Query<SunQuery>) -> Answered<SunRecord> {
    let SunQuery { plugin: Plugin(plugin), device: Device(device), from, to } = query;
    find(&state, (plugin, device), window(from, to, limits::SUN_MS)?).await.map(Json)
}

/// Computes the bands of a device.
pub(crate) async fn find(
    state: &ApiState,
    (plugin, device): (PluginName, DeviceName),
    window: (Instant, Instant),
) -> Result<SunRecord, Problem> {
    let name = (plugin.clone(), device.clone());
    let site = state.inspect(move |scheduler| scheduler.device(&name.0, &name.1).map(|device| *device.site)).await?;
    let Some(site) = site else { return Err(state.not_found(Part::Device(plugin, device)).await) };
    let computed = tokio::task::spawn_blocking(move || record((&plugin, &device), site, window));
    computed.await.map_err(|error| Problem::bug(&error))?
}

/// Computes the bands of several places. A place has none in the years that are not known.
pub(crate) async fn skies(places: Vec<Location>, window: (Instant, Instant)) -> Result<Vec<Vec<Band>>, Problem> {
    let computed = tokio::task::spawn_blocking(move || {
        let mut cache = Almanac::default();
        places.into_iter().map(|place| cache.bands(window, place).unwrap_or_default()).collect()
    });
    computed.await.map_err(|error| Problem::bug(&error))
}

fn record(
    (plugin, device): (&PluginName, &DeviceName),
    site: Site,
    window: (Instant, Instant),
) -> Result<SunRecord, Problem> {
    let Some(location) = site.location else {
        let detail = format!("the device `{plugin}/{device}` has no location, which the times of the sun require");
        return Err(Problem::unprocessable(detail).hint(how_to_locate(plugin)));
    };
    let Some(bands) = Almanac::default().bands(window, location) else {
        return Err(Problem::unprocessable("the times of the sun are known up to the year 3000"));
    };
    let band = |Band { light, from, to }: &Band| BandRecord {
        light: light.as_str(),
        from: from.in_zone(site.zone),
        to: to.in_zone(site.zone),
    };
    Ok(SunRecord {
        plugin: plugin.to_string(),
        device: device.to_string(),
        time_zone: site.zone.name().into(),
        latitude: location.latitude(),
        longitude: location.longitude(),
        bands: bands.iter().map(band).collect(),
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use roost_scheduler::calendar::parse_zone;

    use super::*;

    fn at(text: &str) -> Instant {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().into()
    }

    fn shown(site: Site, from: &str, to: &str) -> String {
        let name = (&PluginName::parse("coop").unwrap(), &DeviceName::parse("north").unwrap());
        match record(name, site, (at(from), at(to))) {
            Ok(sun) => sun.bands.iter().map(|band| format!("{} {} {}\n", band.from, band.to, band.light)).collect(),
            Err(problem) => format!("{} {}\n{}\n", problem.status, problem.detail, problem.hint.unwrap_or_default()),
        }
    }

    #[test]
    fn the_bands_of_a_night_of_25_hours_have_the_offset_of_their_time() {
        let site = Site { zone: parse_zone("Europe/Berlin").unwrap(), location: Location::new(52.5, 13.4) };
        expect![[r#"
            2027-10-30T22:00:00+02:00 2027-10-31T05:04:23+01:00 night
            2027-10-31T05:04:23+01:00 2027-10-31T05:43:58+01:00 astronomical-twilight
            2027-10-31T05:43:58+01:00 2027-10-31T06:24:15+01:00 nautical-twilight
            2027-10-31T06:24:15+01:00 2027-10-31T07:00:11+01:00 civil-twilight
            2027-10-31T07:00:11+01:00 2027-10-31T16:39:06+01:00 day
            2027-10-31T16:39:06+01:00 2027-10-31T17:14:59+01:00 civil-twilight
            2027-10-31T17:14:59+01:00 2027-10-31T17:55:13+01:00 nautical-twilight
            2027-10-31T17:55:13+01:00 2027-10-31T18:34:43+01:00 astronomical-twilight
            2027-10-31T18:34:43+01:00 2027-10-31T22:00:00+01:00 night
        "#]]
        .assert_eq(&shown(site, "2027-10-30T22:00:00+02:00", "2027-10-31T22:00:00+01:00"));
    }

    #[test]
    fn a_device_without_a_location_has_no_bands() {
        let site = Site { zone: parse_zone("Europe/Berlin").unwrap(), location: None };
        expect![[r#"
            422 the device `coop/north` has no location, which the times of the sun require
            set its location below its `[[device]]` in `plugins/coop.toml`, or for all devices at the top of `roost.toml`:
            latitude = 51.5
            longitude = -0.1
        "#]].assert_eq(&shown(site, "2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z"));
        let site = Site { location: Location::new(52.5, 13.4), ..site };
        expect![[r#"
            422 the times of the sun are known up to the year 3000

        "#]]
        .assert_eq(&shown(site, "3001-03-01T00:00:00Z", "3001-03-02T00:00:00Z"));
    }
}
