//! The thread that commits, so that the loop never waits for the disk.

use std::{sync::mpsc, thread};

use roost_scheduler::event::Change;
use tokio::sync::mpsc::UnboundedSender;

use super::{Store, StoreError};
use crate::clock;

/// The result of a commit.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The batch with this sequence number is durable.
    Done(u64),
    /// The batch is not durable, and nothing is committed from here on: memory must not run ahead of the disk.
    Failed(StoreError),
}

/// A handle to the thread. The next batch is sent when the one before is [`Committed::Done`], so the queue is bounded
/// (I10); only the very last batch does not wait.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: mpsc::Sender<(u64, Vec<Change>)>,
    thread: thread::JoinHandle<()>,
}

impl Store {
    /// Starts the thread. It reports each batch, in order, and ends after a failure.
    pub(crate) fn start(mut self, committed: UnboundedSender<Committed>) -> Result<Writer, StoreError> {
        let (batches, inbox) = mpsc::channel();
        self.start_reading();
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || self.write(&inbox, &committed))
            .map_err(StoreError::Thread)?;
        Ok(Writer { batches, thread })
    }

    fn write(mut self, inbox: &mpsc::Receiver<(u64, Vec<Change>)>, committed: &UnboundedSender<Committed>) {
        for (sequence, changes) in inbox {
            let begun = clock::monotonic();
            let done = match self.commit(&changes) {
                Ok(()) => {
                    self.last_outcomes.record(&changes);
                    Committed::Done(sequence)
                }
                Err(error) => Committed::Failed(error),
            };
            let failed = matches!(done, Committed::Failed(_));
            tracing::debug!(changes = changes.len(), took = ?begun.elapsed(), "committed");
            // While the host stops, the receiver may be gone; the batches are committed all the same.
            let _ = committed.send(done);
            if failed {
                break;
            }
        }
    }
}

impl Writer {
    /// Sends a batch to the thread, which answers with a [`Committed`]. Never blocks.
    pub(crate) fn commit(&self, sequence: u64, changes: Vec<Change>) {
        // The thread ends only after it has reported a failed commit.
        let _ = self.batches.send((sequence, changes));
    }

    /// Waits until every batch is committed, the database is closed and the folder's lock is free.
    pub(crate) fn close(self) {
        drop(self.batches);
        // If it panicked, the panic was printed, and the channel of its results is closed.
        let _ = self.thread.join();
    }
}
