//! Compiled components, kept by content. A damaged one would run with no error, and one that another program has put there
//! would be another program's code: each has a seal that only Roost can make, which is checked before it is mapped.

mod key;

use std::{
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
    /// Held while compiling for as long as that may take. Only one at a time: it may also take all the memory.
    long: Lane,
    /// Held beside it, by what is soon done or else starts over in the other lane: a bomb must not hold up the plugins
    /// that come after it.
    short: Lane,
    parts: AtomicU64,
}

/// One compile at a time.
#[derive(Debug)]
struct Lane {
    turn: Semaphore,
    bounds: Bounds,
}

/// Why there is no compiled component to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("the compiled component cannot be kept in `{folder}`")]
    Folder {
        folder: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("what the compiler made cannot be loaded: {0}")]
    Load(String),
    #[error("machine code cannot be run: {0}")]
    NotExecutable(String),
    #[error("it wants more than there is for one call: {0}")]
    TooLarge(String),
}

impl CacheError {
    /// What to do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Compile(error) => error.hint(),
            Self::Folder { .. } => Some(compile::WRITABLE),
            Self::Load(_) => {
                Some("start Roost again; if that changes nothing, remove the folder `cache` in the data folder")
            }
            Self::NotExecutable(_) => Some(
                "Roost compiles plugins to machine code, and something forbids that: `MemoryDenyWriteExecute` in the systemd \
                 unit, SELinux's `execmem`, or a data folder on a disk that is mounted with `noexec`",
            ),
            Self::TooLarge(_) => Some(
                "no ordinary toolchain makes that: see what the plugin is put together from (`wasm-tools objdump PLUGIN.wasm`)",
            ),
        }
    }

    /// Tells apart why the runtime does not take what was compiled.
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

/// What the pool of memories and tables says of a component that it has no room for.
const POOL_LIMITS: [&str; 3] = ["pooling allocator", "exceeds the per-instance limit", "exceeds the limit of"];

impl Cache {
    /// The cache in a data folder.
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
            long: Lane { turn: Semaphore::new(1), bounds: long },
            short: Lane { turn: Semaphore::new(1), bounds: short },
            parts: AtomicU64::new(0),
        })
    }

    /// Compiles a component that is not in the cache.
    pub(super) async fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Component, CacheError> {
        let (turn, bounds) = tokio::select! {
            biased;
            turn = self.long.turn.acquire() => (turn, self.long.bounds),
            turn = self.short.turn.acquire() => (turn, self.short.bounds),
        };
        match self.compile_within(digest, bytes, bounds).await {
            // There is more time and memory in the other lane.
            Err(CacheError::Compile(CompileError::Wall(_) | CompileError::Memory(_)))
                if bounds == self.short.bounds =>
            {
                drop(turn);
                let _turn = self.long.turn.acquire().await;
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
        // Never written in place: the old file may be mapped. A crash between the two leaves a seal that does not fit.
        folder.rename(&part.name, &name).map_err(failed)?;
        let made = self.seal(digest, &compiled);
        let sealed = folder.create(&part.name, files::PRIVATE).and_then(|mut file| file.write_all(made.bytes()));
        sealed.and_then(|()| folder.rename(&part.name, &seal)).map_err(failed)?;
        self.map(&file).map_err(|error| CacheError::of_mapping(&error))
    }

    /// Deletes what was compiled from other components than these, and what older programs compiled.
    pub(super) fn sweep(&self, in_use: &HashSet<Digest>) {
        let keep: HashSet<_> = in_use.iter().flat_map(|digest| <[String; 2]>::from(self.names(*digest))).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let ours = path.extension().is_some_and(|extension| extension == "cwasm" || extension == "seal");
            if ours && !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn names(&self, digest: Digest) -> (String, String) {
        let stem = format!("{digest}-{:016x}", self.compatibility);
        (format!("{stem}.cwasm"), format!("{stem}.seal"))
    }

    /// Ties the compiled bytes to what they were compiled from, by what, and to this data folder.
    fn seal(&self, digest: Digest, compiled: &[u8]) -> Seal {
        self.key.seal(&[b"roost cwasm 2", &digest.0, &self.compatibility.to_le_bytes(), compiled])
    }

    /// Takes a compiled component from the cache.
    pub(super) fn load(&self, digest: Digest) -> Option<Component> {
        let begun = clock::monotonic();
        let (name, seal) = self.names(digest);
        let folder = Folder::open(&self.folder).ok()?;
        let (mut file, mut sealed, mut compiled) = (folder.open_file(&name).ok()?, Vec::new(), Vec::new());
        folder.open_file(&seal).ok()?.take(limits::SEAL_BYTES).read_to_end(&mut sealed).ok()?;
        file.read_to_end(&mut compiled).ok()?;
        if !is_ours(&file) || !self.seal(digest, &compiled).is(&sealed) {
            let file = self.folder.join(name);
            tracing::warn!(file = %file.display(), "a compiled plugin is not what Roost has made, and is compiled again");
            return None;
        }
        // The file that was read, whatever has its name by now.
        let mapped = self.map(&file);
        let mapped =
            mapped.inspect_err(|error| tracing::warn!("a compiled plugin is compiled again: {error:#}")).ok()?;
        tracing::debug!(took = ?begun.elapsed(), "taken from the cache");
        Some(mapped)
    }

    #[allow(unsafe_code, reason = "mapping machine code cannot be safe; the seal was checked")]
    fn map(&self, file: &File) -> wasmtime::Result<Component> {
        // SAFETY: this open file was made by this program's compiler from known bytes (its seal says so, or it has just been
        // made), only this user can write to it, and it is never written to again.
        unsafe { Component::deserialize_file(&self.engine, format!("/proc/self/fd/{}", file.as_raw_fd())) }
    }
}

/// Whether no other user can change a file while it is mapped.
fn is_ours(file: &File) -> bool {
    let user = rustix::process::geteuid().as_raw();
    file.metadata().is_ok_and(|found| found.is_file() && found.uid() == user && found.mode() & 0o022 == 0)
}

/// What compiles have left that a crash has cut off.
fn remove_parts(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "part") {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that goes with its owner, unless it was renamed.
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
        super::super::versions::digest_of(bytes)
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
        assert!(cache.load(other).is_none(), "what was compiled from something else");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.load(digest).is_none(), "a file that others can write to");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&seal).unwrap();
        assert!(cache.load(digest).is_none(), "no seal");
        cache.sweep(&HashSet::new());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_seal_is_made_with_the_key_of_the_data_folder_alone() {
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
        assert!(again.load(digest).is_some(), "the key is made once");
        // A key that others could read is not trusted any more.
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
    async fn a_compile_that_takes_long_does_not_hold_up_the_next() {
        let data = tempfile::tempdir().unwrap();
        let cache = Cache::open(data.path(), &engine()).unwrap();
        let _bomb = cache.long.turn.acquire().await.unwrap();
        cache.compile(digest(EMPTY), EMPTY).await.unwrap();
    }
}
