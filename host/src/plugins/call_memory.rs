//! Limits the memories, tables and instances of a call.

use wasmtime::ResourceLimiter;

use super::{limits, memory_pool::Share};

/// Counts all memories and tables of a store together: the limit applies to the call, not to each memory.
pub(super) struct Limiter {
    memory: usize,
    memory_left: usize,
    table_left: usize,
    share: Share,
    /// Whether the call reached its memory limit.
    pub(super) refused: bool,
    /// Whether memory was refused because other calls occupied it.
    pub(super) crowded: bool,
}

/// Bytes of the host's memory that an element of a table takes.
const ELEMENT_BYTES: usize = 8;

impl Limiter {
    pub(super) const fn new(memory_mib: u32, share: Share) -> Self {
        let memory = memory_mib as usize * (1 << 20);
        let table_left = limits::TABLE_ELEMENTS;
        Self { memory, memory_left: memory, table_left, share, refused: false, crowded: false }
    }

    /// The bytes of memory that the call used. Memories never shrink.
    pub(super) const fn used(&self) -> usize {
        self.memory - self.memory_left
    }

    fn take(&mut self, bytes: usize) -> wasmtime::Result<()> {
        // A trap, and not -1: most programs would turn that into a less precise trap.
        if bytes > self.memory_left {
            self.refused = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        if !self.share.take(bytes) {
            self.crowded = true;
            return Err(wasmtime::Error::msg("other calls occupy the memory"));
        }
        self.memory_left -= bytes;
        Ok(())
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(desired.saturating_sub(current)).map(|()| true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.table_left || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(more * ELEMENT_BYTES)?;
        self.table_left -= more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        limits::INSTANCES
    }

    fn tables(&self) -> usize {
        limits::INSTANCES
    }

    fn memories(&self) -> usize {
        limits::MEMORIES
    }
}
