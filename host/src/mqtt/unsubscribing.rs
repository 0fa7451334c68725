//! Ends of subscriptions that the broker has not answered, and new subscriptions to the same topics, which wait for that.
//!
//! A broker that does the next packet before it is through with the last one (aedes does) grants a subscription that is
//! there, and then ends it: reports would never come.

use std::{collections::HashMap, sync::Arc};

use roost_scheduler::{event::WatchId, model::Confirm};

#[derive(Debug, Default)]
pub(super) struct Unsubscribing {
    topics: HashMap<Arc<str>, Vec<(WatchId, Arc<Confirm>)>>,
    /// Watches that wait, over all topics.
    waiting: usize,
}

impl Unsubscribing {
    /// UNSUBSCRIBE is sent.
    pub(super) fn begin(&mut self, topic: Arc<str>) {
        self.topics.entry(topic).or_default();
    }

    /// Keeps a watch back if its topic is being unsubscribed from.
    pub(super) fn holds_back(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> bool {
        let Some(waiting) = self.topics.get_mut(confirm.topic.as_str()) else { return false };
        waiting.push((watch, confirm.clone()));
        self.waiting += 1;
        true
    }

    /// How many watches wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// A watch is no longer wanted.
    pub(super) fn forget(&mut self, watch: WatchId) {
        if self.waiting == 0 {
            return;
        }
        for waiting in self.topics.values_mut() {
            let before = waiting.len();
            waiting.retain(|(held, _)| *held != watch);
            self.waiting -= before - waiting.len();
        }
    }

    /// The broker has answered: the watches that waited for that.
    pub(super) fn end(&mut self, topic: &str) -> Vec<(WatchId, Arc<Confirm>)> {
        let waiting = self.topics.remove(topic).unwrap_or_default();
        self.waiting -= waiting.len();
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::tests::confirm;

    #[test]
    fn a_subscription_waits_for_the_end_of_the_one_before_it() {
        let mut unsubscribing = Unsubscribing::default();
        let door: Arc<Confirm> = confirm("door/state", "open").into();
        assert!(!unsubscribing.holds_back(1, &door));
        unsubscribing.begin("door/state".into());
        for watch in 2..=4 {
            assert!(unsubscribing.holds_back(watch, &door));
        }
        assert!(!unsubscribing.holds_back(5, &confirm("lamp/state", "on").into()));
        unsubscribing.forget(3);
        unsubscribing.forget(5);
        assert_eq!(unsubscribing.waiting(), 2);
        let waited: Vec<_> = unsubscribing.end("door/state").into_iter().map(|(watch, _)| watch).collect();
        assert_eq!((waited, unsubscribing.waiting()), (vec![2, 4], 0));
        assert!(!unsubscribing.holds_back(6, &door));
    }
}
