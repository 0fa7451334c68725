//! The text form of triggers.

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use chrono::{DateTime, Datelike, NaiveDateTime, NaiveTime, Timelike};

use super::{
    Almanac, Calendars, CronCache, CronError, Days, Elevation, Every, Never, OutOfOrder, Sun, SunEvent, Trigger, days,
};
use crate::{
    calendar::{no_such_clock, no_such_time, to_instant},
    limits,
    suggest::{did_you_mean, nearest},
    text::{excerpt, in_one_line},
    time::{Instant, Site},
};

/// A text that is not a trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a trigger: {reason}")]
pub struct TriggerError {
    text: String,
    reason: String,
    hint: String,
    never: Option<Never>,
}

impl TriggerError {
    /// Returns why it never fires, if nothing else is wrong with it.
    #[must_use]
    pub const fn never(&self) -> Option<Never> {
        self.never
    }

    /// Returns a hint on how to write it.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// What is wrong, and a hint on how to write it.
struct Problem {
    reason: String,
    hint: String,
    never: Option<Never>,
}

impl Problem {
    fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into(), never: None }
    }

    /// Adds the text, of which only the beginning is shown, whatever its length.
    fn of(self, text: &str) -> TriggerError {
        let shown = excerpt(text.trim());
        let (reason, hint) = (in_one_line(&self.reason), in_one_line(&self.hint));
        TriggerError { text: shown, reason, hint, never: self.never }
    }
}

/// What a user meant by `now`, by a local time and by the name of a calendar.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The time; without it, `now` and `once` are refused.
    pub now: Option<Instant>,
    /// The site of the device.
    pub site: Option<&'a Site>,
    /// The calendars.
    pub calendars: Calendars,
}

impl Context<'_> {
    /// Returns the context of a text that depends on nothing but the time.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        Self { now: Some(now), site: None, calendars: Calendars::default() }
    }

    fn now(&self, word: &str) -> Result<Instant, Problem> {
        let reason = || format!("`{word}` depends on when it is asked, and a plan must not");
        self.now.ok_or_else(|| Problem::new(reason(), AT))
    }
}

const AT: &str = "write `at now+2s`, or `at 2027-03-01T06:30:00Z` with `Z` or an offset such as `+01:00`";
const EVERY: &str = "write `every 15m`, or `every 1h30m from 2027-03-01T06:30:00Z`";
const CRON: &str = "write `cron 30 6 * * MON-FRI`, in quotes where a shell reads it, or `cron @daily in Europe/London`";
const SHELL: &str = "if a shell has replaced `*` by file names, put the trigger in quotes, as in `'cron 30 6 * * *'`";
const SUN: &str = "write `sunrise`, `sunset -20m`, or `civil-dusk +5m not-before 20:00 not-after 21:30 else 21:00`";
const ONCE: &str = "write `once sunset +2h40m`, or `once daily 05:30 on SAT`";
const FINISH: &str = "write `finish sunrise`, or `finish daily 06:00 on MON-FRI`";
const DAILY: &str = "write `daily 05:30`, or `daily 05:30 every 3 days from 2027-03-17`";
const DAYS: &str =
    "days are written `on MON-FRI,holidays in MAY-SEP every 2 weeks from 2027-03-17 except 2026-12-24..2027-01-02`";
const ELEVATION: &str = "write `sun at -3.1 setting`, or `sun at 6 rising`";
const DURATION: &str = "durations are written `500ms`, `2s`, `15m`, `1h30m`, `1d` or `2w`";
const ANY: &str = "write `now`, `at 2027-03-01T06:30:00Z`, `every 15m`, `cron 30 6 * * MON-FRI` (in quotes where a shell reads \
                   it), or a sun event as in `sunset -20m`";

/// The last one is the typographic minus sign.
const SIGNS: [char; 3] = ['+', '-', '−'];

