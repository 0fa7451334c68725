//! The link to the broker, and the broker that is built in.
//!
//! A link is one connection and has its lifetime: each new connection is a new link with a new number. Neither a
//! session nor a message is carried over from one link to the next, because only the core retries. The broker's answers
//! go to the core as events.

mod addresses;
pub(crate) mod background;
mod broker;
mod connection;
mod dialer;
mod echoes;
mod failure;
mod identity;
mod in_flight;
mod info;
mod limits;
mod message;
mod negotiation;
mod outgoing;
mod pending_events;
mod permitted;
mod reason;
mod reconnect;
mod report;
mod suspects;
#[cfg(test)]
mod tests;
mod transport;
mod unsubscribing;
mod url;
mod watches;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use roost_scheduler::{
    event::{Event, LinkId, Publish, WatchId},
    model::Confirm,
    topic::Topic,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep},
};

pub(crate) use roost_broker::{Broker as BuiltInBroker, Health as BuiltInHealth};

pub(crate) use self::{
    broker::{Ports, start_built_in},
    info::{Info, LinkInfo},
    url::BrokerUrl,
};
use self::{
    connection::{CarriedState, Connection, Diagnosis},
    dialer::{Accepted, Dialer},
    failure::Failure,
    transport::Stream,
};
use crate::{lease::SendPermit, report::Report};

/// The broker to connect to, and the identity that Roost uses there.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The broker's addresses, at least one. They are tried in turn.
    pub(crate) urls: Vec<BrokerUrl>,
    /// The user name. It takes precedence over the URL's.
    pub(crate) user: Option<String>,
    /// The password. It takes precedence over the URL's.
    pub(crate) password: Option<String>,
    /// A PEM file with authorities to trust in addition to the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM files with the client certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The topic on which this host publishes `online` or `offline`, retained. `None` turns that off.
    pub(crate) status_topic: Option<Topic>,
    /// The client id. It never changes, and no other client uses it (I14).
    pub(crate) client_id: String,
    /// Says whether this process may send.
    pub(crate) permit: SendPermit,
    pub(crate) timeouts: Timeouts,
}

/// The time limits and pauses of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// The keep-alive interval of MQTT. The link expects a packet from the broker within half of it.
    pub(crate) keep_alive: Duration,
    /// The limit for each of the TCP connection, the TLS handshake and the answer to CONNECT.
    pub(crate) connect: Duration,
    /// The pause before the second try. It doubles with each try.
    pub(crate) first_pause: Duration,
    /// The longest pause between two tries. Due messages are delayed by up to this once the broker is back.
    pub(crate) longest_pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// A command to the link. Orders are carried out in the order in which they were given.
#[derive(Debug)]
enum Order {
    /// Send a message. The instant is when the order was given.
    Publish(Publish, Instant),
    /// Listen to a device's reports.
    Watch(LinkId, WatchId, Arc<Confirm>),
    /// Stop listening.
    Unwatch(LinkId, WatchId),
}

/// The app's handle to the link. When it is dropped, the link disconnects in the background.
pub(crate) struct Link {
    orders: mpsc::UnboundedSender<Order>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts the link in the background, on the current tokio runtime. It reconnects until it is stopped.
///
/// # Errors
/// Returns an error if a certificate or key cannot be read, or does not fit the other settings.
pub(crate) fn connect(settings: Settings, events: mpsc::Sender<Event>, info: LinkInfo) -> Result<Link, Report> {
    let dialer = Dialer::new(settings, None)?;
    // I10: the core keeps at most as many attempts under way as its credit, and at most as many watches as runs.
    let (sender, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let links = Links::new(dialer, (orders, events, stopped), info);
    Ok(Link { orders: sender, stop, task: tokio::spawn(links.run()) })
}

impl Link {
    /// Sends a message if its link is still the current one. Otherwise drops it: the core has received the event. Never
    /// waits.
    pub(crate) fn publish(&self, publish: Publish) {
        // The receiver is gone only after a panic of the task, which `stop` reports.
        let _ = self.orders.send(Order::Publish(publish, Instant::now()));
    }

    /// Listens to a device's reports, until the end of the link or [`Link::unwatch`]. Never waits.
    pub(crate) fn watch(&self, link: LinkId, watch: WatchId, confirm: Arc<Confirm>) {
        let _ = self.orders.send(Order::Watch(link, watch, confirm));
    }

    /// Ends a watch. Never waits.
    pub(crate) fn unwatch(&self, link: LinkId, watch: WatchId) {
        let _ = self.orders.send(Order::Unwatch(link, watch));
    }

    /// Sends the remaining messages, publishes `offline` and disconnects. Neither waits for acknowledgements nor sends
    /// further events.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!("the link to the broker ended in a panic: {error}");
        }
    }
}

