//! The almanac: the times of sun events, and the days of named calendars.

use std::{collections::HashMap, mem};

use chrono::{NaiveDate, NaiveTime};

use super::{
    calendars::Calendars,
    sun_event::{SunEvent, events, solar_day},
};
use crate::{
    calendar::{next_midnight, to_instant, to_local},
    limits,
    time::{Instant, Location},
    zone::Zone,
};

/// The times of sun events, and the days of named calendars.
///
/// An event takes tens of microseconds to compute, and a plan of many doors needs the same ones again and again; so they
/// are cached, by day and location.
#[derive(Debug, Default)]
pub struct Almanac {
    /// The calendars.
    pub calendars: Calendars,
    young: HashMap<Day, Vec<Instant>>,
    /// The previous `young`; entries that are not used until `young` is full are dropped (I10).
    old: HashMap<Day, Vec<Instant>>,
}

/// One event on one solar day at one location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Day {
    event: SunEvent,
    number: i64,
    latitude: u64,
    longitude: u64,
}

impl Almanac {
    /// Returns an almanac with calendars.
    #[must_use]
    pub fn new(calendars: Calendars) -> Self {
        Self { calendars, ..Self::default() }
    }

    /// Returns the times of an event on a local date, in order: one on most days, near the poles perhaps none or two.
    #[must_use]
    pub fn times(&mut self, event: SunEvent, date: NaiveDate, location: Location, zone: Zone) -> Vec<Instant> {
        let start = to_instant(date, NaiveTime::MIN, zone);
        let end = next_midnight(start, zone);
        let days = solar_day(start, location) - 1..=solar_day(end, location) + 1;
        let mut times: Vec<_> = days.flat_map(|day| self.on(event, day, location).to_vec()).collect();
        times.retain(|at| to_local(*at, zone).0 == date);
        times.dedup();
        times
    }

    /// Returns the events of a morning, a noon or an evening: those within half a day of six, twelve or eighteen
    /// o'clock of mean solar time, before or after midnight. Such days do not depend on a time zone, so that all zones
    /// share them.
    pub(super) fn on(&mut self, event: SunEvent, number: i64, location: Location) -> &[Instant] {
        let (latitude, longitude) = (location.latitude().to_bits(), location.longitude().to_bits());
        let day = Day { event, number, latitude, longitude };
        if !self.young.contains_key(&day) && self.young.len() >= limits::ALMANAC_DAYS / 2 {
            self.old = mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(day).or_insert_with(|| old.remove(&day).unwrap_or_else(|| events(event, number, location)))
    }
}
