//! Reads the days of a calendar from an iCalendar file (RFC 5545).

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use icalendar::parser::{Component, Property, read_components, unfold};
use roost_scheduler::{
    calendar::{to_instant, to_local},
    text::excerpt,
    time::Instant,
    trigger::Dates,
    zone::Zone,
};

use super::{limits, recurrence::Rule, window::Window};
use crate::zones;

/// What a file contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) dates: Dates,
    /// Events that were not understood, or only in part.
    pub(super) notes: Vec<String>,
}

/// Why a file as a whole is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) why: String,
}

/// Reads the days of a file that lie around today, in the host's zone.
///
/// # Errors
/// If it is not complete, or not an iCalendar file. A single event that is not understood is left out, with a note.
pub(super) fn read(text: &str, today: NaiveDate, zone: Zone) -> Result<Contents, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    if text.is_empty() {
        return Err(Fault { line: 1, why: "it is empty".into() });
    }
    // The parser searches the whole rest of the text for this end of a line before it looks for another.
    let unfolded = unfold(text).lines().collect::<Vec<_>>().join("\r\n");
    let starts = starts(text);
    let lines = event_lines(&unfolded, &starts)?;
    let roots = read_components(&unfolded).map_err(|error| syntax(&starts, &error))?;
    let calendars = || roots.iter().filter(|root| is_named(root, "VCALENDAR"));
    let events: Vec<&Component<'_>> =
        calendars().flat_map(|root| &root.components).filter(|component| is_named(component, "VEVENT")).collect();
    if calendars().next().is_none() || events.len() != lines.len() {
        return Err(Fault { line: 1, why: "it is not an iCalendar file: it has no `BEGIN:VCALENDAR`".into() });
    }
    let zones = ZoneNames::default();
    let replaced = replaced(&events, &zones);
    let mut window = Window::around(today);
    let mut notes = Vec::new();
    let mut left_over = 0;
    for (event, line) in events.into_iter().zip(lines) {
        let mut reader = EventReader { event, zone, zones: &zones, window: &mut window, notes: Vec::new() };
        if let Err(why) = reader.read(&replaced) {
            reader.notes.push(format!("{why}; it is left out"));
        }
        for note in reader.notes {
            if notes.len() < limits::NOTES {
                notes.push(format!("line {line}, event {}: {note}", name(event)));
            } else {
                left_over += 1;
            }
        }
    }
    if left_over > 0 {
        notes.push(format!("and {left_over} more"));
    }
    Ok(Contents { dates: window.dates(), notes })
}

fn is_named(component: &Component<'_>, name: &str) -> bool {
    component.name.as_str().eq_ignore_ascii_case(name)
}

/// Returns the numbers of the lines of a text at which the lines of the unfolded text begin.
fn starts(text: &str) -> Vec<usize> {
    let begins = |(number, line): &(usize, &str)| *number == 1 || !line.starts_with([' ', '\t']);
    (1..).zip(text.lines()).filter(begins).map(|(number, _)| number).collect()
}

/// Checks that each component ends, and returns the lines on which events begin. The parser names no line but that of
/// a component, and its stack is as deep as the components: it must be given the very lines that are counted here.
fn event_lines(unfolded: &str, starts: &[usize]) -> Result<Vec<usize>, Fault> {
    let mut events = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    for (index, content) in unfolded.lines().enumerate() {
        let line = line_of(starts, index);
        let fault = |why| Fault { line, why };
        let content = content.trim_end();
        if content.is_empty() {
            continue;
        }
        let Some((key, name)) = content.split_once(':') else {
            return Err(fault(format!("`{}` is not a line of an iCalendar file", excerpt(content))));
        };
        if key.eq_ignore_ascii_case("BEGIN") {
            if open.len() == 1 && name.eq_ignore_ascii_case("VEVENT") {
                events.push(line);
            }
            open.push(name);
            if open.len() > limits::DEPTH {
                return Err(fault("its components lie too deep within one another".into()));
            }
        } else if key.eq_ignore_ascii_case("END") {
            match open.pop() {
                Some(begun) if begun.eq_ignore_ascii_case(name) => {}
                Some(begun) => return Err(fault(format!("`END:{}` is missing here", excerpt(begun)))),
                None => return Err(fault(format!("`END:{}` has no `BEGIN:`", excerpt(name)))),
            }
        }
    }
    match open.last() {
        None => Ok(events),
        Some(begun) => {
            let why = format!("it ends too early: `END:{}` is missing", excerpt(begun));
            Err(Fault { line: line_of(starts, usize::MAX), why })
        }
    }
}

