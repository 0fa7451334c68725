//! One call of a plugin: a fresh store and instance, under limits of its own (I7).

use std::{sync::Arc, time::Duration};

use roost_scheduler::{
    calendar,
    text::excerpt,
    time::{Instant, Site},
};
use tokio::task::yield_now;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace, component::ResourceTable};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use super::{
    call_slots::{CallSlots, Yielded},
    contract::{Invalid, bindings},
    engine::Engine,
    function::{Function, ScheduleJobs},
    limiter::Limiter,
    limits,
    logs::{CallOutput, sanitize},
    memory::{Memory, Share},
    program::Program,
    settings::Device,
    statuses::Call,
    trigger_cache::TriggerCache,
    wasi::wasi,
};
use crate::{clock, config::limits::Limits};

/// Why a call gave no answer that the host takes.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("`{function}` {fault}")]
    Failed { function: &'static str, fault: Fault },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What a function did instead of answering.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("said: {0}")]
    Said(String),
    #[error("ran longer than {cpu_ms} ms")]
    Cpu { cpu_ms: u32 },
    #[error("did not return within {wall_ms} ms")]
    Wall { wall_ms: u32 },
    #[error("wanted more than {memory_mib} MiB of memory")]
    Memory { memory_mib: u32 },
    #[error("passed more than {lift_mib} MiB to the host")]
    Lift { lift_mib: u32 },
    #[error("wanted more than there is for all calls: {0}")]
    Pool(String),
    #[error("has another type than in the contract: {0}")]
    Type(String),
    #[error("wanted memory that other plugins' calls had")]
    Crowded,
    #[error("ended the program with exit code {code}{}", aside(.stderr))]
    Exit { code: i32, stderr: String },
    #[error("trapped: {reason}{}{}", trace(.frames), aside(.stderr))]
    Trap { reason: String, frames: Vec<String>, stderr: String },
}

impl CallError {
    /// With what to do about it, for where there is room for one text only.
    pub(super) fn in_full(&self) -> String {
        let hint = match self {
            // What a person asked for may be at fault as well as the plugin.
            Self::Invalid(invalid) => invalid.hint.clone(),
            // It is the plugin's own sentence.
            Self::Failed { fault: Fault::Said(_), .. } => None,
            Self::Failed { .. } => self.hint(),
        };
        hint.map_or_else(|| self.to_string(), |hint| format!("{self}\n{hint}"))
    }

    pub(super) fn hint(&self) -> Option<String> {
        let (function, fault) = match self {
            Self::Failed { function, fault } => (*function, fault),
            Self::Invalid(invalid) => {
                let mend = "mend the plugin or its settings; `roost check` says whether that was enough";
                return Some(invalid.hint.clone().unwrap_or_else(|| mend.into()));
            }
        };
        let raise =
            |key: &str| Some(format!("if the plugin needs that much, raise `{key}` in `[limits]` of its settings"));
        match fault {
            Fault::Cpu { .. } => raise("cpu_ms"),
            Fault::Wall { .. } => raise("wall_ms"),
            Fault::Memory { .. } => raise("memory_mib"),
            // What other functions may pass nobody can raise.
            Fault::Lift { .. } if function == ScheduleJobs::NAME => raise("lift_mib"),
            Fault::Said(text) if text.starts_with("config") => Some(
                "that stands in the plugin's settings, the `.toml` beside its `.wasm`: in `[config]` for all devices, or in one \
                 device's `config`"
                    .into(),
            ),
            // ENOMEM
            Fault::Trap { reason, .. } if reason.contains("os error 12") => Some(
                "a plugin takes 4 GB of address space for each of its memories, though hardly any memory: allow the host \
                 more of it (`ulimit -v`)"
                    .into(),
            ),
            Fault::Lift { .. } => Some("the plugin has to answer with less: that limit cannot be raised".into()),
            Fault::Pool(_) => Some(
                "the plugin is put together from more parts than any ordinary toolchain makes: build it with fewer modules".into(),
            ),
            Fault::Type(_) => Some("build the plugin against the `wit/` of this Roost, or install the Roost it was built for".into()),
            Fault::Exit { .. } | Fault::Trap { .. } => {
                Some("the fault is in the plugin: its author can repeat it with `roost check`".into())
            }
            Fault::Crowded => Some("it is asked again when the calls of others have ended".into()),
            Fault::Said(_) => Some("the plugin says so itself: see what its author says of its settings".into()),
        }
    }

    fn lacks(&self) -> Option<Lack> {
        match self {
            Self::Failed { fault, .. } => fault.lacks(),
            Self::Invalid(_) => None,
        }
    }
}

/// What another guest may have had.
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

fn aside(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("\nit said: {stderr}") }
}

fn trace(frames: &[String]) -> String {
    if frames.is_empty() { String::new() } else { format!(", in {}", frames.join(" < ")) }
}

/// What a call has besides the plugin's own memory.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: Limiter,
    yielded: Yielded,
    pub(super) call_output: CallOutput,
    pub(super) site: Site,
    pub(super) trigger_cache: Arc<TriggerCache>,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Calls that may go on at the same time.
pub(super) struct Calls {
    engine: Arc<Engine>,
    turns: CallSlots,
    memory: Memory,
}

