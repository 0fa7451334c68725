//! The cache of compiled components, by content. A damaged file would run without an error, and a file from another
//! program would run that program's code. Therefore each file has a seal that only Roost can make, which is checked
//! before the file is mapped.

mod key;

use std::{
    borrow::Cow,
    collections::HashSet,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Seek as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use roost_scheduler::event::Digest;
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use self::key::{Key, Seal};
use super::{
    compile::{self, Bounds, CompileError},
    limits,
};
use crate::{
    clock,
    files::{self, Folder, FolderError},
};

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    key: Key,
    compatibility: u64,
    engine: wasmtime::Engine,
    /// The lane for compiles up to the full limits. Only one runs at a time, because it may take all of the memory.
    long: Lane,
    /// A lane for short compiles while the other one is occupied, so that a hostile file does not delay the plugins
    /// after it. A compile that exceeds the limits of this lane starts over in the other one.
    short: Lane,
    parts: AtomicU64,
}

/// A lane runs one compile at a time.
#[derive(Debug)]
struct Lane {
    permit: Semaphore,
    bounds: Bounds,
}

/// Why a component could not be compiled or loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("the compiled component cannot be stored in `{folder}`")]
    Folder {
        folder: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the compiled component cannot be loaded: {0}")]
    Load(String),
    #[error("machine code cannot be executed: {0}")]
    NotExecutable(String),
    #[error("it requires more than one call may use: {0}")]
    TooLarge(String),
}

impl CacheError {
    /// Returns what the operator can do about the error.
    pub(super) fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            Self::Compile(error) => return error.hint(),
            Self::Folder { .. } => Some(compile::WRITABLE),
            Self::Load(_) => Some("restart Roost; if the error remains, remove the folder `cache` in the data folder"),
            Self::NotExecutable(_) => Some(
                "Roost compiles plugins to machine code, and the system forbids that: check `MemoryDenyWriteExecute` \
                 in the systemd unit, SELinux's `execmem`, and whether the data folder's disk is mounted with `noexec`",
            ),
            Self::TooLarge(_) => Some(
                "ordinary toolchains do not produce such components: check the plugin's parts (`wasm-tools objdump \
                 PLUGIN.wasm`)",
            ),
        };
        hint.map(Cow::Borrowed)
    }

    /// Classifies the runtime's error for a compiled component.
    fn of_mapping(error: &wasmtime::Error) -> Self {
        let text = format!("{error:#}");
        if text.contains("make memory executable") {
            return Self::NotExecutable(text);
        }
        if POOL_LIMITS.iter().any(|limit| text.contains(limit)) {
            return Self::TooLarge(text);
        }
        Self::Load(text)
    }
}

/// Parts of the pooling allocator's errors for a component that exceeds its limits.
const POOL_LIMITS: [&str; 3] = ["pooling allocator", "exceeds the per-instance limit", "exceeds the limit of"];

impl Cache {
    /// Opens the cache in a data folder.
    pub(super) fn open(data: &Path, engine: &wasmtime::Engine) -> Result<Self, FolderError> {
        let path = data.join("cache");
        Folder::own(&path)?;
        remove_parts(&path);
        let key = Key::of(data).map_err(|source| FolderError::Io { path: data.join(key::FILE), source })?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let [long, short] = Bounds::of_machine();
        Ok(Self {
            folder: path,
            key,
            compatibility: hasher.finish(),
            engine: engine.clone(),
            long: Lane { permit: Semaphore::new(1), bounds: long },
            short: Lane { permit: Semaphore::new(1), bounds: short },
            parts: AtomicU64::new(0),
        })
    }

    /// Limits the processor time of a compile.
    pub(super) fn within(mut self, cpu_s: u32) -> Self {
        self.long.bounds = self.long.bounds.within(cpu_s);
        self.short.bounds = self.short.bounds.within(cpu_s);
        self
    }

