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

/// Returns a note on an expression with both day fields: a day need match only one of them, which most users do not
/// expect.
pub(super) fn note(expression: &str) -> Option<String> {
    let upper = expression.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    let at = usize::from(fields.len() > 5);
    let (day_of_month, day_of_week) = (*fields.get(at + 2)?, *fields.get(at + 4)?);
    if fields.len() < 5 || day_of_month.starts_with('*') || day_of_week.starts_with('*') {
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
        let mut fields = fields.clone();
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
