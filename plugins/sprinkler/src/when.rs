//! When rounds begin: the triggers of their jobs.

use roost_plugin_sdk::{Error, Result, Span, Time, hours, seconds};

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

/// Returns the shortest time between two starts, as far as they are times of day.
pub(crate) fn shortest_period(starts: &[String]) -> Span {
    let second = |time: Time| i64::from(time.hour()) * 3_600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    let times: Vec<i64> = starts.iter().filter_map(|start| start.trim().parse().ok()).map(second).collect();
    let pairs = times.iter().enumerate().flat_map(|(index, time)| {
        let others = times.iter().enumerate().filter(move |(other, _)| *other != index);
        others.map(move |(_, other)| (other - time).rem_euclid(86_400))
    });
    pairs.min().map_or_else(|| hours(24), seconds)
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
    fn the_shortest_period_is_also_that_over_midnight() {
        let period = |starts: &[&str]| shortest_period(&starts.iter().map(|start| (*start).into()).collect::<Vec<_>>());
        assert_eq!(period(&["05:30"]), hours(24));
        assert_eq!(period(&["sunset", "finish sunrise"]), hours(24));
        assert_eq!(period(&["05:30", "19:00"]), seconds(37_800));
        assert_eq!(period(&["23:30", "00:15"]), seconds(2_700));
        assert_eq!(period(&["05:30", "05:30"]), Span::default());
    }
}