/// Parses a trigger that a user wrote.
///
/// # Errors
/// Returns an error that describes what is wrong and how to write it.
pub fn parse(text: &str, context: &Context<'_>, cron_cache: &mut CronCache) -> Result<Trigger, TriggerError> {
    let trigger = read(text, context, cron_cache)?;
    if let Trigger::Sun(sun) = &trigger {
        in_order(sun).map_err(|problem| problem.of(text))?;
    }
    Ok(trigger)
}

/// Parses a stored trigger. An earlier version may have accepted times of day in another order: then `not-after`, the
/// later rule, holds.
///
/// # Errors
/// Returns an error that describes what is wrong.
pub fn parse_stored(text: &str, cron_cache: &mut CronCache) -> Result<Trigger, TriggerError> {
    // A fast path: a host may read a million of them when it starts.
    if let Some(Ok(time)) = text.strip_prefix("at ").map(DateTime::parse_from_rfc3339)
        && let Some(instant) = Instant::from_millis(time.timestamp_millis())
    {
        return Ok(Trigger::At(instant));
    }
    let context = Context { now: None, site: None, calendars: Calendars::default() };
    read(text, &context, cron_cache)
}

fn read(text: &str, context: &Context<'_>, cron_cache: &mut CronCache) -> Result<Trigger, TriggerError> {
    if text.len() > limits::TRIGGER_BYTES {
        return Err(Problem::new(format!("it is longer than {} bytes", limits::TRIGGER_BYTES), ANY).of(text));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let trigger = match words.as_slice() {
        [once, rest @ ..] if once.eq_ignore_ascii_case("once") => self::once(rest, context, cron_cache),
        [finish, rest @ ..] if finish.eq_ignore_ascii_case("finish") => self::finish(rest, context, cron_cache),
        words => self::trigger(words, context, cron_cache),
    };
    trigger.map_err(|problem| problem.of(text))
}

fn trigger(words: &[&str], context: &Context<'_>, cron_cache: &mut CronCache) -> Result<Trigger, Problem> {
    let keyword = words.first().map(|word| word.to_lowercase()).unwrap_or_default();
    let rest = words.get(1..).unwrap_or_default();
    match keyword.as_str() {
        "at" => at(rest, context),
        "every" => every(rest, context),
        "cron" => cron(rest, cron_cache),
        "daily" => daily(rest, cron_cache),
        word if word.starts_with("now") => at(words, context),
        word if ["cron_tz=", "tz=", "@every", "@reboot"].iter().any(|other| word.starts_with(other)) => {
            Err(of_another_cron(&words.join(" ")))
        }
        word => sun(word, rest),
    }
}

/// Parses `once sunset +2h40m`: the next time of a trigger.
fn once(words: &[&str], context: &Context<'_>, cron_cache: &mut CronCache) -> Result<Trigger, Problem> {
    let now = context.now("once")?;
    let trigger = self::trigger(words, context, cron_cache)?;
    let Some(site) = context.site else {
        return Err(Problem::new("`once` needs the time zone and the location of a device", ONCE));
    };
    let next = trigger.find(now, site, &mut Almanac::new(context.calendars.clone()));
    next.map(Trigger::At).map_err(|never| Problem::new(format!("it is not due once: {never}"), ONCE))
}

/// Parses `finish sunrise`: due so early that a run ends then; `after 45m` states the length of a run.
fn finish(words: &[&str], context: &Context<'_>, cron_cache: &mut CronCache) -> Result<Trigger, Problem> {
    let (words, length) = match words {
        [words @ .., after, length] if after.eq_ignore_ascii_case("after") => (words, duration_ms(length)?),
        words => (words, 0),
    };
    let length = u32::try_from(length).map_err(|_| Problem::new("a run of more than 49 days is too long", FINISH))?;
    let mut trigger = self::trigger(words, context, cron_cache)?;
    if matches!(trigger, Trigger::At(_) | Trigger::Every(_)) {
        return Err(Problem::new(format!("`{}` cannot follow `finish`", words.join(" ")), FINISH));
    }
    trigger.set_finish(Some(length));
    Ok(trigger)
}

fn at(words: &[&str], context: &Context<'_>) -> Result<Trigger, Problem> {
    let text = words.concat();
    let instant = match text.to_lowercase().strip_prefix("now") {
        Some("") => context.now("now")?,
        Some(rest) => match rest.strip_prefix('+') {
            Some(later) => later_by(context.now("now")?, later)?,
            None => return Err(Problem::new(format!("after `now`, `{rest}` is not `+` and a duration"), AT)),
        },
        // A space may separate the date and the time (RFC 3339, 5.6).
        None => instant(&words.join(" "), context, AT)?,
    };
    Ok(Trigger::At(instant))
}

fn later_by(now: Instant, duration: &str) -> Result<Instant, Problem> {
    let later = duration_ms(duration)?;
    let instant = i64::try_from(later).ok().and_then(|later| Instant::from_millis(now.millis().checked_add(later)?));
    instant.ok_or_else(|| Problem::new(format!("`{duration}` is beyond the year 9999"), AT))
}

fn instant(text: &str, context: &Context<'_>, hint: &str) -> Result<Instant, Problem> {
    if let Some((site, local)) = context.site.zip(local_time(text)) {
        return Ok(to_instant(local.date(), local.time(), site.zone));
    }
    let reason = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => match Instant::from_millis(at.timestamp_millis()) {
            Some(instant) => return Ok(instant),
            None => format!("`{text}` is not within the years 1970 to 9999"),
        },
        Err(_) if text.is_empty() => "the time is missing".into(),
        Err(_) if DateTime::parse_from_rfc3339(&format!("{text}Z")).is_ok() => {
            format!("`{text}` has no offset from UTC; {}", did_you_mean(format_args!("{text}Z")))
        }
        Err(_) => match clock(text) {
            Some(time) => return Err(without_date(text, time)),
            None => match no_such_time(text).or_else(|| no_such_clock(text)) {
                Some(why) => format!("`{text}`: {why}"),
                None => format!("`{text}` is not a date and time as in RFC 3339"),
            },
        },
    };
    Err(Problem::new(reason, hint))
}

