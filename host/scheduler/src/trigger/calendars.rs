//! Named calendars, and their dates.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::NaiveDate;

use crate::names::CalendarName;

/// Ranges of dates, in order and without overlaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dates(Box<[(NaiveDate, NaiveDate)]>);

impl Dates {
    /// Sorts and joins ranges; those that end before they begin are dropped.
    #[must_use]
    pub fn new(mut ranges: Vec<(NaiveDate, NaiveDate)>) -> Self {
        ranges.retain(|(from, to)| from <= to);
        ranges.sort_unstable();
        let mut joined: Vec<(NaiveDate, NaiveDate)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match joined.last_mut() {
                Some((_, last)) if last.succ_opt().is_none_or(|next| from <= next) => *last = (*last).max(to),
                _ => joined.push((from, to)),
            }
        }
        Self(joined.into())
    }

    /// Returns whether a date is one of them.
    #[must_use]
    pub fn contain(&self, date: NaiveDate) -> bool {
        let later = self.0.partition_point(|(from, _)| *from <= date);
        later > 0 && date <= self.0[later - 1].1
    }

    /// Returns the number of dates.
    #[must_use]
    pub fn count(&self) -> usize {
        let days = |(from, to): &(NaiveDate, NaiveDate)| usize::try_from((*to - *from).num_days() + 1).unwrap_or(0);
        self.0.iter().map(days).sum()
    }

    /// Returns the ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[(NaiveDate, NaiveDate)] {
        &self.0
    }
}

/// The calendars that the operator has configured, by name. Copies share their contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendars(Arc<BTreeMap<CalendarName, Dates>>);

impl FromIterator<(CalendarName, Dates)> for Calendars {
    fn from_iter<I: IntoIterator<Item = (CalendarName, Dates)>>(calendars: I) -> Self {
        Self(Arc::new(calendars.into_iter().collect()))
    }
}

impl Calendars {
    /// Returns the dates of a calendar, if there is one of that name.
    #[must_use]
    pub fn dates(&self, name: &CalendarName) -> Option<&Dates> {
        self.0.get(name)
    }

    /// Returns the names of the calendars whose dates differ in others.
    #[must_use]
    pub fn differences(&self, others: &Self) -> Vec<CalendarName> {
        let names: BTreeSet<&CalendarName> = self.0.keys().chain(others.0.keys()).collect();
        names.into_iter().filter(|name| self.dates(name) != others.dates(name)).cloned().collect()
    }

    /// Returns the calendars, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&CalendarName, &Dates)> {
        self.0.iter()
    }
}
