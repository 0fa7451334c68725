//! The files of plugins that several hosts share. They are in the database; each host has a copy in folders of its own,
//! from which it loads them like any others.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use roost_scheduler::{
    event::{Digest, Version},
    names::PluginName,
};

use super::{
    cache::Cache,
    engine,
    stored_versions::{Versions, digest_of},
};
use crate::{
    files::{self, Folder, FolderError},
    store::{FileKind, PluginFile, PluginFiles, StoreError},
};

/// How often the database is asked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Locked while the copy is written: what a standby has begun to copy goes on for a moment after it has taken over.
static WRITING: Mutex<()> = Mutex::new(());

/// The files of plugins that several hosts share. Clones refer to the same files.
#[derive(Clone, Debug)]
pub(crate) struct SharedFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: PluginFiles,
    folder: PathBuf,
    versions: Versions,
    /// Locked while the files are changed, here or in the database.
    copied: Mutex<Copied>,
}

/// The state of the copy.
#[derive(Debug, Default)]
struct Copied {
    /// The number of changes in the database that are in the copy. `None`: it is to be compared as a whole.
    changes: Option<i64>,
    /// The contents of the files in the folder.
    known: HashMap<String, Digest>,
    /// The stored versions that are known to be there.
    stored: HashSet<String>,
}

/// Why a shared file could not be changed or copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("`{path}` cannot be written: {error}")]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the contents of `{file}` are not in the database")]
    Missing { file: String },
    #[error("the contents of `{file}` in the database do not match their digest")]
    Damaged { file: String },
}

impl SharedError {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Write { .. } => super::compile::WRITABLE.into(),
            Self::Missing { .. } | Self::Damaged { .. } => "upload the plugin again".into(),
        }
    }
}

impl SharedFiles {
    /// Makes the folders of the copy, in the data folder.
    pub(crate) fn open(files: PluginFiles, data: &Path) -> Result<Self, FolderError> {
        // Before the folders in it, which would be made in one that is open to others.
        Folder::own(data)?;
        let folder = data.join("plugins");
        Folder::own(&folder)?;
        let versions = Versions::open(data)?;
        Ok(Self(Arc::new(Inner { files, folder, versions, copied: Mutex::default() })))
    }

    /// Returns the folder of the copy.
    pub(crate) fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Copies what has changed in the database. Returns whether something had.
    pub(crate) fn copy(&self) -> Result<bool, SharedError> {
        let mut copied = self.copied();
        if copied.changes.is_some() && copied.changes == Some(self.0.files.changes()?) {
            return Ok(false);
        }
        self.copy_all(&mut copied).map(|()| true)
    }

    fn copy_all(&self, copied: &mut Copied) -> Result<(), SharedError> {
        let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = self.0.files.list()?;
        let mut expected = BTreeSet::new();
        for PluginFile { plugin, component, settings, previous } in listing.files {
            // The settings first: the component is loaded with them.
            for (extension, digest) in [("toml", settings), ("wasm", component)] {
                if let Some(digest) = digest {
                    let name = format!("{plugin}.{extension}");
                    self.copy_file(copied, &name, digest)?;
                    expected.insert(name);
                }
            }
            self.copy_previous(copied, &plugin, previous)?;
        }
        self.remove_others(copied, &expected)?;
        for version in listing.running.into_iter().filter(|version| *version != Version::BUILT_IN) {
            let Version { component, settings } = version;
            for (name, digest) in [(format!("{component}.wasm"), component), (format!("{settings}.json"), settings)] {
                match self.copy_version(copied, &name, digest) {
                    // As on one machine, where a stored version is gone: the plugin is loaded from its file.
                    Err(SharedError::Missing { .. }) => {}
                    done => done?,
                }
            }
        }
        copied.changes = Some(listing.changes);
        Ok(())
    }

    /// Copies a file into the plugin folder, unless it is there.
    fn copy_file(&self, copied: &mut Copied, name: &str, digest: Digest) -> Result<(), SharedError> {
        let path = self.0.folder.join(name);
        let found = copied.known.get(name).copied().or_else(|| fs::read(&path).ok().map(|bytes| digest_of(&bytes)));
        if found != Some(digest) {
            let bytes = self.contents(name, digest)?;
            let written = Folder::open(&self.0.folder)
                .and_then(|folder| folder.replace(name, &format!(".{name}.part"), &bytes, files::PRIVATE));
            written.map_err(|error| SharedError::Write { path, error })?;
        }
        copied.known.insert(name.to_owned(), digest);
        Ok(())
    }

    /// Copies the record of a plugin's previous component, and the component.
    fn copy_previous(
        &self,
        copied: &mut Copied,
        plugin: &PluginName,
        previous: Option<Digest>,
    ) -> Result<(), SharedError> {
        let Some(digest) = previous else {
            self.0.versions.clear_previous(plugin);
            return Ok(());
        };
        self.copy_version(copied, &format!("{digest}.wasm"), digest)?;
        if self.0.versions.previous(plugin) == Some(digest) {
            return Ok(());
        }
        let written = self.0.versions.set_previous(plugin, digest);
        written.map_err(|error| SharedError::Write { path: self.0.versions.path().to_owned(), error })
    }

