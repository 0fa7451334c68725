//! Bounds of the settings, each with its reason (I10).

use std::ops::RangeInclusive;

/// The largest size of a file with a password or a token, in bytes.
pub(super) const SECRET_BYTES: u64 = 64 << 10;
/// The least number of bytes of a token: a shorter one can be guessed.
pub(super) const TOKEN_BYTES: usize = 16;
/// The largest capacity: more than any site has of anything.
pub(super) const CAPACITY: u32 = 10_000;
/// The default for all calls together: 256 MiB for a plugin in Python, and the rest for others beside it. A small
/// machine has 1,000 MiB.
pub(super) const GUESTS_MIB: u32 = 384;
/// Less leaves no room for a plugin in Go; no machine that Roost is made for has more.
pub(super) const GUEST_MIB: RangeInclusive<u32> = 192..=1 << 20;
/// The default for the processor time of a compile: four times what the largest known useful plugin takes. A hostile file
/// can keep a compiler busy for hours.
pub(super) const COMPILE_CPU_S: u32 = 60;
/// A plugin in Rust takes less than a second; what takes more than an hour is no plugin.
pub(super) const COMPILE_S: RangeInclusive<u32> = 5..=3_600;
/// More than any broker or disk can take: as good as no rate at all.
pub(super) const MESSAGES: u32 = 10_000_000;
