//! The fields of a cron expression, and the dates and times that they match on a calendar without time zones.
//!
//! The rules are those of Debian's crontab(5); `L`, `W`, `#` and the fields for seconds and years are additions that
//! other schedulers share.

use std::iter::successors;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// Bit n stands for the value n.
type Bits = u64;

/// The years between a date and its next one are at most 40 (29 February on a given day of the week), and the
/// calendar repeats after 400.
const CALENDAR_YEARS: i32 = 400;

/// The values that the fields match.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    seconds: Bits,
    minutes: Bits,
    hours: Bits,
    days: Days,
    months: Bits,
    /// The years, in order; `None`: every year.
    years: Option<Box<[i32]>>,
    /// Whether the minute or the hour field starts with `*`: then the job follows the clock through summer time
    /// changes.
    follows_clock: bool,
}

/// The days that the two day fields match.
#[derive(Clone, Debug, Default)]
struct Days {
    of_month: Bits,
    /// `L-3`: bit 3; `L`: bit 0.
    before_last: Bits,
    /// `LW`
    last_weekday: bool,
    /// `15W`
    nearest_weekday: Bits,
    /// Sunday is 0.
    of_week: Bits,
    /// `MON#2`: bit 8 · weekday + n.
    nth_of_week: Bits,
    /// `FRIL`
    last_of_week: Bits,
    /// Whether one of the fields starts with `*`: then a day must match both, else it need match only one.
    both: bool,
}

/// A field of a cron expression.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// The names of values; the first one means `first_name`.
    names: &'static [&'static str],
    first_name: u32,
}

const fn plain(name: &'static str, min: u32, max: u32) -> Field {
    Field { name, min, max, names: &[], first_name: 0 }
}

const SECOND: Field = plain("second", 0, 59);
const MINUTE: Field = plain("minute", 0, 59);
const HOUR: Field = plain("hour", 0, 23);
const DAY_OF_MONTH: Field = plain("day of month", 1, 31);
const BEFORE_LAST: Field = plain("day of month L-", 1, 30);
const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const MONTH: Field = Field { name: "month", min: 1, max: 12, names: MONTHS, first_name: 1 };
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const DAY_OF_WEEK: Field = Field { name: "day of week", min: 0, max: 7, names: WEEKDAYS, first_name: 0 };
const YEAR: Field = plain("year", 1970, 2099);

impl Pattern {
    /// Parses five fields, six with seconds first, seven with the year last, or a nickname. Valid fields may still
    /// match no date, as `30 2` does.
    pub(super) fn parse(expression: &str) -> Result<Self, String> {
        let upper = expression.to_ascii_uppercase();
        let text = if upper.starts_with('@') { nickname(&upper)? } else { &upper };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, [minute, hour, day_of_month, month, day_of_week], year) = match fields[..] {
            [a, b, c, d, e] => ("0", [a, b, c, d, e], "*"),
            [second, a, b, c, d, e] => (second, [a, b, c, d, e], "*"),
            [second, a, b, c, d, e, year] => (second, [a, b, c, d, e], year),
            _ => {
                let plural = if fields.len() == 1 { "" } else { "s" };
                return Err(format!(
                    "it has {} field{plural}, and needs minute, hour, day of month, month and day of week; seconds may come \
                     first, and then a year last",
                    fields.len()
                ));
            }
        };
        Ok(Self {
            seconds: bits(second, &SECOND)?,
            minutes: bits(minute, &MINUTE)?,
            hours: bits(hour, &HOUR)?,
            days: Days::parse(day_of_month, day_of_week)?,
            months: bits(month, &MONTH)?,
            years: if year == "*" { None } else { Some(years(year)?) },
            follows_clock: minute.starts_with('*') || hour.starts_with('*'),
        })
    }

    /// Returns whether any date matches.
    pub(super) fn ever_comes(&self) -> bool {
        self.first_from(DateTime::UNIX_EPOCH.naive_utc()).is_some()
    }

    /// Returns whether it follows the wall clock through summer time changes; if not, it means fixed times of day.
    pub(super) const fn follows_clock(&self) -> bool {
        self.follows_clock
    }

    /// Returns the first match after a date and time. I10: at most 4,800 months are examined, and normally one.
    pub(super) fn first_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        self.first_from(local.checked_add_signed(Duration::seconds(1))?)
    }

    /// Returns the first match at or after a date and time.
    pub(super) fn first_from(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = local.date();
        if self.date_from(date)? == date
            && let Some(time) = self.time_from(local.time())
        {
            return Some(date.and_time(time));
        }
        let date = self.date_from(date.succ_opt()?)?;
        Some(date.and_time(self.time_from(NaiveTime::MIN)?))
    }

    fn date_from(&self, date: NaiveDate) -> Option<NaiveDate> {
        self.dates_from(date).next()
    }

    /// Returns the matching dates from one on. I10: 4,800 months without a date are the most that are examined.
    pub(super) fn dates_from(&self, date: NaiveDate) -> impl Iterator<Item = NaiveDate> {
        let is_year = |year: &i32| self.years.as_ref().is_none_or(|years| years.binary_search(year).is_ok());
        let months_of = move |year: i32| {
            let first = if year == date.year() { date.month() } else { 1 };
            values_from(self.months, first).map(move |month| (year, month))
        };
        let days_of = move |(year, month): (i32, u32)| {
            let first = if (year, month) == (date.year(), date.month()) { date.day() } else { 1 };
            let days = values_from(self.days.of(year, month), first);
            days.filter_map(move |day| NaiveDate::from_ymd_opt(year, month, day))
        };
        (date.year()..=date.year() + CALENDAR_YEARS).filter(is_year).flat_map(months_of).flat_map(days_of)
    }

    fn time_from(&self, time: NaiveTime) -> Option<NaiveTime> {
        let first = |mask: Bits| mask.trailing_zeros();
        let has = |mask: Bits, value: u32| first_from(mask, value) == Some(value);
        let (hour, minute) = (time.hour(), time.minute());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = first_from(self.seconds, time.second())
            {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
            if let Some(minute) = first_from(self.minutes, minute + 1) {
                return NaiveTime::from_hms_opt(hour, minute, first(self.seconds));
            }
        }
        let hour = first_from(self.hours, hour + 1)?;
        NaiveTime::from_hms_opt(hour, first(self.minutes), first(self.seconds))
    }
}

