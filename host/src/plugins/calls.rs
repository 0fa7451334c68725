//! Calls of plugins. Each call has a new store and instance, with its own limits (I7).

use std::{sync::Arc, time::Duration};

use roost_scheduler::{accept, calendar, text::excerpt, time::Instant};
use tokio::task::yield_now;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace, component::ResourceTable};
use wasmtime_wasi::I32Exit;

use super::{
    call_memory::Limiter,
    call_slots::{CallSlots, Yielded},
    contract::bindings,
    engine::Engine,
    function::{Function, ScheduleJobs},
    guest::Guest,
    limits,
    logs::{CallOutput, sanitize},
    memory_pool::{Memory, Share},
    program::Program,
    settings::Device,
    statuses::Call,
    wasi::wasi,
};
use crate::{clock, config::call_limits::CallLimits};

/// Why a call gave no valid answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("`{function}` {fault}")]
    Failed { function: &'static str, fault: Fault },
    #[error(transparent)]
    Invalid(#[from] Box<accept::Fault>),
}

/// Why a function did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("returned an error: {0}")]
    Returned(String),
    #[error("ran longer than {cpu_ms} ms")]
    Cpu { cpu_ms: u32 },
    #[error("did not return within {wall_ms} ms")]
    Wall { wall_ms: u32 },
    #[error("requested more than {memory_mib} MiB of memory")]
    Memory { memory_mib: u32 },
    #[error("returned more than {lift_mib} MiB to the host")]
    Lift { lift_mib: u32 },
    #[error("requires more than the pool for all calls has: {0}")]
    Pool(String),
    #[error("has another type than in the contract: {0}")]
    Type(String),
    #[error("requested memory that the calls of other plugins occupy")]
    Crowded,
    #[error("ended with exit code {code}{}", stderr_line(.stderr))]
    Exit { code: i32, stderr: String },
    #[error("trapped: {reason}{}{}", trace(.frames), stderr_line(.stderr))]
    Trap { reason: String, frames: Vec<String>, stderr: String },
}

impl CallError {
    /// Returns the error and its hint in one text.
    pub(super) fn in_full(&self) -> String {
        let hint = match self {
            // The general hint would be wrong if the fault is in the operator's request.
            Self::Invalid(fault) => fault.hint.as_deref().map(Into::into),
            // The plugin's own error speaks for itself.
            Self::Failed { fault: Fault::Returned(_), .. } => None,
            Self::Failed { .. } => self.hint(),
        };
        hint.map_or_else(|| self.to_string(), |hint| format!("{self}\n{hint}"))
    }

