//! Reading what a picture shows: a page of devices, those at fault first, what they do, and how light it is there.

use std::collections::HashMap;

use roost_scheduler::{
    names::{DeviceName, PluginName},
    time::{Instant, Location},
    trigger::Band,
    zone::Zone,
};

use super::{lane::Lane, mark::drawn, picture::View, scale::Scale};
use crate::{
    http::{ApiState, DeviceFilter, DeviceRecord, OwnerFilter, Problem, TimelineRecord, list_devices, skies},
    page::{
        Failed,
        lists::{Lists, lists},
    },
    zones,
};

/// Lanes of a picture: as many as a person can tell apart.
const LANES: usize = 20;
/// Entries that are read for a picture, and for each lane if there is more than one page of lanes.
const ENTRIES: usize = 1_000;
const ENTRIES_OF_LANE: usize = 60;

/// Whose lanes are shown.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Whose {
    pub(in super::super) plugin: Option<PluginName>,
    pub(in super::super) device: Option<DeviceName>,
    /// The page of lanes.
    pub(in super::super) cursor: Option<String>,
}

/// A picture, and how it goes on.
pub(in super::super) struct Read {
    pub(in super::super) view: View,
    /// The cursor of the next page of lanes.
    pub(in super::super) next: Option<String>,
    /// Whether there are entries that are not shown, because there are too many.
    pub(in super::super) is_cut: bool,
}

impl Read {
    /// Keeps only runs in some of the states, and lanes that have any; if there are no states, all.
    pub(super) fn keep(&mut self, states: &[String], now: Instant) {
        if states.is_empty() {
            return;
        }
        let is_kept = |state: &str| states.iter().any(|kept| kept == state);
        for lane in &mut self.view.lanes {
            lane.runs.retain(|run| drawn(run, now).is_some_and(|drawn| is_kept(drawn.state)));
            lane.repeated.retain(|job| job.states.keys().any(|state| is_kept(state)));
        }
        self.view.lanes.retain(|lane| !lane.runs.is_empty() || !lane.repeated.is_empty());
    }
}

/// Reads a picture of a period.
pub(in super::super) async fn read(
    state: &ApiState,
    whose: &Whose,
    window: (Instant, Instant),
) -> Result<Read, Failed> {
    let (found, next) = page_of_devices(state, whose).await?;
    let mut lanes: Vec<Lane> =
        found.iter().map(|(device, is_faulty)| Lane::of(device, *is_faulty, state.zone())).collect();
    let mut read = Vec::new();
    if next.is_none() && whose.cursor.is_none() {
        // Also those of devices that are gone.
        read.push(lists(state, (whose.plugin.clone(), whose.device.clone()), window, ENTRIES).await?);
    } else {
        for (device, _) in &found {
            read.push(lists(state, owner(device), window, ENTRIES_OF_LANE).await?);
        }
    }
    let is_cut = read.iter().any(|lists| lists.is_cut || lists.is_too_long);
    read.into_iter().for_each(|lists| distribute(&mut lanes, lists, state.zone()));
    let is_cut = is_cut || lanes.len() > LANES;
    lanes.truncate(LANES);
    light_up(&mut lanes, window).await?;
    // The host's zone, unless no lane is in it.
    let zone = lanes.iter().map(|lane| lane.zone).find(|zone| *zone == state.zone());
    let zone = zone.or_else(|| lanes.first().map(|lane| lane.zone)).unwrap_or_else(|| state.zone());
    Ok(Read { view: View { scale: Scale::new(window), zone, lanes, crowd: None }, next, is_cut })
}

/// Lists the devices of a page, each with whether it is at fault, and the cursor of the next page.
async fn page_of_devices(
    state: &ApiState,
    whose: &Whose,
) -> Result<(Vec<(DeviceRecord, bool)>, Option<String>), Problem> {
    let (mut found, mut cursor) = (Vec::new(), whose.cursor.clone());
    for is_faulty in [true, false] {
        let word = if is_faulty { "faulty" } else { "other" };
        let within = match cursor.as_deref().and_then(|cursor| cursor.split_once('-')) {
            // Those at fault were on the pages before.
            Some(("other", _)) if is_faulty => continue,
            Some((_, within)) => Some(within.to_owned()).filter(|within| !within.is_empty()),
            None => None,
        };
        cursor = None;
        let filter = DeviceFilter {
            plugin: whose.plugin.clone(),
            device: whose.device.clone(),
            is_faulty: Some(is_faulty),
            ..DeviceFilter::default()
        };
        let room = LANES - found.len();
        // If there is no room, only whether there are any.
        let page = list_devices(state, filter, room.max(1), within.as_deref()).await?;
        if room == 0 {
            return Ok((found, (!page.items.is_empty()).then(|| format!("{word}-"))));
        }
        found.extend(page.items.into_iter().map(|device| (device, is_faulty)));
        if let Some(next) = page.next {
            return Ok((found, Some(format!("{word}-{next}"))));
        }
    }
    Ok((found, None))
}

fn owner(DeviceRecord { plugin, device, .. }: &DeviceRecord) -> OwnerFilter {
    (PluginName::parse_owner(plugin).ok(), DeviceName::parse(device).ok())
}

/// Gives each entry to the lane of its device. A device that is gone gets one, too.
fn distribute(lanes: &mut Vec<Lane>, Lists { runs, repeated, .. }: Lists, host: Zone) {
    let names = lanes.iter().enumerate().map(|(index, lane)| ((lane.plugin.clone(), lane.device.clone()), index));
    let mut indices: HashMap<(String, String), usize> = names.collect();
    let mut index_of = |lanes: &mut Vec<Lane>, plugin: &str, device: &str, zone: &str| {
        *indices.entry((plugin.to_owned(), device.to_owned())).or_insert_with(|| {
            lanes.push(Lane::gone(plugin, device, zones::find(zone).unwrap_or(host)));
            lanes.len() - 1
        })
    };
    for run in runs {
        let TimelineRecord { plugin, device, time_zone, .. } = &run[0];
        let index = index_of(lanes, plugin, device, time_zone);
        lanes[index].runs.push(run);
    }
    for job in repeated {
        let index = index_of(lanes, &job.plugin, &job.device, &job.time_zone);
        lanes[index].repeated.push(job);
    }
}

/// Adds how light it is at each lane's place.
async fn light_up(lanes: &mut [Lane], window: (Instant, Instant)) -> Result<(), Problem> {
    let mut places: Vec<Location> = Vec::new();
    for place in lanes.iter().filter_map(|lane| lane.location) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let skies: Vec<Vec<Band>> = skies(places.clone(), window).await?;
    for lane in lanes {
        let index = lane.location.and_then(|place| places.iter().position(|other| *other == place));
        lane.bands = index.map(|index| skies[index].clone()).unwrap_or_default();
    }
    Ok(())
}
