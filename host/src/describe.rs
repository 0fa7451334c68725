//! Triggers and policies in words, for people.

use chrono::{NaiveTime, Timelike as _, Weekday};
use roost_scheduler::{
    model::Policy,
    time::Instant,
    trigger::{Cron, DayRange, DaySet, Days, Duration, Interval, Sun, SunEvent, Trigger, Unit},
    zone::Zone,
};

/// Days of the week as cron numbers and names them; Sunday is 0 and 7.
const DAYS: [(&str, &str); 8] = [
    ("SUN", "Sunday"),
    ("MON", "Monday"),
    ("TUE", "Tuesday"),
    ("WED", "Wednesday"),
    ("THU", "Thursday"),
    ("FRI", "Friday"),
    ("SAT", "Saturday"),
    ("SUN", "Sunday"),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Describes a trigger, with instants on the clock of a zone: `20 minutes before sunset, at 22:00 at the latest`. Of most
/// cron expressions it says only that they follow the calendar.
pub(crate) fn trigger(trigger: &Trigger, zone: Zone) -> String {
    match trigger {
        Trigger::At(at) => format!("once, at {}", local(*at, zone)),
        Trigger::Every(every) if every.anchor == Instant::MIN => period(every.period()),
        Trigger::Every(every) => {
            format!("{} from {} on", period(every.period()), local(every.anchor, zone))
        }
        Trigger::Cron(cron) => {
            let mut when = calendar(cron).unwrap_or_else(|| "by the calendar".to_owned());
            if let Some(zone) = cron.zone {
                when += &format!(", by the clock of {zone}");
            }
            when + &limits(trigger)
        }
        Trigger::Sun(sun) => self::sun(sun) + &limits(trigger),
    }
}

/// Describes the days to which a trigger is limited, and whether runs end at its times.
fn limits(trigger: &Trigger) -> String {
    let days = trigger.days().map_or_else(String::new, self::days);
    match trigger.finish() {
        None => days,
        Some(0) => format!("{days}; it ends then"),
        Some(ms) => format!("{days}; it starts {} earlier, to end then", length(ms.into())),
    }
}

/// Describes days: `, on Monday to Friday, in May to September, except 2026-12-24 to 2027-01-02`.
fn days(days: &Days) -> String {
    let mut words = String::new();
    for (preposition, set) in [("on", &days.on), ("within", &days.within)] {
        if !set.is_empty() {
            words += &format!(", {preposition} {}", set_of_days(set));
        }
    }
    if let Some(Interval { count, unit, from }) = days.every {
        let unit = if unit == Unit::Days { "day" } else { "week" };
        words += &match count {
            1 => format!(", from {from} on"),
            count => format!(", every {count} {unit}s from {from} on"),
        };
    }
    if !days.except.is_empty() {
        words += &format!(", except {}", set_of_days(&days.except));
    }
    words
}

/// Describes a set: `Monday to Friday, odd days of the month and the days of holidays`. Days of the month are named together.
fn set_of_days(set: &DaySet) -> String {
    let of_month: Vec<(u8, u8)> = set
        .ranges()
        .iter()
        .filter_map(|range| if let DayRange::OfMonth(from, to) = range { Some((*from, *to)) } else { None })
        .collect();
    let mut words: Vec<String> = set.ranges().iter().filter_map(range_of_days).collect();
    if !of_month.is_empty() {
        words.push(days_of_month(&of_month));
    }
    list(&words)
}

/// Describes days of the month: `odd days of the month`, `days 1 to 7 and 15 of the month`.
fn days_of_month(ranges: &[(u8, u8)]) -> String {
    let every_other = |first: u8| ranges.iter().copied().eq((first..=31).step_by(2).map(|day| (day, day)));
    let between = |(from, to): &(u8, u8)| if from == to { from.to_string() } else { format!("{from} to {to}") };
    match ranges {
        _ if every_other(1) => "odd days of the month".into(),
        _ if every_other(2) => "even days of the month".into(),
        [(from, to)] if from == to => format!("day {from} of the month"),
        ranges => format!("days {} of the month", list(&ranges.iter().map(between).collect::<Vec<_>>())),
    }
}

/// Describes a range, unless it is of days of the month.
fn range_of_days(range: &DayRange) -> Option<String> {
    let between = |from: String, to: String| if from == to { from } else { format!("{from} to {to}") };
    Some(match range {
        DayRange::Weekdays(from, to) => {
            let name = |day: &Weekday| DAYS[day.num_days_from_sunday() as usize].1.to_owned();
            between(name(from), name(to))
        }
        DayRange::OfMonth(..) => return None,
        DayRange::Season(..) => season(&range.to_string()),
        DayRange::Dates(from, to) => between(from.to_string(), to.to_string()),
        DayRange::Calendar(name) => format!("the days of `{name}`"),
    })
}

/// Describes `MAY-SEP`, `MAY` and `MAR-15..OCT-31`: `May to September`, `May`, `15 March to 31 October`.
fn season(text: &str) -> String {
    let month = |short: &str| MONTHS.iter().copied().find(|month| month[..3].eq_ignore_ascii_case(short));
    let part = |text: &str| match text.split_once('-') {
        Some((first, day)) if month(day).is_none() => format!("{day} {}", month(first).unwrap_or(first)),
        Some((first, last)) => format!("{} to {}", month(first).unwrap_or(first), month(last).unwrap_or(last)),
        None => month(text).unwrap_or(text).to_owned(),
    };
    text.split("..").map(part).collect::<Vec<_>>().join(" to ")
}

/// Writes a period: `every minute`, `every 15 minutes`.
pub(crate) fn period(ms: i64) -> String {
    let length = length(ms);
    let one = length.strip_prefix("1 ").filter(|unit| !unit.contains(' '));
    format!("every {}", one.unwrap_or(&length))
}

/// Writes a length of time: `1 minute`, `1 hour 30 minutes`.
fn length(mut ms: i64) -> String {
    let mut words = Vec::new();
    for (unit, name) in [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "ms")] {
        let count = ms / unit;
        ms %= unit;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 || name == "ms" { "" } else { "s" }));
        }
    }
    words.join(" ")
}

