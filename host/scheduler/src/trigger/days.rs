//! Days: the limits of a trigger by the calendar.

mod parse;
#[cfg(test)]
mod tests;

pub(super) use self::parse::{is_clause, is_set};
pub use self::parse::{meant_days, parse_dates};

use std::fmt;

use chrono::{Datelike, Days as DayCount, NaiveDate, Weekday};

use super::{
    calendars::{Calendars, Dates},
    search::Never,
};
use crate::{
    limits,
    mutants::{Mutation, mutated},
    names::CalendarName,
};

/// The days on which a trigger is due. Without limits, that is every day.
///
/// Its text (`Display`) is `on MON-FRI in MAY-SEP every 2 weeks from 2027-03-17 except 2027-06-01..2027-06-14,holidays`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Days {
    /// Only these; all if there are none.
    pub on: DaySet,
    /// And only within these; all if there are none.
    pub within: DaySet,
    /// And only every nth day or week.
    pub every: Option<Interval>,
    /// But not these.
    pub except: DaySet,
}

/// Every nth day or week, counted from a date by the calendar; earlier days do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    /// How many of them, 1 or more.
    pub count: u16,
    /// What is counted.
    pub unit: Unit,
    /// The first day, or a day of the first week.
    pub from: NaiveDate,
}

/// What an interval counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Days.
    Days,
    /// Weeks, which begin on Mondays: each day of such a week counts.
    Weeks,
}

/// Some days. The limits of ranges are included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DayRange {
    /// Days of the week; `FRI-MON` continues beyond Sunday.
    Weekdays(Weekday, Weekday),
    /// Days of the month, 1 to 31.
    OfMonth(u8, u8),
    /// Part of each year; it may continue beyond the end of the year.
    Season(DayOfYear, DayOfYear),
    /// Dates.
    Dates(NaiveDate, NaiveDate),
    /// The days of a calendar that the operator has configured.
    Calendar(CalendarName),
}

/// A day of each year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DayOfYear {
    /// 1 to 12.
    month: u8,
    /// 1 to 31, within the longest such month.
    day: u8,
}

impl DayOfYear {
    /// Returns the day, or `None` if no year has it.
    #[must_use]
    pub fn new(month: u8, day: u8) -> Option<Self> {
        // A leap year has all of them.
        NaiveDate::from_ymd_opt(2024, month.into(), day.into()).map(|_| Self { month, day })
    }

    fn of(date: NaiveDate) -> Self {
        let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        Self { month: small(date.month()), day: small(date.day()) }
    }

    /// Returns the last day of a month, 29 for February.
    fn last_of(month: u8) -> u8 {
        (28..=31).rev().find(|day| Self::new(month, *day).is_some()).unwrap_or(31)
    }
}

/// A set of days: the union of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DaySet {
    ranges: Box<[DayRange]>,
    /// Bit n: n days from Monday.
    weekdays: u8,
    /// Bit n: day n of the month.
    of_month: u32,
    /// The dates in order, without overlaps.
    dates: Dates,
}

impl FromIterator<DayRange> for DaySet {
    fn from_iter<I: IntoIterator<Item = DayRange>>(ranges: I) -> Self {
        let mut set = Self { ranges: ranges.into_iter().collect(), ..Self::default() };
        let mut dates = Vec::new();
        for range in &set.ranges {
            match range {
                DayRange::Weekdays(from, to) => {
                    let last = from.days_since(Weekday::Mon) + to.days_since(*from);
                    for day in from.days_since(Weekday::Mon)..=last {
                        set.weekdays |= 1 << (day % 7);
                    }
                }
                DayRange::OfMonth(from, to) => {
                    for day in *from..=(*to).min(31) {
                        set.of_month |= 1 << day;
                    }
                }
                DayRange::Dates(from, to) => dates.push((*from, *to)),
                DayRange::Season(..) | DayRange::Calendar(_) => {}
            }
        }
        set.dates = Dates::new(dates);
        set
    }
}

impl DaySet {
    /// Returns whether it has no ranges.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the ranges, as they were given.
    #[must_use]
    pub const fn ranges(&self) -> &[DayRange] {
        &self.ranges
    }

    fn has_only_dates(&self) -> bool {
        self.ranges.iter().all(|range| matches!(range, DayRange::Dates(..)))
    }

    fn contains(&self, date: NaiveDate, calendars: &Calendars) -> bool {
        self.contains_by(date, &mut self.cursors(date, calendars))
    }

