//! How others look at what the loop has, without holding it up.

use roost_scheduler::scheduler::Scheduler;
use tokio::sync::{mpsc, oneshot};

/// Looks that may wait for the loop: whoever comes then waits for a place.
const LOOKS: usize = 64;

/// A question to the scheduler, with its answer on the way back.
pub(crate) type Question = Box<dyn FnOnce(&Scheduler) + Send>;

/// Where questions are asked. The loop answers one at each turn, between events.
#[derive(Clone, Debug)]
pub(crate) struct Inspector(mpsc::Sender<Question>);

/// The loop has ended.
#[derive(Debug)]
pub(crate) struct LoopClosed;

/// Where they are asked, and where they come out.
pub(crate) fn inspector() -> (Inspector, mpsc::Receiver<Question>) {
    let (to, looks) = mpsc::channel(LOOKS);
    (Inspector(to), looks)
}

impl Inspector {
    /// How many questions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.max_capacity() - self.0.capacity()
    }

    /// Looks at the scheduler. The loop waits for that, so it must be bounded: some 2,000 places at the most (I10).
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Scheduler) -> T + Send + 'static,
    ) -> Result<T, LoopClosed> {
        let (to, seen) = oneshot::channel();
        let ask = move |scheduler: &Scheduler| {
            // Whoever has gone meanwhile does not hear it.
            let _ = to.send(look(scheduler));
        };
        self.0.send(Box::new(ask)).await.map_err(|_| LoopClosed)?;
        seen.await.map_err(|_| LoopClosed)
    }
}
