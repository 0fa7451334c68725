//! Numbered slots, which are reused when they are free. The numbers are the keys of the store's rows.

use crate::limits::SLOTS_PER_PAGE;

/// See the module.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All pages but the last have [`SLOTS_PER_PAGE`] slots.
    pages: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    taken: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), taken: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let key = self.reserve();
        self.fill(key, value);
        key
    }

    /// Takes a slot, and leaves it without a value.
    pub(crate) fn reserve(&mut self) -> u32 {
        self.taken += 1;
        self.free.pop().unwrap_or_else(|| self.push(None))
    }

    /// Fills a slot that was reserved.
    pub(crate) fn fill(&mut self, key: u32, value: T) {
        *self.slot(key).expect("it was reserved") = Some(value);
    }

    /// Removes the value of a slot, which stays reserved.
    pub(crate) fn empty(&mut self, key: u32) -> Option<T> {
        self.slot(key)?.take()
    }

    /// Frees a slot that has no value.
    pub(crate) fn release(&mut self, key: u32) {
        self.free.push(key);
        self.taken -= 1;
    }

    fn push(&mut self, slot: Option<T>) -> u32 {
        if self.pages.last().is_none_or(|page| page.len() == SLOTS_PER_PAGE) {
            self.pages.push(Vec::new());
        }
        let before = (self.pages.len() - 1) * SLOTS_PER_PAGE;
        let page = self.pages.last_mut().expect("a page was added");
        page.push(slot);
        u32::try_from(before + page.len() - 1).expect("fewer than 2^32 slots")
    }

    /// Restores a stored value at its key. [`Slab::restored`] must follow.
    pub(crate) fn restore(&mut self, key: u32, value: T) {
        while self.slot(key).is_none() {
            self.push(None);
        }
        self.fill(key, value);
    }

    /// Finds the slots that stayed free, after all values were restored.
    pub(crate) fn restored(&mut self) {
        let slots = self.pages.iter().flatten().zip(0..);
        self.free = slots.filter(|(slot, _)| slot.is_none()).map(|(_, key)| key).collect();
        // The lowest is used first, so that the numbers grow no further than necessary.
        self.free.reverse();
        self.taken = self.pages.iter().map(Vec::len).sum::<usize>() - self.free.len();
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.empty(key)?;
        self.release(key);
        Some(value)
    }

    fn slot(&mut self, key: u32) -> Option<&mut Option<T>> {
        self.pages.get_mut(key as usize / SLOTS_PER_PAGE)?.get_mut(key as usize % SLOTS_PER_PAGE)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        self.pages.get(key as usize / SLOTS_PER_PAGE)?.get(key as usize % SLOTS_PER_PAGE)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.slot(key)?.as_mut()
    }

    /// Returns the number of slots, used and free; all keys are below it.
    pub(crate) fn slot_count(&self) -> u32 {
        u32::try_from(self.taken + self.free.len()).expect("fewer than 2^32 slots")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.slot_count()).filter_map(|key| Some((key, self.get(key)?)))
    }

    /// Returns the number of slots with a value, and of reserved ones.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_and_restored_ones_keep_their_numbers() {
        let mut slots = Slab::default();
        let count = u32::try_from(SLOTS_PER_PAGE).unwrap() * 2 + 5;
        slots.restore(count, "last");
        slots.restore(7, "seven");
        slots.restored();
        assert_eq!(slots.len(), 2);
        assert_eq!((slots.get(7), slots.get(count)), (Some(&"seven"), Some(&"last")));
        let filled: Vec<u32> = (0..count - 1).map(|_| slots.insert("new")).collect();
        assert_eq!(filled, (0..count).filter(|key| *key != 7).collect::<Vec<_>>(), "the lowest first");
        assert_eq!(slots.insert("beyond"), count + 1);
        assert_eq!((slots.remove(7), slots.remove(7), slots.get(7)), (Some("seven"), None, None));
        assert_eq!(slots.insert("again"), 7);
        assert_eq!((slots.empty(7), slots.reserve(), slots.get(7)), (Some("again"), count + 2, None));
        slots.fill(7, "back");
        assert_eq!((slots.remove(7), slots.insert("next")), (Some("back"), 7));
    }
}