    /// Returns the cursors of the calendars that it names.
    fn cursors<'a>(&self, date: NaiveDate, calendars: &'a Calendars) -> Vec<Cursor<'a>> {
        let dates = |range: &DayRange| if let DayRange::Calendar(name) = range { calendars.dates(name) } else { None };
        self.ranges.iter().filter_map(dates).map(|dates| Cursor::at(date, dates)).collect()
    }

    fn contains_by(&self, date: NaiveDate, calendars: &mut [Cursor<'_>]) -> bool {
        self.weekdays >> date.weekday().num_days_from_monday() & 1 == 1
            || self.of_month >> date.day() & 1 == 1
            || self.dates.contain(date)
            || self.ranges.iter().any(|range| match range {
                DayRange::Season(from, to) => {
                    let day = DayOfYear::of(date);
                    if from <= to { (from..=to).contains(&&day) } else { day >= *from || day <= *to }
                }
                DayRange::Weekdays(..) | DayRange::OfMonth(..) | DayRange::Dates(..) | DayRange::Calendar(_) => false,
            })
            || calendars.iter_mut().any(|calendar| calendar.contains(date))
    }
}

/// A place in the ranges of a calendar, which follows a search from day to day (I10): a trigger may name thirty calendars,
/// of thousands of ranges each.
struct Cursor<'a> {
    ranges: &'a [(NaiveDate, NaiveDate)],
    /// The first range that does not end before the day.
    index: usize,
}

impl<'a> Cursor<'a> {
    fn at(date: NaiveDate, dates: &'a Dates) -> Self {
        let ranges = dates.ranges();
        Self { ranges, index: ranges.partition_point(|(_, to)| *to < date) }
    }

    fn contains(&mut self, date: NaiveDate) -> bool {
        while self.ranges.get(self.index).is_some_and(|(_, to)| *to < date) {
            self.index += 1;
        }
        while self.index > 0 && self.ranges[self.index - 1].1 >= date {
            self.index -= 1;
        }
        self.ranges.get(self.index).is_some_and(|(from, _)| *from <= date)
    }
}

/// A search through days, each near the one before.
pub(super) struct Walk<'a> {
    days: &'a Days,
    on: Vec<Cursor<'a>>,
    within: Vec<Cursor<'a>>,
    except: Vec<Cursor<'a>>,
}

impl Walk<'_> {
    /// Returns whether a date is one of the days.
    pub(super) fn contain(&mut self, date: NaiveDate) -> bool {
        let Days { on, within, every, except } = self.days;
        every.is_none_or(|every| every.contains(date))
            && (on.is_empty() || on.contains_by(date, &mut self.on))
            && (within.is_empty() || within.contains_by(date, &mut self.within))
            && (!except.contains_by(date, &mut self.except) || mutated(Mutation::ExceptedDaysAreIgnored))
    }
}

impl Interval {
    fn contains(&self, date: NaiveDate) -> bool {
        let count = i64::from(self.count);
        let date = if mutated(Mutation::IntervalBeginsADayLate) { date.pred_opt().unwrap_or(date) } else { date };
        date >= self.from
            && match self.unit {
                Unit::Days => (date - self.from).num_days() % count == 0,
                Unit::Weeks => (monday_of(date) - monday_of(self.from)).num_days() / 7 % count == 0,
            }
    }
}

fn monday_of(date: NaiveDate) -> NaiveDate {
    date.checked_sub_days(DayCount::new(date.weekday().num_days_from_monday().into())).unwrap_or(date)
}

