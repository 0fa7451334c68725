//! A second connection to the broker, for messages that may wait: states and descriptions for other programs, and the
//! commands of those. It has a window of its own, so that no number of them delays a due message (I7), and a topic that
//! the broker denies cannot end the connection of due messages.
//!
//! It connects when the link has, and loses what was under way when it ends: its user sends everything again after
//! [`Event::Up`].

mod connection;

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use self::connection::Connection;
use super::{
    Settings,
    connection::Diagnosis,
    dialer::{Accepted, Dialer},
    failure::Failure,
    info::LinkInfo,
    limits,
    transport::Stream,
};
use crate::report::Report;

/// An order to the connection. What is ordered while there is no connection is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Publish a message at QoS 1.
    Publish { topic: String, payload: Bytes, retain: bool },
    /// Subscribe to messages of other clients: to new ones, or to the broker's retained ones as well.
    Subscribe { filter: String, with_retained: bool },
    /// End a subscription.
    Unsubscribe(String),
}

/// An event of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is established, and the broker knows nothing of an earlier one.
    Up { keeps_retained: bool },
    /// It has ended.
    Down,
    /// The broker has accepted the subscription to this filter, and sends what it has retained from here on.
    Subscribed(String),
    /// The broker has acknowledged all orders so far.
    Idle,
    /// The broker has refused a message to a topic, or a subscription to a filter.
    Refused { topic: String, is_subscription: bool, reason: String },
    /// A message has arrived.
    Arrived(Message),
}

/// A message of another client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// Whether the broker keeps it, so that it may be old.
    pub(crate) retained: bool,
    /// Whether it carries the id of a run: then this host or another one has sent it.
    pub(crate) has_run: bool,
}

/// The two ends of the connection, for the edge that uses it.
pub(crate) struct Background {
    /// Takes orders, as many as the window has room for.
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Makes the connection whenever the link has one, until the ends are dropped. `purpose` is what it is for, in the log.
///
/// # Errors
/// Returns an error if a certificate or key cannot be read, or does not fit the other settings.
pub(crate) fn connect(
    mut settings: Settings,
    purpose: &'static str,
    info: LinkInfo,
) -> Result<(Background, impl Future<Output = ()> + Send), Report> {
    // The link publishes the status, under a client id of its own (I14).
    settings.status_topic = None;
    settings.client_id = format!("{}-{}", settings.client_id, limits::BACKGROUND_CLIENT);
    let dialer = Dialer::new(settings, Some(purpose))?;
    let (orders_in, orders) = mpsc::channel(1);
    let (events_in, events) = mpsc::channel(limits::BACKGROUND_EVENTS);
    Ok((Background { orders: orders_in, events }, run(dialer, orders, events_in, info)))
}

async fn run(mut dialer: Dialer, mut orders: mpsc::Receiver<Order>, events: mpsc::Sender<Event>, info: LinkInfo) {
    let mut denials = Denials::default();
    while !events.is_closed() {
        info.connected().await;
        let pause = match dialer.dial().await {
            Ok((stream, accepted)) => {
                let began = Instant::now();
                let ended = match stream {
                    Stream::Plain(stream) => serve(stream, accepted, &dialer, &mut orders, &events).await,
                    Stream::Tls(stream) => serve(*stream, accepted, &dialer, &mut orders, &events).await,
                };
                let Some(Ended { failure, unacknowledged }) = ended else { return };
                let was_long = began.elapsed() > dialer.settings().timeouts.keep_alive;
                if was_long {
                    dialer.reset_pause();
                }
                let pause = dialer.lost(&failure, Diagnosis::Unrelated);
                // What was not acknowledged after a long time has another reason.
                let unacknowledged = unacknowledged.filter(|_| !was_long);
                let (denied, longer) = denials.record(&failure, unacknowledged);
                for event in denied.into_iter().chain([Event::Down]) {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                pause.max(longer)
            }
            Err(failure) => dialer.failed(&failure),
        };
        let over = sleep(pause);
        tokio::pin!(over);
        // Orders that were given before the end was noticed.
        loop {
            tokio::select! {
                () = &mut over => break,
                order = orders.recv() => if order.is_none() { return },
            }
        }
    }
}

/// How a connection ended.
struct Ended {
    failure: Failure,
    /// The first order that the broker had not acknowledged: its topic, and whether it is a subscription.
    unacknowledged: Option<(String, bool)>,
}

/// Notices that the broker closes the connection at an order instead of refusing it: every connection would end there.
#[derive(Default)]
struct Denials {
    /// How many connections in succession have ended soon and with an order that was not acknowledged.
    repeated: u32,
}

impl Denials {
    /// Records the end of a connection. From the second time on, it returns a refusal and how long to wait.
    fn record(&mut self, failure: &Failure, unacknowledged: Option<(String, bool)>) -> (Option<Event>, Duration) {
        let is_closed = matches!(failure, Failure::Closed | Failure::Broken(_) | Failure::Disconnected(_));
        let Some((topic, is_subscription)) = unacknowledged.filter(|_| is_closed) else {
            self.repeated = 0;
            return (None, Duration::ZERO);
        };
        self.repeated = self.repeated.saturating_add(1);
        if self.repeated == 1 {
            return (None, Duration::ZERO);
        }
        let refused = Event::Refused { topic, is_subscription, reason: failure.to_string() };
        let doubled = limits::FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.repeated - 2));
        (Some(refused), doubled.min(limits::LONGEST_PAUSE))
    }
}

/// Serves a connection until it ends. `None`: the user is gone.
async fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite>(
    stream: S,
    accepted: Accepted,
    dialer: &Dialer,
    orders: &mut mpsc::Receiver<Order>,
    events: &mpsc::Sender<Event>,
) -> Option<Ended> {
    let Accepted { limits, read, .. } = accepted;
    let keeps_retained = limits.retain;
    let mut connection = Connection::new(stream, (limits, read), dialer.settings().timeouts.keep_alive);
    if events.send(Event::Up { keeps_retained }).await.is_err() {
        return None;
    }
    let failure = connection.run(orders, events).await.err()?;
    Some(Ended { failure, unacknowledged: connection.first_unacknowledged() })
}
