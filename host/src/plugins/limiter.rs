//! What a call may have of memories, tables and instances.

use wasmtime::ResourceLimiter;

use super::{limits, memory::Share};

/// Counts all memories and tables of a store together: the limit is the call's, not a memory's.
pub(super) struct Limiter {
    memory: usize,
    memory_left: usize,
    table_left: usize,
    share: Share,
    /// Whether memory was refused.
    pub(super) refused: bool,
    /// Whether others had the memory that it wanted.
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

    /// Bytes of memory that the call had: a memory never shrinks.
    pub(super) const fn used(&self) -> usize {
        self.memory - self.memory_left
    }

    fn take(&mut self, bytes: usize) -> wasmtime::Result<()> {
        // A trap, not -1: most programs would only turn that into a trap that tells less.
        if bytes > self.memory_left {
            self.refused = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        if !self.share.take(bytes) {
            self.crowded = true;
            return Err(wasmtime::Error::msg("other calls have the memory"));
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