/// Parses `2027-03-17T14:00`, a date and time without an offset.
fn local_time(text: &str) -> Option<NaiveDateTime> {
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    Some(local).filter(|local| (1970..=9999).contains(&local.year()))
}

/// Returns an error for a time of day without a date.
fn without_date(text: &str, time: NaiveTime) -> Problem {
    let (minute, hour) = (time.minute(), time.hour());
    let hint = format!(
        "for every day write `cron {minute} {hour} * * *`, in quotes where a shell reads it; for once \
         `at 2027-03-01T{hour:02}:{minute:02}:00Z`, with `Z` or an offset such as `+01:00`"
    );
    Problem::new(format!("`{text}` has no date"), hint)
}

fn every(words: &[&str], context: &Context<'_>) -> Result<Trigger, Problem> {
    let (period, anchor) = match words {
        [period] => (period, Instant::MIN),
        [period, "from", anchor @ ..] => (period, instant(&anchor.join(" "), context, EVERY)?),
        [] => return Err(Problem::new("the period is missing", EVERY)),
        [_, word, ..] if days::is_clause(word) => {
            let hint = "days limit `daily`, `cron` and sun events: `cron */15 * * * * on MON-FRI`";
            return Err(Problem::new(format!("`{word}` cannot follow a period"), hint));
        }
        [count, unit, ..] if ["day", "days", "week", "weeks"].contains(unit) => {
            let hint = format!("for days of the calendar write `daily 05:30 every {count} {unit} from 2027-03-17`");
            return Err(Problem::new(format!("`{unit}` is not part of a period"), hint));
        }
        [count, word, ..] => {
            let meant = period_in_words(count, word).map(|meant| format!("; {}", did_you_mean(meant)));
            let reason = format!("`{word}` is not `from` and a time{}", meant.unwrap_or_default());
            return Err(Problem::new(reason, EVERY));
        }
    };
    match duration_ms(period)? {
        ..limits::PERIOD_MS => Err(Problem::new(format!("`{period}` is shorter than a second"), EVERY)),
        period_ms @ ..=limits::LONGEST_PERIOD_MS => Ok(Trigger::Every(Every { period_ms, anchor })),
        _ => Err(Problem::new(format!("`{period}` is longer than ten years"), "for years use `cron`")),
    }
}

