//! Hints for expressions of other kinds of cron.

/// Returns what to write instead of an expression that is not valid here.
pub(super) fn hint(expression: &str) -> Option<String> {
    let upper = expression.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    let first = fields.first().copied().unwrap_or_default();
    if let Some(zone) = ["CRON_TZ=", "TZ="].iter().find_map(|name| first.strip_prefix(name)) {
        // In its original case, because zone names have lower-case letters.
        let (_, zone) = expression.split_at(first.len() - zone.len());
        let (zone, rest) = zone.trim_start().split_once(char::is_whitespace).unwrap_or((zone, "30 6 * * *"));
        return Some(format!(
            "the time zone follows the expression: `cron {} in {zone}`; in a plugin's plan it is `time-zone`",
            rest.trim()
        ));
    }
    match first {
        "@EVERY" => {
            let period = expression.split_whitespace().nth(1).unwrap_or("15m");
            return Some(format!("a period is a trigger of its own: `every {period}`"));
        }
        "@REBOOT" => {
            return Some(
                "`now` runs once, immediately; for a state that must also hold after a start, use a job of a group \
                 (`latest-of-group`): its newest run is caught up"
                    .into(),
            );
        }
        _ => {}
    }
    if fields.contains(&"?") {
        return Some(format!("`?` is `*` here: `cron {}`", expression.replace('?', "*")));
    }
    if let [field] = fields[..]
        && let Some(weeks) = field.strip_suffix('W').and_then(|weeks| weeks.parse::<u32>().ok())
    {
        return Some(format!("for a period of weeks write `every {weeks}w`"));
    }
    None
}

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Returns the name of a day of the week, if a field is a single day.
fn day_of(field: &str) -> Option<&'static str> {
    match field.parse::<usize>() {
        Ok(number) => DAYS.get(number % 7).copied(),
        Err(_) => DAYS.into_iter().find(|name| *name == field),
    }
}

/// Returns notes on what an expression means and most users do not expect.
pub(super) fn notes(expression: &str) -> Vec<String> {
    let upper = expression.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    if fields.len() < 5 {
        return Vec::new();
    }
    let at = usize::from(fields.len() > 5);
    let with_seconds: Vec<&str> = if at == 1 { fields.clone() } else { [&["0"], &fields[..]].concat() };
    two_day_fields(&fields, at).into_iter().chain(uneven_steps(&with_seconds)).collect()
}

/// Returns whether the day fields match every day.
pub(super) fn is_every_day(expression: &str) -> bool {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let at = usize::from(fields.len() > 5);
    match fields[..] {
        [nickname] => ["@hourly", "@daily", "@midnight"].iter().any(|daily| nickname.eq_ignore_ascii_case(daily)),
        _ => [2, 3, 4].iter().all(|field| fields.get(at + field) == Some(&"*")),
    }
}

/// The fields from the seconds on: the unit of each, what it is counted within, its first value and their number.
const FIELDS: [(&str, &str, u32, u32); 6] = [
    ("second", "minute", 0, 60),
    ("minute", "hour", 0, 60),
    ("hour", "day", 0, 24),
    ("day", "month", 1, 31),
    ("month", "year", 1, 12),
    ("day", "week", 0, 7),
];

/// Returns notes on steps such as `*/45` and `*/90`, which begin anew in each hour: the last one is shorter.
fn uneven_steps(fields: &[&str]) -> Vec<String> {
    let is_any = |fields: &[&str]| fields.iter().all(|field| *field == "*");
    let uneven = |(index, (unit, within, first, count)): (usize, (&str, &str, u32, u32))| {
        let step = fields.get(index)?.strip_prefix("*/")?.parse::<u32>().ok().filter(|step| *step > 1)?;
        // A restricted day of the week leaves out most of the others anyway.
        if index == 3 && fields[5] != "*" || index != 3 && count % step == 0 {
            return None;
        }
        let mut values: Vec<String> =
            (first..first + count).step_by(step as usize).map(|value| value.to_string()).collect();
        if values.len() > 4 {
            values.splice(2..values.len() - 1, ["…".into()]);
        }
        let instead = match (index, fields) {
            (0, _) if is_any(&fields[1..6]) => Some(format!("every {step}s")),
            (1, ["0", ..]) if is_any(&fields[2..6]) => Some(format!("every {step}m")),
            (2, ["0", ..]) if is_any(&fields[3..6]) => Some(format!("every {step}h from 2027-03-17T00:00")),
            (3, ["0", minute, hour, ..]) if is_any(&fields[4..6]) => match (minute.parse::<u32>(), hour.parse::<u32>())
            {
                (Ok(minute), Ok(hour)) => {
                    Some(format!("daily {hour:02}:{minute:02} every {step} days from 2027-03-17"))
                }
                _ => None,
            },
            _ => None,
        };
        let also = if values.len() > 1 { format!(", then {first} of the next {within}") } else { String::new() };
        let instead = instead.map_or_else(String::new, |text| format!("; for equal distances write `{text}`"));
        let values = values.join(", ");
        Some(format!("`*/{step}` counts within each {within}: it matches {unit} {values}{also}{instead}"))
    };
    FIELDS.into_iter().enumerate().filter_map(uneven).collect()
}

/// Returns a note on an expression with both day fields: a day need match only one of them.
fn two_day_fields(fields: &[&str], at: usize) -> Option<String> {
    let (day_of_month, day_of_week) = (*fields.get(at + 2)?, *fields.get(at + 4)?);
    if day_of_month.starts_with('*') || day_of_week.starts_with('*') {
        return None;
    }
    let nth = match day_of_month {
        "1-7" => Some(("#1", "first")),
        "8-14" => Some(("#2", "second")),
        "15-21" => Some(("#3", "third")),
        "22-28" => Some(("#4", "fourth")),
        "25-31" => Some(("L", "last")),
        _ => None,
    };
    let instead = nth.zip(day_of(day_of_week)).map(|((nth, which), day)| {
        let mut fields = fields.to_vec();
        let of_week = format!("{day}{nth}");
        (fields[at + 2], fields[at + 4]) = ("*", &of_week);
        format!("; for the {which} {day} of a month write `cron {}`", fields.join(" "))
    });
    Some(format!(
        "it is due on each day that matches the day of the month (`{day_of_month}`) or the day of the week \
         (`{day_of_week}`), as in cron(8), not only on days that match both{}",
        instead.unwrap_or_default()
    ))
}
