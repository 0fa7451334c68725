//! The thread that commits: the disk may take its time, the loop does not wait.

use std::{sync::mpsc, thread};

use roost_scheduler::event::Change;
use tokio::sync::mpsc::UnboundedSender;

use super::{Store, StoreError, commit};
use crate::clock;

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It is durable, with this sequence number.
    Done(u64),
    /// It is not, and nothing is committed from here on: memory must not run ahead of the disk.
    Failed(StoreError),
}

/// The way to the thread. At most one batch is under way at a time: the next is handed over when the one before is
/// [`Committed::Done`], and so the queue is bounded (I10). Only the last one of all does not wait.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: mpsc::Sender<(u64, Vec<Change>)>,
    thread: thread::JoinHandle<()>,
}

impl Store {
    /// Starts the thread. It reports each batch, in order; after a failure it ends.
    pub(crate) fn start(mut self, committed: UnboundedSender<Committed>) -> Result<Writer, StoreError> {
        let (batches, inbox) = mpsc::channel();
        let path = self.path.clone();
        self.past.start_counting(&path);
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || self.write(&inbox, &committed))
            .map_err(|source| StoreError::File { what: "cannot start the thread that writes", path, source })?;
        Ok(Writer { batches, thread })
    }

    fn write(mut self, inbox: &mpsc::Receiver<(u64, Vec<Change>)>, committed: &UnboundedSender<Committed>) {
        for (sequence, changes) in inbox {
            let begun = clock::monotonic();
            let done = match self.commit(&changes) {
                Ok(()) => Committed::Done(sequence),
                Err(error) => Committed::Failed(error),
            };
            let failed = matches!(done, Committed::Failed(_));
            tracing::debug!(changes = changes.len(), took = ?begun.elapsed(), "committed");
            // Nobody may be listening any more while the host stops; what is handed over is committed all the same.
            let _ = committed.send(done);
            if failed {
                break;
            }
        }
    }

    /// All of them durable, or none.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.place.look(&self.path)?;
        commit::commit(&mut self.connection, &mut self.past, changes)
            .map_err(|error| StoreError::from_sqlite(&self.path, error))
    }
}

impl Writer {
    /// Hands over a batch, and never blocks. The answer is a [`Committed`].
    pub(crate) fn commit(&self, sequence: u64, changes: Vec<Change>) {
        // The thread has ended only after it said that a commit failed.
        let _ = self.batches.send((sequence, changes));
    }

    /// Waits until everything handed over is committed, the database is closed and the folder's lock is free.
    pub(crate) fn close(self) {
        drop(self.batches);
        // If it panicked, the panic was printed, and the channel of its answers is closed.
        let _ = self.thread.join();
    }
}
