//! Cron expressions, by the rules of Debian's cron(8).

mod hints;
mod pattern;

use std::{collections::HashMap, fmt, sync::Arc};

use chrono::{Days as DayCount, NaiveDate, NaiveDateTime, NaiveTime};

use self::pattern::Pattern;
use super::{
    calendars::Calendars,
    days::{Days, end_of_search},
    search::{Never, Search},
};
use crate::{
    calendar::{Reading, ZoneError, clock_at, parse_zone},
    limits,
    text::{excerpt, in_one_line},
    time::Instant,
    zone::Zone,
};

/// A cron expression, its time zone, and the days to which it is limited.
#[derive(Clone, Debug)]
pub struct Cron {
    parsed: Arc<Parsed>,
    /// The time zone; by default that of the device.
    pub zone: Option<Zone>,
    /// How long before its times it is due, in milliseconds, so that a run ends at them.
    pub finish: Option<u32>,
}

#[derive(Debug)]
struct Parsed {
    expression: Box<str>,
    pattern: Pattern,
    days: Option<Days>,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression() == other.expression()
            && self.days() == other.days()
            && (self.zone, self.finish) == (other.zone, other.finish)
    }
}

/// Writes `30 6 * * MON-FRI in Europe/London except holidays`.
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expression())?;
        self.zone.map_or(Ok(()), |zone| write!(f, " in {zone}"))?;
        self.days().map_or(Ok(()), |days| days.fmt(f))
    }
}

/// A text that is not a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` is not a cron expression: {reason}")]
pub struct CronError {
    expression: String,
    reason: String,
    hint: Option<String>,
    never: Option<Never>,
}

impl CronError {
    /// Returns what to write instead, if that can be guessed.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns why it never fires, if nothing else is wrong with it.
    #[must_use]
    pub const fn never(&self) -> Option<Never> {
        self.never
    }
}

/// A cache of parsed expressions with their days, each kept once: a thousand devices share theirs.
#[derive(Debug)]
pub struct CronCache {
    known: HashMap<String, Arc<Parsed>>,
    find_zone: FindZone,
    /// The number of expressions at which unused ones are dropped.
    sweep_at: usize,
}

/// Finds a time zone by its IANA name.
pub type FindZone = fn(&str) -> Result<Zone, ZoneError>;

impl Default for CronCache {
    /// Uses the bundled time zones.
    fn default() -> Self {
        Self::with_zones(parse_zone)
    }
}

impl CronCache {
    /// Uses the time zones that a function finds.
    #[must_use]
    pub fn with_zones(find_zone: FindZone) -> Self {
        Self { known: HashMap::new(), find_zone, sweep_at: limits::CRON_PATTERNS }
    }

    /// Finds a time zone.
    ///
    /// # Errors
    /// Returns an error if there is no zone of that name.
    pub fn zone(&self, name: &str) -> Result<Zone, ZoneError> {
        (self.find_zone)(name)
    }

    /// Parses an expression, or returns a cached one.
    ///
    /// # Errors
    /// Returns an error that describes what is wrong. An expression that never fires is refused, too.
    pub fn cron(&mut self, expression: &str, zone: Option<Zone>, days: Days) -> Result<Cron, CronError> {
        if expression.len() > limits::CRON_BYTES {
            let expression = excerpt(expression);
            let reason = format!("it is longer than {} bytes", limits::CRON_BYTES);
            return Err(CronError { expression, reason, hint: None, never: None });
        }
        let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        let days = Some(days).filter(|days| !days.is_every_day());
        let key = days.as_ref().map_or_else(|| expression.clone(), |days| format!("{expression}{days}"));
        if let Some(parsed) = self.known.get(&key) {
            return Ok(Cron { parsed: parsed.clone(), zone, finish: None });
        }
        let pattern = Pattern::parse(&expression).map_err(|reason| {
            let (reason, hint) = (in_one_line(&reason), hints::hint(&expression).map(|hint| in_one_line(&hint)));
            CronError { expression: excerpt(&expression), reason, hint, never: None }
        })?;
        let parsed = Arc::new(Parsed { expression: expression.into(), pattern, days });
        if let Some(never) = parsed.never() {
            let (expression, reason) = (excerpt(&key), never.to_string());
            return Err(CronError { expression, reason, hint: None, never: Some(never) });
        }
        self.keep(key, parsed.clone());
        Ok(Cron { parsed, zone, finish: None })
    }

