//! The WASI context of a guest.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use roost_scheduler::time::Instant;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

use super::{
    limits,
    logs::{CallOutput, StreamKind},
    program::Program,
    settings::Device,
};

/// Builds a context without files, sockets and environment. The clock and the random numbers are deterministic, so that
/// equal requests get equal answers.
pub(super) fn wasi(program: &Program, device: &Device, now: Instant, call_output: &CallOutput) -> WasiCtx {
    let day = now.to_utc().with_timezone(&device.site.zone).date_naive();
    let random = |kind: &str| {
        let seed = format!("{kind}/{}/{}/{day}", program.plugin, device.name);
        StdRng::from_seed(Sha256::digest(seed).into())
    };
    WasiCtx::builder()
        .stdout(call_output.stream(StreamKind::Output))
        .stderr(call_output.stream(StreamKind::Error))
        .allow_tcp(false)
        .allow_udp(false)
        .wall_clock(StoppedClock(now))
        .monotonic_clock(CountingClock::default())
        .secure_random(random("secure"))
        .insecure_random(random("insecure"))
        .insecure_random_seed(u128::from(day.to_epoch_days().unsigned_abs()))
        .max_random_size(limits::RANDOM_BYTES)
        .build()
}

struct StoppedClock(Instant);

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.millis().unsigned_abs())
    }
}

/// A monotonic clock that advances by a microsecond with each reading, regardless of real time.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}