impl Days {
    fn parse(day_of_month: &str, day_of_week: &str) -> Result<Self, String> {
        let mut days = Self { both: day_of_month.starts_with('*') || day_of_week.starts_with('*'), ..Self::default() };
        for item in day_of_month.split(',') {
            match item {
                "L" => days.before_last |= 1,
                "LW" | "WL" => days.last_weekday = true,
                _ => match (item.strip_suffix('W'), item.strip_prefix("L-")) {
                    (Some(day), _) => days.nearest_weekday |= 1 << DAY_OF_MONTH.value(day)?,
                    (None, Some(days_before)) => days.before_last |= 1 << BEFORE_LAST.value(days_before)?,
                    (None, None) => days.of_month |= DAY_OF_MONTH.item(item)?.fold(0, |bits, value| bits | 1 << value),
                },
            }
        }
        for item in day_of_week.split(',') {
            if let Some((day, nth)) = item.split_once('#') {
                let weekday = DAY_OF_WEEK.value(day)? % 7;
                match nth {
                    "L" => days.last_of_week |= 1 << weekday,
                    "1" | "2" | "3" | "4" | "5" => {
                        days.nth_of_week |= 1 << (8 * weekday + u32::from(nth.as_bytes()[0] - b'0'));
                    }
                    _ => return Err(format!("day of week `{item}`: a month has a first (`#1`) to a fifth (`#5`) one")),
                }
            } else if let Some(day) = item.strip_suffix('L').filter(|day| !day.is_empty()) {
                days.last_of_week |= 1 << (DAY_OF_WEEK.value(day)? % 7);
            } else {
                days.of_week |= DAY_OF_WEEK.item(item)?.fold(0, |bits, value| bits | 1 << (value % 7));
            }
        }
        Ok(days)
    }

    /// Returns the matching days of a month.
    fn of(&self, year: i32, month: u32) -> Bits {
        let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else { return 0 };
        let length = u32::from(first.num_days_in_month());
        let first_weekday = first.weekday().num_days_from_sunday();
        let all: Bits = ((1 << length) - 1) << 1;
        let of_month = self.of_month_bits(length, first_weekday);
        let of_week = self.of_week_bits(length, first_weekday);
        all & if self.both { of_month & of_week } else { of_month | of_week }
    }

