//! Times as users write them.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use roost_scheduler::{
    calendar::{no_such_time, to_instant},
    time::Instant,
    zone::Zone,
};

/// An instant, or a local date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Instant),
    Local(NaiveDateTime),
}

impl When {
    /// Returns the instant, with local times taken in `zone`.
    pub(crate) fn in_zone(self, zone: Zone) -> Instant {
        match self {
            Self::At(at) => at,
            Self::Local(local) => to_instant(local.date(), local.time(), zone),
        }
    }
}

/// `2027-03-01T06:30:00Z`, `2027-03-01T06:30`, `2027-03-01`.
impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The seconds may be left out, also before a `Z`.
        let with_seconds = text.strip_suffix('Z').map(|text| format!("{text}:00Z"));
        let read = DateTime::parse_from_rfc3339;
        if let Ok(at) = read(text).or_else(|error| with_seconds.as_deref().map_or(Err(error), read)) {
            let at = Instant::from_millis(at.timestamp_millis());
            return at.map(Self::At).ok_or_else(|| "it must be within the years 1970 to 9999".into());
        }
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().filter(|_| date.len() == "2027-03-01".len());
        let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|format| NaiveTime::parse_from_str(time, format).ok());
        let local = date.zip(time).map(|(date, time)| Self::Local(date.and_time(time)));
        local.ok_or_else(|| {
            let wrong = no_such_time(text).map(|why| format!("{why}; "));
            wrong.unwrap_or_default()
                + "write `2027-03-01T06:30:00Z`, with `Z` or an offset such as `+01:00`, or a local time: `2027-03-01` or \
             `2027-03-01T06:30`"
        })
    }
}

/// Formats a duration in the largest unit of which there are at least two, rounded down.
pub(crate) fn distance(ms: i64) -> String {
    let units = [("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("seconds", 1_000)];
    let unit = units.into_iter().find(|(_, length)| ms >= 2 * length);
    match unit {
        Some((name, length)) => format!("{} {name}", ms / length),
        None if ms >= 1_000 => "1 second".into(),
        None => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zones::zone;

    #[test]
    fn times_are_instants_or_local() {
        for (text, expected) in [
            ("2027-07-01T06:30:00Z", "2027-07-01T06:30:00Z"),
            ("2027-07-01T06:30:00+02:00", "2027-07-01T04:30:00Z"),
            ("2027-07-01T06:30Z", "2027-07-01T06:30:00Z"),
            ("2027-07-01", "2027-06-30T23:00:00Z"),
            ("2027-07-01T06:30", "2027-07-01T05:30:00Z"),
            ("2027-07-01 06:30:15", "2027-07-01T05:30:15Z"),
            // The clock skips this time.
            ("2027-03-28T01:30", "2027-03-28T01:00:00Z"),
        ] {
            let when = text.parse::<When>().map(|when| when.in_zone(zone("Europe/London")).to_string());
            assert_eq!(when.as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", "tomorrow", "2027-02-30", "27-03-01", "2027-03-01T", "2027-03-01T25:00", "1969-01-01T00:00:00Z"]
        {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
        let leap_day = "2027-02-29".parse::<When>().unwrap_err();
        assert!(
            leap_day.starts_with("there is no 29 February 2027: February has 28 days that year; write"),
            "{leap_day}"
        );
    }
}