/// The task behind [`Link`]: makes one connection after the other.
struct Links {
    dialer: Dialer,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<Event>,
    stopped: oneshot::Receiver<()>,
    /// The number of the newest link.
    last: LinkId,
    carried: CarriedState,
    /// Whether no try has failed since the last connection ended.
    is_first_try: bool,
    info: LinkInfo,
}

/// The task's channels: orders, events and the signal to stop.
type Channels = (mpsc::UnboundedReceiver<Order>, mpsc::Sender<Event>, oneshot::Receiver<()>);

/// How a link ended.
enum End {
    /// The host stopped it.
    Stopped,
    /// The connection was not established.
    Failed(Failure),
    /// The connection was established and lost.
    Lost(Failure, Diagnosis),
}

impl Links {
    fn new(dialer: Dialer, (orders, events, stopped): Channels, info: LinkInfo) -> Self {
        let carried = CarriedState::new(info.clone(), Instant::now());
        Self { dialer, orders, events, stopped, last: 0, carried, is_first_try: false, info }
    }

    async fn run(mut self) {
        loop {
            let end = self.next().await;
            self.is_first_try = matches!(end, End::Lost(..));
            let pause = match end {
                End::Stopped => return,
                // The trial is decided, and nothing else was under way.
                End::Lost(_, Diagnosis::Denied) => continue,
                End::Failed(failure) => self.dialer.failed(&failure),
                End::Lost(failure, diagnosis) => self.dialer.lost(&failure, diagnosis),
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut self.stopped => return,
            }
        }
    }

    /// Runs one link.
    async fn next(&mut self) -> End {
        let dialed = tokio::select! {
            dialed = self.dialer.dial() => dialed,
            _ = &mut self.stopped => return End::Stopped,
        };
        match dialed {
            Ok((Stream::Plain(stream), accepted)) => self.run_connection(stream, accepted).await,
            Ok((Stream::Tls(stream), accepted)) => self.run_connection(*stream, accepted).await,
            Err(failure) => End::Failed(failure),
        }
    }

    async fn run_connection<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: S, accepted: Accepted) -> End {
        let Accepted { options, limits, read, is_elsewhere } = accepted;
        self.last += 1;
        if is_elsewhere {
            // Another broker may have other access rules.
            self.carried.suspects.retry_all(Instant::now());
        }
        self.log_suspects();
        self.info.set_broker(Some((self.dialer.url().to_string(), options.version.as_str())));
        let carried = std::mem::replace(&mut self.carried, CarriedState::new(self.info.clone(), Instant::now()));
        let Settings { timeouts, status_topic, .. } = self.dialer.settings();
        let of_settings = (timeouts.keep_alive, status_topic.clone());
        let mut connection = Connection::new(stream, self.last, of_settings, (limits, read), carried);
        let Err(failure) = connection.run(&mut self.orders, &self.events, &mut self.stopped).await else {
            return End::Stopped;
        };
        if connection.was_steady() {
            self.dialer.reset_pause();
        }
        let diagnosis = connection.diagnose(&failure);
        self.carried = connection.take_carried();
        self.info.set_broker(None);
        let mut pending = connection.into_pending();
        let pending = std::iter::from_fn(move || pending.pop());
        for event in pending.chain([Event::LinkDown { link: self.last }]) {
            tokio::select! {
                sent = self.events.send(event) => if sent.is_err() { return End::Stopped },
                _ = &mut self.stopped => return End::Stopped,
            }
        }
        let is_rejected = diagnosis == Diagnosis::Rejected;
        End::Lost(if is_rejected { Failure::ClosedAfterConnack } else { failure }, diagnosis)
    }

    /// Logs the topics that became suspects: the previous connection ended right after they were sent, and this one was
    /// established at once.
    fn log_suspects(&mut self) {
        let named = self.carried.suspects.connected(self.is_first_try, Instant::now());
        let Some(first) = named.first() else { return };
        let more = named.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" or one of {more} more") };
        tracing::warn!(
            "the broker ended the connection right after {first}{more}: these topics are held back and tried one at a \
             time, to find the one that the broker denies"
        );
    }
}
