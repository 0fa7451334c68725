//! The state of the plugin folder: finds the files that have settled, which means that they are no longer being
//! written. It reads the file system; the watch passes it notifications (I9).

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use roost_scheduler::{names::PluginName, suggest};

use self::reading::{Reading, Snapshot, identity, read};
pub(super) use self::reading::{SettingsText, read_settings, settings_at};
use super::{
    bytes::{Bytes, LoadRoom},
    limits,
};
use crate::report::Report;

/// The two files of a plugin, read after they settled.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) plugin: PluginName,
    pub(super) component: Bytes,
    pub(super) settings: Option<SettingsText>,
}

/// A change in the folder.
#[derive(Debug)]
pub(super) enum FolderEvent {
    /// The files of a plugin are new or changed.
    Ready(Candidate),
    /// A plugin's file has been gone for long enough.
    Removed(PluginName),
    /// A fault to report, and the plugin if it is about one.
    Faulty(Option<PluginName>, Report),
    /// The plugins in the folder at the start of the host. Sent once, before they are reported.
    Listed(Vec<PluginName>),
    /// Each of them has been reported as ready or faulty, or is still being written. Sent once.
    InitialScanDone,
}

/// The kind of a change to a file, which determines how long the file must stay unchanged until it has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debounce {
    /// Its writer has closed it, or it was moved into the folder.
    Finished,
    /// It was created: linked, or the start of a copy.
    Begun,
    /// It is being written. The end will be notified, so this only has to outlast a pause of the writer.
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

/// The two files of one plugin.
#[derive(Debug, Default)]
struct Entry {
    /// Whether its removal must be reported: it was reported as ready or faulty, or ran before the host started.
    present: bool,
    /// The files' identities when they were last read.
    read: Snapshot,
    unsettled: Option<Unsettled>,
    gone_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Unsettled {
    component_until: Instant,
    settings_until: Instant,
    /// If a scan found the change: the snapshot that the files must still have.
    expected: Option<Snapshot>,
    incomplete_since: Option<Instant>,
    /// Since when the settings file is missing, if there was one before.
    without_settings_since: Option<Instant>,
}

impl Unsettled {
    fn until(&self) -> Instant {
        self.component_until.max(self.settings_until)
    }

    fn retry_at(&mut self, at: Instant) {
        self.component_until = at;
        self.settings_until = at;
    }
}

/// The plugin folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    entries: BTreeMap<PluginName, Entry>,
    /// The files that were reported as not loadable by their name or kind.
    misnamed: HashSet<OsString>,
    /// The device and inode of the folder at the last scan. A mount or a new folder has others.
    seen: Option<(u64, u64)>,
    /// The plugins it had when it was found to have none of the known ones, as if its disk were missing (I9).
    unmounted: Option<BTreeSet<PluginName>>,
    unreadable: bool,
    room: LoadRoom,
}

impl Folder {
    pub(super) fn new(path: PathBuf, known: impl IntoIterator<Item = PluginName>, room: LoadRoom) -> Self {
        let entries = known.into_iter().map(|name| (name, Entry { present: true, ..Entry::default() })).collect();
        Self { path, entries, misnamed: HashSet::new(), seen: None, unmounted: None, unreadable: false, room }
    }

    /// Checks whether the last scan failed to read the folder.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// Returns the plugins whose files have not been read yet.
    pub(super) fn unread(&self) -> Vec<PluginName> {
        let unread = self.entries.iter().filter(|(_, entry)| entry.unsettled.is_some()).map(|(name, _)| name);
        unread.filter(|name| identity(&self.file(name, "wasm")).is_some()).cloned().collect()
    }

    /// Checks whether all files have settled.
    pub(super) fn is_settled(&self) -> bool {
        self.entries.values().all(|entry| entry.unsettled.is_none())
    }