/// Returns the number of the line at which a line of the unfolded text begins, by its index from 0.
fn line_of(starts: &[usize], index: usize) -> usize {
    starts.get(index).or(starts.last()).copied().unwrap_or(1)
}

/// Makes a fault of the parser's message, which counts the lines of the unfolded text.
fn syntax(starts: &[usize], message: &str) -> Fault {
    let places = message.split("at line ").skip(1);
    let numbers = places.filter_map(|rest| rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok());
    let unfolded: usize = numbers.max().unwrap_or(1);
    let line = line_of(starts, unfolded.saturating_sub(1));
    Fault { line, why: "a line of what begins there is not understood".into() }
}

/// The time zones that a file names. An unknown name is searched for in files, so each is searched for once.
#[derive(Default)]
struct ZoneNames(RefCell<HashMap<String, Option<Zone>>>);

impl ZoneNames {
    /// Finds a zone by the name that a file gives it, which may have a prefix such as `/citadel.org/20250101/`.
    fn find(&self, name: &str) -> Option<Zone> {
        let mut known = self.0.borrow_mut();
        if let Some(zone) = known.get(name) {
            return *zone;
        }
        if known.len() >= limits::ZONE_NAMES || name.len() > limits::ZONE_NAME_BYTES {
            return None;
        }
        let parts: Vec<&str> = name.trim_matches('/').split('/').collect();
        let tails = (0..parts.len()).map(|first| parts[first..].join("/"));
        let zone = tails.filter(|tail| !tail.is_empty()).find_map(|tail| zones::find(&tail).ok());
        known.insert(name.to_owned(), zone);
        zone
    }
}

/// Returns the moments of recurrences that events of their own replace, by the event's `UID`.
fn replaced<'a>(events: &[&'a Component<'_>], zones: &ZoneNames) -> HashMap<&'a str, Vec<Moment>> {
    let mut replaced: HashMap<&str, Vec<Moment>> = HashMap::new();
    for event in events {
        let moment = property(event, "RECURRENCE-ID").and_then(|value| Moment::of(value, zones).ok());
        if let (Some(moment), Some(uid)) = (moment, property(event, "UID")) {
            replaced.entry(uid.val.as_str()).or_default().push(moment);
        }
    }
    replaced
}

fn properties<'a>(event: &'a Component<'_>, name: &str) -> impl Iterator<Item = &'a Property<'a>> {
    event.properties.iter().filter(move |property| property.name.as_str().eq_ignore_ascii_case(name))
}

fn property<'a>(event: &'a Component<'_>, name: &str) -> Option<&'a Property<'a>> {
    properties(event, name).next()
}

fn parameter<'a>(property: &'a Property<'_>, name: &str) -> Option<&'a str> {
    let found = property.params.iter().find(|parameter| parameter.key.as_str().eq_ignore_ascii_case(name));
    found.and_then(|parameter| parameter.val.as_ref()).map(|value| value.as_str().trim_matches('"'))
}

/// Returns the name of an event for messages.
fn name(event: &Component<'_>) -> String {
    let named = property(event, "SUMMARY").or_else(|| property(event, "UID"));
    named.map_or_else(
        || "without a name".into(),
        |name| format!("`{}`", excerpt(name.val.clone().unescape_text().as_str())),
    )
}

/// A date, or a date and a time, as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    date: NaiveDate,
    /// The time, and its zone if the file names one that is known.
    time: Option<(NaiveTime, Option<Zone>)>,
}

impl Moment {
    fn of(property: &Property<'_>, zones: &ZoneNames) -> Result<Self, String> {
        Self::parse(property.val.as_str(), parameter(property, "TZID"), zones)
            .ok_or_else(|| format!("`{}:{}` is not a date", property.name, excerpt(property.val.as_str())))
    }

    /// Parses `20261225`, `20261225T090000` or `20261225T090000Z`.
    fn parse(text: &str, tzid: Option<&str>, zones: &ZoneNames) -> Option<Self> {
        let text = text.trim();
        let date = |text| NaiveDate::parse_from_str(text, "%Y%m%d").ok();
        let Some((day, time)) = text.split_once('T').filter(|(day, _)| day.len() == 8) else {
            return Some(Self { date: date(text).filter(|_| text.len() == 8)?, time: None });
        };
        let (time, zone) = match time.strip_suffix('Z') {
            Some(time) => (time, Some("UTC")),
            None => (time, tzid),
        };
        let time = NaiveTime::parse_from_str(time, "%H%M%S").ok().filter(|_| time.len() == 6)?;
        Some(Self { date: date(day)?, time: Some((time, zone.and_then(|name| zones.find(name)))) })
    }