    /// Compiles a component that is not in the cache.
    pub(super) async fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Component, CacheError> {
        let (permit, bounds, other) = tokio::select! {
            biased;
            permit = self.long.permit.acquire() => (permit, self.long.bounds, &self.short),
            permit = self.short.permit.acquire() => (permit, self.short.bounds, &self.long),
        };
        // Several threads shorten one compile, but take a quarter more processor time: beside another one, that makes
        // both longer.
        let threads = if other.permit.available_permits() > 0 { limits::COMPILE_THREADS } else { 1 };
        let bounds = Bounds { threads, ..bounds };
        match self.compile_within(digest, bytes, bounds).await {
            // The other lane has higher limits.
            Err(CacheError::Compile(CompileError::Wall { .. } | CompileError::Memory(_)))
                if bounds.wall == self.short.bounds.wall =>
            {
                drop(permit);
                let _permit = self.long.permit.acquire().await;
                self.compile_within(digest, bytes, self.long.bounds).await
            }
            done => done,
        }
    }

    async fn compile_within(&self, digest: Digest, bytes: &[u8], bounds: Bounds) -> Result<Component, CacheError> {
        // Another load of the same bytes may have been ahead.
        if let Some(component) = self.load(digest) {
            return Ok(component);
        }
        let failed = |error| CacheError::Folder { folder: self.folder.clone(), error };
        let folder = Folder::own(&self.folder).map_err(|error| failed(error.into()))?;
        let part = Part { folder: &folder, name: format!(".{}.part", self.parts.fetch_add(1, Ordering::Relaxed)) };
        let mut file = folder.create(&part.name, files::PRIVATE).map_err(failed)?;
        let begun = clock::monotonic();
        compile::compile(bytes, file.try_clone().map_err(failed)?, bounds).await?;
        tracing::debug!(bytes = bytes.len(), took = ?begun.elapsed(), "compiled");
        let mut compiled = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut compiled)).map_err(failed)?;
        let (name, seal) = self.names(digest);
        // Never written in place, because the old file may be mapped. A crash between the two renames leaves a seal
        // that does not match.
        folder.rename(&part.name, &name).map_err(failed)?;
        let made = self.seal(digest, &compiled);
        let sealed = folder.create(&part.name, files::PRIVATE).and_then(|mut file| file.write_all(made.bytes()));
        sealed.and_then(|()| folder.rename(&part.name, &seal)).map_err(failed)?;
        self.map(&file).map_err(|error| CacheError::of_mapping(&error))
    }

    /// Deletes all files except those compiled by this program from the given components.
    pub(super) fn sweep(&self, in_use: &HashSet<Digest>) {
        let keep: HashSet<_> = in_use.iter().flat_map(|digest| <[String; 2]>::from(self.names(*digest))).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_cache_file = path.extension().is_some_and(|extension| extension == "cwasm" || extension == "seal");
            if is_cache_file && !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn names(&self, digest: Digest) -> (String, String) {
        let stem = format!("{digest}-{:016x}", self.compatibility);
        (format!("{stem}.cwasm"), format!("{stem}.seal"))
    }

    /// Returns the seal of compiled bytes. It ties them to their component, to the compiler and to this data folder.
    fn seal(&self, digest: Digest, compiled: &[u8]) -> Seal {
        self.key.seal(&[b"roost cwasm 2", &digest.0, &self.compatibility.to_le_bytes(), compiled])
    }

    /// Checks whether a compiled component is there; its seal is checked when it is loaded.
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.folder.join(self.names(digest).0).is_file()
    }

    /// Loads a compiled component. Returns `None` if it is not in the cache, or its seal does not match.
    pub(super) fn load(&self, digest: Digest) -> Option<Component> {
        let begun = clock::monotonic();
        let (name, seal) = self.names(digest);
        let folder = Folder::open(&self.folder).ok()?;
        let (mut file, mut sealed, mut compiled) = (folder.open_file(&name).ok()?, Vec::new(), Vec::new());
        folder.open_file(&seal).ok()?.take(limits::SEAL_BYTES).read_to_end(&mut sealed).ok()?;
        file.read_to_end(&mut compiled).ok()?;
        if !is_private(&file) || !self.seal(digest, &compiled).is(&sealed) {
            let file = self.folder.join(name);
            tracing::warn!(file = %file.display(),
                "the seal of a compiled plugin does not match, so the plugin is compiled again");
            return None;
        }
        // Maps the file that was read, even if another file has its name by now.
        let mapped = self.map(&file);
        let mapped = mapped
            .inspect_err(|error| tracing::warn!("a compiled plugin cannot be mapped and is compiled again: {error:#}"))
            .ok()?;
        tracing::debug!(took = ?begun.elapsed(), "loaded from the cache");
        Some(mapped)
    }

    #[allow(unsafe_code, reason = "mapping machine code cannot be safe; the seal was checked")]
    fn map(&self, file: &File) -> wasmtime::Result<Component> {
        // SAFETY: this open file was written by this program's compiler from known bytes (its seal was checked, or it
        // has just been compiled), only this user can write to it, and it is never written to again.
        unsafe { Component::deserialize_file(&self.engine, format!("/proc/self/fd/{}", file.as_raw_fd())) }
    }
}