    /// Returns what the author or the operator can do about the error.
    pub(super) fn hint(&self) -> Option<String> {
        let (function, fault) = match self {
            Self::Failed { function, fault } => (*function, fault),
            Self::Invalid(fault) => {
                let fix = "fix the plugin or its settings; `roost check` verifies the result";
                return Some(fault.hint.as_deref().unwrap_or(fix).into());
            }
        };
        let raise =
            |key: &str| Some(format!("if the plugin needs that much, raise `{key}` in `[limits]` of its settings"));
        match fault {
            Fault::Cpu { .. } => raise("cpu_ms"),
            Fault::Wall { .. } => raise("wall_ms"),
            Fault::Memory { .. } => raise("memory_mib"),
            // The limit of the other functions is fixed.
            Fault::Lift { .. } if function == ScheduleJobs::NAME => raise("lift_mib"),
            Fault::Returned(text) if text.starts_with("config") => Some(
                "correct the plugin's settings, the `.toml` file next to its `.wasm` file: `[config]` for all \
                 devices, or one device's `config`"
                    .into(),
            ),
            // ENOMEM
            Fault::Trap { reason, .. } if reason.contains("os error 12") => Some(
                "a plugin reserves 4 GB of address space for each of its memories, but uses little of it: allow the \
                 host more address space (`ulimit -v`)"
                    .into(),
            ),
            Fault::Lift { .. } => Some("the plugin must return less: that limit cannot be raised".into()),
            Fault::Pool(_) => {
                Some("the plugin has more modules than ordinary toolchains produce: build it with fewer modules".into())
            }
            Fault::Type(_) => {
                Some("build the plugin against the `wit/` of this Roost, or install the Roost it was built for".into())
            }
            Fault::Exit { stderr, .. } | Fault::Trap { stderr, .. } if stderr.contains("ModuleNotFoundError") => Some(
                "a plugin has no files when it is called: import the module at the top of the file, so that it is built \
                 into the component"
                    .into(),
            ),
            // A stub has no name, and a trap of a language has.
            Fault::Trap { reason, frames, .. }
                if reason.contains("`unreachable`")
                    && frames.first().is_some_and(|frame| frame.starts_with("`<wasm function") ) =>
            {
                Some(
                    "the fault is in the plugin: its author can reproduce it with `roost check`. If it was built with \
                     `--stub-wasi`, build it without: Roost has WASI's clocks, random numbers and output"
                        .into(),
                )
            }
            Fault::Exit { .. } | Fault::Trap { .. } => {
                Some("the fault is in the plugin: its author can reproduce it with `roost check`".into())
            }
            Fault::Crowded => Some("the call is retried when the calls of other plugins have ended".into()),
            Fault::Returned(_) => Some("the error is the plugin's own: see the documentation of its settings".into()),
        }
    }

    fn lacks(&self) -> Option<Lack> {
        match self {
            Self::Failed { fault, .. } => fault.lacks(),
            Self::Invalid(_) => None,
        }
    }
}

/// A shared resource that other calls may have occupied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Memory,
    Pool,
}

impl Fault {
    const fn lacks(&self) -> Option<Lack> {
        match self {
            Self::Crowded => Some(Lack::Memory),
            Self::Pool(_) => Some(Lack::Pool),
            _ => None,
        }
    }
}

fn stderr_line(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("\nstandard error: {stderr}") }
}

fn trace(frames: &[String]) -> String {
    if frames.is_empty() { String::new() } else { format!(", in {}", frames.join(" < ")) }
}

/// Runs calls within the common limits.
pub(super) struct Calls {
    engine: Arc<Engine>,
    slots: CallSlots,
    memory: Memory,
}

impl Calls {
    /// Creates the limits, with this much memory for all calls together.
    pub(super) fn new(engine: Arc<Engine>, memory_mib: u32) -> Self {
        Self { engine, slots: CallSlots::new(), memory: Memory::new(memory_mib) }
    }

    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Calls a function of a plugin for one device. A call that lacked a shared resource is retried with all of it.
    pub(super) async fn call<F: Function>(
        &self,
        function: &F,
        is_ordinary: bool,
        program: &Program,
        device: &Device,
        now: Instant,
    ) -> Result<F::Accepted, CallError> {
        let (mut slot, mut share) = (self.slots.acquire(is_ordinary).await, self.memory.share());
        let mut lacked: [Option<Lack>; 2] = [None; 2];
        loop {
            let answer = self.call_once(function, program, device, now, share).await;
            drop(slot);
            let lack = answer.as_ref().err().and_then(CallError::lacks);
            let Some(lack) = lack.filter(|lack| !lacked.contains(&Some(*lack))) else { return answer };
            lacked = [lacked[1], Some(lack)];
            // I7: other calls may have occupied what it lacked. If it fails with all of its memory, or alone, it is at
            // fault.
            let all = lacked.contains(&Some(Lack::Memory));
            share =
                if all { self.memory.reserve(program.settings.limits.memory_mib).await } else { self.memory.share() };
            slot = match lack {
                Lack::Memory => self.slots.acquire(is_ordinary).await,
                Lack::Pool => self.slots.acquire_all().await,
            };
        }
    }

