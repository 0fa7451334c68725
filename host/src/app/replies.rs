//! Who waits for what became of a request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use roost_scheduler::event::{Done, Refusal, RequestId};
use tokio::sync::oneshot;

/// What a request is answered with.
pub(crate) type Answer = Result<Done, Refusal>;

/// Who waits for answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingReplies(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: RequestId,
    senders: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// Nobody is answered any more.
    is_over: bool,
}

impl PendingReplies {
    /// A new request's number, and where its answer comes.
    pub(crate) fn expect(&self) -> (RequestId, oneshot::Receiver<Answer>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let (request, (sender, answer)) = (waiting.last, oneshot::channel());
        if !waiting.is_over {
            waiting.senders.insert(request, sender);
        }
        (request, answer)
    }

    /// Hands on an answer. Whoever has gone meanwhile does not hear it.
    pub(crate) fn give(&self, request: RequestId, answer: Answer) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.senders.remove(&request) {
            let _ = sender.send(answer);
        }
    }

    /// There are no more answers: whoever waits learns that at once.
    pub(crate) fn end(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_over = true;
        waiting.senders.clear();
    }

    /// Nobody waits for it any more.
    pub(crate) fn forget(&self, request: RequestId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).senders.remove(&request);
    }
}
