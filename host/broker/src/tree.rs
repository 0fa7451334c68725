//! The tree of subscriptions, by the levels of their filters.

use std::collections::HashMap;

use crate::{codec::SubscribeOptions, core::SessionId, limits};

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: Node,
    count: usize,
}

/// Returns the bytes of a filter in the tree, if it shares no level with others.
pub(crate) fn cost(filter: &str) -> usize {
    filter.len() + limits::LEVEL_BYTES * filter.split('/').count()
}

/// One session's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionId,
    pub(crate) options: SubscribeOptions,
    /// The subscription identifier of MQTT 5, which is sent with each message.
    pub(crate) id: Option<u32>,
}

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Box<Node>>,
    /// The level `+`.
    any: Option<Box<Node>>,
    /// Subscribers of filters that end here.
    here: Vec<Subscriber>,
    /// Subscribers of filters that end with `#` below this level.
    below: Vec<Subscriber>,
}

impl Tree {
    /// The number of subscriptions.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Adds a subscription, or replaces the session's subscription to the same filter. Returns whether it is new.
    pub(crate) fn insert(&mut self, filter: &str, subscriber: Subscriber) -> bool {
        let mut node = &mut self.root;
        let mut levels = filter.split('/');
        let place = loop {
            match levels.next() {
                None => break &mut node.here,
                Some("#") => break &mut node.below,
                Some("+") => node = node.any.get_or_insert_default(),
                Some(level) => {
                    if !node.levels.contains_key(level) {
                        node.levels.insert(level.into(), Box::default());
                    }
                    let Some(next) = node.levels.get_mut(level) else { return false };
                    node = next;
                }
            }
        };
        if let Some(old) = place.iter_mut().find(|old| old.session == subscriber.session) {
            *old = subscriber;
            return false;
        }
        place.push(subscriber);
        self.count += 1;
        true
    }

    /// Removes a session's subscription to a filter, and empty levels.
    pub(crate) fn remove(&mut self, filter: &str, session: SessionId) {
        if self.root.remove(filter.split('/'), session) {
            self.count -= 1;
        }
    }

    /// Appends all matching subscriptions; a session may have several. Returns the number of visited nodes.
    pub(crate) fn find(&self, topic: &str, found: &mut Vec<Subscriber>) -> usize {
        let is_own = topic.starts_with('$');
        self.root.find(topic.split('/'), !is_own, found)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    fn remove<'a>(&mut self, mut levels: impl Iterator<Item = &'a str>, session: SessionId) -> bool {
        let was_there = |place: &mut Vec<Subscriber>| {
            let before = place.len();
            place.retain(|subscriber| subscriber.session != session);
            place.len() < before
        };
        match levels.next() {
            None => was_there(&mut self.here),
            Some("#") => was_there(&mut self.below),
            Some("+") => {
                let removed = self.any.as_mut().is_some_and(|next| next.remove_boxed(&mut levels, session));
                if self.any.as_ref().is_some_and(|next| next.is_empty()) {
                    self.any = None;
                }
                removed
            }
            Some(level) => {
                let Some(next) = self.levels.get_mut(level) else { return false };
                let removed = next.remove_boxed(&mut levels, session);
                if next.is_empty() {
                    self.levels.remove(level);
                }
                removed
            }
        }
    }

    /// Calls `remove` with a boxed iterator: otherwise its type would grow with each level.
    fn remove_boxed(&mut self, levels: &mut dyn Iterator<Item = &str>, session: SessionId) -> bool {
        self.remove(levels, session)
    }

    /// `wildcards` is false on the first level of a topic that begins with `$` [MQTT-4.7.2-1].
    fn find(&self, mut levels: std::str::Split<'_, char>, wildcards: bool, found: &mut Vec<Subscriber>) -> usize {
        if wildcards {
            found.extend_from_slice(&self.below);
        }
        let Some(level) = levels.next() else {
            found.extend_from_slice(&self.here);
            return 1;
        };
        let mut visited = 1;
        if let Some(next) = self.levels.get(level) {
            visited += next.find(levels.clone(), true, found);
        }
        if let Some(next) = self.any.as_ref().filter(|_| wildcards) {
            visited += next.find(levels, true, found);
        }
        visited
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{codec::Qos, topic};

    fn subscriber(session: SessionId) -> Subscriber {
        let options =
            SubscribeOptions { qos: Qos::AtMostOnce, no_local: false, retain_as_published: false, retain_handling: 0 };
        Subscriber { session, options, id: None }
    }

    fn levels(wild: bool) -> impl Strategy<Value = String> {
        let level = if wild { "[ab]|\\+|\\$a|" } else { "[ab]|\\$a|" };
        (proptest::collection::vec(level, 1..5), any::<bool>()).prop_map(move |(mut levels, open)| {
            if wild && open {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_matches(
            filters in proptest::collection::vec(levels(true), 1..20),
            topics in proptest::collection::vec(levels(false), 1..20),
        ) {
            let filters: Vec<_> = filters.into_iter().filter(|filter| topic::is_filter(filter)).collect();
            let mut tree = Tree::default();
            for (session, filter) in (0..).zip(&filters) {
                prop_assert!(tree.insert(filter, subscriber(session)));
                prop_assert!(!tree.insert(filter, subscriber(session)));
            }
            prop_assert_eq!(tree.len(), filters.len());
            for topic in &topics {
                let mut found = Vec::new();
                tree.find(topic, &mut found);
                let mut found: Vec<_> = found.into_iter().map(|subscriber| subscriber.session).collect();
                found.sort_unstable();
                let expected = (0..).zip(&filters).filter(|(_, filter)| topic::matches(filter, topic));
                prop_assert_eq!(found, expected.map(|(session, _)| session).collect::<Vec<_>>());
            }
            for (session, filter) in (0..).zip(&filters) {
                tree.remove(filter, session);
                tree.remove(filter, session);
            }
            prop_assert_eq!(tree.len(), 0);
            prop_assert!(tree.root.is_empty());
        }
    }
}
