//! The queue of runs that wait for a resource: round robin over plugins, and by priority within a plugin, so that no
//! plugin gets the resource again while another one waits, whatever its priority (I7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    keys::{Rank, RunSlot},
    mutants::{Mutation, mutated},
    names::PluginName,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ResourceQueue {
    /// The waiting runs of each plugin.
    lanes: BTreeMap<PluginName, BTreeSet<Rank>>,
    /// Plugins with a lane, in the order they are served.
    ring: VecDeque<PluginName>,
    /// The plugin that was served last: it comes after all others, including those that were added later.
    last: Option<PluginName>,
}

impl ResourceQueue {
    pub(crate) fn push(&mut self, plugin: &PluginName, rank: Rank) {
        let lane = self.lanes.entry(plugin.clone()).or_insert_with(|| {
            self.ring.push_back(plugin.clone());
            BTreeSet::new()
        });
        lane.insert(rank);
    }

    pub(crate) fn remove(&mut self, plugin: &PluginName, rank: Rank) {
        let Some(lane) = self.lanes.get_mut(plugin) else { return };
        lane.remove(&rank);
        if lane.is_empty() {
            self.lanes.remove(plugin);
            self.ring.retain(|other| other != plugin);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Records that a run of this plugin was served, even if it did not have to wait.
    pub(crate) fn serve(&mut self, plugin: &PluginName) {
        if self.last.as_ref() != Some(plugin) {
            self.last = Some(plugin.clone());
        }
    }

    /// Removes and returns the next run.
    pub(crate) fn pop(&mut self) -> Option<RunSlot> {
        let is_next =
            |plugin: &PluginName| (Some(plugin) != self.last.as_ref()) != mutated(Mutation::ResourceTurnsAreUnfair);
        let place = self.ring.iter().position(is_next).unwrap_or(0);
        let plugin = self.ring.remove(place)?;
        self.serve(&plugin);
        let lane = self.lanes.get_mut(&plugin)?;
        let first = lane.pop_first();
        if lane.is_empty() {
            self.lanes.remove(&plugin);
        } else {
            self.ring.push_back(plugin);
        }
        first.map(Rank::run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn priority_counts_only_within_a_plugin() {
        let [greedy, modest] = ["greedy", "modest"].map(|name| PluginName::parse(name).expect("valid"));
        let mut turns = ResourceQueue::default();
        assert!(turns.is_empty() && turns.pop().is_none());
        for run in 0..3 {
            turns.push(&greedy, Rank::new(false, 127, Instant::MIN.plus_ms(i64::from(run)), run));
        }
        turns.push(&modest, Rank::new(false, -128, Instant::MAX, 8));
        turns.push(&modest, Rank::new(false, 0, Instant::MAX, 9));
        turns.push(&modest, Rank::new(false, 1, Instant::MAX, 7));
        turns.remove(&modest, Rank::new(false, 1, Instant::MAX, 7));
        let order: Vec<u32> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 9, 1, 8, 2]);
        assert!(turns.is_empty());
    }

    #[test]
    fn the_plugin_served_last_comes_after_one_that_was_added_later() {
        let [first, second] = ["first", "second"].map(|name| PluginName::parse(name).expect("valid"));
        let mut turns = ResourceQueue::default();
        turns.serve(&first);
        turns.push(&first, Rank::new(false, 0, Instant::MIN, 1));
        turns.push(&second, Rank::new(false, 0, Instant::MAX, 2));
        assert_eq!(turns.pop(), Some(2), "the first one did not have to wait");
        turns.push(&first, Rank::new(false, 0, Instant::MIN, 3));
        assert_eq!(turns.pop(), Some(1));
        turns.push(&second, Rank::new(false, 0, Instant::MAX, 4));
        assert_eq!(turns.pop(), Some(4), "more of the first one waited when it was served");
        assert_eq!(turns.pop(), Some(3));
        turns.push(&first, Rank::new(false, 0, Instant::MIN, 5));
        assert_eq!(turns.pop(), Some(5), "no other one waits");
    }
}
