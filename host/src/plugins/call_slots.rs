//! Limits how many calls of guests are under way, and how many of these compute at the same time (I7).

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::limits;
use crate::clock;

/// Slots for calls. A call occupies a slot until it has ended, and a turn while it computes. A call that waits yields
/// its turn to another.
pub(super) struct CallSlots {
    computing: Semaphore,
    /// Slots for guests with one memory, as nearly all have.
    ordinary: Semaphore,
    /// Slots for guests with several memories.
    large: Semaphore,
}

/// Whether a pending guest has only yielded to other tasks, and does not wait for anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Yielded(Arc<AtomicBool>);

impl Yielded {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// An occupied slot.
pub(super) struct CallSlot<'t> {
    _permits: [Option<SemaphorePermit<'t>>; 2],
}

impl CallSlots {
    pub(super) const fn new() -> Self {
        Self {
            computing: Semaphore::const_new(limits::CALLS_AT_ONCE),
            ordinary: Semaphore::const_new(limits::ORDINARY_CALLS),
            large: Semaphore::const_new(limits::LARGE_CALLS),
        }
    }

    /// Waits for a free slot.
    pub(super) async fn acquire(&self, is_ordinary: bool) -> CallSlot<'_> {
        let slots = if is_ordinary { &self.ordinary } else { &self.large };
        CallSlot { _permits: [slots.acquire().await.ok(), None] }
    }

    /// Waits for all slots, so that no other call is under way meanwhile.
    pub(super) async fn acquire_all(&self) -> CallSlot<'_> {
        let ordinary = self.ordinary.acquire_many(limits::ORDINARY_CALLS as u32).await.ok();
        let large = self.large.acquire_many(limits::LARGE_CALLS as u32).await.ok();
        CallSlot { _permits: [ordinary, large] }
    }

    /// Runs a call, which may compute and wait for up to `within` in total, not counting the time in which it waits for
    /// its turn. Returns `None` if the call takes longer. The turn is returned as well, because the caller still has to
    /// process the answer.
    pub(super) async fn run<C: Future>(
        &self,
        call: C,
        yielded: &Yielded,
        within: Duration,
    ) -> (Option<C::Output>, Option<SemaphorePermit<'_>>) {
        let mut call = pin!(call);
        let mut left = within;
        let mut turn = self.computing.acquire().await.ok();
        loop {
            let begun = clock::monotonic();
            let computing = poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if yielded.take() => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            });
            match timeout(left, computing).await {
                Ok(Some(answer)) => return (Some(answer), turn),
                Ok(None) if !left.is_zero() => {}
                Ok(None) | Err(_) => return (None, turn),
            }
            drop(turn.take());
            // The call's own wakers wake this task.
            let mut is_woken = false;
            let woken =
                poll_fn(|_| if std::mem::replace(&mut is_woken, true) { Poll::Ready(()) } else { Poll::Pending });
            // The timeout wakes it as well; then it is polled once more.
            let _ = timeout(left.saturating_sub(begun.elapsed()), woken).await;
            left = left.saturating_sub(begun.elapsed());
            turn = self.computing.acquire().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_waiting_call_gives_up_its_turn_and_a_yielding_one_does_not() {
        let slots = CallSlots::new();
        let (wakes, yielded) = (tokio::sync::Notify::new(), Yielded::default());
        let waiting = || slots.run(wakes.notified(), &yielded, LONG);
        let mut waiting = (0..limits::CALLS_AT_ONCE + 1).map(|_| Box::pin(waiting())).collect::<Vec<_>>();
        for call in &mut waiting {
            assert!(poll_once(call.as_mut()).await.is_none());
        }
        assert_eq!(slots.computing.available_permits(), limits::CALLS_AT_ONCE);
        let computing = async {
            for _ in 0..3 {
                yielded.set();
                yield_now().await;
            }
        };
        let mut computing = pin!(slots.run(computing, &yielded, LONG));
        for _ in 0..3 {
            assert!(poll_once(computing.as_mut()).await.is_none());
            assert_eq!(slots.computing.available_permits(), limits::CALLS_AT_ONCE - 1);
        }
        let (answer, turn) = computing.await;
        assert!(answer.is_some() && turn.is_some(), "it has its turn until its answer was processed");
        drop(turn);
        wakes.notify_waiters();
        for call in waiting {
            assert!(call.await.0.is_some());
        }
    }

    #[tokio::test]
    async fn a_call_that_waits_too_long_times_out_and_waiting_for_a_turn_does_not_count() {
        let slots = CallSlots::new();
        let all = slots.computing.acquire_many(limits::CALLS_AT_ONCE as u32).await.unwrap();
        let yielded = Yielded::default();
        let mut call = pin!(slots.run(std::future::pending::<()>(), &yielded, Duration::ZERO));
        assert!(poll_once(call.as_mut()).await.is_none(), "it has no turn yet");
        drop(all);
        assert!(call.await.0.is_none());
        let others = || Box::pin(slots.run(std::future::pending::<()>(), &yielded, Duration::from_millis(5)));
        for mut call in [others(), others(), others()] {
            assert!(call.as_mut().await.0.is_none());
        }
    }

    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