    /// I10: a plugin that uses new expressions every day must not fill the memory with old ones.
    fn keep(&mut self, key: String, parsed: Arc<Parsed>) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, parsed| Arc::strong_count(parsed) > 1);
            self.sweep_at = limits::CRON_PATTERNS.max(2 * self.known.len());
        }
        self.known.insert(key, parsed);
    }
}

impl Parsed {
    /// Returns why it never fires, if that is certain: what calendars will contain is not known.
    fn never(&self) -> Option<Never> {
        let fires = match &self.days {
            Some(days) if !days.are_all_known() => self.pattern.ever_comes(),
            Some(days) => {
                let calendars = Calendars::default();
                let comes = |(start, end): (NaiveDate, NaiveDate)| {
                    self.local_times(&calendars, end).first_from(start.and_time(NaiveTime::MIN)).is_some()
                };
                days.stretches().any(comes)
            }
            None => self.pattern.ever_comes(),
        };
        if fires { None } else { Some(Never::NoSuchDate) }
    }

    const fn local_times<'a>(&'a self, calendars: &'a Calendars, end: NaiveDate) -> LocalTimes<'a> {
        LocalTimes { pattern: &self.pattern, days: self.days.as_ref(), calendars, end }
    }
}

/// The dates and times that an expression matches on its days, on a calendar without time zones.
#[derive(Clone, Copy)]
struct LocalTimes<'a> {
    pattern: &'a Pattern,
    days: Option<&'a Days>,
    calendars: &'a Calendars,
    /// Where a search for one of its days ends.
    end: NaiveDate,
}

impl LocalTimes<'_> {
    /// Returns the first one after a date and time.
    fn first_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        self.on_its_days(self.pattern.first_after(local)?)
    }

    /// Returns the first one at or after a date and time.
    fn first_from(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        self.on_its_days(self.pattern.first_from(local)?)
    }

    /// Returns the first one from a match of the pattern on.
    fn on_its_days(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let Some(days) = self.days else { return Some(local) };
        let end = end_of_search(local.date()).min(self.end);
        let (start, end) = days.bounds(local.date(), end, self.calendars);
        let mut walk = days.walk(start, self.calendars);
        let date = self.pattern.dates_from(start).take_while(|date| *date < end).find(|date| walk.contain(*date))?;
        if date == local.date() { Some(local) } else { self.pattern.first_from(date.and_time(NaiveTime::MIN)) }
    }
}

impl Cron {
    /// Returns the expression, with single spaces between its fields.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.parsed.expression
    }

    /// Returns notes on its meaning where that is not what most users expect: `1-7 * 1` is not the first Monday of a
    /// month.
    pub(super) fn notes(&self) -> Vec<String> {
        hints::notes(self.expression())
    }

    /// Returns whether its expression matches every day.
    pub(super) fn is_every_day(&self) -> bool {
        hints::is_every_day(self.expression())
    }

    /// Returns the days to which it is limited, if it is.
    #[must_use]
    pub fn days(&self) -> Option<&Days> {
        self.parsed.days.as_ref()
    }

    /// Returns it without its limits to days.
    pub(super) fn on_every_day(&self) -> Self {
        let Parsed { expression, pattern, .. } = &*self.parsed;
        let parsed = Parsed { expression: expression.clone(), pattern: pattern.clone(), days: None };
        Self { parsed: Arc::new(parsed), ..self.clone() }
    }

    pub(super) fn next(&self, after: Instant, zone: Zone, calendars: &Calendars) -> Search {
        match self.first_before(NaiveDate::MAX, after, zone, calendars) {
            // Beyond the end of time, every instant is clamped to it.
            Some(next) if next > after && next < Instant::MAX => Search::Found(next),
            _ if self.days().is_some_and(Days::follow_calendars) => Search::Never(Never::NoSuchDate),
            _ => Search::Never(Never::Over),
        }
    }

    /// Returns the next occurrence on a day before `end`, if there is one.
    fn first_before(&self, end: NaiveDate, after: Instant, zone: Zone, calendars: &Calendars) -> Option<Instant> {
        let zone = self.zone.unwrap_or(zone);
        let times = self.parsed.local_times(calendars, end);
        if self.parsed.pattern.follows_clock() { by_the_clock(times, after, zone) } else { fixed(times, after, zone) }
    }

    /// Finds the newest occurrence in a range by bisection, so that `next` alone defines the occurrences.
    pub(super) fn last(&self, after: Instant, until: Instant, zone: Zone, calendars: &Calendars) -> Search {
        let range = until.ms_since(after);
        let mut reach = range.min(60_000);
        let mut newest = self.within(until.plus_ms(-reach), until, zone, calendars);
        while newest.is_none() && reach < range {
            reach = range.min(2 * reach);
            newest = self.within(until.plus_ms(-reach), until, zone, calendars);
        }
        let Some(mut newest) = newest else { return Search::Never(Never::Over) };
        let mut none_after = until;
        while newest < none_after {
            let middle = newest.plus_ms(none_after.ms_since(newest) / 2);
            match self.within(middle, none_after, zone, calendars) {
                Some(later) => newest = later,
                None => none_after = middle,
            }
        }
        Search::Found(newest)
    }

    fn within(&self, after: Instant, until: Instant, zone: Zone, calendars: &Calendars) -> Option<Instant> {
        // Where the clock is set back over midnight, the first pass has shown a later date already.
        let date = clock_at(until, self.zone.unwrap_or(zone)).date();
        let end = date.checked_add_days(DayCount::new(2)).unwrap_or(NaiveDate::MAX);
        self.first_before(end, after, zone, calendars).filter(|at| after < *at && *at <= until)
    }
}

