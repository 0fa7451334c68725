//! The only place that reads the clock.

use roost_scheduler::time::Instant;

/// Wall time.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Instant {
    chrono::Utc::now().into()
}
