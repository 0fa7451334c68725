//! The stored versions, by content (I6): `<sha256>.wasm` and `<sha256>.json`. `<plugin>.before` contains the digest of
//! a plugin's previous component.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use roost_scheduler::{
    event::{Digest, Version},
    names::PluginName,
};
use sha2::{Digest as _, Sha256};

use super::settings::Settings;
use crate::files::{self, Folder, FolderError};

/// The folder of stored versions.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    folder: PathBuf,
}

/// Why a stored version cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoredError {
    #[error("`{path}` cannot be read: {error}")]
    Read {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("`{path}` is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

impl Versions {
    pub(super) fn open(data: &Path) -> Result<Self, FolderError> {
        let versions = Self::at(data);
        Folder::own(&versions.folder)?;
        Ok(versions)
    }

    pub(super) fn at(data: &Path) -> Self {
        Self { folder: data.join("versions") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Checks whether a file is stored, with its contents.
    pub(super) fn has(&self, name: &str, digest: Digest) -> bool {
        self.read_verified(name, digest).is_ok()
    }

    /// Stores a file, durably.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        Folder::own(&self.folder)?.replace(name, &format!(".{name}.part"), bytes, files::PRIVATE)
    }

    /// Stores a version durably, before the store records that it runs.
    pub(super) fn keep(
        &self,
        plugin: &PluginName,
        version: &Version,
        component: &[u8],
        settings: &str,
    ) -> io::Result<()> {
        self.keep_file(plugin, &component_name(version.component), component)?;
        self.keep_file(plugin, &settings_name(version.settings), settings.as_bytes())
    }

    pub(super) fn component(&self, digest: Digest) -> Result<Vec<u8>, StoredError> {
        self.read_verified(&component_name(digest), digest)
    }

    pub(super) fn settings(&self, digest: Digest) -> Result<Settings, StoredError> {
        let name = settings_name(digest);
        let bytes = self.read_verified(&name, digest)?;
        let damaged = |reason: String| StoredError::Damaged { path: self.folder.join(&name), reason };
        let text = String::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
        Settings::from_json(&text).map_err(|error| damaged(error.to_string()))
    }

    /// Reads a file and checks its digest, which is in the database: a file that was changed is not used (I8).
    fn read_verified(&self, name: &str, digest: Digest) -> Result<Vec<u8>, StoredError> {
        let path = self.folder.join(name);
        let bytes = self.read(name).map_err(|error| StoredError::Read { path: path.clone(), error })?;
        if digest_of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(StoredError::Damaged { path, reason: "its contents do not match its name".into() })
        }
    }

    /// Records the previous component of a plugin.
    pub(super) fn set_previous(&self, plugin: &PluginName, component: Digest) -> io::Result<()> {
        self.keep_file(plugin, &before_name(plugin), component.to_string().as_bytes())
    }

    /// Returns the previous component of a plugin, if it is stored.
    pub(super) fn previous(&self, plugin: &PluginName) -> Option<Digest> {
        let digits = String::from_utf8(self.read(&before_name(plugin)).ok()?).ok()?;
        let digest = Digest(hex::decode(digits.trim()).ok()?.try_into().ok()?);
        self.folder.join(component_name(digest)).is_file().then_some(digest)
    }

    /// Removes the record of a plugin's previous component.
    pub(super) fn clear_previous(&self, plugin: &PluginName) {
        let _ = Folder::open(&self.folder).and_then(|folder| folder.remove(&before_name(plugin)));
    }

    /// Deletes all files that do not belong to the given versions or components.
    pub(super) fn sweep(&self, in_use: &[Version], before: &[Digest]) {
        let components = in_use.iter().map(|version| &version.component).chain(before);
        let components = components.map(|digest| component_name(*digest));
        let settings = in_use.iter().map(|version| settings_name(version.settings));
        let keep: HashSet<_> = components.chain(settings).map(|name| self.folder.join(name)).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_stored_file = path.extension().is_some_and(|extension| extension == "wasm" || extension == "json");
            if is_stored_file && !keep.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Folder::open(&self.folder)?.open_file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file. Two plugins may write the same one at the same time.
    fn keep_file(&self, plugin: &PluginName, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.read(name).is_ok_and(|kept| kept == bytes) {
            return Ok(());
        }
        Folder::own(&self.folder)?.replace(name, &format!(".{plugin}.part"), bytes, files::PRIVATE)
    }
}

fn component_name(digest: Digest) -> String {
    format!("{digest}.wasm")
}

fn settings_name(digest: Digest) -> String {
    format!("{digest}.json")
}

fn before_name(plugin: &PluginName) -> String {
    format!("{plugin}.before")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use roost_scheduler::topic::Grant;

    use super::*;
    use crate::config::rules::Rules;

    #[test]
    fn a_damaged_component_is_detected_and_unused_files_are_deleted() {
        let data = tempfile::tempdir().unwrap();
        let versions = Versions::open(data.path()).unwrap();
        let plugin = PluginName::parse("coop").unwrap();
        let version = Version { component: digest_of(b"bytes"), settings: digest_of(b"{}") };
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        assert_eq!(versions.component(version.component).unwrap(), b"bytes");

        versions.sweep(&[version], &[]);
        assert_eq!(fs::read_dir(&versions.folder).unwrap().count(), 2);
        fs::write(versions.folder.join(component_name(version.component)), "other").unwrap();
        assert!(matches!(versions.component(version.component), Err(StoredError::Damaged { .. })));
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        assert!(versions.component(version.component).is_ok(), "a damaged one is replaced");
        assert_eq!(versions.previous(&plugin), None);
        versions.set_previous(&plugin, digest_of(b"lost")).unwrap();
        assert_eq!(versions.previous(&plugin), None, "the component is not stored");
        versions.set_previous(&plugin, version.component).unwrap();
        versions.sweep(&[], &[version.component]);
        assert_eq!(versions.previous(&plugin), Some(version.component));
        versions.clear_previous(&plugin);
        versions.sweep(&[], &[]);
        assert_eq!(fs::read_dir(&versions.folder).unwrap().count(), 0);
    }

    #[test]
    fn settings_that_were_changed_are_not_used() {
        let data = tempfile::tempdir().unwrap();
        let versions = Versions::open(data.path()).unwrap();
        let plugin = PluginName::parse("coop").unwrap();
        let site = crate::plugins::tests::site();
        let settings = Settings::parse(None, &plugin, &site, &Rules::default()).unwrap();
        let version = Version { component: digest_of(b"bytes"), settings: settings.digest() };
        versions.keep(&plugin, &version, b"bytes", &settings.to_json()).unwrap();
        assert_eq!(versions.settings(version.settings).unwrap(), settings);

        let widened = settings.to_json().replace("coop/#", "#");
        assert!(Settings::from_json(&widened).is_ok() && widened != settings.to_json());
        fs::write(versions.folder.join(settings_name(version.settings)), widened).unwrap();
        let error = versions.settings(version.settings).unwrap_err();
        assert!(error.to_string().ends_with("is damaged: its contents do not match its name"), "{error}");
        let granted = crate::plugins::stored_grant(data.path(), &plugin, &version, None);
        assert_eq!(granted, Grant::default_for(&plugin));
    }

    #[test]
    fn files_are_private_and_planted_links_are_not_followed() {
        let data = tempfile::tempdir().unwrap();
        let versions = Versions::open(data.path()).unwrap();
        let victim = data.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let plugin = PluginName::parse("coop").unwrap();
        let version = Version { component: digest_of(b"bytes"), settings: digest_of(b"{}") };
        let names = [component_name(version.component), settings_name(version.settings), before_name(&plugin)];
        for name in names.iter().map(String::as_str).chain([".coop.part"]) {
            symlink(&victim, versions.folder.join(name)).unwrap();
        }
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        versions.set_previous(&plugin, version.component).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        for name in &names {
            let found = fs::symlink_metadata(versions.folder.join(name)).unwrap();
            assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600, "{name}");
        }
    }
}
