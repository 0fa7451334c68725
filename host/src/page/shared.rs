//! A page that is the same for all readers: many that ask at about the same time get one.

use std::{future::Future, time::Duration};

use maud::Markup;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// The page is made so seldom that making it takes at most this part of the time.
const PART: u32 = 5;

/// The newest page.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    html: Markup,
    begun: Instant,
    took: Duration,
}

impl Shared {
    /// Returns a page that was begun after this call: a reader that has just changed something sees the change. Readers
    /// that ask before it is begun share it.
    pub(super) async fn get<F, E>(&self, make: impl FnOnce() -> F) -> Result<Markup, E>
    where
        F: Future<Output = Result<Markup, E>>,
    {
        let asked = now();
        let mut newest = self.0.lock().await;
        if let Some(made) = newest.as_ref() {
            if made.begun > asked {
                return Ok(made.html.clone());
            }
            sleep_until(made.begun + made.took * PART).await;
        }
        let begun = now();
        let html = make().await?;
        *newest = Some(Made { html: html.clone(), begun, took: begun.elapsed() });
        Ok(html)
    }
}

#[allow(clippy::disallowed_methods, reason = "it measures how long a page takes to make")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        convert::Infallible,
        future::{pending, poll_fn},
        pin::pin,
        task::Poll,
    };

    use maud::PreEscaped;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn readers_that_ask_while_a_page_is_made_share_the_next_one() {
        let (shared, made, finish) = (&Shared::default(), &Cell::new(0), &Notify::new());
        let ask = async || {
            let make = || async {
                made.set(made.get() + 1);
                let number = made.get();
                finish.notified().await;
                Ok::<_, Infallible>(PreEscaped(number.to_string()))
            };
            let Ok(PreEscaped(html)) = shared.get(make).await;
            html
        };
        let mut first = pin!(ask());
        assert!(is_pending(first.as_mut()).await);
        let later = async { tokio::join!(ask(), ask(), ask()) };
        let mut later = pin!(later);
        assert!(is_pending(later.as_mut()).await);
        assert_eq!(made.get(), 1, "they wait");
        finish.notify_one();
        assert_eq!(first.await, "1");
        finish.notify_one();
        assert_eq!(later.await, ["2", "2", "2"].map(str::to_owned).into());
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_does_not_hold_up_the_others() {
        let shared = Shared::default();
        {
            let mut gone = pin!(shared.get(pending::<Result<Markup, Infallible>>));
            assert!(is_pending(gone.as_mut()).await);
        }
        let Ok(PreEscaped(html)) = shared.get(async || Ok::<_, Infallible>(PreEscaped("a page".to_owned()))).await;
        assert_eq!(html, "a page");
    }

    /// Polls once.
    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
