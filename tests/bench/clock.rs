//! The clock of the measurements: nanoseconds since the epoch, of the wall clock by which jobs are due.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Returns the present time.
#[allow(clippy::disallowed_methods, reason = "measuring is reading the clock")]
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    i64::try_from(since.as_nanos()).expect("before the year 2262")
}

/// Returns the first whole millisecond that is at least `millis` from now.
pub(crate) fn in_ms(millis: i64) -> i64 {
    (now_ns() / 1_000_000 + 1 + millis) * 1_000_000
}

/// Sleeps until an instant, if it is in the future.
pub(crate) fn sleep_until(then_ns: i64) {
    if let Ok(ahead) = u64::try_from(then_ns - now_ns()) {
        thread::sleep(Duration::from_nanos(ahead));
    }
}

/// Returns the milliseconds from one instant to another.
pub(crate) fn ms_between(from_ns: i64, to_ns: i64) -> f64 {
    (to_ns - from_ns) as f64 / 1e6
}
