//! Parses days that a user wrote.

use chrono::{Datelike, NaiveDate, Weekday};

use super::{DayOfYear, DayRange, DaySet, Days, Interval, MONTHS, Unit, weekday};
use crate::{
    calendar::no_such_time,
    limits,
    names::CalendarName,
    suggest::{did_you_mean, nearest},
    text::grouped,
};

/// The words that begin a clause.
const CLAUSES: [&str; 4] = ["on", "in", "every", "except"];

const WEEKDAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// Returns whether a word begins a clause.
pub(in super::super) fn is_clause(word: &str) -> bool {
    CLAUSES.iter().any(|clause| word.eq_ignore_ascii_case(clause))
}

/// Returns whether a word is a set of days.
pub(in super::super) fn is_set(word: &str) -> bool {
    set(&[word]).is_ok()
}

impl Days {
    /// Parses clauses: `on MON-FRI in MAY-SEP every 2 weeks from 2027-03-17 except 2026-12-24..2027-01-02,holidays`.
    pub(in super::super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut days = Self::default();
        let mut rest = words;
        while let [clause, tail @ ..] = rest {
            let length = tail.iter().position(|word| is_clause(word)).unwrap_or(tail.len());
            let (arguments, others) = tail.split_at(length);
            rest = others;
            let clause = clause.to_lowercase();
            let target = match clause.as_str() {
                "on" => &mut days.on,
                "in" => &mut days.within,
                "except" => &mut days.except,
                "every" if days.every.is_some() => return Err("`every` occurs twice".into()),
                "every" => {
                    days.every = Some(interval(arguments)?);
                    continue;
                }
                _ => return Err(format!("`{clause}` is not part of it{}", suggestion(&clause, &CLAUSES))),
            };
            if !target.is_empty() {
                return Err(format!("`{clause}` occurs twice: write one list, with commas"));
            }
            *target = set(arguments).map_err(|why| format!("after `{clause}`, {why}"))?;
        }
        if days.count() > limits::DAY_RANGES {
            return Err(format!("it has {} lists of days, and may have {}", days.count(), limits::DAY_RANGES));
        }
        days.never().map_or(Ok(days), |_| Err("no day fulfils all of its clauses".into()))
    }
}

/// Parses `MON-FRI,holidays`.
fn set(words: &[&str]) -> Result<DaySet, String> {
    if words.is_empty() {
        return Err("the days are missing".into());
    }
    words.join(" ").split(',').map(|text| range(text.trim())).collect()
}

fn range(text: &str) -> Result<DayRange, String> {
    if text.is_empty() {
        return Err("there is nothing before or after a comma".into());
    }
    if text.contains(' ') {
        return Err(format!("`{text}` needs commas; {}", did_you_mean(text.replace(' ', ","))));
    }
    if let Some((from, to)) = text.split_once("..") {
        return between(text, from, to);
    }
    if let Some(date) = date(text)? {
        return Ok(DayRange::Dates(date, date));
    }
    if let Some(day) = day_of_year(text)? {
        return Ok(DayRange::Season(day, day));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    if let (Some(from), Some(to)) = (parse_weekday(from), parse_weekday(to)) {
        return Ok(DayRange::Weekdays(from, to));
    }
    if let (Some(from), Some(to)) = (parse_month(from), parse_month(to)) {
        let day = |month, day| DayOfYear::new(month, day).ok_or_else(|| unknown(text));
        return Ok(DayRange::Season(day(from, 1)?, day(to, DayOfYear::last_of(to))?));
    }
    if let (Some(from), Some(to)) = (day_of_month(from), day_of_month(to)) {
        if from > to {
            return Err(format!("`{text}` ends before it begins"));
        }
        return Ok(DayRange::OfMonth(from, to));
    }
    CalendarName::parse(text).map(DayRange::Calendar).map_err(|_| unknown(text))
}

/// Parses `2026-12-24..2027-01-02` or `MAR-15..OCT-31`.
fn between(text: &str, from: &str, to: &str) -> Result<DayRange, String> {
    if let (Some(from), Some(to)) = (date(from)?, date(to)?) {
        return if from <= to { Ok(DayRange::Dates(from, to)) } else { Err(format!("`{text}` ends before it begins")) };
    }
    match (day_of_year(from)?, day_of_year(to)?) {
        (Some(from), Some(to)) => Ok(DayRange::Season(from, to)),
        _ => Err(unknown(text)),
    }
}

/// Parses the first and the last date of `2026-12-24` or `2026-12-24..2027-01-02`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_dates(text: &str) -> Result<(NaiveDate, NaiveDate), String> {
    match range(text) {
        Ok(DayRange::Dates(from, to)) => Ok((from, to)),
        Err(why) if text.starts_with(|first: char| first.is_ascii_digit()) && text.contains('-') => Err(why),
        _ => Err(format!("`{text}` is neither a date (`2026-12-25`) nor a range of dates (`2027-03-26..2027-03-29`)")),
    }
}

