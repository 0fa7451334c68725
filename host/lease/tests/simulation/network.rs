//! The network between hosts and the store: connections that keep the order of what is sent on them.

use crate::rng::Rng;

/// The way of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToStore,
    ToHost,
}

pub(crate) struct Connection {
    pub(crate) host: usize,
    /// The process that has opened it.
    pub(crate) process: u128,
    pub(crate) is_open_at_host: bool,
    pub(crate) is_open_at_store: bool,
    /// Nothing arrives any more, and neither end notices.
    pub(crate) is_dead: bool,
    /// When the last message of each way arrives.
    last: [i64; 2],
}

impl Connection {
    pub(crate) const fn new(host: usize, process: u128) -> Self {
        Self { host, process, is_open_at_host: true, is_open_at_store: true, is_dead: false, last: [0; 2] }
    }

    /// Returns when a message arrives that is sent now: never before an earlier one.
    pub(crate) fn arrival(&mut self, way: Way, now: i64, rng: &mut Rng, is_calm: bool) -> i64 {
        let delay = match rng.below::<u8>(40) {
            _ if is_calm => 1 + rng.below::<i64>(4),
            0 => rng.below::<i64>(6_000),
            1 | 2 => rng.below::<i64>(2_500),
            3 | 4 => rng.below::<i64>(600),
            _ => 1 + rng.below::<i64>(20),
        };
        let last = &mut self.last[usize::from(way == Way::ToHost)];
        *last = (*last).max(now + delay);
        *last
    }
}

/// Until when each way between a host and the store is cut: what was sent is held back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cut {
    pub(crate) until: [i64; 2],
}

impl Cut {
    pub(crate) const fn end(&self, way: Way) -> i64 {
        self.until[if matches!(way, Way::ToHost) { 1 } else { 0 }]
    }
}
