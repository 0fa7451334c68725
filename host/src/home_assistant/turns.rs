//! Who carries out what next, where only things of different kinds may be carried out at the same time.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
};

/// Things that wait for earlier ones of their kind.
#[derive(Debug)]
pub(super) struct Turns<K, T>(HashMap<K, VecDeque<T>>);

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, T> Turns<K, T> {
    /// Adds a thing. Returns whether a task is to be started that calls [`Turns::next`] until there are no more: there
    /// is none of this kind.
    pub(super) fn add(&mut self, kind: K, thing: T) -> bool {
        match self.0.entry(kind) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push_back(thing);
                false
            }
            Entry::Vacant(none) => {
                none.insert(VecDeque::from([thing]));
                true
            }
        }
    }

    /// Takes the next thing of a kind. `None`: the task has to end.
    pub(super) fn next(&mut self, kind: &K) -> Option<T> {
        let next = self.0.get_mut(kind)?.pop_front();
        if next.is_none() {
            self.0.remove(kind);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_task_of_each_kind_and_it_takes_everything_in_its_order() {
        let mut turns = Turns::default();
        let starts = [("north", 1), ("south", 2), ("north", 3)].map(|(kind, thing)| turns.add(kind, thing));
        assert_eq!(starts, [true, true, false]);
        assert_eq!((turns.next(&"north"), turns.next(&"south")), (Some(1), Some(2)));
        // While the first task works at the first and then at the last.
        assert_eq!((turns.next(&"north"), turns.add("north", 4)), (Some(3), false));
        assert_eq!((turns.next(&"north"), turns.next(&"north"), turns.next(&"south")), (Some(4), None, None));
        assert!(turns.add("north", 5));
    }
}
