//! The days to which a trigger is limited.

use crate::{Date, Weekday, bindings::exports::roost::device::schedule as wit};

/// The days to which a job is limited: those that fulfil all of its limits.
///
/// ```
/// use roost_plugin_sdk::{Date, Days, Job, Weekday};
///
/// let summer = Days::new().weekdays(Weekday::Monday, Weekday::Friday).season((5, 1), (9, 30)).except_calendar("holidays");
/// let water = Job::daily("water", "05:00").days(summer).publish("lawn/set", "ON");
/// let thirds = Days::new().every_days(3, Date::new(2027, 3, 17)?);
/// # Ok::<(), roost_plugin_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "days count when they are given to `Job::days`"]
pub struct Days(wit::Days);

impl Default for Days {
    fn default() -> Self {
        Self::new()
    }
}

impl Days {
    /// Every day.
    pub const fn new() -> Self {
        Self(wit::Days { on: Vec::new(), within: Vec::new(), every: None, except: Vec::new() })
    }

    /// Only on days of the week, from one to another, also over Sunday. Together with [`days_of_month`],
    /// [`dates`] and [`calendar`]: on days that are in one of them.
    ///
    /// [`days_of_month`]: Self::days_of_month
    /// [`dates`]: Self::dates
    /// [`calendar`]: Self::calendar
    pub fn weekdays(self, from: Weekday, to: Weekday) -> Self {
        self.on(wit::DayRange::Weekdays((from.into(), to.into())))
    }

    /// Only on these days of the month, 1 to 31.
    pub fn days_of_month(self, from: u8, to: u8) -> Self {
        self.on(wit::DayRange::DaysOfMonth((from, to)))
    }

    /// Only on these dates.
    pub fn dates(self, from: Date, to: Date) -> Self {
        self.on(wit::DayRange::Dates((from.into(), to.into())))
    }

    /// Only on the days of a calendar that the operator has configured.
    pub fn calendar(self, name: impl Into<String>) -> Self {
        self.on(wit::DayRange::Calendar(name.into()))
    }

    /// And only in a part of each year, from a month and day to another, also over the end of the year. Several seasons
    /// add up.
    pub fn season(mut self, from: (u8, u8), to: (u8, u8)) -> Self {
        let day = |(month, day)| wit::DayOfYear { month, day };
        self.0.within.push(wit::DayRange::Season((day(from), day(to))));
        self
    }

    /// And only every so many days from a date on.
    pub fn every_days(self, count: u16, from: Date) -> Self {
        self.every(count, wit::IntervalUnit::Days, from)
    }

    /// And only in every nth week from that of a date on; weeks begin on Mondays.
    pub fn every_weeks(self, count: u16, from: Date) -> Self {
        self.every(count, wit::IntervalUnit::Weeks, from)
    }

    /// But not on these dates.
    pub fn except_dates(mut self, from: Date, to: Date) -> Self {
        self.0.except.push(wit::DayRange::Dates((from.into(), to.into())));
        self
    }

    /// But not on a day of each year, given by month and day.
    pub fn except_day(mut self, month: u8, day: u8) -> Self {
        let day = wit::DayOfYear { month, day };
        self.0.except.push(wit::DayRange::Season((day, day)));
        self
    }

    /// But not on the days of a calendar that the operator has configured.
    pub fn except_calendar(mut self, name: impl Into<String>) -> Self {
        self.0.except.push(wit::DayRange::Calendar(name.into()));
        self
    }

    pub(crate) fn into_contract(self) -> wit::Days {
        self.0
    }

    fn on(mut self, range: wit::DayRange) -> Self {
        self.0.on.push(range);
        self
    }

    fn every(mut self, count: u16, unit: wit::IntervalUnit, from: Date) -> Self {
        self.0.every = Some(wit::Interval { count, unit, from: from.into() });
        self
    }
}

impl From<Weekday> for wit::Weekday {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}
