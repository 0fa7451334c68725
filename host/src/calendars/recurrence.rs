//! Recurrence rules (`RRULE` of RFC 5545), for whole days.
//!
//! A rule is a test of dates: whether one lies in every nth period, and fulfils the parts that the rule names or that
//! its start implies. The dates are found by trying each one.

use chrono::{Datelike, Days, NaiveDate, Weekday};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A recurrence rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    frequency: Frequency,
    interval: i64,
    /// How many occurrences there are, with the start.
    pub(super) count: Option<u32>,
    /// The last date that an occurrence may have.
    pub(super) until: Option<NaiveDate>,
    months: Vec<u32>,
    /// Days of the month, from its end if negative.
    days: Vec<i32>,
    /// Weekdays. With a number other than 0, only the nth of the month or of the year, from the end if negative.
    weekdays: Vec<(i32, Weekday)>,
    week_start: Weekday,
}

impl Rule {
    /// Parses a rule such as `FREQ=YEARLY;BYMONTH=11;BYDAY=4TH`. `last` reads the last date of `UNTIL`.
    ///
    /// # Errors
    /// The part that is not understood.
    pub(super) fn parse(text: &str, last: impl Fn(&str) -> Result<NaiveDate, String>) -> Result<Self, String> {
        let mut frequency = None;
        let mut rule = Self {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            days: Vec::new(),
            weekdays: Vec::new(),
            week_start: Weekday::Mon,
        };
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let wrong = || format!("`{part}` is not understood");
            match key.to_ascii_uppercase().as_str() {
                "FREQ" => frequency = Some(parse_frequency(value).ok_or_else(wrong)?),
                "INTERVAL" => rule.interval = number(value, 1..=10_000).ok_or_else(wrong)?.into(),
                "COUNT" => rule.count = Some(number(value, 1..=1_000_000).ok_or_else(wrong)?.unsigned_abs()),
                "UNTIL" => rule.until = Some(last(value)?),
                "BYMONTH" => {
                    rule.months = numbers(value, 12, false).ok_or_else(wrong)?.map(i32::unsigned_abs).collect();
                }
                "BYMONTHDAY" => rule.days = numbers(value, 31, true).ok_or_else(wrong)?.collect(),
                "BYDAY" => {
                    rule.weekdays = value.split(',').map(nth_weekday).collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "WKST" => rule.week_start = weekday(value).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        rule.frequency = frequency.ok_or_else(|| "it has no `FREQ`".to_owned())?;
        // Each date is compared with all of them (I10).
        rule.months.sort_unstable();
        rule.months.dedup();
        rule.days.sort_unstable();
        rule.days.dedup();
        rule.weekdays.sort_unstable_by_key(|(nth, day)| (day.num_days_from_monday(), *nth));
        rule.weekdays.dedup();
        let has_numbers = rule.weekdays.iter().any(|(number, _)| *number != 0);
        match rule.frequency {
            Frequency::Daily | Frequency::Weekly if has_numbers => {
                Err("the nth weekday needs `FREQ=MONTHLY` or `FREQ=YEARLY`".into())
            }
            Frequency::Weekly if !rule.days.is_empty() => Err("`BYMONTHDAY` is not for `FREQ=WEEKLY`".into()),
            _ => Ok(rule),
        }
    }

    /// Returns the cost of testing a date: 1 for all rules but those with long lists (I10).
    pub(super) fn cost(&self) -> u32 {
        u32::try_from(1 + (self.months.len() + self.days.len() + self.weekdays.len()) / 16).unwrap_or(u32::MAX)
    }

    /// Returns whether it has an occurrence on a date, by a rule that starts on another one and has no end.
    pub(super) fn contains(&self, date: NaiveDate, start: NaiveDate) -> bool {
        date == start || (date > start && self.is_in_period(date, start) && self.fulfils(date, start))
    }

    fn is_in_period(&self, date: NaiveDate, start: NaiveDate) -> bool {
        let months = |date: NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month0());
        let week = |date: NaiveDate| {
            let days = Days::new(date.weekday().days_since(self.week_start).into());
            date.checked_sub_days(days).unwrap_or(date)
        };
        let periods = match self.frequency {
            Frequency::Daily => (date - start).num_days(),
            Frequency::Weekly => (week(date) - week(start)).num_days() / 7,
            Frequency::Monthly => months(date) - months(start),
            Frequency::Yearly => i64::from(date.year() - start.year()),
        };
        periods % self.interval == 0
    }

    fn fulfils(&self, date: NaiveDate, start: NaiveDate) -> bool {
        // What the rule leaves open is as at its start.
        let (no_days, no_weekdays) = (self.days.is_empty(), self.weekdays.is_empty());
        let is_open = no_days && no_weekdays;
        let as_at_start = match self.frequency {
            Frequency::Daily => true,
            Frequency::Weekly => !no_weekdays || date.weekday() == start.weekday(),
            Frequency::Monthly => !is_open || date.day() == start.day(),
            Frequency::Yearly => {
                !is_open || (date.day() == start.day() && (!self.months.is_empty() || date.month() == start.month()))
            }
        };
        as_at_start
            && (self.months.is_empty() || self.months.contains(&date.month()))
            && (no_days || self.days.iter().any(|day| is_nth(*day, date.day(), days_of_month(date))))
            && (no_weekdays || self.weekdays.iter().any(|weekday| self.is_nth_weekday(*weekday, date)))
    }

    fn is_nth_weekday(&self, (number, weekday): (i32, Weekday), date: NaiveDate) -> bool {
        let of_year = self.frequency == Frequency::Yearly && self.months.is_empty();
        let (day, length) = match of_year {
            true if date.leap_year() => (date.ordinal(), 366),
            true => (date.ordinal(), 365),
            false => (date.day(), days_of_month(date)),
        };
        // Which of its kind it is, from the start and from the end.
        let (from_start, from_end) = (day.div_ceil(7), (length - day) / 7 + 1);
        date.weekday() == weekday
            && match number {
                0 => true,
                1.. => number.unsigned_abs() == from_start,
                _ => number.unsigned_abs() == from_end,
            }
    }
}

/// Returns whether a day of a month is the nth, from the end if `number` is negative.
fn is_nth(number: i32, day: u32, length: u32) -> bool {
    let of_end = length + 1 - day;
    number.unsigned_abs() == if number < 0 { of_end } else { day }
}

fn days_of_month(date: NaiveDate) -> u32 {
    date.num_days_in_month().into()
}

fn number(text: &str, within: std::ops::RangeInclusive<i32>) -> Option<i32> {
    text.parse().ok().filter(|number| within.contains(number))
}

fn numbers(text: &str, most: i32, from_end: bool) -> Option<impl Iterator<Item = i32>> {
    let least = if from_end { -most } else { 1 };
    let numbers = text.split(',').map(|text| number(text, least..=most).filter(|number| *number != 0));
    numbers.collect::<Option<Vec<i32>>>().map(IntoIterator::into_iter)
}

fn parse_frequency(text: &str) -> Option<Frequency> {
    Some(match text.to_ascii_uppercase().as_str() {
        "DAILY" => Frequency::Daily,
        "WEEKLY" => Frequency::Weekly,
        "MONTHLY" => Frequency::Monthly,
        "YEARLY" => Frequency::Yearly,
        _ => return None,
    })
}

/// Parses `MO`, `1MO` or `-1FR`.
fn nth_weekday(text: &str) -> Option<(i32, Weekday)> {
    let (nth, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    Some((if nth.is_empty() { 0 } else { number(nth, -53..=53).filter(|nth| *nth != 0)? }, weekday(day)?))
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text.to_ascii_uppercase().as_str() {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn rule(text: &str) -> Result<Rule, String> {
        Rule::parse(text, |until| NaiveDate::parse_from_str(until, "%Y%m%d").map_err(|error| error.to_string()))
    }

    /// Returns the first dates of a rule.
    fn first(text: &str, start: &str, count: usize) -> String {
        let (rule, start) = (rule(text).unwrap(), date(start));
        let dates = start.iter_days().take(40_000).filter(|date| rule.contains(*date, start)).take(count);
        dates.map(|date| date.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rules_have_the_dates_that_the_standard_gives_them() {
        for (text, start, expected) in [
            ("FREQ=DAILY;INTERVAL=10", "1997-09-02", "1997-09-02 1997-09-12 1997-09-22 1997-10-02"),
            ("FREQ=DAILY;BYMONTH=1;BYDAY=SU", "1998-01-04", "1998-01-04 1998-01-11 1998-01-18 1998-01-25"),
            ("FREQ=WEEKLY", "1997-09-02", "1997-09-02 1997-09-09 1997-09-16 1997-09-23"),
            ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH", "1997-09-02", "1997-09-02 1997-09-04 1997-09-16 1997-09-18"),
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05", "1997-08-05 1997-08-10 1997-08-19 1997-08-24"),
            ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05", "1997-08-05 1997-08-17 1997-08-19 1997-08-31"),
            ("FREQ=MONTHLY;BYDAY=1FR", "1997-09-05", "1997-09-05 1997-10-03 1997-11-07 1997-12-05"),
            ("FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU", "1997-09-07", "1997-09-07 1997-09-28 1997-11-02 1997-11-30"),
            ("FREQ=MONTHLY;BYDAY=-2MO", "1997-09-22", "1997-09-22 1997-10-20 1997-11-17 1997-12-22"),
            ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28", "1997-09-28 1997-10-29 1997-11-28 1997-12-29"),
            ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1998-02-13", "1998-02-13 1998-03-13 1998-11-13 1999-08-13"),
            ("FREQ=MONTHLY", "2026-01-31", "2026-01-31 2026-03-31 2026-05-31 2026-07-31"),
            ("FREQ=YEARLY", "2024-02-29", "2024-02-29 2028-02-29 2032-02-29 2036-02-29"),
            ("FREQ=YEARLY;BYMONTH=6,7", "1997-06-10", "1997-06-10 1997-07-10 1998-06-10 1998-07-10"),
            ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19", "1997-05-19 1998-05-18 1999-05-17 2000-05-15"),
            ("FREQ=YEARLY;BYDAY=-1MO", "1997-12-29", "1997-12-29 1998-12-28 1999-12-27 2000-12-25"),
            ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2026-11-26", "2026-11-26 2027-11-25 2028-11-23 2029-11-22"),
            (
                "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
                "1996-11-05",
                "1996-11-05 2000-11-07 2004-11-02 2008-11-04",
            ),
            ("freq=yearly;bymonth=3;byday=th", "1997-03-13", "1997-03-13 1997-03-20 1997-03-27 1998-03-05"),
        ] {
            assert_eq!(first(text, start, 4), expected, "{text}");
        }
    }

    #[test]
    fn a_part_that_is_not_understood_is_named() {
        for (text, expected) in [
            ("", "it has no `FREQ`"),
            ("FREQ=HOURLY", "`FREQ=HOURLY` is not understood"),
            ("FREQ=YEARLY;BYSETPOS=-1", "`BYSETPOS=-1` is not understood"),
            ("FREQ=YEARLY;BYWEEKNO=20", "`BYWEEKNO=20` is not understood"),
            ("FREQ=DAILY;INTERVAL=0", "`INTERVAL=0` is not understood"),
            ("FREQ=DAILY;BYMONTH=13", "`BYMONTH=13` is not understood"),
            ("FREQ=MONTHLY;BYMONTHDAY=0", "`BYMONTHDAY=0` is not understood"),
            ("FREQ=MONTHLY;BYDAY=\u{e4}", "`BYDAY=\u{e4}` is not understood"),
            ("FREQ=MONTHLY;BYDAY=0MO", "`BYDAY=0MO` is not understood"),
            ("FREQ=WEEKLY;BYDAY=1MO", "the nth weekday needs `FREQ=MONTHLY` or `FREQ=YEARLY`"),
            ("FREQ=WEEKLY;BYMONTHDAY=1", "`BYMONTHDAY` is not for `FREQ=WEEKLY`"),
        ] {
            assert_eq!(rule(text).err().as_deref(), Some(expected), "{text}");
        }
    }
}