    /// Returns its local date in a zone, and its time. One without a zone is in that zone.
    fn in_zone(&self, zone: Zone) -> (NaiveDate, NaiveTime) {
        match self.time {
            Some((time, Some(own))) if own != zone => to_local(to_instant(self.date, time, own), zone),
            Some((time, _)) => (self.date, time),
            None => (self.date, NaiveTime::MIN),
        }
    }
}

/// The length of an event.
enum Length {
    /// Whole days, 1 or more.
    Days(u64),
    /// From its times, in milliseconds.
    Milliseconds(i64),
}

impl Length {
    /// Returns how many dates it touches at most, 1 or more.
    fn days(&self) -> u64 {
        match self {
            Self::Days(days) => *days,
            Self::Milliseconds(ms) => ms.unsigned_abs() / 86_400_000 + 2,
        }
    }
}

/// Reads one event.
struct EventReader<'a, 'w> {
    event: &'a Component<'a>,
    /// The host's.
    zone: Zone,
    zones: &'w ZoneNames,
    window: &'w mut Window,
    notes: Vec<String>,
}

impl EventReader<'_, '_> {
    fn read(&mut self, replaced: &HashMap<&str, Vec<Moment>>) -> Result<(), String> {
        let text = |name| property(self.event, name).map(|property| property.val.as_str());
        if text("STATUS").is_some_and(|status| status.eq_ignore_ascii_case("CANCELLED")) {
            return Ok(());
        }
        let start = Moment::of(property(self.event, "DTSTART").ok_or("it has no `DTSTART`")?, self.zones)?;
        let zone = self.zone_of(&start);
        let length = self.length(&start, zone)?;
        let time = start.time.as_ref().map(|(time, _)| *time);
        let replacement = property(self.event, "RECURRENCE-ID");
        if replacement.is_some_and(|id| parameter(id, "RANGE").is_some()) {
            self.notes.push("`RANGE` is not understood: only one recurrence is replaced".into());
        }
        let of_others = text("UID").filter(|_| replacement.is_none()).and_then(|uid| replaced.get(uid));
        // Events of one `UID` may all be of the same recurrences.
        self.window.spend(of_others.map_or(0, |of_others| u32::try_from(of_others.len()).unwrap_or(u32::MAX)))?;
        let mut except: HashSet<NaiveDate> = of_others.into_iter().flatten().map(|id| id.in_zone(zone).0).collect();
        except.extend(self.list("EXDATE").iter().map(|moment: &Moment| moment.in_zone(zone).0));
        for moment in self.list("RDATE") {
            let (date, own) = moment.in_zone(zone);
            if !except.contains(&date) {
                self.mark(date, moment.time.as_ref().map(|_| own).or(time), zone, &length)?;
            }
        }
        let rules = self.rules(&start, zone);
        // The start is an occurrence, whatever its rules say.
        if !except.contains(&start.date) {
            self.mark(start.date, time, zone, &length)?;
        }
        for rule in rules {
            for date in self.recurrences(&rule, start.date, &length)? {
                if !except.contains(&date) {
                    self.mark(date, time, zone, &length)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the zone in which the event recurs.
    fn zone_of(&mut self, start: &Moment) -> Zone {
        let Some((_, zone)) = start.time else { return self.zone };
        let name = property(self.event, "DTSTART").and_then(|start| parameter(start, "TZID"));
        if let (None, Some(name)) = (zone, name) {
            let note =
                format!("`{}` is not an IANA time zone: its times are read as those of {}", excerpt(name), self.zone);
            self.notes.push(note);
        }
        zone.unwrap_or(self.zone)
    }

    fn length(&self, start: &Moment, zone: Zone) -> Result<Length, String> {
        let end = property(self.event, "DTEND").map(|end| Moment::of(end, self.zones)).transpose()?;
        let duration = property(self.event, "DURATION").map(|property| {
            let text = property.val.as_str();
            duration(text).ok_or_else(|| format!("`DURATION:{}` is not understood", excerpt(text)))
        });
        let ms = match (&end, duration.transpose()?) {
            (Some(end), _) if start.time.is_none() => (end.date - start.date).num_milliseconds(),
            (Some(end), _) => instant(end, zone).ms_since(instant(start, zone)),
            (None, Some(duration)) => duration.num_milliseconds(),
            (None, None) => 0,
        };
        if ms < 0 {
            return Err("it ends before it begins".into());
        }
        Ok(match start.time {
            None => Length::Days((ms.unsigned_abs() / 86_400_000).max(1)),
            Some(_) => Length::Milliseconds(ms),
        })
    }

    /// Returns the moments of properties that are lists.
    fn list(&mut self, name: &str) -> Vec<Moment> {
        let mut moments = Vec::new();
        for property in properties(self.event, name) {
            for text in property.val.as_str().split(',') {
                match Moment::parse(text, parameter(property, "TZID"), self.zones) {
                    Some(moment) => moments.push(moment),
                    None => self.notes.push(format!("`{}` in `{name}` is not understood", excerpt(text))),
                }
            }
        }
        moments
    }

    fn rules(&mut self, start: &Moment, zone: Zone) -> Vec<Rule> {
        let zones = self.zones;
        // A recurrence is within `UNTIL` if it begins by then.
        let last = |text: &str| {
            let until = Moment::parse(text, None, zones)
                .ok_or_else(|| format!("`UNTIL={}` is not understood", excerpt(text)))?;
            let (date, time) = until.in_zone(zone);
            let is_before = until.time.is_some() && start.time.as_ref().is_some_and(|(start, _)| *start > time);
            Ok(if is_before { date.pred_opt().unwrap_or(date) } else { date })
        };
        let mut rules = Vec::new();
        for property in properties(self.event, "RRULE") {
            let text = property.val.as_str();
            match Rule::parse(text, last) {
                Ok(rule) => rules.push(rule),
                Err(why) => {
                    self.notes
                        .push(format!("it recurs by `{}`, where {why}: only its first day counts", excerpt(text)));
                }
            }
        }
        if property(self.event, "EXRULE").is_some() {
            self.notes.push("`EXRULE` is not understood: the days that it excludes are not excluded".into());
        }
        rules
    }

    /// Returns the recurrences after the start that reach into the window.
    fn recurrences(&mut self, rule: &Rule, start: NaiveDate, length: &Length) -> Result<Vec<NaiveDate>, String> {
        let end = rule.until.map_or(self.window.end(), |until| until.min(self.window.end()));
        let reach = self.window.start().checked_sub_days(Days::new(length.days())).unwrap_or(start);
        // Those that are counted must be found from the start on.
        let first = if rule.count.is_some() { start } else { start.max(reach) };
        let mut left = rule.count.unwrap_or(u32::MAX);
        let mut dates = Vec::new();
        for date in first.iter_days().take_while(|date| *date <= end) {
            self.window.spend(rule.cost())?;
            if left > 0 && rule.contains(date, start) {
                left -= 1;
                dates.extend((date != start && date >= reach).then_some(date));
            }
        }
        Ok(dates)
    }

    /// Marks the local dates of the host that an occurrence touches.
    fn mark(&mut self, date: NaiveDate, time: Option<NaiveTime>, zone: Zone, length: &Length) -> Result<(), String> {
        match (time, length) {
            (Some(time), Length::Milliseconds(ms)) => {
                let start = to_instant(date, time, zone);
                let last = start.plus_ms((ms - 1).max(0));
                self.window.mark(to_local(start, self.zone).0, to_local(last, self.zone).0)
            }
            (_, length) => {
                let last = date.checked_add_days(Days::new(length.days() - 1));
                self.window.mark(date, last.unwrap_or(NaiveDate::MAX))
            }
        }
    }
}

/// Returns the instant of a moment; one without a zone of its own is in `zone`.
fn instant(moment: &Moment, zone: Zone) -> Instant {
    let (date, time) = moment.in_zone(zone);
    to_instant(date, time, zone)
}

/// Parses a duration such as `P1D`, `P2W` or `PT1H30M`.
fn duration(text: &str) -> Option<TimeDelta> {
    let text = text.trim().trim_start_matches('+').strip_prefix('P')?;
    let (mut total, mut number, mut in_time) = (TimeDelta::zero(), String::new(), false);
    for char in text.chars() {
        let unit = match char {
            'T' => {
                in_time = true;
                continue;
            }
            digit if digit.is_ascii_digit() && number.len() < 9 => {
                number.push(digit);
                continue;
            }
            'W' => TimeDelta::weeks(1),
            'D' => TimeDelta::days(1),
            'H' if in_time => TimeDelta::hours(1),
            'M' if in_time => TimeDelta::minutes(1),
            'S' if in_time => TimeDelta::seconds(1),
            _ => return None,
        };
        total = total.checked_add(&unit.checked_mul(number.parse().ok()?)?)?;
        number.clear();
    }
    number.is_empty().then_some(total)
}
