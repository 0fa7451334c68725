//! Runs that wait for a resource: round robin over plugins, and by priority within one, so that no plugin has it again while
//! another one waits, whatever its priority (I7).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
};

use crate::{names::PluginName, time::Instant};

/// The higher priority first, then the run that was due first.
type Turn = (Reverse<i8>, Instant, u32);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    lanes: BTreeMap<PluginName, BTreeSet<Turn>>,
    /// Plugins with a lane, the next one to be served in front.
    ring: VecDeque<PluginName>,
}

impl Turns {
    pub(crate) fn push(&mut self, plugin: &PluginName, priority: i8, due: Instant, run: u32) {
        let lane = self.lanes.entry(plugin.clone()).or_insert_with(|| {
            self.ring.push_back(plugin.clone());
            BTreeSet::new()
        });
        lane.insert((Reverse(priority), due, run));
    }

    pub(crate) fn remove(&mut self, plugin: &PluginName, priority: i8, due: Instant, run: u32) {
        if let Some(lane) = self.lanes.get_mut(plugin) {
            lane.remove(&(Reverse(priority), due, run));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(BTreeSet::is_empty)
    }

    /// The run whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        loop {
            let Entry::Occupied(mut lane) = self.lanes.entry(self.ring.pop_front()?) else { continue };
            let first = lane.get_mut().pop_first();
            if lane.get().is_empty() {
                lane.remove();
            } else {
                self.ring.push_back(lane.key().clone());
            }
            if let Some((_, _, run)) = first {
                return Some(run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_counts_within_a_plugin_only() {
        let [greedy, modest] = ["greedy", "modest"].map(|name| PluginName::parse(name).expect("valid"));
        let mut turns = Turns::default();
        assert!(turns.is_empty() && turns.pop().is_none());
        for run in 0..3 {
            turns.push(&greedy, 127, Instant::MIN.plus_ms(i64::from(run)), run);
        }
        turns.push(&modest, -128, Instant::MAX, 8);
        turns.push(&modest, 0, Instant::MAX, 9);
        turns.push(&modest, 1, Instant::MAX, 7);
        turns.remove(&modest, 1, Instant::MAX, 7);
        let order: Vec<u32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 9, 1, 8, 2]);
        assert!(turns.is_empty());
    }
}
