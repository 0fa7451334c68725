//! The WebAssembly engine: links compiled components, and interrupts guests.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    component::{Component, HasSelf, Linker},
};

use super::{
    component::{ComponentError, Linked},
    contract::bindings,
    guest::Guest,
    limits,
};

/// Returns the configuration for compiling and running components, which the host and the compiling child share.
pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(true);
    // Plugins are optimised when they are built. Optimising them again would cost more time than it saves.
    // Not the single-pass register allocator, which takes 40 % less: Wasmtime issues no security advisories for it.
    config.cranelift_opt_level(OptLevel::None);
    // These are not needed: a trap is reported with the names of functions, which frame pointers give.
    config.generate_address_map(false).native_unwind_info(false);
    config
}

/// Returns the configuration of the pool of memories, tables and stacks that calls reuse. Mapping them for each call,
/// and faulting in each page, takes longer than most calls.
fn pool() -> PoolingAllocationConfig {
    let calls = limits::CALLS_ALIVE as u32;
    let (ordinary, large) = (limits::ORDINARY_CALLS as u32, limits::LARGE_CALLS as u32);
    let (instances, memories) = (limits::INSTANCES as u32, limits::MEMORIES as u32);
    let mut pool = PoolingAllocationConfig::new();
    // The totals are the sums of the calls' limits, so that no guest can use up another's. Only stacks have no limit
    // per call.
    pool.total_component_instances(calls)
        .max_component_instance_size(limits::INSTANCE_BYTES)
        .total_core_instances(calls * instances)
        .max_core_instances_per_component(instances)
        .max_core_instance_size(limits::INSTANCE_BYTES)
        .total_memories(ordinary + large * memories)
        .max_memories_per_component(memories)
        .max_memories_per_module(memories)
        .total_tables(ordinary * limits::ORDINARY_TABLES + large * instances)
        .max_tables_per_component(instances)
        .max_tables_per_module(instances)
        .table_elements(limits::TABLE_ELEMENTS)
        .total_stacks(limits::STACKS)
        .max_unused_warm_slots(0)
        .linear_memory_keep_resident(limits::KEPT_BYTES)
        .table_keep_resident(limits::KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Creates an engine, with a pool if there is enough address space for it.
fn pooled() -> Result<wasmtime::Engine, wasmtime::Error> {
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    wasmtime::Engine::new(&pooled).or_else(|error| {
        tracing::debug!("calls of plugins are slower, because the memory pool cannot be reserved: {error:#}");
        wasmtime::Engine::new(&config())
    })
}

/// The engine, the linker and the ticker. It does not depend on plugins.
pub(super) struct Engine {
    wasm: wasmtime::Engine,
    linker: Linker<Guest>,
    ticker: Arc<Ticker>,
}

impl Engine {
    pub(super) fn new() -> Result<Self, wasmtime::Error> {
        let wasm = pooled()?;
        let mut linker = Linker::new(&wasm);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        bindings::DevicePlugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
        let ticker = Arc::new(Ticker::default());
        let (wasm_of_ticker, ticking) = (wasm.weak(), Arc::downgrade(&ticker));
        thread::Builder::new().name("epoch".into()).spawn(move || {
            while let Some(ticker) = ticking.upgrade() {
                if !ticker.wait() {
                    return;
                }
                thread::sleep(limits::EPOCH);
                let Some(wasm) = wasm_of_ticker.upgrade() else { return };
                wasm.increment_epoch();
            }
        })?;
        Ok(Self { wasm, linker, ticker })
    }

    pub(super) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// Checks a component against the contract, and links it.
    pub(super) fn link(&self, component: &Component) -> Result<Linked, ComponentError> {
        Linked::new(&self.wasm, &self.linker, component)
    }

    /// Starts the epoch ticker until the returned guard is dropped, so that an idle host does not wake up 100 times a
    /// second.
    pub(super) fn ticking(&self) -> Ticking {
        self.ticker.change(|state| state.calls += 1);
        Ticking(self.ticker.clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ticker.change(|state| state.stopped = true);
    }
}

#[derive(Default)]
struct Ticker {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TickerState {
    calls: usize,
    stopped: bool,
}

impl Ticker {
    fn change(&self, change: impl FnOnce(&mut TickerState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until a call is under way. Returns `false` when the engine is dropped.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut TickerState| state.calls == 0 && !state.stopped;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }
}

/// The guard of a call under way.
pub(super) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.change(|state| state.calls -= 1);
    }
}
