//! Instants, lengths of time, dates, and times of day.

use std::{
    fmt,
    ops::{Add, Neg, Sub},
    str::FromStr,
};

use crate::{Error, Result, bindings::roost::device::types as wit};

mod text;

/// A point in time, to the millisecond.
///
/// Add and subtract a [`Span`]; the difference of two is a `Span`. [`Context::local`](crate::Context::local) returns
/// the date and time in the device's time zone.
///
/// ```
/// use roost_plugin_sdk::{Instant, minutes};
///
/// let start: Instant = "2027-06-01T08:00:00+01:00".parse()?;
/// assert_eq!((start + minutes(15)).to_string(), "2027-06-01T07:15:00Z");
/// # Ok::<(), roost_plugin_sdk::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// Creates an instant from milliseconds since 1970-01-01T00:00:00Z. The host refuses instants below 0 or beyond the
    /// year 9999.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl Add<Span> for Instant {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Instant {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Instant {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time, to the millisecond; negative is backwards.
///
/// Created by [`milliseconds`], [`seconds`], [`minutes`], [`hours`] and [`days`], or from text such as `90s`, `1h30m`
/// or `-20m`, as in settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Returns this many milliseconds.
#[must_use]
pub const fn milliseconds(count: i64) -> Span {
    Span(count)
}

/// Returns this many seconds.
#[must_use]
pub const fn seconds(count: i64) -> Span {
    Span(count.saturating_mul(1_000))
}

/// Returns this many minutes.
#[must_use]
pub const fn minutes(count: i64) -> Span {
    seconds(count.saturating_mul(60))
}

/// Returns this many hours.
#[must_use]
pub const fn hours(count: i64) -> Span {
    minutes(count.saturating_mul(60))
}

/// Returns this many times 24 hours. A calendar day may be longer or shorter.
#[must_use]
pub const fn days(count: i64) -> Span {
    hours(count.saturating_mul(24))
}

impl Span {
    /// Returns its length in milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// A calendar date: `2027-03-01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they say it all")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Date {
    /// Creates a date: year 1970 to 9999, month from 1, day from 1.
    ///
    /// # Errors
    /// Fails if the calendar has no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self> {
        let date = Self { year, month, day };
        let exists = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && Self::from_days(date.days()) == date;
        exists.then_some(date).ok_or_else(|| Error::new(format!("there is no day `{date}`")))
    }

    /// Returns the year, 1970 to 9999.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Returns the month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Returns the day, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Returns the date this many days later, or earlier if negative.
    #[must_use]
    pub fn plus_days(self, count: i32) -> Self {
        Self::from_days(self.days() + i64::from(count))
    }

    /// Returns the day of the week.
    #[must_use]
    pub const fn weekday(self) -> Weekday {
        // 1970-01-01 was a Thursday.
        match self.days().rem_euclid(7) {
            0 => Weekday::Thursday,
            1 => Weekday::Friday,
            2 => Weekday::Saturday,
            3 => Weekday::Sunday,
            4 => Weekday::Monday,
            5 => Weekday::Tuesday,
            _ => Weekday::Wednesday,
        }
    }

    /// Returns the days since 1970-01-01, to count in for things that recur every so many days.
    #[must_use]
    pub const fn days(self) -> i64 {
        // The year is counted from March, so that the leap day comes last; 400 years have 146,097 days.
        let (year, month, day) = (self.year as i64, self.month as i64, self.day as i64);
        let year = if month <= 2 { year - 1 } else { year };
        let century_cycle = year.div_euclid(400);
        let year_of_cycle = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
        century_cycle * 146_097 + day_of_cycle - 719_468
    }

    fn from_days(days: i64) -> Self {
        let days = days.clamp(0, 2_932_896) + 719_468;
        let century_cycle = days.div_euclid(146_097);
        let day_of_cycle = days.rem_euclid(146_097);
        let year_of_cycle =
            (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
        let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_cycle + century_cycle * 400 + i64::from(month <= 2);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
        Self { year: year as u16, month: month as u8, day: day as u8 }
    }
}

/// A time of day on the wall clock: `06:30`.
///
/// In settings it is written as text. Builders such as [`Job::daily`](crate::Job::daily) accept text as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    hour: u8,
    minute: u8,
    second: u8,
}

impl Time {
    /// Creates a time of day: hour 0 to 23, minute and second 0 to 59.
    ///
    /// # Errors
    /// Fails if there is no such time.
    pub fn new(hour: u8, minute: u8, second: u8) -> Result<Self> {
        let time = Self { hour, minute, second };
        let exists = hour < 24 && minute < 60 && second < 60;
        exists.then_some(time).ok_or_else(|| Error::new(format!("there is no time of day `{time}`")))
    }

    /// Returns the hour, 0 to 23.
    #[must_use]
    pub const fn hour(self) -> u8 {
        self.hour
    }

    /// Returns the minute, 0 to 59.
    #[must_use]
    pub const fn minute(self) -> u8 {
        self.minute
    }

    /// Returns the second, 0 to 59.
    #[must_use]
    pub const fn second(self) -> u8 {
        self.second
    }
}

impl TryFrom<&str> for Time {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

/// A date and a time of day in the device's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    /// The date.
    pub date: Date,
    /// The time of day.
    pub time: Time,
}

impl From<Date> for wit::Date {
    fn from(date: Date) -> Self {
        Self { year: date.year, month: date.month, day: date.day }
    }
}

impl From<wit::Date> for Date {
    fn from(date: wit::Date) -> Self {
        Self { year: date.year, month: date.month, day: date.day }
    }
}

impl From<Time> for wit::Time {
    fn from(time: Time) -> Self {
        Self { hour: time.hour, minute: time.minute, second: time.second }
    }
}

impl From<wit::Time> for Time {
    fn from(time: wit::Time) -> Self {
        Self { hour: time.hour, minute: time.minute, second: time.second }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Writes `06:30`, with the seconds only if there are any.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)?;
        if self.second == 0 { Ok(()) } else { write!(f, ":{:02}", self.second) }
    }
}

/// Writes RFC 3339 in UTC, with milliseconds only if there are any.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (date, of_day) = (Date::from_days(self.0.div_euclid(DAY_MS)), self.0.rem_euclid(DAY_MS));
        let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
        write!(f, "{date}T{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        if millis == 0 { f.write_str("Z") } else { write!(f, ".{millis:03}Z") }
    }
}

/// Writes the text form: `1h30m`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        f.write_str(sign)?;
        let mut rest = self.0.unsigned_abs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in text::UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl FromStr for Time {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let not_one = || format!("`{text}` is not a time of day, write it like `06:30` or `06:30:15`");
        text::time(text).ok_or_else(|| Error::new(text::no_such(text).unwrap_or_else(not_one)))
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let not_one = || format!("`{text}` is not a date, write it like `2027-03-01`");
        text::date(text).ok_or_else(|| Error::new(text::no_such(text).unwrap_or_else(not_one)))
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text::span(text).ok_or_else(|| {
            Error::new(format!("`{text}` is not a length of time, write it like `90s`, `15m`, `1h30m` or `-20m`"))
        })
    }
}

/// Parses RFC 3339, with any offset.
impl FromStr for Instant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text::instant(text).ok_or_else(|| {
            Error::new(format!(
                "`{text}` is not a point in time, write it like `2027-03-01T06:30:00Z` or `2027-03-01T06:30:00+01:00`"
            ))
        })
    }
}