    fn copy_version(&self, copied: &mut Copied, name: &str, digest: Digest) -> Result<(), SharedError> {
        if copied.stored.contains(name) {
            return Ok(());
        }
        if !self.0.versions.has(name, digest) {
            let bytes = self.contents(name, digest)?;
            let written = self.0.versions.put(name, &bytes);
            written.map_err(|error| SharedError::Write { path: self.0.versions.path().join(name), error })?;
        }
        copied.stored.insert(name.to_owned());
        Ok(())
    }

    fn contents(&self, name: &str, digest: Digest) -> Result<Vec<u8>, SharedError> {
        let Some(bytes) = self.0.files.contents(digest)? else {
            return Err(SharedError::Missing { file: name.to_owned() });
        };
        if digest_of(&bytes) == digest { Ok(bytes) } else { Err(SharedError::Damaged { file: name.to_owned() }) }
    }

    /// Removes files that the database does not have.
    fn remove_others(&self, copied: &mut Copied, expected: &BTreeSet<String>) -> Result<(), SharedError> {
        let failed = |error| SharedError::Write { path: self.0.folder.clone(), error };
        copied.known.retain(|name, _| expected.contains(name));
        let folder = Folder::open(&self.0.folder).map_err(failed)?;
        for entry in fs::read_dir(&self.0.folder).map_err(failed)?.flatten() {
            if let Some(name) = entry.file_name().to_str().filter(|name| !expected.contains(*name)) {
                folder.remove(name).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Writes or removes a file of a plugin: in the database, and then in the copy.
    pub(super) fn write(&self, plugin: &PluginName, kind: FileKind, bytes: Option<&[u8]>) -> Result<(), SharedError> {
        let mut copied = self.copied();
        let digest = bytes.map(digest_of);
        if let (Some(digest), Some(bytes)) = (digest, bytes) {
            self.0.files.keep(&[(digest, bytes)])?;
        }
        self.0.files.set(plugin, kind, digest)?;
        self.copy_all(&mut copied)
    }

    /// Keeps the contents of a version, before the store records that it runs.
    pub(super) fn keep(&self, contents: &[(Digest, &[u8])]) -> Result<(), SharedError> {
        let _changing = self.copied();
        Ok(self.0.files.keep(contents)?)
    }

    /// Records the component of a plugin that ran before, or that there is none.
    pub(super) fn set_previous(&self, plugin: &PluginName, previous: Option<Digest>) -> Result<(), SharedError> {
        let _changing = self.copied();
        Ok(self.0.files.set(plugin, FileKind::Previous, previous)?)
    }

    /// Deletes contents in the database that nothing refers to, except the given ones.
    pub(super) fn sweep(&self, in_use: &[Digest]) -> Result<(), SharedError> {
        let _changing = self.copied();
        Ok(self.0.files.sweep(in_use)?)
    }

    fn copied(&self) -> MutexGuard<'_, Copied> {
        self.0.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies what changes, for as long as it is polled.
    pub(super) async fn follow(self) {
        let mut logged = String::new();
        loop {
            self.copy_in_background(&mut logged).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Copies what changes, and compiles it, while another host works: so that this one can take over at once.
    pub(crate) async fn stand_by(self, data: &Path, compile_cpu_s: u32) {
        let engine = wasmtime::Engine::new(&engine::config());
        let cache = engine.ok().and_then(|engine| Cache::open(data, &engine).ok());
        let cache = cache.map(|cache| cache.within(compile_cpu_s));
        let (mut logged, mut compiled) = (String::new(), BTreeSet::new());
        loop {
            self.copy_in_background(&mut logged).await;
            let components: Vec<_> = self.components();
            for (name, digest) in components {
                // A component that cannot be compiled is reported when it is loaded.
                if let (true, Some(cache)) = (compiled.insert(digest.0), &cache)
                    && !cache.has(digest)
                    && let Ok(bytes) = tokio::fs::read(self.0.folder.join(&name)).await
                {
                    let done = cache.compile(digest, &bytes).await;
                    tracing::debug!(file = name, is_compiled = done.is_ok(), "compiled ahead");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn components(&self) -> Vec<(String, Digest)> {
        let copied = self.copied();
        let components = copied.known.iter().filter(|(name, _)| name.ends_with(".wasm"));
        components.map(|(name, digest)| (name.clone(), *digest)).collect()
    }

    /// Copies what has changed on another thread. Logs each fault once.
    async fn copy_in_background(&self, logged: &mut String) {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || files.copy()).await;
        match done {
            Ok(Err(error)) => {
                let text = error.to_string();
                if *logged != text {
                    // The thread that keeps the lease reports a database that is away.
                    let is_away = matches!(error, SharedError::Store(_));
                    if is_away {
                        tracing::debug!("the plugins were not copied from the database: {text}");
                    } else {
                        tracing::error!(
                            "the plugins were not copied from the database: {text}\nhint: {}",
                            error.hint()
                        );
                    }
                    *logged = text;
                }
            }
            _ => logged.clear(),
        }
    }
}
