//! What is made on one thread while another uses what was made before.

use std::{
    sync::mpsc,
    thread::{Builder, Scope},
};

/// Items that are handed over at once: a channel costs more than an item.
const BATCH: usize = 256;
/// Batches that are ready at most (I10).
const BATCHES: usize = 8;

/// Goes on with an iterator on a thread of its own, and is the same iterator here. The thread ends when this is dropped.
pub(super) fn ahead<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    mut items: impl Iterator<Item = T> + Send + 'scope,
) -> std::io::Result<impl Iterator<Item = T>> {
    let (batches, made) = mpsc::sync_channel(BATCHES);
    Builder::new().name("rehearsal".into()).spawn_scoped(scope, move || {
        loop {
            let batch: Vec<T> = items.by_ref().take(BATCH).collect();
            if batch.is_empty() || batches.send(batch).is_err() {
                return;
            }
        }
    })?;
    Ok(made.into_iter().flatten())
}