/// Returns `every 5m` for `5 minutes`.
fn period_in_words(count: &str, word: &str) -> Option<String> {
    let units = [("second", "s"), ("minute", "m"), ("min", "m"), ("hour", "h")];
    let word = word.to_lowercase();
    let (_, unit) = units.into_iter().find(|(name, _)| word.trim_end_matches('s') == *name)?;
    let period = format!("{count}{unit}");
    duration_ms(&period).is_ok().then(|| format!("every {period}"))
}

fn cron(words: &[&str], cron_cache: &mut CronCache) -> Result<Trigger, Problem> {
    let has_digit = |name: &str| name.contains(|char: char| char.is_ascii_digit());
    let is_zone = |name: &&str| cron_cache.zone(name).is_ok() || !has_digit(name) && !days::is_set(name);
    let (words, days) = split_days(words, is_zone)?;
    let (expression, zone) = match words {
        [expression @ .., word, zone] if word.eq_ignore_ascii_case("in") => {
            (expression, Some(cron_cache.zone(zone).map_err(|error| Problem::new(error.to_string(), CRON))?))
        }
        expression => (expression, None),
    };
    let expression = expression.join(" ");
    if expression.is_empty() {
        return Err(Problem::new("the expression is missing", CRON));
    }
    let cron = cron_cache.cron(&expression, zone, days);
    cron.map(Trigger::Cron).map_err(|error| {
        let general = if has_file_names(&expression) { SHELL } else { CRON };
        let hint = error.hint().unwrap_or(general);
        Problem { never: error.never(), ..Problem::new(error.to_string(), hint) }
    })
}

/// Parses `05:30 on MON-FRI`.
fn daily(words: &[&str], cron_cache: &mut CronCache) -> Result<Trigger, Problem> {
    let [time, rest @ ..] = words else { return Err(Problem::new("after `daily`, the time of day is missing", DAILY)) };
    let time = time_of_day(time, "daily")?;
    if let [word, ..] = rest
        && !days::is_clause(word)
    {
        let meant = if days::is_set(word) && !word.eq_ignore_ascii_case("from") {
            format!("; {}", did_you_mean(format_args!("on {word}")))
        } else {
            String::new()
        };
        return Err(Problem::new(format!("`{word}` cannot follow a time of day{meant}"), DAILY));
    }
    let (second, fields) = (time.second(), format!("{} {} * * *", time.minute(), time.hour()));
    let expression = if second == 0 { fields } else { format!("{second} {fields}") };
    cron(&[&[expression.as_str()], rest].concat(), cron_cache)
}

/// Splits what limits a trigger to days from the words before it. After the first `in`, there may be a time zone.
fn split_days<'w, 'a>(
    words: &'w [&'a str],
    is_zone: impl Fn(&&'a str) -> bool,
) -> Result<(&'w [&'a str], Days), Problem> {
    let mut start = words.iter().position(|word| days::is_clause(word)).unwrap_or(words.len());
    if words.get(start).is_some_and(|word| word.eq_ignore_ascii_case("in")) && words.get(start + 1).is_some_and(is_zone)
    {
        start += 2;
    }
    let (before, clauses) = words.split_at(start);
    if clauses.is_empty() {
        return Ok((before, Days::default()));
    }
    let days = Days::parse(clauses).map_err(|reason| Problem::new(reason, DAYS))?;
    Ok((before, days))
}

