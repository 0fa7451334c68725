//! Every bound of the control socket, each with what it protects from (I10).

use std::time::Duration;

/// Those who are attended to at a time: each takes a task and a file.
pub(super) const CONNECTIONS: usize = 16;
/// Bytes of a request: a line without end must not fill the memory. A run's id has a tenth of that.
pub(super) const REQUEST_BYTES: u64 = 64 * 1024;
/// How long a request may take to come, and its answer to go: nobody may keep a place by doing nothing.
/// A test does not wait as long for those who say nothing.
pub(super) const REQUEST: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });
/// How long the host may take to answer: what is asked for has to be on disk.
pub(super) const ANSWER: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// The pause after a connection could not be taken, for want of files, say.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
