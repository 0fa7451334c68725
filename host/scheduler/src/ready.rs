//! Runs that could be sent, waiting for the link: served round robin over plugins, and by priority within one (I7).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
};

use crate::{names::PluginName, time::Instant};

/// The higher priority first, then the one that was due first.
type Turn = (Reverse<i8>, Instant, u32);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    lanes: BTreeMap<PluginName, BTreeSet<Turn>>,
    /// Plugins with a lane, the next one to be served in front.
    ring: VecDeque<PluginName>,
}

impl Ready {
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

    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        loop {
            let Entry::Occupied(mut lane) = self.lanes.entry(self.ring.pop_front()?) else { return None };
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
    fn a_plugin_with_many_runs_does_not_delay_another_and_priority_orders_within_one() {
        let (many, few) = (PluginName::parse("many").expect("valid"), PluginName::parse("few").expect("valid"));
        let mut ready = Ready::default();
        for run in 0..5 {
            ready.push(&many, 0, Instant::MIN.plus_ms(i64::from(run)), run);
        }
        ready.push(&many, 7, Instant::MAX, 5);
        ready.push(&few, -3, Instant::MAX, 9);
        let order: Vec<u32> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [5, 9, 0, 1, 2, 3, 4]);
    }
}
