//! The days that a calendar's file may have.

use chrono::{Days, NaiveDate};
use roost_scheduler::trigger::Dates;

use super::limits;

/// The days around today, and which of them are marked.
pub(super) struct Window {
    start: NaiveDate,
    days: Vec<bool>,
    /// How many days may still be tested or marked (I10).
    left: u32,
}

impl Window {
    pub(super) fn around(today: NaiveDate) -> Self {
        let start = today.checked_sub_days(Days::new(limits::DAYS_BACK)).unwrap_or(today);
        let length = usize::try_from(limits::DAYS_BACK + limits::DAYS_AHEAD).unwrap_or_default();
        Self { start, days: vec![false; length], left: limits::DAYS_TESTED }
    }

    /// Returns the first day.
    pub(super) const fn start(&self) -> NaiveDate {
        self.start
    }

    /// Returns the last day.
    pub(super) fn end(&self) -> NaiveDate {
        self.start.checked_add_days(Days::new(limits::DAYS_BACK + limits::DAYS_AHEAD - 1)).unwrap_or(self.start)
    }

    /// Counts days that are tested or marked.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn spend(&mut self, days: u32) -> Result<(), String> {
        self.left = self.left.checked_sub(days).ok_or("the events of the file recur too often")?;
        Ok(())
    }

    /// Marks the days from one to another, as far as they are within the window.
    pub(super) fn mark(&mut self, from: NaiveDate, to: NaiveDate) -> Result<(), String> {
        let index = |date: NaiveDate| (date - self.start).num_days();
        let (first, last) = (index(from).max(0), index(to).min(self.days.len() as i64 - 1));
        let (Ok(first), Ok(last)) = (usize::try_from(first), usize::try_from(last)) else { return Ok(()) };
        let Some(days) = self.days.get_mut(first..=last) else { return Ok(()) };
        let count = u32::try_from(days.len()).unwrap_or(u32::MAX);
        days.fill(true);
        self.spend(count)
    }

    /// Returns the marked days.
    pub(super) fn dates(&self) -> Dates {
        let marked = self.start.iter_days().zip(&self.days).filter(|(_, is_marked)| **is_marked);
        Dates::new(marked.map(|(date, _)| (date, date)).collect())
    }
}
