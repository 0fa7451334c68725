//! The only place that reads the clock.

use std::{
    io, mem,
    os::fd::OwnedFd,
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::Duration,
};

use roost_scheduler::{
    limits::{CLOCK_LOST_BEFORE, CLOCK_STEP_MS},
    time::Instant,
};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// How long to sleep at the most: a clock that is slewed, not stepped, tells nobody.
const LOOK_AGAIN_MS: i64 = 30_000;

/// How often a clock that has lost the time is looked at.
const LOOK_AT_LOST: Duration = Duration::from_secs(1);

/// Names a file with a number of milliseconds, which the wall clock is taken to be ahead: to try out what happens when
/// clocks are set. Whatever is written into it counts at once.
const AHEAD_FILE: &str = "ROOST_CLOCK_AHEAD_FILE";

/// How often that file is read, if there is one.
const AHEAD_EVERY: Duration = Duration::from_millis(10);

/// What it says.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

/// Wall time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    let shown: Instant = chrono::Utc::now().into();
    shown.plus_ms(AHEAD_MS.load(Ordering::Relaxed))
}

/// Follows the file that the environment names, if it names one.
pub(crate) fn follow_file() -> io::Result<()> {
    let Some(path) = std::env::var_os(AHEAD_FILE) else { return Ok(()) };
    tracing::warn!("the clock is taken to be ahead by what `{}` says", path.display());
    let read = move || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Ok(ahead) = text.trim().parse() {
            AHEAD_MS.store(ahead, Ordering::Relaxed);
        }
    };
    read();
    let follow = move || {
        loop {
            thread::sleep(AHEAD_EVERY);
            read();
        }
    };
    thread::Builder::new().name("clock".into()).spawn(follow).map(drop)
}

/// Ready when the clock shows a time that can be. Wall-clock jobs that are planned by one that has lost the time would be
/// due at any time (I11).
pub(crate) async fn is_set() {
    if now() >= CLOCK_LOST_BEFORE {
        return;
    }
    tracing::warn!("the clock shows {}, which cannot be: nothing is planned before it is set", now());
    while now() < CLOCK_LOST_BEFORE {
        tokio::time::sleep(LOOK_AT_LOST).await;
    }
    tracing::info!("the clock is set");
}

/// Notices when the wall clock is set, and not just slewed: beside it there is one that never is, and that goes on while
/// the machine sleeps.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How far they are apart.
    apart_ms: i64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { apart_ms: apart_ms(now()) }
    }

    /// Wall time, and by how much the clock was set since it was looked at last, if it was.
    pub(crate) fn look(&mut self) -> (Instant, Option<i64>) {
        let now = now();
        let apart_ms = apart_ms(now);
        let by_ms = apart_ms - mem::replace(&mut self.apart_ms, apart_ms);
        (now, Some(by_ms).filter(|by_ms| by_ms.abs() >= CLOCK_STEP_MS))
    }
}

fn apart_ms(now: Instant) -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    now.millis() - (tv_sec * 1_000 + tv_nsec / 1_000_000)
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
        let ahead_ms = AHEAD_MS.load(Ordering::Relaxed);
        let latest = now().plus_ms(if ahead_ms == 0 { LOOK_AGAIN_MS } else { AHEAD_EVERY.as_millis() as i64 });
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
