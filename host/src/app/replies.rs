//! Requests that wait for their replies.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use roost_scheduler::event::{Done, Refusal, RequestId};
use tokio::sync::oneshot;

/// The reply to a request.
pub(crate) type Answer = Result<Done, Refusal>;

/// The senders of the replies that are still awaited.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingReplies(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: RequestId,
    senders: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// Whether no more replies will come.
    is_closed: bool,
}

impl PendingReplies {
    /// Registers a new request. Returns its id, and the receiver of its reply.
    pub(crate) fn register(&self) -> (RequestId, oneshot::Receiver<Answer>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let (request, (sender, answer)) = (waiting.last, oneshot::channel());
        if !waiting.is_closed {
            waiting.senders.insert(request, sender);
        }
        (request, answer)
    }

    /// Sends a reply, unless the client has gone.
    pub(crate) fn send(&self, request: RequestId, answer: Answer) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.senders.remove(&request) {
            let _ = sender.send(answer);
        }
    }

    /// Ends every wait, because no more replies will come.
    pub(crate) fn close(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_closed = true;
        waiting.senders.clear();
    }

    /// Removes a request whose client no longer waits.
    pub(crate) fn forget(&self, request: RequestId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).senders.remove(&request);
    }
}
