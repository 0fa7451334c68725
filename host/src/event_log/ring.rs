//! The newest events, within a bound on their number and their bytes.

use std::{collections::VecDeque, sync::Arc};

use super::Entry;

/// A bounded queue of events, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Ring {
    pub(super) const fn new(most: usize, most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Adds an event, and drops the oldest ones where there is no room. The newest one stays, however long it is.
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > self.most || (self.bytes > self.most_bytes && self.entries.len() > 1) {
            let gone = self.entries.pop_front();
            self.bytes -= gone.map_or(0, |gone| gone.bytes());
        }
    }

    /// Returns the events after a number, the oldest first.
    pub(super) fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &Arc<Entry>> + ExactSizeIterator {
        let from = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.range(from..)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.number)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.number)
    }
}
