//! Calendars: the named days that triggers are limited to, such as `holidays`.
//!
//! Their contents belong to the process, like the time zones: jobs, requests and pages all name them, and must refer to
//! the same ones. A calendar that has never been read is none: a job that names it is refused, rather than due on days
//! that the operator wants to leave out. One that has been read keeps its days, also over a restart, until its file can
//! be read again.

mod ics;
mod limits;
mod recurrence;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{LazyLock, PoisonError, RwLock},
    thread,
};

use roost_scheduler::{
    calendar::to_local,
    event::Event,
    limits::CALENDAR_RANGES,
    names::CalendarName,
    text::grouped,
    time::Instant,
    trigger::{Almanac, Calendars, Dates},
    zone::Zone,
};

use tokio::sync::mpsc;

use crate::{
    clock,
    files::{self, Folder},
    report::{Report, utf8},
};

static IN_USE: LazyLock<RwLock<InUse>> = LazyLock::new(RwLock::default);

/// The calendars of the process.
#[derive(Default)]
struct InUse {
    contents: Calendars,
    states: Vec<CalendarState>,
}

/// Returns the calendars that are in use.
pub(crate) fn in_use() -> Calendars {
    IN_USE.read().unwrap_or_else(PoisonError::into_inner).contents.clone()
}

/// Returns an almanac with the calendars that are in use.
pub(crate) fn almanac() -> Almanac {
    Almanac::new(in_use())
}

/// Returns whether there is a calendar of that name, and has been read.
pub(crate) fn has(name: &CalendarName) -> bool {
    in_use().dates(name).is_some()
}

/// Returns the calendars in the settings, in the order of their names.
pub(crate) fn states() -> Vec<CalendarState> {
    IN_USE.read().unwrap_or_else(PoisonError::into_inner).states.clone()
}

/// The days of a calendar in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the settings themselves.
    Dates(Dates),
    /// In an iCalendar file.
    File(PathBuf),
}

/// A calendar in the settings, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CalendarState {
    pub(crate) name: CalendarName,
    pub(crate) source: Source,
    /// Its days; `None` if it has never been read.
    pub(crate) dates: Option<Dates>,
    /// The modification time of the file, or of its copy, that the days are from.
    pub(crate) as_of: Option<Instant>,
    /// Why its file cannot be read, and what stays in use.
    pub(crate) fault: Option<Report>,
    /// Events that were not understood, or only in part.
    pub(crate) notes: Vec<String>,
}

impl CalendarState {
    /// Returns what is wrong with it.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = Report> {
        let of_event = |note: &String| Report::new(format!("the calendar `{}`, {note}", self.name));
        self.fault.iter().cloned().chain(self.notes.iter().map(of_event))
    }

    fn log(&self) {
        if let (Some(dates), None) = (&self.dates, &self.fault) {
            tracing::info!("the calendar `{}` has {}", self.name, days_of(dates));
        }
        self.warnings().for_each(|warning| tracing::warn!("{warning}"));
    }
}

/// Values that change with a file: its inode, its size and its time of modification.
type Fingerprint = Option<(u64, u64, i64, i64)>;

fn fingerprint(path: &Path) -> Fingerprint {
    fs::metadata(path).ok().map(|of| (of.ino(), of.len(), of.mtime(), of.mtime_nsec()))
}

/// Reads the calendars, at the start and when their files change.
#[derive(Debug)]
pub(crate) struct Reader {
    calendars: Vec<Calendar>,
    /// The folder with copies of the files that were read last.
    copies: PathBuf,
    /// The host's zone.
    zone: Zone,
    /// When the recurrences were followed.
    expanded: Instant,
}

#[derive(Debug)]
struct Calendar {
    state: CalendarState,
    /// The file's state when it was read, and at the last check.
    read: Fingerprint,
    seen: Fingerprint,
    /// What the copy is to contain.
    bytes: Option<Vec<u8>>,
}

impl Reader {
    /// Reads all calendars. The copies are those that a host keeps in its data folder.
    pub(crate) fn open(sources: &BTreeMap<CalendarName, Source>, data: &Path, zone: Zone, now: Instant) -> Self {
        let copies = data.join("calendars");
        let calendars = sources.iter().map(|(name, source)| Calendar::open(name, source, &copies, zone, now)).collect();
        let reader = Self { calendars, copies, zone, expanded: now };
        reader.publish();
        reader
    }

    /// Reads the files that have changed, and all of them once a day. A file is copied byte by byte, so a change is read
    /// when the file is the same in two checks. Returns the contents if they may have changed.
    fn look_again(&mut self, now: Instant) -> Option<Calendars> {
        let is_due = now.ms_since(self.expanded).abs() >= limits::EXPAND_EVERY_MS;
        if is_due {
            self.expanded = now;
        }
        let mut is_read = false;
        for calendar in &mut self.calendars {
            is_read |= calendar.look_again(is_due, self.zone, now);
        }
        is_read.then(|| {
            self.publish();
            self.contents()
        })
    }

    fn contents(&self) -> Calendars {
        let named = |calendar: &Calendar| Some((calendar.state.name.clone(), calendar.state.dates.clone()?));
        self.calendars.iter().filter_map(named).collect()
    }

    fn publish(&self) {
        let states = self.calendars.iter().map(|calendar| calendar.state.clone()).collect();
        let in_use = InUse { contents: self.contents(), states };
        *IN_USE.write().unwrap_or_else(PoisonError::into_inner) = in_use;
    }

