//! The bounds on time zone files (I10).

use std::time::Duration;

/// The largest size of a zone's file in bytes: real ones have up to 4 kB.
pub(super) const ZONE_BYTES: u64 = 64 * 1024;
/// The largest size of `tzdata.zi` in bytes, which has 110 kB.
pub(super) const SOURCE_BYTES: u64 = 1024 * 1024;
/// How often the folder is checked: a package is unpacked within that time, after which its rules apply.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