/// Returns whether a shell may have expanded each `*` to file names: then none is left, and there are too many fields,
/// or strange ones.
fn has_file_names(expression: &str) -> bool {
    let fields = || expression.split_whitespace();
    let is_name = |field: &str| {
        let longest = field.split(|c: char| !c.is_alphabetic()).map(str::len).max();
        field.contains('.') || longest > Some("FRIL".len())
    };
    !fields().any(|field| field == "*")
        && (fields().count() > 7 || expression.len() > limits::CRON_BYTES || fields().any(is_name))
}

fn sun(keyword: &str, rest: &[&str]) -> Result<Trigger, Problem> {
    // `sunset-20m` has an offset: no event has a digit in its name.
    let signs = keyword.char_indices().filter(|(_, character)| SIGNS.contains(character));
    let sign = signs
        .into_iter()
        .find(|(at, sign)| keyword[at + sign.len_utf8()..].starts_with(|next: char| next.is_ascii_digit()));
    let (name, attached) = keyword.split_at(sign.map_or(keyword.len(), |(at, _)| at));
    let (event, rest) = match (SunEvent::named(name), rest) {
        (Some(event), rest) => (event, rest),
        (None, rest) if name == "sun" => elevation(rest)?,
        (None, _) => return Err(unknown(keyword, rest)),
    };
    let (rest, days) = split_days(rest, |_| false)?;
    let mut sun = Sun { days: Some(days).filter(|days| !days.is_every_day()).map(Arc::new), ..Sun::at(event) };
    if !attached.is_empty() {
        sun.offset_ms = offset(attached)?;
    }
    clauses(sun, rest, attached.is_empty()).map(Trigger::from)
}

/// Parses `at -3.1 setting`.
fn elevation<'w, 'a>(words: &'w [&'a str]) -> Result<(SunEvent, &'w [&'a str]), Problem> {
    let [at, degrees, direction, rest @ ..] = words else {
        return Err(Problem::new("`sun` is followed by `at`, degrees, and `rising` or `setting`", ELEVATION));
    };
    if !at.eq_ignore_ascii_case("at") {
        return Err(Problem::new(format!("`{at}` is not `at`"), ELEVATION));
    }
    let number = degrees.trim_end_matches('°').replace('−', "-").parse().ok();
    let Some(elevation) = number.and_then(Elevation::from_degrees) else {
        return Err(Problem::new(format!("`{degrees}` is not an elevation of -90 to 90 degrees"), ELEVATION));
    };
    match direction.to_lowercase().as_str() {
        "rising" => Ok((SunEvent::Rising(elevation), rest)),
        "setting" => Ok((SunEvent::Setting(elevation), rest)),
        _ => Err(Problem::new(format!("`{direction}` is not `rising` or `setting`"), ELEVATION)),
    }
}

/// Parses what follows the event: an offset, then the limits.
fn clauses(mut sun: Sun, rest: &[&str], offset_allowed: bool) -> Result<Sun, Problem> {
    let mut words = rest.iter().copied().peekable();
    if offset_allowed && let Some(word) = words.next_if(|word| word.starts_with(SIGNS)) {
        let duration = if word.chars().count() == 1 { words.next().unwrap_or_default() } else { "" };
        sun.offset_ms = offset(&format!("{word}{duration}"))?;
    }
    while let Some(word) = words.next() {
        let clamp = match word.to_lowercase().as_str() {
            "not-before" => &mut sun.not_before,
            "not-after" => &mut sun.not_after,
            "else" => &mut sun.otherwise,
            "otherwise" => {
                return Err(Problem::new(format!("`{word}` is not part of it; {}", did_you_mean("else")), SUN));
            }
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => {
                return Err(Problem::new(format!("`{word}` has no sign; did you mean `+{word}` or `-{word}`?"), SUN));
            }
            other => {
                let reason =
                    format!("`{word}` is not part of it{}", suggestion(other, &["not-before", "not-after", "else"]));
                return Err(Problem::new(reason, SUN));
            }
        };
        if clamp.replace(time_of_day(words.next().unwrap_or_default(), word)?).is_some() {
            return Err(Problem::new(format!("`{word}` occurs twice"), SUN));
        }
    }
    Ok(sun)
}