/// Checks that no other user can change a file while it is mapped.
fn is_private(file: &File) -> bool {
    let user = rustix::process::geteuid().as_raw();
    file.metadata().is_ok_and(|found| found.is_file() && found.uid() == user && found.mode() & 0o022 == 0)
}

/// Removes the partial files of compiles that a crash interrupted.
fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that is removed when its owner is dropped, unless it was renamed.
struct Part<'f> {
    folder: &'f Folder,
    name: String,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = self.folder.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn engine() -> wasmtime::Engine {
        wasmtime::Engine::new(&super::super::engine::config()).unwrap()
    }

    fn digest(bytes: &[u8]) -> Digest {
        super::super::stored_versions::digest_of(bytes)
    }

    #[tokio::test]
    async fn damaged_and_foreign_files_are_compiled_again() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::open(data.path(), &engine()).unwrap();
        let digest = digest(EMPTY);
        cache.compile(digest, EMPTY).await.unwrap();
        let at = |name: String| cache.folder.join(name);
        let (file, seal) = (at(cache.names(digest).0), at(cache.names(digest).1));
        let good = fs::read(&file).unwrap();
        assert!(cache.load(digest).is_some());
        for path in [&file, &seal] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }

        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, &damaged).unwrap();
        assert!(cache.load(digest).is_none(), "a flipped bit");
        cache.compile(digest, EMPTY).await.unwrap();
        assert!(cache.load(digest).is_some(), "compiled again");

        let other = Digest([7; 32]);
        let (other_file, other_seal) = (at(cache.names(other).0), at(cache.names(other).1));
        fs::copy(&file, &other_file).unwrap();
        fs::copy(&seal, &other_seal).unwrap();
        assert!(cache.load(other).is_none(), "compiled from another component");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.load(digest).is_none(), "a file that others can write to");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&seal).unwrap();
        assert!(cache.load(digest).is_none(), "no seal");
        cache.sweep(&HashSet::new());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_seal_depends_on_the_key_of_the_data_folder() {
        let (data, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let digest = digest(EMPTY);
        let cache = Cache::open(data.path(), &engine()).unwrap();
        cache.compile(digest, EMPTY).await.unwrap();
        let elsewhere = Cache::open(others.path(), &engine()).unwrap();
        let (name, seal) = cache.names(digest);
        for name in [&name, &seal] {
            fs::copy(cache.folder.join(name), elsewhere.folder.join(name)).unwrap();
        }
        assert!(elsewhere.load(digest).is_none(), "the same bytes, sealed with another key");
        let again = Cache::open(data.path(), &engine()).unwrap();
        assert!(again.load(digest).is_some(), "the key is created once");
        // A key that others could read is not trusted.
        fs::set_permissions(data.path().join(key::FILE), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Cache::open(data.path(), &engine()).unwrap().load(digest).is_none());
        assert_eq!(fs::metadata(data.path().join(key::FILE)).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn planted_links_are_not_written_through() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::open(data.path(), &engine()).unwrap();
        let victim = data.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let digest = digest(EMPTY);
        let (name, seal) = cache.names(digest);
        for name in [".0.part", &name, &seal] {
            symlink(&victim, cache.folder.join(name)).unwrap();
        }
        cache.compile(digest, EMPTY).await.unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(cache.load(digest).is_some());
    }

    #[tokio::test]
    async fn a_long_compile_does_not_delay_the_next() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::open(data.path(), &engine()).unwrap();
        let _bomb = cache.long.permit.acquire().await.unwrap();
        cache.compile(digest(EMPTY), EMPTY).await.unwrap();
    }
}
