//! Every bound of the event log, each with its reason (I10).

use std::time::Duration;

/// Events that are kept for subscribers, and their bytes: a subscriber that is slow or was away for long learns how
/// many it has missed.
pub(super) const EVENTS: usize = 16_384;
pub(super) const BYTES: usize = 16 << 20;
/// Entries of each plugin's log, and their bytes, so that long lines mean fewer entries; and the number of such logs.
pub(super) const LINES: usize = 500;
pub(super) const LINES_BYTES: usize = 512 << 10;
pub(super) const PLUGINS: usize = 128;
/// How long a plugin's log outlives the plugin.
pub(super) const GONE_MS: i64 = 60 * 60 * 1_000;
/// Bytes of an event besides its texts, which count twice because the event may be encoded as JSON as well.
pub(super) const BYTES_EACH: usize = 1_024;
/// The pause before subscribers are woken again: in a burst they are woken for many events at a time.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
