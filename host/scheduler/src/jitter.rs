//! A run's jitter: derived from its id, so that it is the same after a reload and a restart, on every machine.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::names::{Origin, RunId};

/// Returns the jitter of a run, uniform from 0 to `most` milliseconds.
pub(crate) fn draw(run: &RunId, most: u32) -> u32 {
    salted(run, 0, most)
}

/// Returns another value for the same run, by a salt.
pub(crate) fn salted(run: &RunId, salt: u32, most: u32) -> u32 {
    let mut hasher = SipHasher13::new();
    // The origin does not count: the clock may be set, and an occurrence keeps its jitter.
    let nominal = RunId { origin: Origin::Trigger, ..run.clone() };
    hasher.write(nominal.to_string().as_bytes());
    hasher.write_u32(salt);
    let range = u64::from(most) + 1;
    u32::try_from(hasher.finish() % range).unwrap_or(0)
}