/// The limit that leaves a day out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut<'a> {
    /// It is not one of `on`.
    On(&'a DaySet),
    /// It is not within `in`.
    Within(&'a DaySet),
    /// It is not one of every nth.
    Every(&'a Interval),
    /// It is an exception, by this range.
    Except(&'a DayRange),
}

impl Days {
    /// Returns whether there are no limits.
    #[must_use]
    pub fn is_every_day(&self) -> bool {
        self.every.is_none() && self.count() == 0
    }

    /// Returns whether a date is one of the days.
    #[must_use]
    pub fn contain(&self, date: NaiveDate, calendars: &Calendars) -> bool {
        self.walk(date, calendars).contain(date)
    }

    /// Begins a search at a date.
    pub(super) fn walk<'a>(&'a self, date: NaiveDate, calendars: &'a Calendars) -> Walk<'a> {
        let cursors = |set: &DaySet| set.cursors(date, calendars);
        Walk { days: self, on: cursors(&self.on), within: cursors(&self.within), except: cursors(&self.except) }
    }

    /// Returns where a search from a date on begins and ends, the end excluded: there are certainly none of the days
    /// between.
    pub(super) fn bounds(&self, date: NaiveDate, end: NaiveDate, calendars: &Calendars) -> (NaiveDate, NaiveDate) {
        let start = self.every.map_or(date, |every| date.max(every.from));
        (start, self.latest(calendars).and_then(|latest| latest.succ_opt()).map_or(end, |after| end.min(after)))
    }

    /// Returns the limit that leaves a date out, if there is one.
    #[must_use]
    pub fn left_out(&self, date: NaiveDate, calendars: &Calendars) -> Option<LeftOut<'_>> {
        let beyond = |set: &DaySet| !set.is_empty() && !set.contains(date, calendars);
        let exception = |range: &&DayRange| DaySet::from_iter([(*range).clone()]).contains(date, calendars);
        if let Some(range) = self.except.ranges.iter().find(exception) {
            Some(LeftOut::Except(range))
        } else if beyond(&self.on) {
            Some(LeftOut::On(&self.on))
        } else if beyond(&self.within) {
            Some(LeftOut::Within(&self.within))
        } else {
            self.every.as_ref().filter(|every| !every.contains(date)).map(LeftOut::Every)
        }
    }

    /// Returns the first of the days from a date on, and before `end`. I10: `end` is at most [`limits::DAYS_AHEAD`]
    /// away.
    pub(super) fn first_from(&self, date: NaiveDate, end: NaiveDate, calendars: &Calendars) -> Option<NaiveDate> {
        let (start, end) = self.bounds(date, end, calendars);
        let mut walk = self.walk(start, calendars);
        start.iter_days().take_while(|day| *day < end).find(|day| walk.contain(*day))
    }

    /// Returns the last of the days up to a date, and not before `start`.
    pub(super) fn last_until(&self, date: NaiveDate, start: NaiveDate, calendars: &Calendars) -> Option<NaiveDate> {
        let start = self.every.map_or(start, |every| start.max(every.from));
        let mut walk = self.walk(date, calendars);
        let mut day = Some(date);
        while let Some(date) = day.filter(|date| *date >= start) {
            if walk.contain(date) {
                return Some(date);
            }
            day = date.pred_opt();
        }
        None
    }

    /// Returns a note on whole weeks, of which most users mean one day.
    pub(super) fn note(&self) -> Option<String> {
        let Interval { unit: Unit::Weeks, from, .. } = self.every.filter(|_| self.on.is_empty())? else { return None };
        let (every, day) = (self.every?, weekday(from.weekday()));
        Some(format!("`{every}` matches all seven days of such a week; for one of them add `on {day}`"))
    }

    /// Returns the calendars that it names.
    pub fn calendars(&self) -> impl Iterator<Item = &CalendarName> {
        let ranges = [&self.on, &self.within, &self.except].into_iter().flat_map(|set| &set.ranges);
        ranges.filter_map(|range| if let DayRange::Calendar(name) = range { Some(name) } else { None })
    }

    /// Returns whether it names any calendar, so that its days change with their contents.
    #[must_use]
    pub fn follow_calendars(&self) -> bool {
        self.calendars().next().is_some()
    }

    /// Returns how many ranges it has.
    #[must_use]
    pub fn count(&self) -> usize {
        [&self.on, &self.within, &self.except].into_iter().map(|set| set.ranges.len()).sum()
    }

    /// Returns why it never has a day, if that is certain: what calendars will contain is not known.
    #[must_use]
    pub fn never(&self) -> Option<Never> {
        if !self.are_all_known() {
            return None;
        }
        let has_one = |(start, end): (NaiveDate, NaiveDate)| {
            self.first_from(start, end_of_search(start).min(end), &Calendars::default()).is_some()
        };
        if self.stretches().any(has_one) { None } else { Some(Never::NoSuchDate) }
    }

    /// Returns whether it can be found out that it never has a day: the contents of calendars are not known, and dates that
    /// are far apart divide time into too many stretches to look at (I10).
    pub(super) fn are_all_known(&self) -> bool {
        let length = |(start, end): (NaiveDate, NaiveDate)| (end_of_search(start).min(end) - start).num_days();
        !self.follow_calendars() && self.stretches().map(length).sum::<i64>() <= 2 * limits::DAYS_AHEAD.cast_signed()
    }

    /// Returns the stretches of time, each up to the start of the next one, within which its ranges of dates contain all
    /// days or none: what it has not within [`limits::DAYS_AHEAD`] of a stretch, it never has there.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (NaiveDate, NaiveDate)> {
        let earliest = self.earliest();
        let dates = [&self.on, &self.within, &self.except].into_iter().flat_map(|set| set.dates.ranges());
        let mut starts: Vec<NaiveDate> = dates.flat_map(|(from, to)| [Some(*from), to.succ_opt()]).flatten().collect();
        starts.retain(|start| *start > earliest);
        starts.push(earliest);
        starts.sort_unstable();
        starts.dedup();
        let ends: Vec<NaiveDate> = starts.iter().skip(1).copied().chain([NaiveDate::MAX]).collect();
        starts.into_iter().zip(ends)
    }

    /// Returns a date after which there is certainly none of the days, if there is one.
    fn latest(&self, calendars: &Calendars) -> Option<NaiveDate> {
        let last = |set: &DaySet| {
            let last_of = |range: &DayRange| match range {
                DayRange::Dates(_, to) => Some(*to),
                DayRange::Calendar(name) => {
                    let dates = calendars.dates(name).map(Dates::ranges).unwrap_or_default();
                    Some(dates.last().map_or(NaiveDate::MIN, |(_, to)| *to))
                }
                DayRange::Weekdays(..) | DayRange::OfMonth(..) | DayRange::Season(..) => None,
            };
            let latest = |latest: NaiveDate, last: Option<NaiveDate>| last.map(|last| latest.max(last));
            set.ranges.iter().map(last_of).try_fold(NaiveDate::MIN, latest).filter(|_| !set.is_empty())
        };
        [&self.on, &self.within].into_iter().filter_map(last).min()
    }

    /// Returns a date before which there is certainly none of the days.
    fn earliest(&self) -> NaiveDate {
        let first = |set: &DaySet| set.dates.ranges().first().filter(|_| set.has_only_dates()).map(|(from, _)| *from);
        let starts = [self.every.map(|every| every.from), first(&self.on), first(&self.within)];
        starts.into_iter().flatten().max().unwrap_or_default()
    }
}

/// Returns the end of a search that begins on a date (I10).
pub(super) fn end_of_search(date: NaiveDate) -> NaiveDate {
    date.checked_add_days(DayCount::new(limits::DAYS_AHEAD)).unwrap_or(NaiveDate::MAX)
}

/// Returns the start of a search that ends on a date (I10).
pub(super) fn start_of_search(date: NaiveDate) -> NaiveDate {
    date.checked_sub_days(DayCount::new(limits::DAYS_AHEAD)).unwrap_or(NaiveDate::MIN)
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

fn month(number: u8) -> &'static str {
    MONTHS.get(usize::from(number.saturating_sub(1))).copied().unwrap_or("JAN")
}

fn weekday(day: Weekday) -> &'static str {
    ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"][day.num_days_from_monday() as usize]
}