fn local(at: Instant, zone: Zone) -> String {
    at.in_zone(zone).chars().take("2027-03-01T06:30".len()).collect::<String>().replace('T', " ")
}

fn clock(time: NaiveTime) -> String {
    time.format(if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" }).to_string()
}

fn sun(Sun { event, offset_ms, not_before, not_after, otherwise, .. }: &Sun) -> String {
    let event = match event {
        SunEvent::Rising(elevation) => format!("the rise of the sun above {}°", elevation.degrees()),
        SunEvent::Setting(elevation) => format!("the fall of the sun below {}°", elevation.degrees()),
        named => named.to_string().replace('-', " "),
    };
    let offset = i64::from(*offset_ms);
    let mut words = match offset {
        0 => format!("at {event}"),
        ..0 => format!("{} before {event}", length(-offset)),
        _ => format!("{} after {event}", length(offset)),
    };
    for (time, what) in
        [(not_before, "at the earliest"), (not_after, "at the latest"), (otherwise, "on days without it")]
    {
        if let Some(time) = time {
            words += &format!(", at {} {what}", clock(*time));
        }
    }
    words
}

/// Checks whether a cron expression can be described, rather than only that it follows the calendar.
pub(crate) fn is_in_words(cron: &Cron) -> bool {
    calendar(cron).is_some()
}

/// Describes an expression for times of days of the week, if it is one: `at 06:00 and 18:00 on Monday to Friday`.
fn calendar(cron: &Cron) -> Option<String> {
    let expression = cron.expression();
    let fields: Vec<&str> = expression.split(' ').collect();
    let [minute, hour, "*", "*", days] = fields.as_slice() else { return None };
    let minute: u32 = minute.parse().ok()?;
    if *hour == "*" && *days == "*" {
        return Some(format!("every hour, {minute} minutes past"));
    }
    let times = hour.split(',').map(|hour| Some(format!("{:02}:{minute:02}", hour.parse::<u32>().ok()?)));
    let times = list(&times.collect::<Option<Vec<_>>>()?);
    if *days == "*" {
        return Some(format!("every day at {times}"));
    }
    let days = days.split(',').map(|days| match days.split_once('-') {
        Some((first, last)) => Some(format!("{} to {}", day(first)?, day(last)?)),
        None => day(days).map(str::to_owned),
    });
    Some(format!("at {times} on {}", list(&days.collect::<Option<Vec<_>>>()?)))
}

fn day(text: &str) -> Option<&'static str> {
    let number = text.parse::<usize>().ok().and_then(|number| DAYS.get(number));
    number.or_else(|| DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text))).map(|(_, day)| *day)
}