    /// Handles a notification about a path in the folder.
    pub(super) fn on_change(&mut self, path: &Path, debounce: Debounce, now: Instant) {
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
            unsettled.retry_at(now);
        }
        if extension == "wasm" {
            unsettled.component_until = now + debounce.quiet();
        } else {
            unsettled.settings_until = now + debounce.quiet();
        }
    }

    /// Scans the whole folder. Returns whether it is another folder than before, so that the caller must watch it
    /// again.
    pub(super) fn scan(&mut self, now: Instant, folder_events: &mut Vec<FolderEvent>) -> bool {
        let (identity, snapshots) = match self.list(folder_events) {
            Ok(listed) => listed,
            Err(error) => {
                self.mark_unreadable(&error, folder_events);
                return false;
            }
        };
        self.unreadable = false;
        let renewed = self.seen.replace(identity) != Some(identity);
        self.check_mount(renewed, &snapshots, folder_events);
        for (name, snapshot) in &snapshots {
            let entry = self.entries.entry(name.clone()).or_default();
            if *snapshot != entry.read && entry.unsettled.is_none() {
                // Files found by the first scan of a folder have most likely not changed recently.
                let at = if renewed { now } else { now + limits::UNANNOUNCED };
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

    /// Reads the files that have settled by now.
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
        self.report_removed(now, folder_events);
    }

    /// Returns when [`Self::settle`] has to be called again.
    pub(super) fn wake(&self) -> Option<Instant> {
        let unsettled = |entry: &Entry| entry.unsettled.map(|unsettled| unsettled.until());
        let gone = |entry: &Entry| {
            let counts = self.unmounted.is_none() && !self.unreadable;
            entry.gone_since.filter(|_| counts).map(|since| since + limits::GONE)
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
            unsettled.retry_at(now + limits::UNANNOUNCED);
            entry.unsettled = Some(unsettled);
            return;
        }
        if snapshot.component.is_none() {
            if entry.present {
                entry.gone_since.get_or_insert(now);
            } else if snapshot.settings.is_some() {
                tracing::debug!(plugin = %name, "there is a settings file, but no plugin yet");
            }
            entry.read = snapshot;
            return;
        }
        entry.gone_since = None;
        if snapshot.settings.is_none() && entry.read.settings.is_some() {
            // Waits, because without settings the plugin would run with defaults.
            let end = *unsettled.without_settings_since.get_or_insert(now) + limits::GONE;
            if now < end {
                unsettled.retry_at(end);
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
                    self.mark_mounted();
                }
            }
            Reading::Changing => {
                unsettled.retry_at(now + Debounce::Finished.quiet());
                entry.unsettled = Some(unsettled);
            }
            Reading::Waiting => {
                unsettled.retry_at(now + limits::LOAD_PAUSE);
                entry.unsettled = Some(unsettled);
            }
            Reading::Incomplete => {
                let since = *unsettled.incomplete_since.get_or_insert(now);
                if now.duration_since(since) < limits::INCOMPLETE_REPORTED {
                    unsettled.retry_at(now + limits::INCOMPLETE_RETRY);
                    entry.unsettled = Some(unsettled);
                } else {
                    // The fault is reported, so that the removal must be reported as well.
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

    /// Reports removed files. I9: a file counts as removed if the folder is readable, is the same as before, and the
    /// file has been gone for 3 s.
    fn report_removed(&mut self, now: Instant, folder_events: &mut Vec<FolderEvent>) {
        let overdue = |entry: &Entry| entry.gone_since.is_some_and(|since| now.duration_since(since) >= limits::GONE);
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
            // A link without its target, or a failing disk, is not a removal.
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

    fn list(
        &mut self,
        folder_events: &mut Vec<FolderEvent>,
    ) -> io::Result<((u64, u64), BTreeMap<PluginName, Snapshot>)> {
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
                self.report_not_a_file(&path, &mut misnamed, folder_events);
                continue;
            };
            match plugin_name(&path) {
                Some(name) if extension == "wasm" => snapshots.entry(name).or_default().component = Some(identity),
                Some(name) => snapshots.entry(name).or_default().settings = Some(identity),
                None => self.report_misnamed(&path, &mut misnamed, folder_events),
            }
        }
        self.misnamed = misnamed;
        Ok((identity_before, snapshots))
    }

    /// Reports once that a file's name is not a plugin name.
    fn report_misnamed(&self, path: &Path, misnamed: &mut HashSet<OsString>, folder_events: &mut Vec<FolderEvent>) {
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
        folder_events.push(FolderEvent::Faulty(None, report.hint(rename_hint(&stem))));
    }

    /// Reports once that a folder, a pipe or a broken link is in the place of a plugin's file.
    fn report_not_a_file(&self, path: &Path, misnamed: &mut HashSet<OsString>, folder_events: &mut Vec<FolderEvent>) {
        let Some(name) = path.file_name().filter(|name| !name.as_encoded_bytes().starts_with(b".")) else { return };
        let cause = match fs::metadata(path) {
            Ok(found) if found.is_file() => return,
            Ok(found) if found.is_dir() => "it is a folder".to_owned(),
            Ok(_) => "it is not an ordinary file".to_owned(),
            // It was removed in the meantime.
            Err(_) if fs::symlink_metadata(path).is_err() => return,
            Err(error) => format!("its target cannot be read: {error}"),
        };
        misnamed.insert(name.to_owned());
        if !self.misnamed.contains(name) {
            let report = Report::new(format!("`{}` was not read", path.display())).cause(cause);
            folder_events.push(FolderEvent::Faulty(None, report.hint("put the file itself there, or remove it")));
        }
    }

    /// Reports once that the folder cannot be read.
    fn mark_unreadable(&mut self, error: &io::Error, folder_events: &mut Vec<FolderEvent>) {
        self.seen = None;
        for entry in self.entries.values_mut() {
            entry.gone_since = None;
        }
        if !std::mem::replace(&mut self.unreadable, true) {
            let report = Report::new(format!("the plugin folder `{}` cannot be read", self.path.display()));
            let hint = "running plugins continue; changes are loaded once the folder can be read";
            folder_events.push(FolderEvent::Faulty(None, report.cause(error).hint(hint)));
        }
    }

    /// I9: detects a folder without any of the known plugins, which is most likely a mount point without its disk.
    fn check_mount(
        &mut self,
        renewed: bool,
        snapshots: &BTreeMap<PluginName, Snapshot>,
        folder_events: &mut Vec<FolderEvent>,
    ) {
        let files = || snapshots.iter().filter(|(_, snapshot)| snapshot.component.is_some()).map(|(name, _)| name);
        let is_known = |name: &PluginName| self.entries.get(name).is_some_and(|entry| entry.present);
        if files().any(is_known) {
            self.mark_mounted();
        } else if renewed && self.entries.values().any(|entry| entry.present) {
            self.unmounted = Some(files().cloned().collect());
            let report = Report::new(format!("`{}` has none of the plugins that ran before", self.path.display()));
            let hint = "Roost assumes that the folder's disk is missing, and the plugins continue to run\n\
                        to remove them, copy any other plugin into the folder, or copy one of them and delete \
                        it, while Roost runs";
            folder_events.push(FolderEvent::Faulty(None, report.hint(hint)));
        } else if self.unmounted.as_ref().is_some_and(|then| files().any(|name| !then.contains(name))) {
            self.mark_mounted();
        }
    }

    /// Ends the assumption that the disk is missing. The next scan begins to count missing files as removed.
    fn mark_mounted(&mut self) {
        if self.unmounted.take().is_some() {
            self.entries.values_mut().for_each(|entry| entry.gone_since = None);
        }
    }
}

/// Returns the plugin's name if the path is a component or a settings file.
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
    let how = if empty { "empty" } else { "truncated: a section is longer than the rest of the file" };
    Report::new(format!("plugin `{name}` was not loaded"))
        .cause(format!("`{}` is {how}", component.display()))
        .hint("copy it again; if it is still being copied, it is loaded when the copy is complete")
}

/// Returns the hint for a file whose name is not a plugin name.
pub(super) fn rename_hint(stem: &str) -> String {
    match suggest::plugin_name(stem) {
        Some(name) => format!("rename the file to `{name}.wasm`"),
        None => "rename the file".into(),
    }
}

#[cfg(test)]
mod tests;
