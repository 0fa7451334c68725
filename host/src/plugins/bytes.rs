//! The bytes of components that are being loaded, and the limit on how many of them are in memory (I10).

use std::{ops::Deref, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits;

/// A component's bytes, shared by the steps of its load.
#[derive(Clone)]
pub(super) struct Bytes {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// Their share of the room for all loads.
    _room: Option<Arc<OwnedSemaphorePermit>>,
}

impl Bytes {
    /// Returns bytes that occupy their room until they are dropped.
    pub(super) fn in_room(bytes: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { bytes: Arc::new(bytes), _room: room.map(Arc::new) }
    }
}

impl From<Vec<u8>> for Bytes {
    /// Converts bytes whose number the caller limits itself.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), _room: None }
    }
}

impl From<Arc<[u8]>> for Bytes {
    /// Converts bytes whose number the caller limits itself.
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

/// The room for bytes read from the folder. Files stay unread until there is room for them.
#[derive(Clone, Debug)]
pub(super) struct LoadRoom(Arc<Semaphore>);

const KIB: u64 = 1 << 10;

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.min(limits::LOAD_BYTES).div_ceil(KIB)).unwrap_or(u32::MAX)
}

impl LoadRoom {
    /// Takes room for a number of bytes, if there is enough now.
    pub(super) fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_many_owned(kib(bytes)).ok()
    }

    /// Waits until there is room for a number of bytes, and takes it.
    pub(super) async fn wait_for(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_many_owned(kib(bytes)).await.ok()
    }
}

impl Default for LoadRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new((limits::LOAD_BYTES / KIB) as usize)))
    }
}