/// Joins items: `a`, `a and b`, `a, b and c`.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Returns the values of a policy that are not defaults, such as `may start 1h late, needs pump`.
pub(crate) fn policy(policy: &Policy) -> String {
    let Policy { misfire, grace_ms, overlap, jitter_ms, priority, retry, needs } = policy;
    let default = Policy::default();
    let mut words = Vec::new();
    if *misfire != default.misfire {
        words.push(misfire.in_words());
    }
    if *grace_ms != default.grace_ms && policy.group().is_none() {
        words.push(format!("may start {} late", Duration((*grace_ms).into())));
    }
    if *overlap != default.overlap {
        words.push(overlap.in_words());
    }
    words.extend(needs.as_ref().map(|resource| format!("needs `{resource}`")));
    if *jitter_ms > 0 {
        words.push(format!("starts up to {} later", Duration((*jitter_ms).into())));
    }
    if *priority != default.priority {
        words.push(format!("priority {priority}"));
    }
    words.extend(retry.attempts.map(|attempts| format!("up to {attempts} attempts")));
    if retry.give_up_after_ms != default.retry.give_up_after_ms {
        words.push(format!("gives up after {}", Duration(retry.give_up_after_ms.into())));
    }
    if retry.backoff_ms != default.retry.backoff_ms {
        words.push(format!("retried after {}", Duration(retry.backoff_ms.into())));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        model::{Misfire, Overlap, Retry},
        names::{GroupName, ResourceName},
        trigger::{Context, CronCache, parse},
    };

    use super::*;
    use crate::zones::zone;

    #[test]
    fn a_trigger_is_written_in_words() {
        for (text, expected) in [
            ("at 2027-07-01T06:30:00Z", "once, at 2027-07-01 07:30"),
            ("every 1m", "every minute"),
            ("every 15m", "every 15 minutes"),
            ("every 1h30m", "every 1 hour 30 minutes"),
            ("every 1d from 2027-07-01T06:30:00Z", "every day from 2027-07-01 07:30 on"),
            ("cron 30 22 * * *", "every day at 22:30"),
            ("cron 0 6,12,18 * * *", "every day at 06:00, 12:00 and 18:00"),
            ("cron 5 6 * * MON-FRI", "at 06:05 on Monday to Friday"),
            ("cron 5 6 * * sat,0", "at 06:05 on Saturday and Sunday"),
            ("cron 5 * * * *", "every hour, 5 minutes past"),
            ("cron 30 6 * * * in Asia/Tokyo", "every day at 06:30, by the clock of Asia/Tokyo"),
            ("cron */5 6 1-7 * 1", "by the calendar"),
            (
                "daily 05:30 on MON-FRI,holidays in MAY-SEP,DEC-24 except 2027-06-01,JAN",
                "every day at 05:30, on Monday to Friday and the days of `holidays`, within May to September and \
                 24 December, except 2027-06-01 and January",
            ),
            (
                "daily 05:30 on 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 in MAR-15..OCT-31",
                "every day at 05:30, on odd days of the month, within 15 March to 31 October",
            ),
            ("sunset on 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30", "at sunset, on even days of the month"),
            ("sunset on 1-7,SUN,15", "at sunset, on Sunday and days 1 to 7 and 15 of the month"),
            ("finish sunrise except 31", "at sunrise, except day 31 of the month; it ends then"),
            ("cron @daily", "by the calendar"),
            ("sunset", "at sunset"),
            ("civil-dusk +1h5m", "1 hour 5 minutes after civil dusk"),
            (
                "sunset -20m not-before 17:00 not-after 21:30 else 20:00",
                "20 minutes before sunset, at 17:00 at the earliest, at 21:30 at the latest, at 20:00 on days without it",
            ),
        ] {
            let parsed = parse(text, &Context::at(Instant::MIN), &mut CronCache::default()).unwrap();
            assert_eq!(trigger(&parsed, zone("Europe/London")), expected, "{text}");
        }
    }

    #[test]
    fn a_period_is_written_in_words() {
        let written = [1_000, 60_000, 900_000, 86_400_000, 1_500].map(period);
        assert_eq!(written, ["every second", "every minute", "every 15 minutes", "every day", "every 1 second 500 ms"]);
    }

    #[test]
    fn only_values_that_are_not_defaults_are_shown_of_a_policy() {
        assert_eq!(policy(&Policy::default()), "");
        let grouped = Policy {
            misfire: Misfire::LatestOfGroup(GroupName::parse("door").unwrap()),
            needs: Some(ResourceName::parse("pump").unwrap()),
            retry: Retry { attempts: Some(3), ..Retry::default() },
            ..Policy::default()
        };
        assert_eq!(
            policy(&grouped),
            "only the latest missed run of group `door` is caught up, needs `pump`, up to 3 attempts"
        );
        let all = Policy {
            misfire: Misfire::RunAll,
            grace_ms: 3_600_000,
            overlap: Overlap::Queue(2),
            jitter_ms: 5_000,
            priority: -1,
            ..Policy::default()
        };
        assert_eq!(
            policy(&all),
            "all missed runs are caught up, may start 1h late, up to 2 runs queue behind the current one, starts up to 5s \
             later, priority -1"
        );
    }
}
