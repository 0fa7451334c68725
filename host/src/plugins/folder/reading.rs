//! Reads the two files of a plugin consistently: stat, read, stat again.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use roost_scheduler::names::PluginName;

use super::Candidate;
use crate::{
    files,
    plugins::{
        bytes::{Bytes, LoadRoom},
        complete, limits,
    },
    report::{Report, utf8},
};

/// The metadata that changes whenever a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The identities of a plugin's two files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) component: Option<Identity>,
    pub(super) settings: Option<Identity>,
}

/// The text of a plugin's settings file.
#[derive(Clone, Debug)]
pub(in crate::plugins) struct SettingsText {
    pub(in crate::plugins) text: String,
    /// Whether errors may quote the text. They may not if a link leads out of the folder, where the file may be a
    /// secret.
    pub(in crate::plugins) may_quote: bool,
}

#[cfg(test)]
impl From<String> for SettingsText {
    fn from(text: String) -> Self {
        Self { text, may_quote: true }
    }
}

/// The result of reading a settled entry.
pub(super) enum Reading {
    Whole(Candidate),
    /// The component is truncated or empty.
    Incomplete,
    /// A file changed while it was read.
    Changing,
    /// There is no room to load it now.
    Waiting,
    Faulty(Report),
}

pub(super) fn identity(path: &Path) -> Option<Identity> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Identity {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// Reads a plugin's two files. The result counts only if the snapshot is the same before and after.
pub(super) fn read(
    name: &PluginName,
    component: &Path,
    settings: &Path,
    snapshot: Snapshot,
    room: &LoadRoom,
) -> Reading {
    let unreadable = |path: &Path, error: io::Error| {
        let report = Report::new(format!("plugin `{name}` was not loaded"));
        let hint = match error.kind() {
            io::ErrorKind::InvalidData => "save the file as UTF-8",
            io::ErrorKind::FileTooLarge => "check that it is the right file: ordinary plugins are much smaller",
            // It is Roost that does not follow the link.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
                "put the file itself there, or make the link as the user that runs Roost"
            }
            _ => "allow the user that runs Roost to read the file",
        };
        Reading::Faulty(report.cause(format!("`{}` cannot be read: {error}", path.display())).hint(hint))
    };
    let size = |of: Option<Identity>, most: u64| of.map_or(0, |of| of.size.min(most));
    let all = size(snapshot.component, limits::COMPONENT_BYTES) + size(snapshot.settings, limits::SETTINGS_BYTES);
    let Some(room) = room.take(all) else { return Reading::Waiting };
    let bytes = match files::read(component, limits::COMPONENT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Reading::Changing,
        Err(error) => return unreadable(component, error),
    };
    let text = match snapshot.settings.map(|_| read_settings(settings)) {
        None if fs::symlink_metadata(settings).is_ok() => return Reading::Faulty(no_file(name, settings)),
        None => None,
        Some(Ok(read)) => Some(read),
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Reading::Changing,
        Some(Err(error)) => return unreadable(settings, error),
    };
    if (Snapshot { component: identity(component), settings: identity(settings) }) != snapshot {
        return Reading::Changing;
    }
    if !complete::is_complete(&bytes) {
        return Reading::Incomplete;
    }
    let component = Bytes::in_room(bytes, Some(room));
    Reading::Whole(Candidate { plugin: name.clone(), component, settings: text })
}

/// Returns the report for a broken link in place of the settings. Without it, the plugin would run with defaults.
fn no_file(name: &PluginName, settings: &Path) -> Report {
    let report = Report::new(format!("the settings of plugin `{name}` were not read"));
    let report = report.cause(format!("`{}` is not a file", settings.display()));
    report.hint("replace it by a file, or remove it")
}

/// Reads the settings file, if there is one.
pub(in crate::plugins) fn settings_at(name: &PluginName, path: &Path) -> Result<Option<SettingsText>, Report> {
    match read_settings(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_file(name, path)),
        Err(error) => {
            let report = Report::new(format!("the settings of plugin `{name}` were not read"));
            Err(report.cause(format!("`{}` cannot be read: {error}", path.display())))
        }
    }
}

pub(in crate::plugins) fn read_settings(path: &Path) -> io::Result<SettingsText> {
    let not_text = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (bytes, at) = files::read_through(path, limits::SETTINGS_BYTES)?;
    let may_quote = path.parent().is_some_and(|folder| files::lies_in(folder, &at));
    Ok(SettingsText { text: utf8(bytes).map_err(not_text)?, may_quote })
}
