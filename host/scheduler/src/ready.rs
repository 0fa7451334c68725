//! Runs that could be sent, waiting for the link: served round robin over plugins, within the rate of each, and by priority
//! within one (I7).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
};

use crate::{
    names::PluginName,
    rate::{Bucket, Rate, Rates},
    time::Instant,
};

/// Where a run stands among those of its plugin: owed steps first, or a plugin that is always over its rate would keep them
/// back for ever (I5); then the higher priority, then the one that was due first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    is_first: bool,
    priority: Reverse<i8>,
    due: Instant,
    run: u32,
}

impl Place {
    pub(crate) const fn new(is_owed: bool, priority: i8, due: Instant, run: u32) -> Self {
        Self { is_first: !is_owed, priority: Reverse(priority), due, run }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ready {
    lanes: BTreeMap<PluginName, BTreeSet<Place>>,
    /// Plugins with a lane that are within their rate, the next one to be served in front.
    ring: VecDeque<PluginName>,
    /// Plugins with a lane that were over their rate, by when they are served again.
    over: BTreeSet<(Instant, PluginName)>,
    rates: Rates,
    /// Of plugins that have published of late.
    buckets: BTreeMap<PluginName, Bucket>,
    /// The time of the step that is under way.
    now: Instant,
}

impl Ready {
    pub(crate) fn new(rates: Rates, now: Instant) -> Self {
        Self {
            lanes: BTreeMap::new(),
            ring: VecDeque::new(),
            over: BTreeSet::new(),
            rates,
            buckets: BTreeMap::new(),
            now,
        }
    }

    /// A step begins.
    pub(crate) const fn set_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// Adds a run. Returns the rate of its plugin if there are more of that before the run than may be sent now.
    pub(crate) fn push(&mut self, plugin: &PluginName, place: Place) -> Option<Rate> {
        let lane = self.lanes.entry(plugin.clone()).or_insert_with(|| {
            self.ring.push_back(plugin.clone());
            BTreeSet::new()
        });
        lane.insert(place);
        let bucket = self.buckets.get(plugin);
        let rate = self.rates.of(plugin);
        let left = bucket.map_or(u64::from(rate.burst), |bucket| bucket.left(self.now));
        (lane.len() as u64 > left).then_some(rate)
    }

    pub(crate) fn remove(&mut self, plugin: &PluginName, place: Place) {
        if let Some(lane) = self.lanes.get_mut(plugin) {
            lane.remove(&place);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(BTreeSet::len).sum()
    }

    /// The run that is served next.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let now = self.now;
        while self.over.first().is_some_and(|(until, _)| *until <= now) {
            self.ring.extend(self.over.pop_first().map(|(_, plugin)| plugin));
        }
        loop {
            let Entry::Occupied(mut lane) = self.lanes.entry(self.ring.pop_front()?) else { continue };
            if lane.get().is_empty() {
                lane.remove();
                continue;
            }
            if let Some(bucket) = self.buckets.get(lane.key()).filter(|bucket| bucket.left(now) == 0) {
                self.over.insert((bucket.again_at(now), lane.key().clone()));
                continue;
            }
            let first = lane.get_mut().pop_first();
            if lane.get().is_empty() {
                lane.remove();
            } else {
                self.ring.push_back(lane.key().clone());
            }
            if let Some(place) = first {
                return Some(place.run);
            }
        }
    }

    /// When to look again, where the rates alone are in the way.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.over.first().map(|(until, _)| *until)
    }

    /// A plugin is about to publish.
    pub(crate) fn reserve(&mut self, plugin: &PluginName) {
        if let Some(bucket) = self.buckets.get_mut(plugin) {
            return bucket.reserve();
        }
        let mut bucket = Bucket::full(self.rates.of(plugin), self.now);
        bucket.reserve();
        self.buckets.insert(plugin.clone(), bucket);
    }

    /// It publishes.
    pub(crate) fn spend(&mut self, plugin: &PluginName) {
        if let Some(bucket) = self.buckets.get_mut(plugin) {
            bucket.take(self.now);
        }
    }

    /// It does not, after all.
    pub(crate) fn give_back(&mut self, plugin: &PluginName) {
        if let Some(bucket) = self.buckets.get_mut(plugin) {
            bucket.give_back();
        }
    }

    /// Forgets the plugins that may send as much as if they never had.
    pub(crate) fn forget(&mut self) {
        self.buckets.retain(|_, bucket| !bucket.is_full(self.now));
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.buckets.values_mut().for_each(|bucket| bucket.shift(by_ms));
        let over = std::mem::take(&mut self.over);
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
        let mut ready = Ready::new(Rates::default(), NOW);
        for run in 0..5 {
            ready.push(&many, Place::new(false, 0, Instant::MIN.plus_ms(i64::from(run)), run));
        }
        ready.push(&many, Place::new(false, 7, Instant::MAX, 5));
        ready.push(&many, Place::new(true, -7, Instant::MAX, 6));
        ready.push(&few, Place::new(false, -3, Instant::MAX, 9));
        let order: Vec<u32> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [6, 9, 5, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_plugin_over_its_rate_waits_and_others_do_not() {
        let (fast, slow) = (plugin("fast"), plugin("slow"));
        let of = [(slow.clone(), Rate { per_second: 10, burst: 2 })].into();
        let mut ready = Ready::new(Rates { of, ..Rates::default() }, NOW);
        let over: Vec<bool> = (0..4).map(|run| ready.push(&slow, Place::new(false, 0, NOW, run)).is_some()).collect();
        assert_eq!(over, [false, false, true, true]);
        (10..13).for_each(|run| assert_eq!(ready.push(&fast, Place::new(false, 0, NOW, run)), None));
        let send = |ready: &mut Ready, after_ms: i64| {
            ready.set_time(NOW.plus_ms(after_ms));
            let mut sent = Vec::new();
            while let Some(run) = ready.pop() {
                let plugin = if run < 10 { &slow } else { &fast };
                ready.reserve(plugin);
                ready.spend(plugin);
                sent.push(run);
            }
            sent
        };
        assert_eq!(send(&mut ready, 0), [0, 10, 1, 11, 12]);
        assert_eq!(ready.wake(), Some(NOW.plus_ms(100)));
        assert_eq!(send(&mut ready, 99), []);
        assert_eq!(send(&mut ready, 100), [2]);
        assert_eq!(send(&mut ready, 250), [3]);
        assert_eq!(send(&mut ready, 250), []);
        assert_eq!((ready.wake(), ready.len()), (None, 0));
    }
}
