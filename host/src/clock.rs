//! The only place that reads the clock.

use roost_scheduler::time::Instant;

/// Wall time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    chrono::Utc::now().into()
}

/// Time that only passes: for timeouts and pauses (I11).
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