    /// Keeps copies of the files that have been read, so that their days outlive a restart without the files.
    fn keep_copies(&mut self) {
        for calendar in &mut self.calendars {
            let Some(bytes) = calendar.bytes.take() else { continue };
            let name = copy_of(&calendar.state.name);
            if fs::read(self.copies.join(&name)).is_ok_and(|kept| kept == bytes) {
                continue;
            }
            let kept = make_folder(&self.copies)
                .and_then(|folder| folder.replace(&name, &format!("{name}.part"), &bytes, files::PRIVATE));
            if let Err(error) = kept {
                let (what, folder) = (&calendar.state.name, self.copies.display());
                let report = Report::new(format!("no copy of the calendar `{what}` can be kept in `{folder}`"));
                tracing::warn!("{}", report.cause(error));
            }
        }
    }

    /// Checks the files for as long as the process runs, and reports what changes.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub(crate) fn watch(mut self, events: mpsc::Sender<Event>) -> io::Result<()> {
        self.calendars.iter().for_each(|calendar| calendar.state.log());
        self.keep_copies();
        if !self.calendars.iter().any(|calendar| matches!(calendar.state.source, Source::File(_))) {
            return Ok(());
        }
        let watch = move || {
            loop {
                thread::sleep(limits::LOOK_EVERY);
                let Some(contents) = self.look_again(clock::now()) else { continue };
                self.keep_copies();
                if events.blocking_send(Event::CalendarsChanged(contents)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("calendars".into()).spawn(watch).map(drop)
    }
}

fn make_folder(path: &Path) -> io::Result<Folder> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Folder::open(path),
    }
}

fn copy_of(name: &CalendarName) -> String {
    format!("{name}.ics")
}

impl Calendar {
    fn open(name: &CalendarName, source: &Source, copies: &Path, zone: Zone, now: Instant) -> Self {
        let (name, source) = (name.clone(), source.clone());
        let dates = if let Source::Dates(dates) = &source { Some(dates.clone()) } else { None };
        let state = CalendarState { name, source, dates, as_of: None, fault: None, notes: Vec::new() };
        let mut calendar = Self { state, read: None, seen: None, bytes: None };
        let Source::File(path) = calendar.state.source.clone() else { return calendar };
        // Taken before the file is read, so that a later change is noticed.
        let seen = fingerprint(&path);
        (calendar.read, calendar.seen) = (seen, seen);
        if let Err(report) = calendar.read(&path, zone, now) {
            let copy = copies.join(copy_of(&calendar.state.name));
            // A copy that cannot be read is as good as none.
            let _ = calendar.read(&copy, zone, now);
            calendar.bytes = None;
            calendar.set_fault(report, zone);
        }
        calendar
    }

    /// Checks the file. Returns whether it was read, or could not be.
    fn look_again(&mut self, is_due: bool, zone: Zone, now: Instant) -> bool {
        let Source::File(path) = self.state.source.clone() else { return false };
        let seen = fingerprint(&path);
        let has_settled = std::mem::replace(&mut self.seen, seen) == seen;
        if !has_settled || (seen == self.read && !is_due) {
            return false;
        }
        self.read = seen;
        let before = self.state.clone();
        if let Err(report) = self.read(&path, zone, now) {
            self.set_fault(report, zone);
        }
        let is_other = self.state != before;
        if is_other {
            self.state.log();
        }
        is_other
    }

    /// Reads a file and adopts its days.
    fn read(&mut self, path: &Path, zone: Zone, now: Instant) -> Result<(), Report> {
        let wrong = |why: String| Report::new(format!("the calendar `{}` cannot be read", self.state.name)).cause(why);
        let shown = path.display();
        let bytes = files::read(path, limits::FILE_BYTES).map_err(|error| wrong(format!("{shown}: {error}")))?;
        let as_of = fs::metadata(path).and_then(|found| found.modified()).ok();
        let text = utf8(bytes.clone()).map_err(|why| wrong(format!("{shown}: {why}")))?;
        let contents = ics::read(&text, to_local(now, zone).0, zone)
            .map_err(|fault| wrong(format!("{shown}:{}: {}", fault.line, fault.why)))?;
        let count = contents.dates.ranges().len();
        if count > CALENDAR_RANGES {
            let (count, most) = (grouped(count), grouped(CALENDAR_RANGES));
            return Err(wrong(format!("{shown}: it has {count} separate days, and may have {most}")));
        }
        self.state.dates = Some(contents.dates);
        self.state.notes = contents.notes;
        self.state.as_of = as_of.map(|at| Instant::from(chrono::DateTime::<chrono::Utc>::from(at)));
        self.state.fault = None;
        self.bytes = Some(bytes);
        Ok(())
    }

    fn set_fault(&mut self, report: Report, zone: Zone) {
        let hint = match (&self.state.dates, self.state.as_of) {
            (Some(dates), Some(at)) => {
                let (days, at) = (days_of(dates), at.to_utc().with_timezone(&zone));
                let at = at.format("%Y-%m-%d %H:%M");
                format!("correct the file; until then its days as of {at} stay in use ({days})")
            }
            _ => "correct the file; until then a job that names the calendar is refused".into(),
        };
        self.state.fault = Some(report.hint(hint));
    }
}

/// Formats a number of days, such as `12 days`.
pub(crate) fn days_of(dates: &Dates) -> String {
    match dates.count() {
        1 => "1 day".into(),
        count => format!("{} days", grouped(count)),
    }
}
