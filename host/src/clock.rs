//! The only place that reads the clock.

use std::{
    io, mem,
    os::fd::OwnedFd,
    sync::atomic::{AtomicI64, Ordering},
    thread,
};

use roost_scheduler::{
    limits::CLOCK_STEP_MS,
    time::{CLOCK_LOST_BEFORE, Instant},
};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::limits;

/// The environment variable with the path of a file that holds a number of milliseconds by which the wall clock is
/// shifted forward, for tests with clock changes. A change of the file takes effect at once.
const AHEAD_FILE: &str = "ROOST_CLOCK_AHEAD_FILE";

/// The shift in that file.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

/// Returns the wall time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    let shown: Instant = chrono::Utc::now().into();
    shown.plus_ms(AHEAD_MS.load(Ordering::Relaxed))
}

/// Starts the thread that follows the file, if the environment names one.
pub(crate) fn follow_file() -> io::Result<()> {
    let Some(path) = std::env::var_os(AHEAD_FILE) else { return Ok(()) };
    tracing::warn!("the clock is shifted by the milliseconds in `{}`", path.display());
    let read = move || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Ok(ahead) = text.trim().parse() {
            AHEAD_MS.store(ahead, Ordering::Relaxed);
        }
    };
    read();
    let follow = move || {
        loop {
            thread::sleep(limits::AHEAD_EVERY);
            read();
        }
    };
    thread::Builder::new().name("clock".into()).spawn(follow).map(drop)
}

/// Waits until the clock shows a possible time. Jobs planned by a clock that has lost the time would be due at any time
/// (I11).
pub(crate) async fn is_set() {
    if now() >= CLOCK_LOST_BEFORE {
        return;
    }
    tracing::warn!("the clock shows {}, which is impossible: nothing is planned before it is set", now());
    while now() < CLOCK_LOST_BEFORE {
        tokio::time::sleep(limits::LOST_CHECK_EVERY).await;
    }
    tracing::info!("the clock is set");
}

/// Notices when the wall clock is set, and not just slewed, by comparing it with the boot-time clock, which is never
/// set and continues while the machine sleeps.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The difference between the two clocks.
    apart_ms: i64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { apart_ms: apart_ms(now()) }
    }

    /// Returns the wall time, and by how many milliseconds the clock was set since the last call, if it was.
    pub(crate) fn look(&mut self) -> (Instant, Option<i64>) {
        let now = now();
        let apart_ms = apart_ms(now);
        let by_ms = apart_ms - mem::replace(&mut self.apart_ms, apart_ms);
        (now, Some(by_ms).filter(|by_ms| by_ms.abs() >= CLOCK_STEP_MS))
    }
}

fn apart_ms(now: Instant) -> i64 {
    now.millis() - boot_ms()
}

/// Returns the milliseconds since the system's boot, also those in which it was suspended.
pub(crate) fn boot_ms() -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    tv_sec * 1_000 + tv_nsec / 1_000_000
}

/// A timer of the wall clock. It is precise to some microseconds, where tokio's timers are to a millisecond, and also
/// fires when the clock is set.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// The value it is set to, until it fires.
    set_to: Option<Option<Instant>>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(unsafe_code, reason = "an owned descriptor stays open for as long as the `AsyncFd` that owns it")]
        // SAFETY: `timer` is owned, and given to the `AsyncFd` for good.
        let registered = unsafe { AsyncFd::register(timer) }?;
        Ok(Self { timer: registered, set_to: None })
    }

    /// Sets the timer to an instant, or to an earlier one to check the clock again.
    pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        if self.set_to.replace(at) == Some(at) {
            return Ok(());
        }
        let ahead_ms = AHEAD_MS.load(Ordering::Relaxed);
        let latest = now().plus_ms(if ahead_ms == 0 {
            limits::LONGEST_SLEEP_MS
        } else {
            limits::AHEAD_EVERY.as_millis() as i64
        });
        let at = at.map_or(latest, |at| at.min(latest)).plus_ms(-ahead_ms).millis().max(1);
        let value = Timespec { tv_sec: at / 1000, tv_nsec: at % 1000 * 1_000_000 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.timer, flags, &once) {
            // The clock was set since the timer was armed last: it is armed all the same.
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the timer fires, or the clock is set.
    pub(crate) async fn rung(&mut self) -> io::Result<()> {
        let mut ready = self.timer.readable().await?;
        self.set_to = None;
        let mut expirations = [0; 8];
        match rustix::io::read(&self.timer, &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(rustix::io::Errno::AGAIN) => {
                ready.clear_ready();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the monotonic time, for timeouts and pauses (I11).
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// Asks the kernel for short time slices, so that this thread preempts others when it wakes. Kernels before 6.12 ignore
/// that.
pub(crate) fn keep_time() {
    const TURN_NS: u64 = 100_000;
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        // Threads and processes started from this one are ordinary.
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        sched_nice: rustix::process::getpriority_process(None).unwrap_or(0),
        sched_priority: 0,
        sched_runtime: TURN_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    #[allow(unsafe_code, reason = "there is no safe wrapper")]
    // SAFETY: the kernel reads as many bytes as the first field states, and keeps no pointer.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
