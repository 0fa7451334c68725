//! The pauses that the operator has set, by what they were set on.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    event::{JobKey, PauseScope},
    pause::Pause,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PausesByScope {
    of: BTreeMap<PauseScope, Arc<Pause>>,
}

impl PausesByScope {
    pub(crate) fn get(&self, scope: PauseScope) -> Option<&Arc<Pause>> {
        self.of.get(&scope)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Sets or removes a pause. Returns the one that was there.
    pub(crate) fn set(&mut self, scope: PauseScope, pause: Option<Arc<Pause>>) -> Option<Arc<Pause>> {
        match pause {
            Some(pause) => self.of.insert(scope, pause),
            None => self.of.remove(&scope),
        }
    }

    /// Returns the pauses of single jobs from one on, in the order of keys.
    pub(crate) fn of_jobs(&self, from: JobKey) -> impl Iterator<Item = (JobKey, &Arc<Pause>)> {
        self.of.range(PauseScope::Job(from)..).filter_map(|(scope, pause)| match scope {
            PauseScope::Job(key) => Some((*key, pause)),
            PauseScope::All | PauseScope::Plugin(_) | PauseScope::Device(_) => None,
        })
    }
}
