//! The first load of each plugin that is in the folder when the host starts: the host is ready when all have ended.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roost_scheduler::names::PluginName;

/// A shared handle to the first loads.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstLoads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The plugins whose first load has not ended.
    left: BTreeSet<PluginName>,
    of: usize,
    /// Whether every file has been read, or set aside because it is still being written.
    all_read: bool,
}

impl FirstLoads {
    /// Returns how many first loads have ended, and of how many, until all have.
    pub(crate) fn progress(&self) -> Option<(usize, usize)> {
        let State { left, of, all_read } = &*self.state();
        (!*all_read || !left.is_empty()).then(|| (of - left.len(), *of))
    }

    /// Records the plugins in the folder when it was first read.
    pub(super) fn begin(&self, found: Vec<PluginName>) {
        let mut state = self.state();
        state.left = found.into_iter().collect();
        state.of = state.left.len();
    }

    /// Records that a plugin was loaded, refused or removed.
    pub(super) fn end(&self, plugin: &PluginName) {
        self.state().left.remove(plugin);
    }

    /// Records that every file has been read or set aside: from here on, only loads under way count.
    pub(super) fn set_all_read(&self, is_loading: impl Fn(&PluginName) -> bool) {
        let mut state = self.state();
        state.left.retain(is_loading);
        state.all_read = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_loads_are_over_when_each_plugin_is_loaded_refused_or_set_aside() {
        let names = ["one", "slow", "torn"].map(|name| PluginName::parse(name).unwrap());
        let [one, slow, _torn] = &names;
        let loads = FirstLoads::default();
        assert_eq!(loads.progress(), Some((0, 0)), "the folder has not been read");
        loads.begin(names.to_vec());
        assert_eq!(loads.progress(), Some((0, 3)));
        loads.end(one);
        assert_eq!(loads.progress(), Some((1, 3)));
        // The third file is still being written.
        loads.set_all_read(|name| name == slow);
        assert_eq!(loads.progress(), Some((2, 3)));
        loads.end(slow);
        assert_eq!(loads.progress(), None);
    }

    #[test]
    fn an_empty_folder_has_nothing_to_load() {
        let loads = FirstLoads::default();
        loads.begin(Vec::new());
        loads.set_all_read(|_| false);
        assert_eq!(loads.progress(), None);
    }
}
