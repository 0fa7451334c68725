//! The most recently called components, ready for the next call. Others are mapped again when they are called, so that
//! an idle plugin takes no memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roost_scheduler::event::Digest;

use super::{component::Linked, limits};

/// A cache that evicts the least recently used component. The most recent one is at the end.
#[derive(Default)]
pub(super) struct LinkedCache(Mutex<VecDeque<(Digest, Arc<Linked>)>>);

impl LinkedCache {
    pub(super) fn get(&self, digest: Digest) -> Option<Arc<Linked>> {
        let mut components = self.components();
        let index = components.iter().position(|(known, _)| *known == digest)?;
        let component = components.remove(index)?;
        let linked = component.1.clone();
        components.push_back(component);
        Some(linked)
    }

    pub(super) fn put(&self, digest: Digest, linked: Arc<Linked>) {
        let mut components = self.components();
        components.retain(|(known, _)| *known != digest);
        components.push_back((digest, linked));
        if components.len() > limits::COMPONENTS_READY {
            components.pop_front();
        }
    }

    fn components(&self) -> MutexGuard<'_, VecDeque<(Digest, Arc<Linked>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