/// Checks that the times of day of a sun trigger are in order.
fn in_order(sun: &Sun) -> Result<(), Problem> {
    sun.out_of_order().map_or(Ok(()), |OutOfOrder { earlier, later, counted_from }| {
        let name = |name| if name == "otherwise" { "else" } else { name };
        let (earlier, later, from) = (name(earlier.0), name(later.0), counted_from.format("%H:%M"));
        Err(Problem::new(format!("counted from {from} on, `{earlier}` is later than `{later}`"), SUN))
    })
}

fn offset(text: &str) -> Result<i32, Problem> {
    let mut characters = text.chars();
    let sign = if characters.next() == Some('+') { 1 } else { -1 };
    match i32::try_from(duration_ms(characters.as_str())?) {
        Ok(offset) if offset <= limits::SUN_OFFSET_MS => Ok(sign * offset),
        _ => Err(Problem::new(format!("`{text}` is more than 12 hours"), SUN)),
    }
}

fn time_of_day(text: &str, clause: &str) -> Result<NaiveTime, Problem> {
    clock(text).ok_or_else(|| {
        let what = if text.is_empty() {
            "its time of day is missing".into()
        } else {
            format!("`{text}` is not a time of day")
        };
        let what = no_such_clock(text).map_or(what, |why| format!("`{text}`: {why}"));
        Problem::new(format!("after `{clause}`, {what}"), "times of day are written `06:30` or `06:30:15`")
    })
}

/// Parses `06:30` or `06:30:15`.
fn clock(text: &str) -> Option<NaiveTime> {
    let numbers: Option<Vec<u32>> = text
        .split(':')
        .map(|part| if (1..=2).contains(&part.len()) && !part.starts_with('+') { part.parse().ok() } else { None })
        .collect();
    match numbers.as_deref() {
        Some(&[hour, minute]) => NaiveTime::from_hms_opt(hour, minute, 0),
        Some(&[hour, minute, second]) => NaiveTime::from_hms_opt(hour, minute, second),
        _ => None,
    }
}

/// Parses a duration such as `1h30m`, in milliseconds.
///
/// # Errors
/// Returns an error that describes what is wrong and how to write it.
pub fn parse_duration(text: &str) -> Result<u64, TriggerError> {
    duration_ms(text).map_err(|problem| problem.of(text))
}

fn duration_ms(text: &str) -> Result<u64, Problem> {
    let (mut total, mut rest) = (0_u64, text);
    if text.is_empty() {
        return Err(Problem::new("the duration is missing", DURATION));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let factor: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "" => return Err(Problem::new(format!("the duration `{text}` has no unit"), DURATION)),
            _ => {
                let reason = format!("the duration `{text}` has `{unit}` where a unit should be");
                return Err(Problem::new(reason, DURATION));
            }
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| {
            let what = if number.is_empty() { "has a unit without a number" } else { "is too long" };
            Problem::new(format!("the duration `{text}` {what}"), DURATION)
        })?;
        rest = tail;
    }
    Ok(total)
}

/// Returns an error for the syntax of another cron, with the hint of the cron parser.
fn of_another_cron(text: &str) -> Problem {
    let error = CronCache::default().cron(text, None, Days::default()).err();
    let hint = error.as_ref().and_then(CronError::hint).unwrap_or(CRON);
    Problem::new("other kinds of cron accept that, Roost does not", hint)
}

