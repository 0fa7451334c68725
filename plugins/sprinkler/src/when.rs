//! When rounds begin: the triggers of their jobs.

use roost_plugin_sdk::{Context, Date, Error, Result, Span, SunEvent, Time, milliseconds};

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Returns a trigger, as users write it: at a start, on days, and not in some months.
pub(crate) fn trigger(start: &str, days: &str, months_off: &[u8]) -> String {
    let (finish, start) = match start.strip_prefix("finish ") {
        Some(start) => ("finish ", start.trim()),
        None => ("", start.trim()),
    };
    let daily = if start.parse::<Time>().is_ok() { "daily " } else { "" };
    format!("{finish}{daily}{start}{}", clauses(days, months_off))
}

/// Returns the clauses that limit a trigger to days: `odd` and `even` are days of the month, and days of the week need no
/// `on`.
fn clauses(days: &str, months_off: &[u8]) -> String {
    let mut words: Vec<String> = days.split_whitespace().map(str::to_owned).collect();
    let is = |word: &str, clause: &str| word.eq_ignore_ascii_case(clause);
    if let Some(first) = words.first_mut() {
        *first = match first.to_ascii_lowercase().as_str() {
            "all" => String::new(),
            "odd" => format!("on {}", days_of_month(1)),
            "even" => format!("on {}", days_of_month(2)),
            "on" | "in" | "every" | "except" => first.clone(),
            _ => format!("on {first}"),
        };
    }
    if !months_off.is_empty() {
        let months = months(months_off);
        match words.iter().position(|word| is(word, "except")) {
            Some(except) => words.insert(except + 1, format!("{months},")),
            None => words.push(format!("except {months}")),
        }
    }
    words.iter().filter(|word| !word.is_empty()).map(|word| format!(" {word}")).collect()
}

/// Returns every other day of the month: 1,3,…,31 or 2,4,…,30.
fn days_of_month(first: usize) -> String {
    (first..=31).step_by(2).map(|day| day.to_string()).collect::<Vec<_>>().join(",")
}

/// Writes months in order, with ranges: `JAN-MAR,NOV-DEC`.
fn months(numbers: &[u8]) -> String {
    let is_in = |number: u8| numbers.contains(&number);
    let mut ranges = Vec::new();
    let mut start = 1;
    for (number, name) in (1..).zip(MONTHS) {
        if is_in(number) && !is_in(number - 1) {
            start = number;
        }
        if is_in(number) && (number == 12 || !is_in(number + 1)) {
            let first = MONTHS[usize::from(start - 1)];
            ranges.push(if start == number { name.to_owned() } else { format!("{first}-{name}") });
        }
    }
    ranges.join(",")
}

/// Checks the months without watering.
pub(crate) fn check_months(months_off: &[u8]) -> Result<()> {
    if let Some(month) = months_off.iter().find(|month| !(1..=12).contains(*month)) {
        return Err(Error::new(format!("config `months_off`: there is no month {month}, they are 1 to 12")));
    }
    if (1..=12).all(|month| months_off.contains(&month)) {
        return Err(Error::new("config `months_off`: it leaves no month"));
    }
    Ok(())
}

/// The two rounds of a year of which one begins soonest after the other.
#[derive(Debug, PartialEq)]
pub(crate) struct Closest {
    /// From the start of the first to the start of the second.
    pub(crate) period: Span,
    /// The date of the second.
    pub(crate) date: Date,
    pub(crate) first: String,
    pub(crate) second: String,
}

/// Returns the closest two rounds of this year, outside some months, by the wall clock.
///
/// Starts that are neither sun events nor times of each day are left out, such as cron expressions for some days; and days
/// without rounds are not, unless they are named by their months. Rounds of one start are not compared with each other: the
/// host skips the next one.
pub(crate) fn closest(
    ctx: &Context,
    starts: &[String],
    length: Span,
    days: &str,
    months_off: &[u8],
) -> Result<Option<Closest>> {
    let parsed: Vec<(usize, Start)> = starts
        .iter()
        .enumerate()
        .flat_map(|(index, start)| Start::parse(start).into_iter().map(move |start| (index, start)))
        .collect();
    let months = months_in(days);
    let new_year = Date::new(ctx.today()?.year(), 1, 1)?;
    let mut rounds = Vec::new();
    for date in (0..366).map(|day| new_year.plus_days(day)) {
        if months_off.contains(&date.month()) || months.as_ref().is_some_and(|months| !months.contains(&date.month())) {
            continue;
        }
        for (index, start) in &parsed {
            if let Some(at) = start.on(ctx, date).filter(|_| starts.len() > 1) {
                rounds.push((if start.finish { at - length.millis() } else { at }, date, *index));
            }
        }
    }
    rounds.sort();
    let pairs = rounds.windows(2).filter(|pair| pair[0].2 != pair[1].2).min_by_key(|pair| pair[1].0 - pair[0].0);
    Ok(pairs.map(|pair| Closest {
        period: milliseconds(pair[1].0 - pair[0].0),
        date: pair[1].1,
        first: starts[pair[0].2].trim().into(),
        second: starts[pair[1].2].trim().into(),
    }))
}

