//! Queries about the loop's state from other threads, without holding it up.

use roost_scheduler::scheduler::Scheduler;
use tokio::sync::{mpsc, oneshot};

use super::limits;

/// A query to the scheduler, which sends its result back itself.
pub(crate) type Query = Box<dyn FnOnce(&Scheduler) + Send>;

/// A handle that sends queries to the loop, which answers one at each turn, between events.
#[derive(Clone, Debug)]
pub(crate) struct Inspector(mpsc::Sender<Query>);

/// The error of a query when the loop has ended.
#[derive(Debug)]
pub(crate) struct LoopClosed;

/// Returns the two ends of the channel of queries.
pub(crate) fn inspector() -> (Inspector, mpsc::Receiver<Query>) {
    let (sender, queries) = mpsc::channel(limits::QUERIES);
    (Inspector(sender), queries)
}

impl Inspector {
    /// Returns how many queries wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Runs `query` on the scheduler. The loop waits for it, so it must be bounded: some 2,000 slots at most (I10).
    ///
    /// # Errors
    /// If the loop has ended.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Scheduler) -> T + Send + 'static,
    ) -> Result<T, LoopClosed> {
        let (sender, result) = oneshot::channel();
        let query = move |scheduler: &Scheduler| {
            // The client may have gone.
            let _ = sender.send(query(scheduler));
        };
        self.0.send(Box::new(query)).await.map_err(|_| LoopClosed)?;
        result.await.map_err(|_| LoopClosed)
    }
}
