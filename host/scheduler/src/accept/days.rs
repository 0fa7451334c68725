//! Parses the days of triggers.

use chrono::{NaiveDate, Weekday};

use super::{
    draft::{DateDraft, DayRangeDraft, DaysDraft, IntervalDraft},
    fault::{Fault, Permission},
    terms::Terms,
};
use crate::{
    limits,
    names::CalendarName,
    text::grouped,
    trigger::{DayOfYear, DayRange, DaySet, Days, Interval},
};

/// Parses the days to which a trigger is limited.
pub(super) fn days(draft: DaysDraft) -> Result<Days, Fault> {
    let DaysDraft { on, within, every, except } = draft;
    let count = on.len() + within.len() + except.len();
    if count > limits::DAY_RANGES {
        let rule = format!("it may have {} ranges in all; put dates into a calendar", limits::DAY_RANGES);
        return Err(Fault::new("trigger.days", format!("of {} ranges", grouped(count)), rule));
    }
    let set = |ranges: Vec<DayRangeDraft>| ranges.into_iter().map(range).collect::<Result<DaySet, Fault>>();
    let every = every.map(interval).transpose()?;
    let days = Days { on: set(on)?, within: set(within)?, every, except: set(except)? };
    match days.never() {
        None => Ok(days),
        Some(never) => Err(Fault::new("trigger.days", format!("`{}`", days.to_string().trim()), never.to_string())),
    }
}

/// Checks that the host has the calendars.
pub(super) fn calendars(days: &Days, terms: &Terms<'_>) -> Result<(), Fault> {
    let Some(has) = terms.calendars else { return Ok(()) };
    days.calendars().find(|name| !has(name)).map_or(Ok(()), |name| {
        let fault = Fault::new("trigger.days.calendar", format!("`{name}`"), "the host has no calendar of that name");
        Err(fault.lacks(Permission::Calendar(name.clone())))
    })
}

fn range(draft: DayRangeDraft) -> Result<DayRange, Fault> {
    match draft {
        DayRangeDraft::Weekdays(from, to) => Ok(DayRange::Weekdays(weekday(from)?, weekday(to)?)),
        DayRangeDraft::OfMonth(from, to) if (1..=31).contains(&from) && (from..=31).contains(&to) => {
            Ok(DayRange::OfMonth(from, to))
        }
        DayRangeDraft::OfMonth(from, to) => {
            let rule = "days of the month are 1 to 31, the first one not after the last";
            Err(Fault::new("trigger.days", format!("{from} to {to}"), rule))
        }
        DayRangeDraft::Season((month, day), (last_month, last_day)) => {
            Ok(DayRange::Season(day_of_year(month, day)?, day_of_year(last_month, last_day)?))
        }
        DayRangeDraft::Dates(from, to) => match (date(from)?, date(to)?) {
            (from, to) if from <= to => Ok(DayRange::Dates(from, to)),
            (from, to) => Err(Fault::new("trigger.days", format!("{from} to {to}"), "it ends before it begins")),
        },
        DayRangeDraft::Calendar(name) => {
            let name = CalendarName::parse(&name).map_err(|error| Fault::malformed("trigger.days.calendar", &error))?;
            Ok(DayRange::Calendar(name))
        }
    }
}

fn weekday(number: u8) -> Result<Weekday, Fault> {
    let found = Weekday::try_from(number).ok();
    found.ok_or_else(|| Fault::new("trigger.days", number, "the days of the week are 0 (Monday) to 6"))
}

fn day_of_year(month: u8, day: u8) -> Result<DayOfYear, Fault> {
    let rule = "no year has that month and day";
    DayOfYear::new(month, day).ok_or_else(|| Fault::new("trigger.days", format!("{month}-{day}"), rule))
}

fn date(DateDraft(year, month, day): DateDraft) -> Result<NaiveDate, Fault> {
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
    date.filter(|_| (1970..=9999).contains(&year)).ok_or_else(|| {
        let rule = "it must be a date of the years 1970 to 9999";
        Fault::new("trigger.days", format!("{year}-{month:02}-{day:02}"), rule)
    })
}

fn interval(draft: IntervalDraft) -> Result<Interval, Fault> {
    let IntervalDraft { count, unit, from } = draft;
    if !(1..=limits::INTERVAL_COUNT).contains(&count) {
        let rule = format!("it must be 1 to {}", grouped(limits::INTERVAL_COUNT.into()));
        return Err(Fault::new("trigger.days.every.count", count, rule));
    }
    Ok(Interval { count, unit, from: date(from)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::Unit;

    fn draft(on: Vec<DayRangeDraft>, except: Vec<DayRangeDraft>, count: u16, year: u16) -> DaysDraft {
        let every = Some(IntervalDraft { count, unit: Unit::Weeks, from: DateDraft(year, 1, 1) });
        DaysDraft { on, within: Vec::new(), every, except }
    }

    #[test]
    fn impossible_days_are_refused() {
        use DayRangeDraft::{Dates, OfMonth, Season, Weekdays};
        let weekdays = |count: usize| (0..count).map(|_| Weekdays(0, 6)).collect::<Vec<_>>();
        for (on, except, (count, year), expected) in [
            (weekdays(32), vec![], (1, 2027), None),
            (vec![Season((11, 1), (2, 29)), OfMonth(31, 31)], vec![], (1_000, 9_999), None),
            (weekdays(20), weekdays(13), (1, 2027), Some("`trigger.days` of 33 ranges: it may have 32 ranges in all")),
            (weekdays(1_000_000), vec![], (1, 2027), Some("`trigger.days` of 1,000,000 ranges")),
            (
                vec![],
                weekdays(1),
                (1, 2027),
                Some("`every 1 weeks from 2027-01-01 except MON-SUN`: the calendar has no such day"),
            ),
            (vec![Season((2, 29), (2, 30))], vec![], (1, 2027), Some("2-30: no year has that month and day")),
            (vec![Season((0, 1), (13, 1))], vec![], (1, 2027), Some("0-1: no year has that month and day")),
            (vec![Weekdays(7, 0)], vec![], (1, 2027), Some("7: the days of the week are 0 (Monday) to 6")),
            (vec![OfMonth(31, 32)], vec![], (1, 2027), Some("31 to 32: days of the month are 1 to 31")),
            (
                vec![Dates(DateDraft(2027, 2, 29), DateDraft(2027, 3, 1))],
                vec![],
                (1, 2027),
                Some("2027-02-29: it must be a date of the years 1970 to 9999"),
            ),
            (vec![], vec![], (0, 2027), Some("`trigger.days.every.count` 0: it must be 1 to 1,000")),
            (vec![], vec![], (65_535, 2027), Some("`trigger.days.every.count` 65535: it must be 1 to 1,000")),
            (vec![], vec![], (1, 10_000), Some("10000-01-01: it must be a date of the years 1970 to 9999")),
        ] {
            let found =
                days(draft(on, except, count, year)).map(|days| days.to_string()).map_err(|fault| fault.to_string());
            match expected {
                None => assert!(found.is_ok(), "{found:?}"),
                Some(expected) => {
                    assert!(found.as_ref().is_err_and(|fault| fault.contains(expected)), "{found:?}: {expected}");
                }
            }
        }
    }
}
