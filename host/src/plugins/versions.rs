//! The last good versions, by content (I6): `<sha256>.wasm` and `<sha256>.json`. Which component of a plugin ran before the one
//! that runs stands in `<plugin>.before`.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use roost_scheduler::{
    event::{Digest, Version},
    names::PluginName,
};
use sha2::{Digest as _, Sha256};

use super::settings::Settings;
use crate::hex;

#[derive(Clone, Debug)]
pub(super) struct Versions {
    folder: PathBuf,
}

/// Why a kept version cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
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
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let versions = Self::at(data);
        fs::create_dir_all(&versions.folder)?;
        Ok(versions)
    }

    pub(super) fn at(data: &Path) -> Self {
        Self { folder: data.join("versions") }
    }

    /// Durable when it returns: the store will say that this version runs.
    pub(super) fn keep(
        &self,
        plugin: &PluginName,
        version: &Version,
        component: &[u8],
        settings: &str,
    ) -> io::Result<()> {
        let kept = keep_file(plugin, &self.component_path(version.component), component)?;
        let kept = keep_file(plugin, &self.settings_path(version.settings), settings.as_bytes())? || kept;
        if kept { File::open(&self.folder)?.sync_all() } else { Ok(()) }
    }

    pub(super) fn component(&self, digest: Digest) -> Result<Vec<u8>, KeptError> {
        let path = self.component_path(digest);
        let bytes = fs::read(&path).map_err(|error| KeptError::Read { path: path.clone(), error })?;
        if digest_of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(KeptError::Damaged { path, reason: "its contents do not fit its name".into() })
        }
    }

    pub(super) fn settings(&self, digest: Digest) -> Result<Settings, KeptError> {
        let path = self.settings_path(digest);
        let text = fs::read_to_string(&path).map_err(|error| KeptError::Read { path: path.clone(), error })?;
        Settings::from_json(&text).map_err(|error| KeptError::Damaged { path, reason: error.to_string() })
    }

    /// Remembers which component of a plugin ran before the one that runs.
    pub(super) fn remember_before(&self, plugin: &PluginName, component: Digest) -> io::Result<()> {
        keep_file(plugin, &self.before_path(plugin), component.to_string().as_bytes())?;
        File::open(&self.folder)?.sync_all()
    }

    /// The component that ran before, if it is known.
    pub(super) fn before(&self, plugin: &PluginName) -> Option<Digest> {
        let digits = fs::read_to_string(self.before_path(plugin)).ok()?;
        let digest = Digest(hex::decode(digits.trim())?.try_into().ok()?);
        self.component_path(digest).is_file().then_some(digest)
    }

    /// The plugin is gone.
    pub(super) fn forget_before(&self, plugin: &PluginName) {
        let _ = fs::remove_file(self.before_path(plugin));
    }

    /// Deletes what belongs to none of these, nor ran before them.
    pub(super) fn sweep(&self, in_use: &[Version], before: &[Digest]) {
        let components = in_use.iter().map(|version| &version.component).chain(before);
        let components = components.map(|digest| self.component_path(*digest));
        let settings = in_use.iter().map(|version| self.settings_path(version.settings));
        let keep: HashSet<_> = components.chain(settings).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let ours = path.extension().is_some_and(|extension| extension == "wasm" || extension == "json");
            if ours && !keep.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn component_path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn before_path(&self, plugin: &PluginName) -> PathBuf {
        self.folder.join(format!("{plugin}.before"))
    }

    fn settings_path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.json"))
    }
}

/// Answers whether it was not there before. Two plugins may keep the same file at the same time.
fn keep_file(plugin: &PluginName, path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|kept| kept == bytes) {
        return Ok(false);
    }
    let part = path.with_extension(format!("{plugin}.part"));
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_component_is_noticed_and_what_is_not_in_use_goes() {
        let data = tempfile::tempdir().unwrap();
        let versions = Versions::open(data.path()).unwrap();
        let plugin = PluginName::parse("coop").unwrap();
        let version = Version { component: digest_of(b"bytes"), settings: digest_of(b"{}") };
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        assert_eq!(versions.component(version.component).unwrap(), b"bytes");

        versions.sweep(&[version], &[]);
        assert_eq!(fs::read_dir(&versions.folder).unwrap().count(), 2);
        fs::write(versions.component_path(version.component), "other").unwrap();
        assert!(matches!(versions.component(version.component), Err(KeptError::Damaged { .. })));
        versions.keep(&plugin, &version, b"bytes", "{}").unwrap();
        assert!(versions.component(version.component).is_ok(), "a damaged one is kept anew");
        assert_eq!(versions.before(&plugin), None);
        versions.remember_before(&plugin, digest_of(b"lost")).unwrap();
        assert_eq!(versions.before(&plugin), None, "its bytes are not there");
        versions.remember_before(&plugin, version.component).unwrap();
        versions.sweep(&[], &[version.component]);
        assert_eq!(versions.before(&plugin), Some(version.component));
        versions.forget_before(&plugin);
        versions.sweep(&[], &[]);
        assert_eq!(fs::read_dir(&versions.folder).unwrap().count(), 0);
    }
}
