//! What time zones may take (I10).

use std::time::Duration;

/// Bytes of a zone's file: the largest has 4 kB. A larger one is not a zone's.
pub(super) const ZONE_BYTES: u64 = 64 * 1024;
/// Bytes of `tzdata.zi`, which has 110 kB.
pub(super) const SOURCE_BYTES: u64 = 1024 * 1024;
/// How often the folder is looked at: a package is unpacked within that, and then its rules hold.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
