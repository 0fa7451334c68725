//! Compiled components, kept by content. A damaged one would run with no error, so each is checked before it is mapped.

use std::{
    collections::HashSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use roost_scheduler::event::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use super::{
    compile::{self, CompileError},
    limits,
};
use crate::clock;

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    compatibility: u64,
    engine: wasmtime::Engine,
    /// Held while compiling for as long as that may take. Only one at a time: it may also take all the memory.
    long: Semaphore,
    /// Held beside it, by what is soon done or else starts over in the other lane: a bomb must not hold up the plugins
    /// that come after it.
    short: Semaphore,
    parts: AtomicU64,
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
}

impl Cache {
    pub(super) fn open(folder: &Path, engine: &wasmtime::Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Whoever can write here decides what runs.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder: folder.into(),
            compatibility: hasher.finish(),
            engine: engine.clone(),
            long: Semaphore::new(1),
            short: Semaphore::new(1),
            parts: AtomicU64::new(0),
        })
    }

    /// Compiles a component that is not in the cache.
    pub(super) async fn compile(&self, digest: Digest, bytes: &[u8]) -> Result<Component, CacheError> {
        let (lane, within) = tokio::select! {
            biased;
            lane = self.long.acquire() => (lane, limits::COMPILE_WALL),
            lane = self.short.acquire() => (lane, limits::COMPILE_SOON),
        };
        match self.compile_within(digest, bytes, within).await {
            Err(CacheError::Compile(CompileError::Wall(limits::COMPILE_SOON))) => {
                drop(lane);
                let _lane = self.long.acquire().await;
                self.compile_within(digest, bytes, limits::COMPILE_WALL).await
            }
            done => done,
        }
    }

    async fn compile_within(&self, digest: Digest, bytes: &[u8], within: Duration) -> Result<Component, CacheError> {
        // Another load of the same bytes may have been ahead.
        if let Some(component) = self.load(digest) {
            return Ok(component);
        }
        let part = Part(self.folder.join(format!(".{}.part", self.parts.fetch_add(1, Ordering::Relaxed))));
        let begun = clock::monotonic();
        compile::compile(bytes, &part.0, within).await?;
        tracing::debug!(bytes = bytes.len(), took = ?begun.elapsed(), "compiled");
        let folder = |error| CacheError::Folder { folder: self.folder.clone(), error };
        let compiled = fs::read(&part.0).map_err(folder)?;
        let (file, seal) = self.paths(digest);
        // Never written in place: the old file may be mapped. A crash between the two leaves a seal that does not fit.
        fs::rename(&part.0, &file).map_err(folder)?;
        fs::write(&part.0, self.seal(digest, &compiled)).map_err(folder)?;
        fs::rename(&part.0, &seal).map_err(folder)?;
        self.map(&file).map_err(|error| CacheError::Load(format!("{error:#}")))
    }

    /// Deletes what was compiled from other components than these, and what older programs compiled.
    pub(super) fn sweep(&self, in_use: &HashSet<Digest>) {
        let keep: HashSet<_> = in_use.iter().flat_map(|digest| <[PathBuf; 2]>::from(self.paths(*digest))).collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let ours = path.extension().is_some_and(|extension| extension == "cwasm" || extension == "seal");
            if ours && !keep.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn paths(&self, digest: Digest) -> (PathBuf, PathBuf) {
        let stem = format!("{digest}-{:016x}", self.compatibility);
        (self.folder.join(format!("{stem}.cwasm")), self.folder.join(format!("{stem}.seal")))
    }

    /// Ties the compiled bytes to what they were compiled from, and by what.
    fn seal(&self, digest: Digest, compiled: &[u8]) -> [u8; 32] {
        let hash = Sha256::new().chain_update(b"roost cwasm 1").chain_update(digest.0);
        hash.chain_update(self.compatibility.to_le_bytes()).chain_update(compiled).finalize().into()
    }

    /// Takes a compiled component from the cache.
    pub(super) fn load(&self, digest: Digest) -> Option<Component> {
        let begun = clock::monotonic();
        let (file, seal) = self.paths(digest);
        let sealed = fs::read(&seal).ok()? == self.seal(digest, &fs::read(&file).ok()?);
        if !sealed {
            tracing::warn!(file = %file.display(), "a compiled plugin was damaged and is compiled again");
            return None;
        }
        let mapped = self.map(&file);
        let mapped =
            mapped.inspect_err(|error| tracing::warn!("a compiled plugin is compiled again: {error:#}")).ok()?;
        tracing::debug!(took = ?begun.elapsed(), "taken from the cache");
        Some(mapped)
    }

    #[allow(unsafe_code, reason = "mapping machine code cannot be safe; the seal was checked")]
    fn map(&self, file: &Path) -> wasmtime::Result<Component> {
        // SAFETY: the file was made by this program's compiler from known bytes (its seal says so), lies in a folder
        // that only this user can write to, and is only ever replaced by a rename.
        unsafe { Component::deserialize_file(&self.engine, file) }
    }
}

/// A file that goes with its owner, unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[tokio::test]
    async fn damaged_and_foreign_files_are_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let engine = wasmtime::Engine::new(&super::super::engine::config()).unwrap();
        let cache = Cache::open(folder.path(), &engine).unwrap();
        let digest = Digest(Sha256::digest(EMPTY).into());
        cache.compile(digest, EMPTY).await.unwrap();
        let (file, seal) = cache.paths(digest);
        let good = fs::read(&file).unwrap();
        assert!(cache.load(digest).is_some());

        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, &damaged).unwrap();
        assert!(cache.load(digest).is_none(), "a flipped bit");
        cache.compile(digest, EMPTY).await.unwrap();
        assert!(cache.load(digest).is_some(), "compiled again");

        let other = Digest([7; 32]);
        let (other_file, other_seal) = cache.paths(other);
        fs::copy(&file, &other_file).unwrap();
        fs::copy(&seal, &other_seal).unwrap();
        assert!(cache.load(other).is_none(), "under another name");
        fs::remove_file(&seal).unwrap();
        assert!(cache.load(digest).is_none(), "without a seal");

        cache.sweep(&HashSet::new());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_compile_that_takes_long_does_not_hold_up_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let engine = wasmtime::Engine::new(&super::super::engine::config()).unwrap();
        let cache = Cache::open(folder.path(), &engine).unwrap();
        let _bomb = cache.long.acquire().await.unwrap();
        cache.compile(Digest(Sha256::digest(EMPTY).into()), EMPTY).await.unwrap();
    }
}
