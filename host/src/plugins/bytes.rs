//! The bytes of components that are being loaded, and how many of them may be in memory at a time (I10).

use std::{ops::Deref, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits;

/// A component's bytes, shared by all that have to do with its load.
#[derive(Clone)]
pub(super) struct Bytes {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// What they take of the room that all loads have together.
    _room: Option<Arc<OwnedSemaphorePermit>>,
}

impl Bytes {
    /// Bytes that keep their room for as long as they are there.
    pub(super) fn in_room(bytes: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes: Arc::new(bytes), _room: room.map(Arc::new) }
    }
}

impl From<Vec<u8>> for Bytes {
    /// Of a caller that bounds them itself.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), _room: None }
    }
}

impl From<Arc<[u8]>> for Bytes {
    /// Likewise.
    fn from(bytes: Arc<[u8]>) -> Self {
        Self { bytes: Arc::new(bytes), _room: None }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Room for what is read from the folder: files wait there, unread, until there is some.
#[derive(Clone, Debug)]
pub(super) struct LoadRoom(Arc<Semaphore>);

const KIB: u64 = 1 << 10;

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.min(limits::LOAD_BYTES).div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl LoadRoom {
    /// Room for so many bytes, if there is some now.
    pub(super) fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_many_owned(kib(bytes)).ok()
    }

    /// The same as soon as there is some.
    pub(super) async fn wait_for(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_many_owned(kib(bytes)).await.ok()
    }
}

impl Default for LoadRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new((limits::LOAD_BYTES / KIB) as usize)))
    }
}
