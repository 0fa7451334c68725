//! The memory for the calls of all guests (I7). A part is reserved for each call, so that a small guest never waits for
//! large ones. Further memory comes from a common pool.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits;

const MIB: usize = 1 << 20;
/// The unit in which memory is shared out: a page of WebAssembly.
const PAGE: usize = 64 << 10;

/// The memory that all calls share.
#[derive(Debug)]
pub(super) struct Memory {
    common: Arc<Semaphore>,
    total_mib: u32,
}

/// The memory of one call.
#[derive(Debug)]
pub(super) struct Share {
    common: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    /// Bytes that the call has taken but does not use yet.
    free: usize,
}

impl Memory {
    /// Creates the pool. `total_mib` includes the reserved parts of all calls.
    pub(super) fn new(total_mib: u32) -> Self {
        let pages = Self::common_mib(total_mib) as usize * (MIB / PAGE);
        Self { common: Arc::new(Semaphore::new(pages)), total_mib }
    }

    const fn common_mib(total_mib: u32) -> u32 {
        total_mib.saturating_sub(limits::CALLS_ALIVE as u32 * limits::CALL_MIB)
    }

    pub(super) const fn total_mib(&self) -> u32 {
        self.total_mib
    }

    /// The most memory that a call can have.
    pub(super) const fn most_mib(&self) -> u32 {
        Self::common_mib(self.total_mib) + limits::CALL_MIB
    }

    /// Returns the share of a call that takes memory as it needs it.
    pub(super) fn share(&self) -> Share {
        Share { common: self.common.clone(), taken: None, free: limits::CALL_MIB as usize * MIB }
    }

    /// Waits until all of a call's limit is free, and reserves it.
    pub(super) async fn reserve(&self, limit_mib: u32) -> Share {
        let beyond = limit_mib.min(self.most_mib()).saturating_sub(limits::CALL_MIB) as usize * MIB;
        let taken = self.common.clone().acquire_many_owned((beyond / PAGE) as u32).await.ok();
        Share { taken, free: beyond + limits::CALL_MIB as usize * MIB, ..self.share() }
    }
}

impl Share {
    /// Takes memory. Returns `false` if other calls occupy too much.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if let Some(missing) = bytes.checked_sub(self.free).filter(|missing| *missing > 0) {
            let pages = missing.div_ceil(PAGE);
            let more =
                u32::try_from(pages).ok().and_then(|pages| self.common.clone().try_acquire_many_owned(pages).ok());
            let Some(more) = more else { return false };
            match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            }
            self.free += pages * PAGE;
        }
        self.free -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_calls_never_wait_and_large_ones_share_what_is_left() {
        let memory = Memory::new(384);
        let large = memory.most_mib() as usize * MIB;
        let mut first = memory.share();
        assert!(first.take(large - 64 * MIB) && !first.take(65 * MIB) && first.take(64 * MIB));
        let mut small: Vec<Share> = (1..limits::CALLS_ALIVE).map(|_| memory.share()).collect();
        assert!(small.iter_mut().all(|share| share.take(limits::CALL_MIB as usize * MIB)));
        assert!(!small.iter_mut().any(|share| share.take(1)));
        let reserved = memory.reserve(256);
        let mut reserved = std::pin::pin!(reserved);
        tokio::select! {
            biased;
            _ = &mut reserved => panic!("the first one occupies the memory"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        let mut reserved = reserved.await;
        assert!(reserved.take(256 * MIB));
    }
}