    async fn call_once<F: Function>(
        &self,
        function: &F,
        program: &Program,
        device: &Device,
        now: Instant,
        share: Share,
    ) -> Result<F::Accepted, CallError> {
        let begun = clock::monotonic();
        let call_output = CallOutput::new(program.log.clone(), device.name.clone());
        let limits = program.settings.limits;
        let (lift_mib, memory_mib) = (function.lift_mib(&limits), limits.memory_mib.min(self.memory.most_mib()));
        let bounds = &CallLimits { lift_mib, memory_mib, ..limits };
        let mut store = self.store(program, bounds, device, now, call_output.clone(), share);
        let (wall, yielded) = (Duration::from_millis(bounds.wall_ms.into()), store.data().yielded.clone());
        let (answer, _turn) = {
            let _ticking = self.engine.ticking();
            self.slots.run(function.call(&mut store, context(program, device, now)), &yielded, wall).await
        };
        let Limiter { refused: memory_refused, crowded, .. } = store.data().limiter;
        let memory_bytes = store.data().limiter.used();
        drop(store);
        let stderr = call_output.finish();
        let took = begun.elapsed();
        let count = |has_failed: bool, has_trapped| {
            let planned = Some(took).filter(|_| F::NAME == ScheduleJobs::NAME && !has_failed);
            program.usage.count(Call { planned, has_failed, has_trapped, memory_bytes });
        };
        let fault = match answer {
            Some(Ok(Ok(answer))) => {
                let accepted = function.accept(answer, &program.terms(device), now);
                let accepted = accepted.map_err(|fault| Box::new(program.with_hint(fault)));
                count(accepted.is_err(), false);
                let (plugin, device, function) = (&program.plugin, &device.name, F::NAME);
                tracing::debug!(%plugin, %device, function, ?took, "called");
                return Ok(accepted?);
            }
            Some(Ok(Err(text))) => Fault::Returned(sanitize(&text)),
            Some(Err(_)) if memory_refused => Fault::Memory { memory_mib: bounds.memory_mib },
            Some(Err(_)) if crowded => Fault::Crowded,
            Some(Err(error)) => classify(&error, bounds, stderr),
            None => Fault::Wall { wall_ms: bounds.wall_ms },
        };
        if fault.lacks().is_none() {
            count(true, !matches!(fault, Fault::Returned(_)));
        }
        Err(CallError::Failed { function: F::NAME, fault })
    }

    fn store(
        &self,
        program: &Program,
        bounds: &CallLimits,
        device: &Device,
        now: Instant,
        call_output: CallOutput,
        share: Share,
    ) -> Store<Guest> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        let guest = Guest {
            wasi: wasi(program, device, now, &call_output),
            table,
            limiter: Limiter::new(bounds.memory_mib, share),
            yielded: Yielded::default(),
            call_output,
            site: device.site,
            trigger_cache: program.trigger_cache.clone(),
        };
        let mut store = Store::new(self.engine.wasm(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(bounds.lift_mib as usize * (1 << 20));
        store.set_max_component_handles(limits::HANDLES);
        // The callback runs only if the guest computes during a tick: a guest that waits is not charged.
        let budget = u64::from(bounds.cpu_ms).div_ceil(limits::EPOCH.as_millis() as u64);
        let (mut ticks, yielded) = (0, store.data().yielded.clone());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            ticks += 1;
            if ticks > budget {
                return Ok(UpdateDeadline::Interrupt);
            }
            yielded.set();
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
        });
        store
    }
}

fn context(program: &Program, device: &Device, now: Instant) -> bindings::Context {
    let location = device
        .site
        .location
        .map(|location| bindings::Location { latitude: location.latitude(), longitude: location.longitude() });
    bindings::Context {
        plugin: program.plugin.to_string(),
        device: device.name.to_string(),
        config: device.config.clone(),
        time_zone: device.site.zone.name().into(),
        location,
        now: now.millis(),
        until: calendar::end_of_tomorrow(now, device.site.zone).millis(),
    }
}

