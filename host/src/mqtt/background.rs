//! A second connection to the broker, for messages that may wait: states and descriptions for other programs, and the
//! commands of those. It has a window of its own, so that no number of them delays a due message (I7), and a topic that
//! the broker denies cannot end the connection of due messages.
//!
//! It connects when the link has, and loses what was under way when it ends: its user sends everything again after
//! [`Event::Up`].

mod connection;

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

impl Order {
    /// Returns the order to remove a retained message.
    pub(crate) const fn remove(topic: String) -> Self {
        Self::Publish { topic, payload: Bytes::new(), retain: true }
    }
}

/// An event of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is established, and the broker knows nothing of an earlier one. `ended_at` is the topic or the filter that the
    /// broker was sent just before it ended the one before, if this one was established at once: some brokers end the
    /// connection at what they deny (Mosquitto 2.0.11 does if `max_queued_messages` is 0).
    Up { ended_at: Option<String>, keeps_retained: bool },
    /// It has ended.
    Down,
    /// The broker has accepted the subscription to this filter, and sends what it has retained from here on.
    Subscribed(String),
    /// The broker has acknowledged all orders so far.
    Idle,
    /// The broker has refused a message to a topic, or a subscription to a filter.
    Refused { topic: String, what: Refused, reason: String },
    /// A message has arrived.
    Arrived(Message),
}

/// What the broker has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    Message,
    /// A message that is larger than the broker accepts.
    LargeMessage,
    Subscription,
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

/// Makes the connections of one purpose, one after the other.
pub(crate) struct Connector {
    dialer: Dialer,
    info: LinkInfo,
}

impl Connector {
    /// `purpose` is what the connections are for, in the log.
    ///
    /// # Errors
    /// Returns an error if a certificate or key cannot be read, or does not fit the other settings.
    pub(crate) fn new(mut settings: Settings, purpose: &'static str, info: LinkInfo) -> Result<Self, Report> {
        // The link publishes the status, under a client id of its own (I14).
        settings.status_topic = None;
        settings.client_id = format!("{}-{}", settings.client_id, limits::BACKGROUND_CLIENT);
        Ok(Self { dialer: Dialer::new(settings, Some(purpose))?, info })
    }

    /// Returns the ends of the connection, and what makes it whenever the link has one, until the ends are dropped.
    pub(crate) fn connect(&mut self) -> (Background, impl Future<Output = ()> + Send) {
        let (orders_in, orders) = mpsc::channel(1);
        let (events_in, events) = mpsc::channel(limits::BACKGROUND_EVENTS);
        (Background { orders: orders_in, events }, run(&mut self.dialer, orders, events_in, &self.info))
    }
}

async fn run(dialer: &mut Dialer, mut orders: mpsc::Receiver<Order>, events: mpsc::Sender<Event>, info: &LinkInfo) {
    let mut ended_at = None;
    while !events.is_closed() {
        info.connected().await;
        let pause = match dialer.dial().await {
            Ok((stream, accepted)) => {
                let began = Instant::now();
                let ended = match stream {
                    Stream::Plain(stream) => {
                        serve(stream, accepted, dialer, (&mut orders, &events), &mut ended_at).await
                    }
                    Stream::Tls(stream) => {
                        serve(*stream, accepted, dialer, (&mut orders, &events), &mut ended_at).await
                    }
                };
                let Err(failure) = ended else { return };
                if began.elapsed() > dialer.settings().timeouts.keep_alive {
                    dialer.reset_pause();
                }
                dialer.lost(&failure, Diagnosis::Unrelated)
            }
            Err(failure) => {
                ended_at = None;
                dialer.failed(&failure)
            }
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

/// Serves a connection until it ends. `Ok`: the user is gone. `ended_at` is where the one before ended, and then where
/// this one did.
async fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite>(
    stream: S,
    accepted: Accepted,
    dialer: &Dialer,
    (orders, events): (&mut mpsc::Receiver<Order>, &mpsc::Sender<Event>),
    ended_at: &mut Option<String>,
) -> Result<(), Failure> {
    let Accepted { limits, read, .. } = accepted;
    let keeps_retained = limits.retain;
    let mut connection = Connection::new(stream, (limits, read), dialer.settings().timeouts.keep_alive);
    if events.send(Event::Up { ended_at: ended_at.take(), keeps_retained }).await.is_err() {
        return Ok(());
    }
    let ended = connection.run(orders, events).await;
    if let Err(failure) = &ended {
        *ended_at = connection.ended_at(failure);
    }
    for event in connection.into_pending() {
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
    let is_gone = events.send(Event::Down).await.is_err();
    if is_gone { Ok(()) } else { ended }
}
