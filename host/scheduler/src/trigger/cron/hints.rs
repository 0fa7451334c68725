//! What people write who know cron from elsewhere, and what they mean.

/// What to write instead of an expression that is none.
pub(super) fn hint(expression: &str) -> Option<String> {
    let upper = expression.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    let first = fields.first().copied().unwrap_or_default();
    if let Some(zone) = ["CRON_TZ=", "TZ="].iter().find_map(|name| first.strip_prefix(name)) {
        // As it is written: zones have small letters.
        let (_, zone) = expression.split_at(first.len() - zone.len());
        let (zone, rest) = zone.trim_start().split_once(char::is_whitespace).unwrap_or((zone, "30 6 * * *"));
        return Some(format!("a time zone stands behind the expression: `cron {} in {zone}`", rest.trim()));
    }
    match first {
        "@EVERY" => {
            let period = expression.split_whitespace().nth(1).unwrap_or("15m");
            return Some(format!("a period is a trigger of its own: `every {period}`"));
        }
        "@REBOOT" => {
            return Some(
                "`now` runs once, at once; what should hold after a start, too, is a job of a group (`latest-of-group`): its \
                 newest run is made up for"
                    .into(),
            );
        }
        _ => {}
    }
    let days = || fields.iter().filter(|field| field.starts_with(|first: char| first.is_ascii_alphanumeric()));
    if fields.contains(&"?") {
        return Some(format!("`?` is `*` here: `cron {}`", expression.replace('?', "*")));
    }
    if let Some(before) = days().find_map(|field| field.strip_prefix("L-")) {
        return Some(format!(
            "`L` is the last day of a month, and no expression says {before} days before it: a plugin may compute the date and \
             list it as `at`"
        ));
    }
    let is_weeks =
        |field: &&&str| field.len() > 1 && field.ends_with('W') && field[..field.len() - 1].parse::<u32>().is_ok();
    if fields.len() == 1
        && let Some(weeks) = days().find(is_weeks).and_then(|field| field.trim_end_matches('W').parse::<u32>().ok())
    {
        return Some(format!("for a period of weeks write `every {}d`", weeks.saturating_mul(7)));
    }
    None
}

/// What an expression stands for that most people do not expect: with both day fields, a day need satisfy only one.
pub(super) fn note(expression: &str) -> Option<String> {
    let upper = expression.to_ascii_uppercase();
    let fields: Vec<&str> = upper.split_whitespace().collect();
    let at = usize::from(fields.len() > 5);
    let (day_of_month, day_of_week) = (*fields.get(at + 2)?, *fields.get(at + 4)?);
    if fields.len() < 5 || day_of_month.starts_with('*') || day_of_week.starts_with('*') {
        return None;
    }
    let is_one_day = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let nth = match day_of_month {
        "1-7" => Some("#1"),
        "8-14" => Some("#2"),
        "15-21" => Some("#3"),
        "22-28" => Some("#4"),
        "25-31" => Some("L"),
        _ => None,
    };
    let day = match day_of_week {
        "0" | "7" => "SUN",
        "1" => "MON",
        "2" => "TUE",
        "3" => "WED",
        "4" => "THU",
        "5" => "FRI",
        "6" => "SAT",
        name => name,
    };
    let instead = nth.filter(|_| is_one_day(day_of_week)).map(|nth| {
        let mut fields = fields.clone();
        let day = format!("{day}{nth}");
        (fields[at + 2], fields[at + 4]) = ("*", &day);
        let which = match nth {
            "#1" => "first",
            "#2" => "second",
            "#3" => "third",
            "#4" => "fourth",
            _ => "last",
        };
        format!("; for the {which} {} of a month write `cron {}`", &day[..3], fields.join(" "))
    });
    Some(format!(
        "it is due on each day that the day of the month (`{day_of_month}`) or the day of the week (`{day_of_week}`) says, as in \
         cron(8), not only where both do{}",
        instead.unwrap_or_default()
    ))
}
