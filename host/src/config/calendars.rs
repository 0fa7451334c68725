//! The calendars in the settings.

use std::{collections::BTreeMap, path::Path};

use roost_scheduler::{
    limits::{CALENDAR_RANGES, CALENDARS},
    names::CalendarName,
    text::grouped,
    trigger::{Dates, parse_dates},
};

use super::document::{Table, Value};
use crate::{calendars::Source, report::Report};

const KEYS: [&str; 3] = ["name", "file", "dates"];
const HOW: &str = "begin each one with a line `[[calendar]]`, and below it `name = \"holidays\"`, and \
                   `file = \"holidays.ics\"` or `dates = [\"2026-12-25\", \"2027-03-26..2027-03-29\"]`";

/// Reads `[[calendar]]`.
pub(super) fn read_calendars(folder: &Path, value: &Value<'_>) -> Result<BTreeMap<CalendarName, Source>, Report> {
    let mut calendars = BTreeMap::new();
    let list = value.list().map_err(|report| report.hint(HOW))?;
    if list.len() > CALENDARS {
        return Err(value.error(format!("there are {} calendars, and there may be {CALENDARS}", list.len())));
    }
    for value in list {
        let table = value.table(&KEYS).map_err(|report| match value.any_table() {
            Ok(_) => report,
            Err(_) => report.hint(HOW),
        })?;
        let named = table.get("name").ok_or_else(|| table.error("a calendar has no `name`").hint(HOW))?;
        let name = named.parsed(CalendarName::parse)?;
        let source = read_source(folder, &table, &name)?;
        if calendars.insert(name.clone(), source).is_some() {
            let hint = "leave one of them out; a job can name several calendars: `except holidays,school`";
            return Err(named.error(format!("there are two calendars `{name}`")).hint(hint));
        }
    }
    Ok(calendars)
}

fn read_source(folder: &Path, table: &Table<'_>, name: &CalendarName) -> Result<Source, Report> {
    match (table.get("file"), table.get("dates")) {
        (Some(file), None) => Ok(Source::File(folder.join(file.text()?))),
        (None, Some(dates)) => Ok(Source::Dates(read_dates(&dates)?)),
        (Some(_), Some(dates)) => Err(dates
            .error(format!("the calendar `{name}` has a `file` and `dates`"))
            .hint("leave one of them out; a job can name several calendars: `except holidays,school`")),
        (None, None) => Err(table.error(format!("the calendar `{name}` has neither a `file` nor `dates`")).hint(HOW)),
    }
}

fn read_dates(value: &Value<'_>) -> Result<Dates, Report> {
    let example = "write dates and ranges of dates in quotes: `[\"2026-12-25\", \"2027-03-26..2027-03-29\"]`";
    let list = value.list().map_err(|report| report.hint(example))?;
    if list.len() > CALENDAR_RANGES {
        let most = grouped(CALENDAR_RANGES);
        return Err(value.error(format!("there are {} dates, and there may be {most}", grouped(list.len()))));
    }
    let range = |item: &Value<'_>| item.parsed(parse_dates).map_err(|report| report.hint(example));
    list.iter().map(range).collect::<Result<_, _>>().map(Dates::new)
}
