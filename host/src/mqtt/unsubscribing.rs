//! Unsubscriptions that the broker has not answered, and the new subscriptions to the same topics that wait for the
//! answer.
//!
//! A broker that does not process packets strictly in order (such as aedes) could grant the new subscription while the
//! old one exists, and then end it: no report would arrive.

use std::{collections::HashMap, sync::Arc};

use roost_scheduler::{event::WatchId, model::Confirm};

/// The topics that are being unsubscribed from.
#[derive(Debug, Default)]
pub(super) struct Unsubscribing {
    /// The waiting watches of each topic.
    topics: HashMap<Arc<str>, Vec<(WatchId, Arc<Confirm>)>>,
    /// The number of waiting watches of all topics.
    waiting: usize,
}

impl Unsubscribing {
    /// Records that UNSUBSCRIBE is sent.
    pub(super) fn begin(&mut self, topic: Arc<str>) {
        self.topics.entry(topic).or_default();
    }

    /// Holds a watch back if its topic is being unsubscribed from. Returns whether it did.
    pub(super) fn hold_back(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> bool {
        let Some(waiting) = self.topics.get_mut(confirm.topic.as_str()) else { return false };
        waiting.push((watch, confirm.clone()));
        self.waiting += 1;
        true
    }

    /// The number of waiting watches.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Removes a watch.
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

    /// Records the broker's answer. Returns the watches that waited for it.
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
    fn a_subscription_waits_for_the_end_of_the_previous_one() {
        let mut unsubscribing = Unsubscribing::default();
        let door: Arc<Confirm> = confirm("door/state", "open").into();
        assert!(!unsubscribing.hold_back(1, &door));
        unsubscribing.begin("door/state".into());
        for watch in 2..=4 {
            assert!(unsubscribing.hold_back(watch, &door));
        }
        assert!(!unsubscribing.hold_back(5, &confirm("lamp/state", "on").into()));
        unsubscribing.forget(3);
        unsubscribing.forget(5);
        assert_eq!(unsubscribing.waiting(), 2);
        let waited: Vec<_> = unsubscribing.end("door/state").into_iter().map(|(watch, _)| watch).collect();
        assert_eq!((waited, unsubscribing.waiting()), (vec![2, 4], 0));
        assert!(!unsubscribing.hold_back(6, &door));
    }
}
