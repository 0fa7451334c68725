//! What is made on one thread while another uses what was made before.

use std::{
    io,
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
) -> io::Result<impl Iterator<Item = T>> {
    let (batches, made) = mpsc::sync_channel(BATCHES);
    Builder::new().name("rehearsal".into()).spawn_scoped(scope, move || {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            batch.extend(items.by_ref().take(BATCH));
            if batch.is_empty() || batches.send(batch).is_err() {
                return;
            }
        }
    })?;
    Ok(made.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn everything_comes_in_its_order() {
        for count in [0, 1, BATCH, 3 * BATCH + 1] {
            let come: Vec<usize> = thread::scope(|scope| ahead(scope, 0..count).unwrap().collect());
            assert!(come.into_iter().eq(0..count), "{count}");
        }
    }

    #[test]
    fn what_has_no_end_ends_with_its_use() {
        let come: Vec<usize> = thread::scope(|scope| ahead(scope, 0..).unwrap().take(3).collect());
        assert_eq!(come, [0, 1, 2]);
    }
}