/// Returns an error for an unknown first word.
fn unknown(keyword: &str, rest: &[&str]) -> Problem {
    let text = [&[keyword], rest].concat().join(" ");
    let is_cron = keyword.starts_with('@')
        || (4..7).contains(&rest.len()) && keyword.starts_with(|first: char| first == '*' || first.is_ascii_digit());
    let time = Some(keyword);
    if keyword.is_empty() {
        Problem::new("it is empty", ANY)
    } else if let Some((text, time)) = time.and_then(|text| Some((text, clock(text)?))) {
        without_date(text, time)
    } else if let Some(why) = time.and_then(|text| no_such_time(text).or_else(|| no_such_clock(text))) {
        Problem::new(why, AT)
    } else if keyword == "in" && duration_ms(&rest.concat()).is_ok() {
        Problem::new(did_you_mean(format_args!("at now+{}", rest.concat())), AT)
    } else if is_cron {
        Problem::new(did_you_mean(format_args!("cron {}", text.to_uppercase().trim())), CRON)
    } else if DateTime::parse_from_rfc3339(keyword).is_ok() {
        Problem::new(did_you_mean(format_args!("at {}", keyword.to_uppercase())), AT)
    } else if duration_ms(keyword).is_ok() {
        Problem::new(did_you_mean(format_args!("every {keyword}")), EVERY)
    } else {
        let mut words = vec!["now", "at", "every", "cron", "daily", "once", "finish", "sun"];
        words.extend(SunEvent::NAMED.map(SunEvent::name));
        // It is one of them, at a wrong place.
        words.retain(|word| *word != keyword);
        Problem::new(format!("it begins with `{keyword}`{}", suggestion(keyword, &words)), ANY)
    }
}

/// Returns the end of an error that asks for one of the words, if one is near.
fn suggestion(word: &str, words: &[&str]) -> String {
    nearest(word, words.iter().copied()).map(|meant| format!("; {}", did_you_mean(meant))).unwrap_or_default()
}

/// Writes what [`parse`] accepts.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finish = self.finish();
        if finish.is_some() {
            f.write_str("finish ")?;
        }
        match self {
            Self::At(at) => write!(f, "at {at}")?,
            Self::Every(Every { period_ms, anchor }) => {
                write!(f, "every {}", Duration(*period_ms))?;
                if *anchor != Instant::MIN {
                    write!(f, " from {anchor}")?;
                }
            }
            Self::Cron(cron) => write!(f, "cron {cron}")?,
            Self::Sun(sun) => sun.fmt(f)?,
        }
        match finish {
            None | Some(0) => Ok(()),
            Some(ms) => write!(f, " after {}", Duration(ms.into())),
        }
    }
}

/// Writes `sunset -20m not-before 20:00 not-after 21:30 on MON-FRI`.
impl fmt::Display for Sun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, offset_ms, not_before, not_after, otherwise, days, finish: _ } = self;
        write!(f, "{event}")?;
        if *offset_ms != 0 {
            let sign = if *offset_ms < 0 { '-' } else { '+' };
            write!(f, " {sign}{}", Duration(offset_ms.unsigned_abs().into()))?;
        }
        for (clause, time) in [("not-before", not_before), ("not-after", not_after), ("else", otherwise)] {
            if let Some(time) = time {
                write!(f, " {clause} {}", time.format(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }))?;
            }
        }
        days.as_deref().map_or(Ok(()), |days| days.fmt(f))
    }
}

/// Milliseconds, formatted for users: `1h30m`.
#[derive(Clone, Copy, Debug)]
pub struct Duration(pub u64);

impl Duration {
    /// Returns a span of milliseconds without its sign, rounded down to whole seconds if it is a second or longer.
    #[must_use]
    pub const fn rounded(ms: i64) -> Self {
        let ms = ms.unsigned_abs();
        Self(if ms < 1_000 { ms } else { ms - ms % 1_000 })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}
