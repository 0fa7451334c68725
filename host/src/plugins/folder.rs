//! What lies in the plugin folder, and which of it has come to rest. Knows the file system and no notifications: it is
//! told what changed, and snapshots again (I9).

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use roost_scheduler::names::PluginName;

use self::reading::{Snapshot, Reading, identity, read};
pub(super) use self::reading::{SettingsText, read_settings, settings_at};
use super::{
    bytes::{Bytes, LoadRoom},
    limits,
};
use crate::report::Report;

/// Both files of a plugin, read when they had come to rest.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) plugin: PluginName,
    pub(super) component: Bytes,
    pub(super) settings: Option<SettingsText>,
}

/// What a snapshot at the folder found.
#[derive(Debug)]
pub(super) enum FolderEvent {
    /// New or changed.
    Ready(Candidate),
    /// Gone for long enough.
    Removed(PluginName),
    /// To be told to people; of a plugin, if it is about one.
    Faulty(Option<PluginName>, Report),
    /// Every file that lay in the folder when the host started has been offered or reported. Comes once.
    InitialScanDone,
}

/// How a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debounce {
    /// Its writer has closed it, or it was moved here whole.
    Finished,
    /// It was linked here, or copying has just begun.
    Begun,
    /// Someone is writing. The end of it is announced, so this only has to outlast a pause.
    Written,
}

impl Debounce {
    const fn quiet(self) -> Duration {
        match self {
            Self::Finished => Duration::from_millis(20),
            Self::Begun => Duration::from_millis(300),
            Self::Written => Duration::from_secs(2),
        }
    }
}

/// A change that nothing announced must not go on for this long.
const UNANNOUNCED: Duration = Duration::from_millis(500);
const INCOMPLETE_RETRY: Duration = Duration::from_millis(250);
const INCOMPLETE_REPORTED: Duration = Duration::from_secs(2);
/// I9: what comes back within this time was never gone.
const GONE: Duration = Duration::from_secs(3);

/// The two files of one name.
#[derive(Debug, Default)]
struct Entry {
    /// Whether the host counts on it: it was offered, or something was told of it, or it ran before the host started.
    present: bool,
    /// As they were when they were last read.
    read: Snapshot,
    unsettled: Option<Unsettled>,
    gone_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Unsettled {
    component_until: Instant,
    settings_until: Instant,
    /// Where nothing announced the change: it has to snapshot the same again.
    expected: Option<Snapshot>,
    incomplete_since: Option<Instant>,
    /// Since when settings that were there are not.
    without_settings_since: Option<Instant>,
}

impl Unsettled {
    fn until(&self) -> Instant {
        self.component_until.max(self.settings_until)
    }

    fn again(&mut self, at: Instant) {
        self.component_until = at;
        self.settings_until = at;
    }
}

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    entries: BTreeMap<PluginName, Entry>,
    misnamed: HashSet<OsString>,
    /// Which folder it is, by device and inode: a mount or a new folder is another one.
    seen: Option<(u64, u64)>,
    /// The names it had when it was found to have none of the known plugins (I9).
    unmounted: Option<BTreeSet<PluginName>>,
    unreadable: bool,
    room: LoadRoom,
}

impl Folder {
    pub(super) fn new(path: PathBuf, known: impl IntoIterator<Item = PluginName>, room: LoadRoom) -> Self {
        let entries = known.into_iter().map(|name| (name, Entry { present: true, ..Entry::default() })).collect();
        Self { path, entries, misnamed: HashSet::new(), seen: None, unmounted: None, unreadable: false, room }
    }

