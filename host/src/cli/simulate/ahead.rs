//! An iterator that runs ahead on a thread of its own.

use std::{
    io,
    sync::mpsc,
    thread::{Builder, Scope},
};

use super::super::limits;

/// Runs an iterator on a new thread and returns its items in order. The thread ends when the returned iterator is
/// dropped.
pub(super) fn ahead<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut items: impl Iterator<Item = T> + Send + 'scope,
) -> io::Result<impl Iterator<Item = T>> {
    let (batches, received) = mpsc::sync_channel(limits::BATCHES);
    Builder::new().name("simulation".into()).spawn_scoped(scope, move || {
        loop {
            let mut batch = Vec::with_capacity(limits::BATCH);
            batch.extend(items.by_ref().take(limits::BATCH));
            if batch.is_empty() || batches.send(batch).is_err() {
                return;
            }
        }
    })?;
    Ok(received.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_items_arrive_in_order() {
        for count in [0, 1, limits::BATCH, 3 * limits::BATCH + 1] {
            let items: Vec<usize> = thread::scope(|scope| ahead(scope, 0..count).unwrap().collect());
            assert!(items.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn an_endless_iterator_stops_when_it_is_dropped() {
        let items: Vec<usize> = thread::scope(|scope| ahead(scope, 0..).unwrap().take(3).collect());
        assert_eq!(items, [0, 1, 2]);
    }
}
