//! A page that is the same for all readers: many that ask at about the same time get one.

use std::{
    future::{Future, pending},
    panic::resume_unwind,
    sync::Arc,
    time::Duration,
};

use maud::Markup;
use tokio::{
    sync::Mutex,
    task::JoinError,
    time::{Instant, sleep_until},
};

/// The page is made so seldom that making it takes at most this part of the time.
const PART: u32 = 10;
/// The longest pause between two pages.
const PAUSE: Duration = Duration::from_secs(5);

/// The newest page.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Newest>>);

#[derive(Debug, Default)]
struct Newest {
    page: Option<(Instant, Markup)>,
    /// When another one may be begun, also if this one could not be made.
    next: Option<Instant>,
}

impl Shared {
    /// Returns a page that was begun after this call: a reader that has just changed something sees the change. Readers
    /// that ask before it is begun share it. It is made to its end, also if its reader goes away.
    pub(super) async fn get<F, E>(&self, make: F) -> Result<Markup, E>
    where
        F: Future<Output = Result<Markup, E>> + Send + 'static,
        E: Send + 'static,
    {
        let asked = now();
        let mut newest = self.0.clone().lock_owned().await;
        if let Some((_, page)) = newest.page.as_ref().filter(|(begun, _)| *begun > asked) {
            return Ok(page.clone());
        }
        if let Some(next) = newest.next {
            sleep_until(next).await;
        }
        let made = tokio::spawn(async move {
            let begun = now();
            let made = make.await;
            newest.next = Some(now() + (begun.elapsed() * (PART - 1)).min(PAUSE));
            if let Ok(page) = &made {
                newest.page = Some((begun, page.clone()));
            }
            made
        });
        match made.await.map_err(JoinError::try_into_panic) {
            Ok(made) => made,
            Err(Ok(panic)) => resume_unwind(panic),
            // The host stops.
            Err(Err(_)) => pending().await,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "it measures how long a page takes to make")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::poll_fn,
        pin::{Pin, pin},
        sync::atomic::{AtomicU32, Ordering},
        task::Poll,
    };

    use maud::PreEscaped;
    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn readers_that_ask_while_a_page_is_made_share_the_next_one() {
        let (shared, made, finish) = (Shared::default(), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (made, finish) = (made.clone(), finish.clone());
            shared.get(async move {
                let number = made.fetch_add(1, Ordering::Relaxed);
                finish.notified().await;
                Ok::<_, Infallible>(PreEscaped(number.to_string()))
            })
        };
        let mut first = pin!(ask());
        assert!(is_pending(first.as_mut()).await);
        while made.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        let mut later = pin!(async { tokio::join!(ask(), ask(), ask()) });
        assert!(is_pending(later.as_mut()).await);
        finish.notify_one();
        assert_eq!(first.await.unwrap().0, "0");
        finish.notify_one();
        let (a, b, c) = later.await;
        assert_eq!([a, b, c].map(|page| page.unwrap().0), ["1", "1", "1"]);
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_page_is_made_to_its_end_also_if_its_reader_goes_away() {
        let (shared, finish, done) = (Shared::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        {
            let (finish, done) = (finish.clone(), done.clone());
            let mut gone = pin!(shared.get(async move {
                finish.notified().await;
                done.notify_one();
                Ok::<_, Infallible>(PreEscaped("of the one that is gone".to_owned()))
            }));
            assert!(is_pending(gone.as_mut()).await);
        }
        finish.notify_one();
        done.notified().await;
        let page = shared.get(async { Ok::<_, Infallible>(PreEscaped("a page".to_owned())) }).await.unwrap();
        assert_eq!(page.0, "a page");
    }

    /// Polls once.
    async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
