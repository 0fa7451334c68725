//! What a call may have of memories, tables and instances.

use wasmtime::ResourceLimiter;

use super::limits;

/// Counts all memories of a store together: the limit is the call's, not a memory's.
pub(super) struct Limiter {
    memory: usize,
    memory_left: usize,
    table_left: usize,
    /// Whether memory was refused.
    pub(super) refused: bool,
}

impl Limiter {
    pub(super) const fn new(memory_mib: u32) -> Self {
        let memory = memory_mib as usize * (1 << 20);
        Self { memory, memory_left: memory, table_left: limits::TABLE_ELEMENTS, refused: false }
    }

    /// Bytes of memory that the call had: a memory never shrinks.
    pub(super) const fn used(&self) -> usize {
        self.memory - self.memory_left
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if more > self.memory_left {
            // A trap, not -1: most programs would only turn that into a trap that tells less.
            self.refused = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        self.memory_left -= more;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if more > self.table_left || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
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
