//! Local dates and times of day, and the instants they stand for.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use crate::{
    suggest::{did_you_mean, nearest},
    text::excerpt,
    time::Instant,
    zone::{AtLocal, Zone},
};

/// A text that is not the name of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an IANA time zone{}", .nearest.map_or_else(String::new, |zone| format!("; {}", did_you_mean(zone))))]
pub struct ZoneError {
    name: String,
    nearest: Option<&'static str>,
}

impl ZoneError {
    /// Returns an error for an unknown name, which suggests the nearest bundled zone.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: excerpt(name), nearest: nearest(name, Zone::bundled_names()) }
    }
}

/// Parses the IANA name of a time zone, such as `Europe/London`. Returns the zone with the bundled rules; the host has
/// newer ones, if the system does.
///
/// # Errors
/// Suggests the nearest zone, if one is near.
pub fn parse_zone(name: &str) -> Result<Zone, ZoneError> {
    Zone::bundled(name).ok_or_else(|| ZoneError::new(name))
}

/// Returns why a date in the form of RFC 3339, with or without a time, does not exist, if so: `2027-02-29`,
/// `2027-04-31T06:30`, `2027-03-01T25:00`.
#[must_use]
pub fn no_such_time(text: &str) -> Option<String> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u32>().ok() } else { None }
    };
    let is = |at: usize, characters: &[u8]| text.as_bytes().get(at).is_some_and(|byte| characters.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !is(4, b"-") || !is(7, b"-") {
        return None;
    }
    let Some(first) = NaiveDate::from_ymd_opt(year.cast_signed(), month, 1) else {
        return Some(format!("there is no month {month}, they are 01 to 12"));
    };
    let days = u32::from(first.num_days_in_month());
    if day == 0 || day > days {
        let name = first.format("%B");
        return Some(format!("there is no {day} {name} {year}: {name} has {days} days that year"));
    }
    is(10, b"Tt ").then(|| no_such_clock(text.get(11..)?)).flatten()
}

/// Returns why a time of day does not exist, if so: `25:00`, `06:60`.
#[must_use]
pub fn no_such_clock(text: &str) -> Option<String> {
    let end = text.find(|other: char| !other.is_ascii_digit() && other != ':').unwrap_or(text.len());
    let parts = [("hour", 23), ("minute", 59), ("second", 59)];
    let wrong = text[..end].split(':').zip(parts).find_map(|(digits, (what, most))| {
        let number = digits.parse::<u32>().ok().filter(|number| *number > most && digits.len() <= 2)?;
        Some((what, most, number))
    });
    wrong.filter(|_| text[..end].contains(':')).map(|(what, most, number)| match (what, number) {
        ("hour", 24) => "there is no hour 24: a day ends where `00:00` of the next one begins".to_owned(),
        _ => format!("there is no {what} {number}, they are 00 to {most}"),
    })
}

/// Returns the local date and time at an instant; milliseconds are cut off.
#[must_use]
pub fn to_local(at: Instant, zone: Zone) -> (NaiveDate, NaiveTime) {
    let local = clock_at(at, zone);
    (local.date(), local.time())
}

/// Returns the instant of a local date and time. For a time that is skipped it is the first instant after the gap; for
/// a time that occurs twice it is the earlier one. It never decreases as date and time increase.
#[must_use]
pub fn to_instant(date: NaiveDate, time: NaiveTime, zone: Zone) -> Instant {
    match Reading::of(date.and_time(time), zone) {
        Reading::Once(at) | Reading::Twice(at, _) | Reading::Never { resumes: at } => at,
    }
}

/// Returns when the next local date begins. Where there is no midnight on the day that summer time starts, it is the
/// first instant after the gap.
#[must_use]
pub fn next_midnight(now: Instant, zone: Zone) -> Instant {
    let tomorrow = to_local(now, zone).0 + Days::new(1);
    match Reading::of(tomorrow.and_time(NaiveTime::MIN), zone) {
        // A clock that is set back over midnight shows it twice, and the first one may have passed.
        Reading::Twice(earlier, later) if earlier <= now => later,
        Reading::Once(at) | Reading::Twice(at, _) | Reading::Never { resumes: at } => at,
    }
}

/// Returns when the local date after tomorrow begins: the end of a plan's window.
#[must_use]
pub fn end_of_tomorrow(now: Instant, zone: Zone) -> Instant {
    next_midnight(next_midnight(now, zone), zone)
}

/// Returns the local date and time in whole seconds.
pub(crate) fn clock_at(at: Instant, zone: Zone) -> NaiveDateTime {
    let local = at.to_utc().with_timezone(&zone).naive_local();
    local.with_nanosecond(0).unwrap_or(local)
}

/// The instants of a local date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It occurs once.
    Once(Instant),
    /// It occurs twice, because the clock is set back.
    Twice(Instant, Instant),
    /// It is skipped, because the clock is set forward.
    Never {
        /// The first instant after the gap.
        resumes: Instant,
    },
}