/// Returns the fault that the runtime's error means.
fn classify(error: &wasmtime::Error, bounds: &CallLimits, stderr: String) -> Fault {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Fault::Exit { code: *code, stderr };
    }
    if let Some(lacking) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Fault::Pool(lacking.to_string());
    }
    // Only a call detects this: linking compares the names of exports, not their types.
    if format!("{error:#}").contains("failed to convert function to given type") {
        return Fault::Type(error.root_cause().to_string());
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Fault::Cpu { cpu_ms: bounds.cpu_ms };
    }
    let reason = trap.map_or_else(|| format!("{:#}", error.root_cause()), ToString::to_string);
    if reason.contains("fuel allocated for hostcalls") {
        return Fault::Lift { lift_mib: bounds.lift_mib };
    }
    // Standard error explains more than the backtrace.
    let frames = if stderr.is_empty() { frames(error) } else { Vec::new() };
    Fault::Trap { reason, frames, stderr }
}

/// Returns the innermost functions of the backtrace. Only the backtrace's text has their demangled names.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let text = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_once('!')).map(|(_, name)| name);
    names.take(limits::FRAMES).map(|name| format!("`{}`", excerpt(name))).collect()
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        event::{Digest, Version},
        names::PluginName,
    };
    use wasmtime::component::Component;

    use super::*;

    #[test]
    fn usual_mistakes_of_toolchains_have_their_own_hints() {
        let hint = |frame: &str, stderr: &str| {
            let reason = "wasm trap: wasm `unreachable` instruction executed".into();
            let fault = Fault::Trap { reason, frames: vec![frame.into()], stderr: stderr.into() };
            CallError::Failed { function: ScheduleJobs::NAME, fault }.hint().unwrap()
        };
        let missing = hint("`abort`", "ModuleNotFoundError: No module named 'json.tool'");
        assert!(missing.contains("import the module at the top of the file"), "{missing}");
        assert!(hint("`<wasm function 61>`", "").contains("`--stub-wasi`"));
        assert!(!hint("`rust_panic`", "").contains("`--stub-wasi`"));
    }
    use crate::plugins::{
        settings::Settings,
        tests::{guests, site},
    };

    #[tokio::test]
    async fn a_call_that_lacks_a_shared_resource_is_retried_alone() {
        let engine = Arc::new(Engine::new().unwrap());
        let component = Component::new(engine.wasm(), guests::guest(guests::NOTHING)).unwrap();
        let linked = engine.link(&component).unwrap();
        let plugin = PluginName::parse("porch").unwrap();
        let settings = Settings::parse(None, &plugin, &site(), &crate::config::rules::Rules::default()).unwrap();
        let version = Version { component: Digest([0; 32]), settings: settings.digest() };
        let program = Program::new(plugin, version, settings, Arc::default(), crate::event_log::EventLog::default());
        let device = &program.settings.devices[0];
        let calls = Calls::new(engine, crate::config::rules::Rules::default().guests.memory_mib);

        let mut greedy = Vec::new();
        for _ in 0..limits::CALLS_ALIVE {
            let call_output = CallOutput::new(program.log.clone(), device.name.clone());
            let mut store = calls.store(
                &program,
                &program.settings.limits,
                device,
                clock::now(),
                call_output,
                calls.memory.share(),
            );
            linked.plugin.instantiate_async(&mut store).await.unwrap();
            greedy.push(store);
        }
        let function = ScheduleJobs(&linked.plugin);
        let plan = || calls.call(&function, true, &program, device, clock::now());
        assert!(plan().await.is_err_and(|error| error.lacks() == Some(Lack::Pool)), "even alone");

        let other_slot = calls.slots.acquire(true).await;
        let end_others = async {
            yield_now().await;
            drop((greedy, other_slot));
        };
        let (planned, ()) = tokio::join!(biased; plan(), end_others);
        assert!(planned.is_ok());
    }
}
