//! The only place that reads the clock.

use std::{io, os::fd::OwnedFd};

use roost_scheduler::time::Instant;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// How long to sleep at the most: a clock that is slewed, not stepped, tells nobody.
const LOOK_AGAIN_MS: i64 = 30_000;

/// Wall time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    chrono::Utc::now().into()
}

/// A timer of the wall clock: precise to some microseconds, where a sleep of the runtime is to a millisecond, and
/// woken when the clock is set.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    /// What it is set to, until it rings.
    asked: Option<Option<Instant>>,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(unsafe_code, reason = "an owned descriptor stays open for as long as the `AsyncFd` that owns it")]
        // SAFETY: `timer` is owned, and given to the `AsyncFd` for good.
        let registered = unsafe { AsyncFd::register(timer) }?;
        Ok(Self { timer: registered, asked: None })
    }

    /// Asks to be woken at an instant, or earlier to look at the clock again.
    pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        if self.asked.replace(at) == Some(at) {
            return Ok(());
        }
        let latest = now().plus_ms(LOOK_AGAIN_MS);
        let at = at.map_or(latest, |at| at.min(latest)).millis().max(1);
        let value = Timespec { tv_sec: at / 1000, tv_nsec: at % 1000 * 1_000_000 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.timer, flags, &once) {
            // The clock was set since the timer was armed last: it is armed all the same.
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it is time, or the clock was set.
    pub(crate) async fn rung(&mut self) -> io::Result<()> {
        let mut ready = self.timer.readable().await?;
        self.asked = None;
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

/// Time that only passes: for timeouts and pauses (I11).
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// Asks the kernel to let this thread go first when it has something to do, by asking for short turns. Kernels before
/// 6.12 do not listen.
pub(crate) fn keep_time() {
    const TURN_NS: u64 = 100_000;
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        // Threads and processes that are begun here are ordinary ones.
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        sched_nice: rustix::process::getpriority_process(None).unwrap_or(0),
        sched_priority: 0,
        sched_runtime: TURN_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    #[allow(unsafe_code, reason = "no safe call says it")]
    // SAFETY: the kernel reads as many bytes as the first field says, and keeps nothing.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
