//! Parsing of times from text and from settings.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::{Date, Instant, Span, Time};

/// The units of a length of time, the largest first, in milliseconds.
pub(super) const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a number of exactly so many digits.
fn digits<T: FromStr>(text: &str, count: usize) -> Option<T> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Parses `06:30`, `6:30` or `06:30:15`.
pub(super) fn time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let hour = parts.next()?;
    let hour = digits(hour, 2).or_else(|| digits(hour, 1))?;
    let minute = digits(parts.next()?, 2)?;
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    if parts.next().is_some() { None } else { Time::new(hour, minute, second).ok() }
}

/// Returns why a text that has the form of a date or a time of day, `2027-03-01` or `06:30`, is not one.
pub(super) fn no_such(text: &str) -> Option<String> {
    let numbers = |separator: char| -> Option<Vec<u16>> {
        let digits = |part: &str| if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None };
        text.split(separator).map(digits).collect()
    };
    let short = |number: u16| u8::try_from(number).ok();
    let error = match (numbers('-').as_deref(), numbers(':').as_deref()) {
        (Some(&[year, month, day]), _) => Date::new(year, short(month)?, short(day)?).err()?,
        (_, Some(&[hour, minute])) => Time::new(short(hour)?, short(minute)?, 0).err()?,
        (_, Some(&[hour, minute, second])) => Time::new(short(hour)?, short(minute)?, short(second)?).err()?,
        _ => return None,
    };
    Some(error.to_string())
}

/// Parses `2027-03-01`.
pub(super) fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() { None } else { Date::new(year, month, day).ok() }
}

/// Parses RFC 3339 without leap seconds: `2027-03-01T06:30:00Z`, `2027-03-01T06:30:00.250+01:00`.
pub(super) fn instant(text: &str) -> Option<Instant> {
    let day = date(text.get(..10)?)?;
    if !matches!(text.as_bytes().get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let clock = time(text.get(11..19)?)?;
    let rest = text.get(19..)?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let of_day = (i64::from(clock.hour) * 60 + i64::from(clock.minute)) * 60 + i64::from(clock.second);
    let seconds = day.days() * 86_400 + of_day - offset_seconds(zone)?;
    let millis = seconds * 1_000 + millis(fraction)?;
    (millis >= 0).then_some(Instant::from_millis(millis))
}

/// Parses the fraction of a second: nothing, or `.250`; further digits are cut off.
fn millis(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return Some(0);
    }
    let decimals = fraction.strip_prefix('.')?;
    if decimals.is_empty() || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{decimals:0<3}").get(..3)?.parse().ok()
}

/// Parses `Z` or `+01:00`.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, zone) = (if zone.starts_with('-') { -1 } else { 1 }, zone.get(1..)?);
    let (hours, minutes) = zone.split_once(':')?;
    let (hours, minutes): (i64, i64) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Parses `90s`, `1h30m`, `-20m` or `500ms`: each unit at most once, the largest first.
pub(super) fn span(text: &str) -> Option<Span> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut units = UNITS.iter();
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number_ends = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, after) = rest.split_at(number_ends);
        let unit_ends = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let (_, millis) = units.find(|(name, _)| *name == unit)?;
        let length = number.parse::<i64>().ok()?.checked_mul(i64::try_from(*millis).ok()?)?;
        total = total.checked_add(length)?;
        rest = after;
    }
    Some(Span(sign * total))
}

/// Visits text, and states what is expected otherwise.
struct Text<T> {
    expected: &'static str,
    of: PhantomData<T>,
}

impl<T: FromStr<Err = crate::Error>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! from_settings {
    ($($type:ty: $expected:literal,)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text { expected: $expected, of: PhantomData })
            }
        }
    )*};
}

from_settings! {
    Time: "a time of day, such as `\"06:30\"`",
    Date: "a date, such as `\"2027-03-01\"`",
    Span: "a length of time, such as `\"90s\"` or `\"1h30m\"`",
    Instant: "a point in time, such as `\"2027-03-01T06:30:00Z\"`",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{days, hours, milliseconds, minutes, seconds};

    #[test]
    fn lengths_of_time_are_read_and_written() {
        let cases = [
            ("90s", seconds(90), "1m30s"),
            ("1h30m", minutes(90), "1h30m"),
            ("-20m", minutes(-20), "-20m"),
            ("+5m", minutes(5), "5m"),
            ("500ms", milliseconds(500), "500ms"),
            ("1d", days(1), "1d"),
            ("0m", hours(0), "0s"),
        ];
        for (text, span, written) in cases {
            assert_eq!(text.parse::<Span>(), Ok(span), "{text}");
            assert_eq!(span.to_string(), written);
        }
        for bad in ["", "-", "5", "m", "5 m", "5m1h", "5m5m", "5x", "--5m", "9999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_day_are_read_and_written() {
        for (text, written) in [("06:30", "06:30"), ("6:30", "06:30"), ("23:59:59", "23:59:59"), ("00:00", "00:00")] {
            assert_eq!(text.parse::<Time>().expect(text).to_string(), written);
        }
        for bad in ["", "6", "24:00", "12:60", "12:5", "012:30", "12:30:60", "1:2:3:4", "-1:30", "+6:30", "6:30 pm"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn instants_are_read_and_written() {
        let cases = [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2027-03-01T06:30:00+01:00", "2027-03-01T05:30:00Z"),
            ("2024-02-29T23:59:59.25-03:30", "2024-03-01T03:29:59.250Z"),
            ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Instant>().expect(text).to_string(), written);
        }
        for bad in [
            "",
            "2027-03-01",
            "2027-03-01T06:30Z",
            "2027-02-29T00:00:00Z",
            "2027-03-01T06:30:00",
            "1969-12-31T23:00:00Z",
        ] {
            assert!(bad.parse::<Instant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_day_is_one_after_the_one_before() {
        let mut date = Date::new(1970, 1, 1).expect("exists");
        for days in 0..150_000 {
            assert_eq!(date.days(), days);
            assert_eq!(date.to_string().parse::<Date>(), Ok(date));
            date = date.plus_days(1);
        }
        assert_eq!(date.to_string(), "2380-09-08");
        assert_eq!(Date::new(2027, 3, 1).expect("exists").weekday(), crate::Weekday::Monday);
        assert!(Date::new(2027, 2, 29).is_err() && Date::new(2028, 2, 29).is_ok());
    }
}