/// Returns the next occurrence at fixed times of day: one that is skipped comes right after the gap, one that
/// repeats comes once. cron(8): "those jobs that would have run in the interval that has been skipped will be run
/// immediately", and conversely "running the same job twice is avoided".
fn fixed(times: LocalTimes<'_>, after: Instant, zone: Zone) -> Option<Instant> {
    let mut local = match Repeat::around(after, zone) {
        // Repeated times were due when the clock showed them first.
        Some(repeat) if after >= repeat.begins => repeat.last_shown(zone),
        _ => clock_at(after, zone),
    };
    loop {
        local = times.first_after(local)?;
        match Reading::of(local, zone) {
            Reading::Once(at) | Reading::Twice(at, _) | Reading::Never { resumes: at } if at > after => {
                return Some(at);
            }
            // The end of the gap was due already.
            _ => {}
        }
    }
}

/// Returns the next occurrence whenever the clock shows it: not in a gap, and twice if the clock repeats it.
fn by_the_clock(times: LocalTimes<'_>, after: Instant, zone: Zone) -> Option<Instant> {
    let mut local = times.first_after(clock_at(after, zone))?;
    if let Some(repeat) = Repeat::around(after, zone)
        && after < repeat.begins
        && local > repeat.last_shown(zone)
    {
        // No occurrence is left in the first pass.
        local = times.first_from(clock_at(repeat.begins, zone))?;
    }
    loop {
        match Reading::of(local, zone) {
            Reading::Once(at) => return Some(at),
            Reading::Twice(at, _) if at > after => return Some(at),
            Reading::Twice(_, again) => return Some(again),
            Reading::Never { resumes } => local = times.first_from(clock_at(resumes, zone))?,
        }
    }
}

/// A stretch of time that the clock shows twice because it is set back.
struct Repeat {
    /// When the clock is set back, and the second pass begins.
    begins: Instant,
}

impl Repeat {
    /// Returns the stretch that an instant is in, in its first or its second pass.
    fn around(at: Instant, zone: Zone) -> Option<Self> {
        let Reading::Twice(mut first, mut second) = Reading::of(clock_at(at, zone), zone) else { return None };
        // Between the two passes over a time of day the offset changes once, which is found by bisection.
        let offset = |at: Instant| clock_at(at, zone).and_utc().timestamp_millis() - at.millis() / 1000 * 1000;
        let before = offset(first);
        while second.ms_since(first) > 1 {
            let middle = first.plus_ms(second.ms_since(first) / 2);
            if offset(middle) == before { first = middle } else { second = middle }
        }
        Some(Self { begins: second })
    }

    /// Returns the last second that is shown twice.
    fn last_shown(&self, zone: Zone) -> NaiveDateTime {
        clock_at(self.begins.plus_ms(-1), zone)
    }
}