    /// Whether the last scan could not read it.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Whether no file in it is still coming to rest.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.values().all(|entry| entry.unsettled.is_none())
    }

    /// Something happened to a path in it.
    pub(super) fn touched(&mut self, path: &Path, touch: Debounce, now: Instant) {
        let (Some(name), Some(extension)) = (plugin_name(path), path.extension()) else { return };
        let entry = self.entries.entry(name).or_default();
        let unsettled = entry.unsettled.get_or_insert(Unsettled {
            component_until: now,
            settings_until: now,
            expected: None,
            incomplete_since: None,
            without_settings_since: None,
        });
        unsettled.expected = None;
        if unsettled.without_settings_since.take().is_some() {
            unsettled.again(now);
        }
        if extension == "wasm" {
            unsettled.component_until = now + touch.quiet();
        } else {
            unsettled.settings_until = now + touch.quiet();
        }
    }

    /// Looks at everything. Answers whether it is another folder than before, so that it has to be watched anew.
    pub(super) fn scan(&mut self, now: Instant, folder_events: &mut Vec<FolderEvent>) -> bool {
        let (identity, snapshots) = match self.list(folder_events) {
            Ok(listed) => listed,
            Err(error) => {
                self.became_unreadable(&error, folder_events);
                return false;
            }
        };
        self.unreadable = false;
        let renewed = self.seen.replace(identity) != Some(identity);
        self.check_mount(renewed, &snapshots, folder_events);
        for (name, snapshot) in &snapshots {
            let entry = self.entries.entry(name.clone()).or_default();
            if *snapshot != entry.read && entry.unsettled.is_none() {
                // What lies there when the folder is first seen has most likely lain there for long.
                let at = if renewed { now } else { now + UNANNOUNCED };
                let expected = (!renewed).then_some(*snapshot);
                entry.unsettled = Some(Unsettled {
                    component_until: at,
                    settings_until: at,
                    expected,
                    incomplete_since: None,
                    without_settings_since: None,
                });
            }
        }
        for (name, entry) in &mut self.entries {
            let here = snapshots.get(name).is_some_and(|snapshot| snapshot.component.is_some());
            if here {
                entry.gone_since = None;
            } else if entry.present {
                entry.gone_since.get_or_insert(now);
            }
        }
        self.entries.retain(|name, entry| entry.present || entry.unsettled.is_some() || snapshots.contains_key(name));
        renewed
    }

    /// What has come to rest by now.
    pub(super) fn settle(&mut self, now: Instant, folder_events: &mut Vec<FolderEvent>) {
        let due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.unsettled.is_some_and(|unsettled| unsettled.until() <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.settle_one(&name, now, folder_events);
        }
        self.withdraw(now, folder_events);
    }

    /// When to settle again.
    pub(super) fn wake(&self) -> Option<Instant> {
        let unsettled = |entry: &Entry| entry.unsettled.map(|unsettled| unsettled.until());
        let gone = |entry: &Entry| {
            let counts = self.unmounted.is_none() && !self.unreadable;
            entry.gone_since.filter(|_| counts).map(|since| since + GONE)
        };
        self.entries.values().flat_map(|entry| [unsettled(entry), gone(entry)]).flatten().min()
    }

    fn settle_one(&mut self, name: &PluginName, now: Instant, folder_events: &mut Vec<FolderEvent>) {
        let (component, settings) = (self.file(name, "wasm"), self.file(name, "toml"));
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Some(mut unsettled) = entry.unsettled.take() else { return };
        let snapshot = Snapshot { component: identity(&component), settings: identity(&settings) };
        if unsettled.expected.is_some_and(|expected| expected != snapshot) {
            unsettled.expected = Some(snapshot);
            unsettled.again(now + UNANNOUNCED);
            entry.unsettled = Some(unsettled);
            return;
        }
        if snapshot.component.is_none() {
            if entry.present {
                entry.gone_since.get_or_insert(now);
            } else if snapshot.settings.is_some() {
                tracing::debug!(plugin = %name, "there are settings, but no plugin yet");
            }
            entry.read = snapshot;
            return;
        }
        entry.gone_since = None;
        if snapshot.settings.is_none() && entry.read.settings.is_some() {
            // Without them it would run with defaults.
            let end = *unsettled.without_settings_since.get_or_insert(now) + GONE;
            if now < end {
                unsettled.again(end);
                entry.unsettled = Some(unsettled);
                return;
            }
        }
        match read(name, &component, &settings, snapshot, &self.room) {
            Reading::Whole(candidate) => {
                entry.present = true;
                entry.read = snapshot;
                folder_events.push(FolderEvent::Ready(candidate));
                if self.unmounted.as_ref().is_some_and(|then| !then.contains(name)) {
                    self.is_mounted();
                }
            }
            Reading::Changing => {
                unsettled.again(now + Debounce::Finished.quiet());
                entry.unsettled = Some(unsettled);
            }
            Reading::Waiting => {
                unsettled.again(now + limits::LOAD_PAUSE);
                entry.unsettled = Some(unsettled);
            }
            Reading::Incomplete => {
                let since = *unsettled.incomplete_since.get_or_insert(now);
                if now.duration_since(since) < INCOMPLETE_REPORTED {
                    unsettled.again(now + INCOMPLETE_RETRY);
                    entry.unsettled = Some(unsettled);
                } else {
                    // It was told, and so has to be untold when it goes.
                    (entry.present, entry.read) = (true, snapshot);
                    let empty = snapshot.component.is_some_and(|identity| identity.size == 0);
                    folder_events.push(FolderEvent::Faulty(Some(name.clone()), incomplete(name, &component, empty)));
                }
            }
            Reading::Faulty(report) => {
                (entry.present, entry.read) = (true, snapshot);
                folder_events.push(FolderEvent::Faulty(Some(name.clone()), report));
            }
        }
    }

    /// I9: gone counts when the folder can be read, is the one it was, and the file has been gone for 3 s.
    fn withdraw(&mut self, now: Instant, folder_events: &mut Vec<FolderEvent>) {
        let overdue = |entry: &Entry| entry.gone_since.is_some_and(|since| now.duration_since(since) >= GONE);
        if self.unmounted.is_some() || !self.entries.values().any(overdue) {
            return;
        }
        if folder_identity(&self.path).ok() != self.seen {
            return;
        }
        for (name, entry) in &mut self.entries {
            if !overdue(entry) {
                continue;
            }
            entry.gone_since = None;
            // A link whose target is away, or a disk that fails, is not a removal.
            let found = fs::symlink_metadata(self.path.join(format!("{name}.wasm")));
            if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                entry.present = false;
                entry.read = Snapshot { component: None, ..entry.read };
                folder_events.push(FolderEvent::Removed(name.clone()));
            }
        }
    }

    fn file(&self, name: &PluginName, extension: &str) -> PathBuf {
        self.path.join(format!("{name}.{extension}"))
    }

    fn list(&mut self, folder_events: &mut Vec<FolderEvent>) -> io::Result<((u64, u64), BTreeMap<PluginName, Snapshot>)> {
        let identity_before = folder_identity(&self.path)?;
        let mut snapshots = BTreeMap::<PluginName, Snapshot>::new();
        let mut misnamed = HashSet::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let Some(extension) = path.extension().filter(|extension| *extension == "wasm" || *extension == "toml")
            else {
                continue;
            };
            let Some(identity) = identity(&path) else {
                self.not_a_file(&path, &mut misnamed, folder_events);
                continue;
            };
            match plugin_name(&path) {
                Some(name) if extension == "wasm" => snapshots.entry(name).or_default().component = Some(identity),
                Some(name) => snapshots.entry(name).or_default().settings = Some(identity),
                None => self.misname(&path, &mut misnamed, folder_events),
            }
        }
        self.misnamed = misnamed;
        Ok((identity_before, snapshots))
    }

    /// A file that would be a plugin if it were called otherwise: told once.
    fn misname(&self, path: &Path, misnamed: &mut HashSet<OsString>, folder_events: &mut Vec<FolderEvent>) {
        let Some(name) = path.file_name() else { return };
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            return;
        }
        misnamed.insert(name.to_owned());
        if self.misnamed.contains(name) {
            return;
        }
        let stem = path.file_stem().unwrap_or(name).to_string_lossy();
        let report = Report::new(format!("`{}` was not loaded", path.display()));
        let report = match PluginName::parse(&stem) {
            Err(error) => report.cause(error),
            Ok(_) => report,
        };
        folder_events.push(FolderEvent::Faulty(None, report.hint(better_name(&stem))));
    }

    /// A folder, a pipe, or a link that leads nowhere, where a plugin's file would be: told once.
    fn not_a_file(&self, path: &Path, misnamed: &mut HashSet<OsString>, folder_events: &mut Vec<FolderEvent>) {
        let Some(name) = path.file_name().filter(|name| !name.as_encoded_bytes().starts_with(b".")) else { return };
        let cause = match fs::metadata(path) {
            Ok(found) if found.is_file() => return,
            Ok(found) if found.is_dir() => "it is a folder".to_owned(),
            Ok(_) => "it is not an ordinary file".to_owned(),
            // It has just gone.
            Err(_) if fs::symlink_metadata(path).is_err() => return,
            Err(error) => format!("it leads to what cannot be read: {error}"),
        };
        misnamed.insert(name.to_owned());
        if !self.misnamed.contains(name) {
            let report = Report::new(format!("`{}` was not read", path.display())).cause(cause);
            folder_events.push(FolderEvent::Faulty(None, report.hint("put the file itself there, or remove it")));
        }
    }

    fn became_unreadable(&mut self, error: &io::Error, folder_events: &mut Vec<FolderEvent>) {
        self.seen = None;
        for entry in self.entries.values_mut() {
            entry.gone_since = None;
        }
        if !std::mem::replace(&mut self.unreadable, true) {
            let report = Report::new(format!("the plugin folder `{}` cannot be read", self.path.display()));
            let hint = "the plugins that run go on; changes are taken in as soon as it can be read";
            folder_events.push(FolderEvent::Faulty(None, report.cause(error).hint(hint)));
        }
    }

    /// I9: a folder that has none of the plugins it should have is most likely a mount point without its disk.
    fn check_mount(&mut self, renewed: bool, snapshots: &BTreeMap<PluginName, Snapshot>, folder_events: &mut Vec<FolderEvent>) {
        let files = || snapshots.iter().filter(|(_, snapshot)| snapshot.component.is_some()).map(|(name, _)| name);
        let is_known = |name: &PluginName| self.entries.get(name).is_some_and(|entry| entry.present);
        if files().any(is_known) {
            self.is_mounted();
        } else if renewed && self.entries.values().any(|entry| entry.present) {
            self.unmounted = Some(files().cloned().collect());
            let report = Report::new(format!("`{}` has none of the plugins that ran before", self.path.display()));
            let hint = "it is taken for a folder whose disk is missing, and they go on as they were\n\
                        to forget them, put any plugin into the folder, or one of them and delete it, while Roost runs";
            folder_events.push(FolderEvent::Faulty(None, report.hint(hint)));
        } else if self.unmounted.as_ref().is_some_and(|then| files().any(|name| !then.contains(name))) {
            self.is_mounted();
        }
    }

    /// From here on what is missing is gone; the next scan begins to count.
    fn is_mounted(&mut self) {
        if self.unmounted.take().is_some() {
            self.entries.values_mut().for_each(|entry| entry.gone_since = None);
        }
    }
}

