//! The queue of runs that could be sent and wait for the link: served round robin over plugins, within the rate of each
//! plugin, and by rank within a plugin (I7).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
};

use crate::{
    keys::Rank,
    mutants::{Mutation, mutated},
    names::PluginName,
    rate::{Bucket, Rate, Rates},
    time::Instant,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct FairQueue {
    /// Lanes of plugins that have runs in the queue, or that have published recently.
    lanes: BTreeMap<PluginName, Lane>,
    /// Plugins with runs and within their rate; the next one to be served is in front.
    ring: VecDeque<PluginName>,
    /// Plugins with runs and over their rate, by when they are served again.
    over: BTreeSet<(Instant, PluginName)>,
    rates: Rates,
}

/// The runs of a plugin that could be sent, and its rate.
#[derive(Debug)]
struct Lane {
    runs: BTreeSet<Rank>,
    bucket: Bucket,
    /// Whether it is in `ring` or `over`.
    is_listed: bool,
}

impl Lane {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { runs: BTreeSet::new(), bucket: Bucket::full(rate, now), is_listed: false }
    }
}

impl FairQueue {
    pub(crate) const fn new(rates: Rates) -> Self {
        Self { lanes: BTreeMap::new(), ring: VecDeque::new(), over: BTreeSet::new(), rates }
    }

    /// Adds a run. Returns the plugin's rate if it allows fewer messages now than are queued.
    pub(crate) fn push(&mut self, now: Instant, plugin: &PluginName, rank: Rank) -> Option<Rate> {
        let lane = self.lane(now, plugin);
        lane.runs.insert(rank);
        let was_listed = mem::replace(&mut lane.is_listed, true);
        let over = (lane.runs.len() as u64 > lane.bucket.left(now)).then_some(lane.bucket.rate());
        if !was_listed {
            self.ring.push_back(plugin.clone());
        }
        over
    }

    fn lane(&mut self, now: Instant, plugin: &PluginName) -> &mut Lane {
        if !self.lanes.contains_key(plugin) {
            self.lanes.insert(plugin.clone(), Lane::new(self.rates.for_plugin(plugin), now));
        }
        self.lanes.get_mut(plugin).expect("it was inserted")
    }

    pub(crate) fn remove(&mut self, plugin: &PluginName, rank: Rank) {
        if let Some(lane) = self.lanes.get_mut(plugin) {
            lane.runs.remove(&rank);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.runs.len()).sum()
    }

    /// Removes and returns the run that is served next.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        while self.over.first().is_some_and(|(until, _)| *until <= now) {
            self.ring.extend(self.over.pop_first().map(|(_, plugin)| plugin));
        }
        loop {
            let plugin = self.ring.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&plugin) else { continue };
            let may_send = lane.bucket.left(now) > 0 || mutated(Mutation::RateIsUnlimited);
            let rank = if may_send || lane.runs.is_empty() { lane.runs.pop_first() } else { None };
            lane.is_listed = !lane.runs.is_empty();
            let is_over = rank.is_none();
            if lane.is_listed && is_over {
                self.over.insert((lane.bucket.again_at(now), plugin));
            } else if lane.is_listed {
                self.ring.push_back(plugin);
            }
            if let Some(rank) = rank {
                return Some(rank.run());
            }
        }
    }

    /// Returns when to call `pop` again if only rates hold up runs.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.over.first().map(|(until, _)| *until).filter(|_| !mutated(Mutation::RateNeverWakes))
    }

    /// Reserves a message of a plugin that is about to be sent.
    pub(crate) fn reserve(&mut self, now: Instant, plugin: &PluginName) {
        self.lane(now, plugin).bucket.reserve();
    }

    /// Counts a reserved message as sent.
    pub(crate) fn spend(&mut self, now: Instant, plugin: &PluginName) {
        if let Some(lane) = self.lanes.get_mut(plugin) {
            lane.bucket.take(now);
        }
    }

    /// Cancels the reservation of a message that is not sent.
    pub(crate) fn cancel_reservation(&mut self, plugin: &PluginName) {
        if let Some(lane) = self.lanes.get_mut(plugin) {
            lane.bucket.cancel_reservation();
        }
    }

    /// Drops the lanes of plugins that have no runs and a full bucket.
    pub(crate) fn forget_idle(&mut self, now: Instant) {
        self.lanes.retain(|_, lane| lane.is_listed || !lane.bucket.is_full(now));
    }

    /// Moves the times after the clock was set.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.lanes.values_mut().for_each(|lane| lane.bucket.shift(by_ms));
        let over = mem::take(&mut self.over);
        self.over = over.into_iter().map(|(until, plugin)| (until.plus_ms(by_ms), plugin)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> PluginName {
        PluginName::parse(name).expect("valid")
    }

    const NOW: Instant = Instant::from_millis(0).expect("the epoch");

    #[test]
    fn a_plugin_with_many_runs_does_not_delay_another_and_priority_orders_within_one() {
        let (many, few) = (plugin("many"), plugin("few"));
        let mut queue = FairQueue::new(Rates::default());
        for run in 0..5 {
            queue.push(NOW, &many, Rank::new(false, 0, Instant::MIN.plus_ms(i64::from(run)), run));
        }
        queue.push(NOW, &many, Rank::new(false, 7, Instant::MAX, 5));
        queue.push(NOW, &many, Rank::new(true, -7, Instant::MAX, 6));
        queue.push(NOW, &few, Rank::new(false, -3, Instant::MAX, 9));
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop(NOW)).collect();
        assert_eq!(order, [6, 9, 5, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_plugin_over_its_rate_waits_and_others_do_not() {
        let (fast, slow) = (plugin("fast"), plugin("slow"));
        let by_plugin = [(slow.clone(), Rate { per_second: 10, burst: 2 })].into();
        let mut queue = FairQueue::new(Rates { by_plugin, ..Rates::default() });
        let over: Vec<bool> =
            (0..4).map(|run| queue.push(NOW, &slow, Rank::new(false, 0, NOW, run)).is_some()).collect();
        assert_eq!(over, [false, false, true, true]);
        (10..13).for_each(|run| assert_eq!(queue.push(NOW, &fast, Rank::new(false, 0, NOW, run)), None));
        let send = |queue: &mut FairQueue, after_ms: i64| {
            let now = NOW.plus_ms(after_ms);
            let mut sent = Vec::new();
            while let Some(run) = queue.pop(now) {
                let plugin = if run < 10 { &slow } else { &fast };
                queue.reserve(now, plugin);
                queue.spend(now, plugin);
                sent.push(run);
            }
            sent
        };
        assert_eq!(send(&mut queue, 0), [0, 10, 1, 11, 12]);
        assert_eq!(queue.wake(), Some(NOW.plus_ms(100)));
        assert_eq!(send(&mut queue, 99), []);
        assert_eq!(send(&mut queue, 100), [2]);
        assert_eq!(send(&mut queue, 250), [3]);
        assert_eq!(send(&mut queue, 250), []);
        assert_eq!((queue.wake(), queue.len()), (None, 0));
    }
}