/// Returns the months of `in MAY-SEP` or `in MAR-15..OCT-15`, if the days have such a clause.
fn months_in(days: &str) -> Option<Vec<u8>> {
    let words = days.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("in")).skip(1);
    let ranges: String = words.take_while(|word| !["on", "every", "except"].contains(&&*word.to_lowercase())).collect();
    let number = |text: &str| {
        let name = text.get(..3)?;
        (1..).zip(MONTHS).find(|(_, month)| month.eq_ignore_ascii_case(name)).map(|(number, _)| number)
    };
    let mut months = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once("..").or_else(|| range.split_once('-')).unwrap_or((range, range));
        let (mut month, last) = (number(first)?, number(last)?);
        months.push(month);
        while month != last {
            month = month % 12 + 1;
            months.push(month);
        }
    }
    Some(months)
}

/// The most times of day of one cron start that are compared with other starts: a round each half hour.
const MOST_TIMES: usize = 48;

/// Returns the times of day of `cron 0 5-9/2 * * *`, if there are not too many, and it is due on each day.
fn times_of_cron(text: &str) -> Option<Vec<Time>> {
    let fields: Vec<&str> = text.strip_prefix("cron ")?.split_whitespace().collect();
    let [minutes, hours, "*", "*", "*"] = fields[..] else { return None };
    let (minutes, hours) = (numbers(minutes, 60)?, numbers(hours, 24)?);
    let times = hours.iter().flat_map(|hour| minutes.iter().map(|minute| Time::new(*hour, *minute, 0).ok()));
    times.collect::<Option<Vec<Time>>>().filter(|times| times.len() <= MOST_TIMES)
}

/// Returns the numbers of a field such as `5-9/2,20`, each below `count`.
fn numbers(field: &str, count: u8) -> Option<Vec<u8>> {
    let mut numbers = Vec::new();
    for item in field.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, count - 1),
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => (range.parse().ok()?, range.parse().ok()?),
        };
        let step = step.parse().ok().filter(|step| *step > 0)?;
        numbers.extend((first..=last).step_by(step));
    }
    Some(numbers)
}

/// A start of which the times are known in advance.
#[derive(Clone)]
struct Start {
    finish: bool,
    /// A sun event with its offset; without one, it is the time `otherwise`.
    event: Option<(SunEvent, Span)>,
    not_before: Option<Time>,
    not_after: Option<Time>,
    otherwise: Option<Time>,
}

impl Start {
    /// Returns a start for each time of a text, none if its times are not known.
    fn parse(text: &str) -> Vec<Self> {
        let text = text.trim();
        let cron = text.strip_prefix("finish ").unwrap_or(text).trim();
        let at = |time| Self {
            finish: text.starts_with("finish "),
            event: None,
            not_before: None,
            not_after: None,
            otherwise: Some(time),
        };
        match times_of_cron(cron) {
            Some(times) => times.into_iter().map(at).collect(),
            None => Self::parse_one(text).into_iter().collect(),
        }
    }