impl Calls {
    /// With so much memory for all of them together.
    pub(super) fn new(engine: Arc<Engine>, memory_mib: u32) -> Self {
        Self { engine, turns: CallSlots::new(), memory: Memory::new(memory_mib) }
    }

    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Calls a function of a plugin, for one device.
    pub(super) async fn call<F: Function>(
        &self,
        function: &F,
        is_ordinary: bool,
        program: &Program,
        device: &Device,
        now: Instant,
    ) -> Result<F::Accepted, CallError> {
        let (mut place, mut share) = (self.turns.place(is_ordinary).await, self.memory.share());
        let mut lacked: [Option<Lack>; 2] = [None; 2];
        loop {
            let answer = self.ask(function, program, device, now, share).await;
            drop(place);
            let lack = answer.as_ref().err().and_then(CallError::lacks);
            let Some(lack) = lack.filter(|lack| !lacked.contains(&Some(*lack))) else { return answer };
            lacked = [lacked[1], Some(lack)];
            // I7: what it lacked another guest may have taken. With all of its memory, or alone, no other is to blame.
            let all = lacked.contains(&Some(Lack::Memory));
            share =
                if all { self.memory.reserve(program.settings.limits.memory_mib).await } else { self.memory.share() };
            place = match lack {
                Lack::Memory => self.turns.place(is_ordinary).await,
                Lack::Pool => self.turns.alone().await,
            };
        }
    }

    async fn ask<F: Function>(
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
        let bounds = &Limits { lift_mib, memory_mib, ..limits };
        let mut store = self.store(program, bounds, device, now, call_output.clone(), share);
        let (wall, yielded) = (Duration::from_millis(bounds.wall_ms.into()), store.data().yielded.clone());
        let (answered, _turn) = {
            let _ticking = self.engine.ticking();
            self.turns.run(function.call(&mut store, context(program, device, now)), &yielded, wall).await
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
        let fault = match answered {
            Some(Ok(Ok(answer))) => {
                let accepted = function.accept(answer, &program.terms(device), now);
                count(accepted.is_err(), false);
                let (plugin, device, function) = (&program.plugin, &device.name, F::NAME);
                tracing::debug!(%plugin, %device, function, ?took, "asked");
                return Ok(accepted?);
            }
            Some(Ok(Err(text))) => Fault::Said(sanitize(&text)),
            Some(Err(_)) if memory_refused => Fault::Memory { memory_mib: bounds.memory_mib },
            Some(Err(_)) if crowded => Fault::Crowded,
            Some(Err(error)) => told(&error, bounds, stderr),
            None => Fault::Wall { wall_ms: bounds.wall_ms },
        };
        if fault.lacks().is_none() {
            count(true, !matches!(fault, Fault::Said(_)));
        }
        Err(CallError::Failed { function: F::NAME, fault })
    }

    fn store(
        &self,
        program: &Program,
        bounds: &Limits,
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
        // Each fire stands for a tick in which the guest computed: one that waits for a poll is not charged for it.
        let budget = u64::from(bounds.cpu_ms).div_ceil(limits::EPOCH.as_millis() as u64);
        let (mut fires, yielded) = (0, store.data().yielded.clone());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            fires += 1;
            if fires > budget {
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

fn told(error: &wasmtime::Error, bounds: &Limits, stderr: String) -> Fault {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Fault::Exit { code: *code, stderr };
    }
    if let Some(lacking) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Fault::Pool(lacking.to_string());
    }
    // Only a call finds that out: before, components are compared by the names of what they export.
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
    // What it said before it fell tells more than where.
    let frames = if stderr.is_empty() { frames(error) } else { Vec::new() };
    Fault::Trap { reason, frames, stderr }
}

/// The innermost functions. Only the whole backtrace as text has their names as they were written.
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
    use crate::plugins::{
        settings::Settings,
        tests::{guests, site},
    };

    #[tokio::test]
    async fn a_call_that_lacks_what_others_have_is_made_again_alone() {
        let engine = Arc::new(Engine::new().unwrap());
        let component = Component::new(engine.wasm(), guests::guest(guests::NOTHING)).unwrap();
        let linked = engine.link(&component).unwrap();
        let plugin = PluginName::parse("porch").unwrap();
        let settings = Settings::parse(None, &plugin, &site(), &crate::config::rules::Rules::default()).unwrap();
        let version = Version { component: Digest([0; 32]), settings: settings.digest() };
        let program = Program::new(plugin, version, settings, Arc::default(), crate::event_log::EventLog::default());
        let device = &program.settings.devices[0];
        let calls = Calls::new(engine, crate::config::rules::Rules::default().memory.mib());

        let mut greedy = Vec::new();
        for _ in 0..limits::CALLS_ALIVE {
            let call_output = CallOutput::new(program.log.clone(), device.name.clone());
            let mut store =
                calls.store(&program, &program.settings.limits, device, clock::now(), call_output, calls.memory.share());
            linked.plugin.instantiate_async(&mut store).await.unwrap();
            greedy.push(store);
        }
        let function = ScheduleJobs(&linked.plugin);
        let plan = || calls.call(&function, true, &program, device, clock::now());
        assert!(plan().await.is_err_and(|error| error.lacks() == Some(Lack::Pool)), "even alone");

        let others_turn = calls.turns.place(true).await;
        let end_others = async {
            yield_now().await;
            drop((greedy, others_turn));
        };
        let (planned, ()) = tokio::join!(biased; plan(), end_others);
        assert!(planned.is_ok());
    }
}