/// The name that a file stands for, if it is one of a plugin's two.
fn plugin_name(path: &Path) -> Option<PluginName> {
    let extension = path.extension()?;
    if extension != "wasm" && extension != "toml" {
        return None;
    }
    PluginName::parse(path.file_stem()?.to_str()?).ok()
}

fn folder_identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn incomplete(name: &PluginName, component: &Path, empty: bool) -> Report {
    let how = if empty { "empty" } else { "cut off: a section says it is longer than the rest of the file" };
    Report::new(format!("plugin `{name}` was not loaded"))
        .cause(format!("`{}` is {how}", component.display()))
        .hint("copy it again; if it is still being copied, it is loaded when that is done")
}

/// What to do about a file whose name is no plugin's.
pub(super) fn better_name(stem: &str) -> String {
    match name_like(stem) {
        Some(name) => format!("rename the file to `{name}.wasm`"),
        None => "rename the file".into(),
    }
}

/// The plugin that was meant. Compilers write `coop_door.wasm` for a crate called `coop-door`.
pub(crate) fn name_like(stem: &str) -> Option<PluginName> {
    let letters = stem.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let better = letters.collect::<String>().to_ascii_lowercase();
    PluginName::parse(better.trim_matches('-')).ok()
}

#[cfg(test)]
mod tests;