/// Parses `2026-12-24`; an error if it looks like a date and there is none.
fn date(text: &str) -> Result<Option<NaiveDate>, String> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if !is_date {
        return Ok(None);
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    match date.filter(|date| (1970..=9999).contains(&date.year())) {
        Some(date) => Ok(Some(date)),
        None => Err(no_such_time(text).unwrap_or_else(|| format!("`{text}` is not within the years 1970 to 9999"))),
    }
}

/// Parses `MAR-15`; an error if the month has no such day.
fn day_of_year(text: &str) -> Result<Option<DayOfYear>, String> {
    let Some((month, day)) = text.split_once('-') else { return Ok(None) };
    let (Some(month), true) = (parse_month(month), !day.is_empty() && day.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return Ok(None);
    };
    let found = day.parse().ok().and_then(|day| DayOfYear::new(month, day));
    found.map(Some).ok_or_else(|| format!("`{text}` is not a day of the year"))
}

/// Returns the days that a word was most likely meant for which is none of them, and could be the name of a calendar.
///
/// ```
/// use roost_scheduler::trigger::meant_days;
/// assert_eq!(meant_days("weekend"), Some("SAT,SUN"));
/// assert_eq!(meant_days("holidays"), None);
/// ```
#[must_use]
pub fn meant_days(word: &str) -> Option<&'static str> {
    let meant = nearest(word, MEANT.into_iter().map(|(word, _)| word))?;
    MEANT.into_iter().find(|(word, _)| *word == meant).map(|(_, days)| days)
}

const MEANT: [(&str, &str); 23] = [
    ("weekday", "MON-FRI"),
    ("weekdays", "MON-FRI"),
    ("workdays", "MON-FRI"),
    ("weekend", "SAT,SUN"),
    ("monday", "MON"),
    ("tuesday", "TUE"),
    ("wednesday", "WED"),
    ("thursday", "THU"),
    ("friday", "FRI"),
    ("saturday", "SAT"),
    ("sunday", "SUN"),
    ("january", "JAN"),
    ("february", "FEB"),
    ("march", "MAR"),
    ("april", "APR"),
    ("may", "MAY"),
    ("june", "JUN"),
    ("july", "JUL"),
    ("august", "AUG"),
    ("september", "SEP"),
    ("october", "OCT"),
    ("november", "NOV"),
    ("december", "DEC"),
];

fn day_of_month(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|day| digits && (1..=31).contains(day))
}

pub(super) fn parse_weekday(text: &str) -> Option<Weekday> {
    WEEKDAYS.into_iter().find(|day| weekday(*day).eq_ignore_ascii_case(text))
}

pub(super) fn parse_month(text: &str) -> Option<u8> {
    (1..).zip(MONTHS).find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| number)
}

fn unknown(text: &str) -> String {
    let names: Vec<&str> = WEEKDAYS.into_iter().map(weekday).chain(MONTHS).collect();
    // `Monday` and `august` begin with what is meant.
    let short: Option<String> = text.get(..3).map(str::to_uppercase);
    let meant = short.as_deref().filter(|short| text.len() > 3 && names.contains(short));
    let meant = meant.map(|meant| format!("; {}", did_you_mean(meant)));
    format!(
        "`{text}` is not a day of the week (`MON-FRI`), a month (`MAY-SEP`), a day of the month (`1-7`), a date, or a \
         calendar's name{}",
        meant.unwrap_or_default()
    )
}

/// Parses `3 days from 2027-03-17`.
fn interval(words: &[&str]) -> Result<Interval, String> {
    let [number_and_unit @ .., from, start] = words else {
        return Err(format!("after `every`, write {EXAMPLE}"));
    };
    if !from.eq_ignore_ascii_case("from") {
        return Err(format!("`every {}` does not say from which date on: write {EXAMPLE}", words.join(" ")));
    }
    let text = number_and_unit.concat().to_lowercase();
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "d" | "day" | "days" => Unit::Days,
        "w" | "week" | "weeks" => Unit::Weeks,
        _ => return Err(format!("`every {text}` does not count days or weeks: write {EXAMPLE}")),
    };
    let count = match number {
        "" => Some(1),
        number => number.parse().ok().filter(|count| (1..=limits::INTERVAL_COUNT).contains(count)),
    };
    let most = grouped(usize::from(limits::INTERVAL_COUNT));
    let count = count.ok_or_else(|| format!("`every {text}`: the number must be 1 to {most}"))?;
    match date(start)? {
        Some(from) => Ok(Interval { count, unit, from }),
        None => Err(format!("`{start}` is not a date: write {EXAMPLE}")),
    }
}

const EXAMPLE: &str = "`every 3 days from 2027-03-17` or `every 2 weeks from 2027-03-17`";

fn suggestion(word: &str, words: &[&str]) -> String {
    nearest(word, words.iter().copied()).map(|meant| format!("; {}", did_you_mean(meant))).unwrap_or_default()
}