    fn of_month_bits(&self, length: u32, first_weekday: u32) -> Bits {
        let mut bits = self.of_month;
        for days_before in (0..length).filter(|days_before| self.before_last >> days_before & 1 == 1) {
            bits |= 1 << (length - days_before);
        }
        if self.last_weekday {
            bits |= 1 << nearest_weekday(length, length, first_weekday);
        }
        let mut day = first_from(self.nearest_weekday, 1);
        while let Some(number) = day.filter(|number| *number <= length) {
            bits |= 1 << nearest_weekday(number, length, first_weekday);
            day = first_from(self.nearest_weekday, number + 1);
        }
        bits
    }

    fn of_week_bits(&self, length: u32, first_weekday: u32) -> Bits {
        let mut bits = 0;
        for weekday in 0..7 {
            let first = 1 + (7 + weekday - first_weekday) % 7;
            if self.of_week >> weekday & 1 == 1 {
                bits |= 0b1_0000001_0000001_0000001_0000001 << first;
            }
            for nth in 1..=5 {
                if self.nth_of_week >> (8 * weekday + nth) & 1 == 1 {
                    bits |= 1 << (first + 7 * (nth - 1));
                }
            }
            if self.last_of_week >> weekday & 1 == 1 {
                bits |= 1 << (first + (length - first) / 7 * 7);
            }
        }
        bits
    }
}

/// Returns the day from Monday to Friday that is nearest to a day, in the same month.
fn nearest_weekday(day: u32, length: u32, first_weekday: u32) -> u32 {
    match (first_weekday + day - 1) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}

/// Returns the lowest value in a set that is not below `from`.
fn first_from(set: Bits, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// Returns the values in a set from one on.
fn values_from(set: Bits, from: u32) -> impl Iterator<Item = u32> {
    successors(first_from(set, from), move |value| first_from(set, value + 1))
}

fn nickname(expression: &str) -> Result<&'static str, String> {
    Ok(match expression {
        "@HOURLY" => "0 * * * *",
        "@DAILY" | "@MIDNIGHT" => "0 0 * * *",
        "@WEEKLY" => "0 0 * * 0",
        "@MONTHLY" => "0 0 1 * *",
        "@YEARLY" | "@ANNUALLY" => "0 0 1 1 *",
        "@REBOOT" => return Err("the start of a machine is not a time; `now` runs at once".into()),
        _ => return Err("the nicknames are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`".into()),
    })
}

fn bits(text: &str, field: &Field) -> Result<Bits, String> {
    text.split(',').try_fold(0, |bits, item| Ok(field.item(item)?.fold(bits, |bits, value| bits | 1 << value)))
}

fn years(text: &str) -> Result<Box<[i32]>, String> {
    let mut years = Vec::new();
    for item in text.split(',') {
        years.extend(YEAR.item(item)?.map(u32::cast_signed));
    }
    years.sort_unstable();
    years.dedup();
    Ok(years.into())
}

impl Field {
    /// Returns the values of `*`, `5`, `5-9`, `*/2` or `5-9/2`.
    fn item(&self, text: &str) -> Result<impl Iterator<Item = u32> + use<>, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = if range == "*" {
            (self.min, self.max)
        } else if let Some((from, to)) = range.split_once('-') {
            // As the end of a range, Sunday comes after Saturday.
            (self.value(from)?, if self.max == 7 && to == "SUN" { 7 } else { self.value(to)? })
        } else if step.is_some() {
            let (name, max) = (self.name, self.max);
            return Err(format!("{name} `{text}`: a step needs a range, as in `{range}-{max}/2` or `*/2`"));
        } else {
            (self.value(range)?, self.value(range)?)
        };
        if from > to {
            return Err(format!("{} `{text}`: the range ends before it begins", self.name));
        }
        let step = match step.map(str::parse::<u16>) {
            None => 1,
            Some(Ok(step)) if step > 0 => usize::from(step),
            Some(_) => return Err(format!("{} `{text}`: a step is a number, 1 or more", self.name)),
        };
        Ok((from..=to).step_by(step))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let number = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
        let named = || (self.first_name..).zip(self.names).find(|(_, name)| **name == text).map(|(value, _)| value);
        number.or_else(named).filter(|value| (self.min..=self.max).contains(value)).ok_or_else(|| self.expected(text))
    }

    fn expected(&self, text: &str) -> String {
        let Self { name, min, max, .. } = self;
        match (text, self.names) {
            ("", _) => format!("{name}: there is nothing before or after a `,`, `-`, `/` or `#`"),
            ("?", _) => format!("{name} `?`: write `*`"),
            (_, [first, .., last]) => format!("{name} `{text}` is not one of {min} to {max} or {first} to {last}"),
            _ => format!("{name} `{text}` is not one of {min} to {max}"),
        }
    }
}