impl Reading {
    pub(crate) fn of(local: NaiveDateTime, zone: Zone) -> Self {
        let millis = i64::from(local.and_utc().timestamp_subsec_millis());
        let instant = |seconds: i64| Instant::from_millis_clamped(seconds.saturating_mul(1_000).saturating_add(millis));
        match zone.at_local(local.and_utc().timestamp()) {
            AtLocal::Once(at) => Self::Once(instant(at)),
            AtLocal::Twice(earlier, later) => Self::Twice(instant(earlier), instant(later)),
            AtLocal::Never { resumes } => {
                Self::Never { resumes: Instant::from_millis_clamped(resumes.saturating_mul(1_000)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn zone(name: &str) -> Zone {
        parse_zone(name).expect("a zone")
    }

    fn at(text: &str) -> Instant {
        DateTime::parse_from_rfc3339(text).expect("RFC 3339").into()
    }

    fn local(text: &str) -> NaiveDateTime {
        text.parse().expect("date and time")
    }

    #[test]
    fn gaps_and_folds_have_one_answer() {
        for (zone, text, expected) in [
            ("Europe/London", "2027-03-28T01:30:00", "2027-03-28T02:00:00+01:00"),
            ("Europe/London", "2027-10-31T01:30:00", "2027-10-31T01:30:00+01:00"),
            ("Australia/Lord_Howe", "2027-10-03T02:10:00", "2027-10-03T02:30:00+11:00"),
            ("Australia/Lord_Howe", "2027-04-04T01:45:00", "2027-04-04T01:45:00+11:00"),
            ("America/Santiago", "2027-09-05T00:00:00", "2027-09-05T01:00:00-03:00"),
            ("Asia/Beirut", "2027-03-28T00:00:00", "2027-03-28T01:00:00+03:00"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-31T00:00:00+14:00"),
        ] {
            let (zone, local) = (parse_zone(zone).expect("zone"), local(text));
            assert_eq!(to_instant(local.date(), local.time(), zone), at(expected), "{zone} {text}");
        }
    }

    #[test]
    fn the_next_day_begins_correctly_if_midnight_is_skipped_or_repeated() {
        for (zone, now, expected) in [
            ("America/Santiago", "2027-09-04T23:59:59.999-04:00", "2027-09-05T01:00:00-03:00"),
            // Midnight sets the clock back to 23:00: the date lasts an hour longer.
            ("America/Santiago", "2027-04-03T23:30:00-03:00", "2027-04-04T00:00:00-04:00"),
            ("Asia/Beirut", "2027-03-27T12:00:00+02:00", "2027-03-28T01:00:00+03:00"),
            ("America/Havana", "2027-11-06T12:00:00-04:00", "2027-11-07T00:00:00-04:00"),
            // At 00:01 the clock was set back to 23:01 of the day before.
            ("America/St_Johns", "2010-11-06T23:30:00-03:30", "2010-11-07T00:00:00-03:30"),
            ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"),
        ] {
            assert_eq!(next_midnight(at(now), parse_zone(zone).expect("zone")), at(expected), "{zone} {now}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_is_explained() {
        for (text, expected) in [
            ("2027-02-29", Some("there is no 29 February 2027: February has 28 days that year")),
            ("2028-02-30T06:30:00Z", Some("there is no 30 February 2028: February has 29 days that year")),
            ("2027-04-31T06:30:00+01:00", Some("there is no 31 April 2027: April has 30 days that year")),
            ("2027-03-00", Some("there is no 0 March 2027: March has 31 days that year")),
            ("2027-13-01", Some("there is no month 13, they are 01 to 12")),
            ("2027-03-01T25:00:00Z", Some("there is no hour 25, they are 00 to 23")),
            ("2027-03-01T24:00", Some("there is no hour 24: a day ends where `00:00` of the next one begins")),
            ("2027-03-01 06:60", Some("there is no minute 60, they are 00 to 59")),
            ("2027-03-01T06:30:61.5Z", Some("there is no second 61, they are 00 to 59")),
            ("2027-02-28T06:30:00Z", None),
            ("2028-02-29", None),
            ("2027-3-1", None),
            ("tomorrow", None),
            ("2027-02-2é", None),
            ("", None),
        ] {
            assert_eq!(no_such_time(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_plan_reaches_to_the_end_of_tomorrow() {
        let zone = zone("America/Santiago");
        assert_eq!(end_of_tomorrow(at("2027-09-03T00:00:00-04:00"), zone), at("2027-09-05T01:00:00-03:00"));
        assert_eq!(end_of_tomorrow(at("2027-06-01T23:59:59Z"), Zone::UTC), at("2027-06-03T00:00:00Z"));
    }

    #[test]
    fn local_times_have_no_milliseconds() {
        let (date, time) = to_local(at("2027-06-01T10:00:00.999Z"), zone("Europe/London"));
        assert_eq!(date.and_time(time), local("2027-06-01T11:00:00"));
    }

    #[test]
    fn an_unknown_zone_names_the_nearest() {
        for (name, nearest) in [
            ("Europe/Lodnon", Some("Europe/London")),
            ("europe/london", Some("Europe/London")),
            ("London", Some("Europe/London")),
            ("New York", Some("America/New_York")),
            ("xyzzy", None),
        ] {
            assert_eq!(parse_zone(name).expect_err("no zone").nearest, nearest, "{name}");
        }
    }
}