/// Writes `MAR-15`.
impl fmt::Display for DayOfYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", month(self.month), self.day)
    }
}

/// Writes `MON-FRI`, `1-7`, `MAY-SEP`, `MAR-15..OCT-31`, `2026-12-24..2027-01-02` or `holidays`.
impl fmt::Display for DayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weekdays(from, to) if from == to => f.write_str(weekday(*from)),
            Self::Weekdays(from, to) => write!(f, "{}-{}", weekday(*from), weekday(*to)),
            Self::OfMonth(from, to) if from == to => write!(f, "{from}"),
            Self::OfMonth(from, to) => write!(f, "{from}-{to}"),
            Self::Season(from, to) if from.day == 1 && to.day == DayOfYear::last_of(to.month) => {
                f.write_str(month(from.month))?;
                if from.month == to.month { Ok(()) } else { write!(f, "-{}", month(to.month)) }
            }
            Self::Season(from, to) if from == to => from.fmt(f),
            Self::Season(from, to) => write!(f, "{from}..{to}"),
            Self::Dates(from, to) if from == to => write!(f, "{from}"),
            Self::Dates(from, to) => write!(f, "{from}..{to}"),
            Self::Calendar(name) => name.fmt(f),
        }
    }
}

/// Writes the ranges with commas.
impl fmt::Display for DaySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Writes `every 3 days from 2027-03-17`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Days => "days",
            Unit::Weeks => "weeks",
        };
        write!(f, "every {} {unit} from {}", self.count, self.from)
    }
}

/// Writes what `Days::parse` accepts, each clause after a space.
impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (clause, set) in [("on", &self.on), ("in", &self.within)] {
            if !set.is_empty() {
                write!(f, " {clause} {set}")?;
            }
        }
        self.every.map_or(Ok(()), |every| write!(f, " {every}"))?;
        if self.except.is_empty() { Ok(()) } else { write!(f, " except {}", self.except) }
    }
}

/// Writes the clause: `on MON-FRI`, or `except holidays` for the range of that clause that has the day.
impl fmt::Display for LeftOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(set) => write!(f, "on {set}"),
            Self::Within(set) => write!(f, "in {set}"),
            Self::Every(every) => every.fmt(f),
            Self::Except(range) => write!(f, "except {range}"),
        }
    }
}