    fn parse_one(text: &str) -> Option<Self> {
        let finish = text.strip_prefix("finish ").map(str::trim);
        let (finish, text) = (finish.is_some(), finish.unwrap_or(text));
        let mut start = Self { finish, event: None, not_before: None, not_after: None, otherwise: None };
        if let Ok(time) = text.strip_prefix("daily ").unwrap_or(text).trim().parse() {
            start.otherwise = Some(time);
            return Some(start);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let of_event = if words.first() == Some(&"sun") { 4 } else { 1 };
        let event = SunEvent::try_from(words.get(..of_event)?.join(" ")).ok()?;
        let mut words = words[of_event..].iter().peekable();
        let offset = words.next_if(|word| word.starts_with(['+', '-']));
        let offset = offset.map_or(Some(Span::default()), |offset| offset.trim_start_matches('+').parse().ok())?;
        start.event = Some((event, offset));
        while let Some(word) = words.next() {
            let time = Some(words.next()?.parse().ok()?);
            match *word {
                "not-before" => start.not_before = time,
                "not-after" => start.not_after = time,
                "else" => start.otherwise = time,
                _ => return None,
            }
        }
        Some(start)
    }

    /// Returns the time on a date, in milliseconds of the wall clock, if there is one.
    fn on(&self, ctx: &Context, date: Date) -> Option<i64> {
        let of_event = self.event.and_then(|(event, offset)| {
            // Without a location the host refuses the trigger.
            let local = ctx.local(*ctx.sun(event, date).ok()?.first()?).ok()?;
            Some(millis(local.date, local.time) + offset.millis())
        });
        let at = of_event.or_else(|| Some(millis(date, self.otherwise?)))?;
        let at = self.not_before.map_or(at, |time| at.max(millis(date, time)));
        Some(self.not_after.map_or(at, |time| at.min(millis(date, time))))
    }
}

fn millis(date: Date, time: Time) -> i64 {
    let minutes = (date.days() * 24 + i64::from(time.hour())) * 60 + i64::from(time.minute());
    (minutes * 60 + i64::from(time.second())) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_times_of_day_or_triggers() {
        for (start, expected) in [
            ("05:30", "daily 05:30"),
            (" 5:30:15 ", "daily 5:30:15"),
            ("finish 06:00", "finish daily 06:00"),
            ("finish sunrise", "finish sunrise"),
            ("sunset +1h not-before 20:00", "sunset +1h not-before 20:00"),
            ("cron 0 */6 * * *", "cron 0 */6 * * *"),
        ] {
            assert_eq!(trigger(start, "all", &[]), expected);
        }
    }

    #[test]
    fn days_are_limits_of_the_trigger() {
        let odd = "on 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31";
        for (days, off, expected) in [
            ("all", &[][..], String::new()),
            ("", &[], String::new()),
            ("odd", &[], format!(" {odd}")),
            ("Odd except 31,FEB-29", &[], format!(" {odd} except 31,FEB-29")),
            ("even in MAY-SEP", &[], " on 2,4,6,8,10,12,14,16,18,20,22,24,26,28,30 in MAY-SEP".into()),
            ("MON,WED,FRI", &[], " on MON,WED,FRI".into()),
            ("on SAT", &[], " on SAT".into()),
            ("every 3 days from 2027-03-17", &[], " every 3 days from 2027-03-17".into()),
            ("all in APR-OCT", &[], " in APR-OCT".into()),
            ("all", &[11, 12, 1, 2, 3], " except JAN-MAR,NOV-DEC".into()),
            ("MON except holidays", &[2], " on MON except FEB, holidays".into()),
        ] {
            assert_eq!(clauses(days, off), expected, "{days}");
        }
    }

    #[test]
    fn months_of_a_season_are_read_and_others_are_not() {
        assert_eq!(months_in("MON-FRI in MAY-JUL except holidays"), Some(vec![5, 6, 7]));
        assert_eq!(months_in("all in NOV-15..JAN-15,MAR"), Some(vec![11, 12, 1, 3]));
        assert_eq!(months_in("all in 2027-05-01..2027-05-31"), None);
        assert_eq!(months_in("odd except APR"), None);
    }

    #[test]
    fn times_of_day_and_sun_events_are_known_in_advance_and_others_are_not() {
        for (start, times) in [
            ("05:30", 1),
            ("finish 06:00", 1),
            ("daily 6:00", 1),
            ("sunset +1h not-before 20:00 else 21:00", 1),
            ("sun at -3 rising", 1),
            ("cron 0 5 * * *", 1),
            ("finish cron 0,30 5-9/2,20 * * *", 8),
            ("cron */30 * * * *", 48),
            ("cron */20 * * * *", 0),
            ("cron 0 5 * * MON", 0),
            ("cron 0 5 * * * on MON", 0),
            ("cron 0 25 * * *", 0),
            ("cron 0 5/0 * * *", 0),
            ("cron @daily", 0),
            ("every 6h", 0),
            ("sunset +1h on MON", 0),
            ("sun at", 0),
        ] {
            assert_eq!(Start::parse(start).len(), times, "{start}");
        }
    }
}
