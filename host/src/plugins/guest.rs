//! The host's state of one call of a plugin.

use std::sync::Arc;

use roost_scheduler::time::Site;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::{call_memory::Limiter, call_slots::Yielded, logs::CallOutput, trigger_cache::TriggerCache};

/// The host's state of a call.
pub(super) struct Guest {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) yielded: Yielded,
    pub(super) call_output: CallOutput,
    pub(super) site: Site,
    pub(super) trigger_cache: Arc<TriggerCache>,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
