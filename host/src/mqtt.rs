//! The link to the broker, and the broker that is built in.
//!
//! A link is one connection, and lives as long as it does: a new connection is a new link with a new number. Nothing is
//! carried over from one to the next, neither a session nor a message, because the core is the only one that tries
//! again. What the broker answers goes to the core as events.

mod broker;
mod connection;
mod correlate;
mod failure;
mod message;
mod outage;
mod outgoing;
mod reason;
mod report;
#[cfg(test)]
mod tests;
mod transport;
mod untold;
mod url;
mod watches;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use roost_scheduler::{
    event::{Event, LinkId, Publish, WatchId},
    model::Confirm,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

pub(crate) use self::{
    broker::{Ports, start_built_in},
    url::BrokerUrl,
};
use self::{
    connection::{Connection, greet},
    failure::Failure,
    outage::Outage,
    transport::{Stream, Transport},
};
use crate::report::Report;

/// Which broker, and as whom.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) url: BrokerUrl,
    /// Outranks the URL's.
    pub(crate) user: Option<String>,
    /// Outranks the URL's.
    pub(crate) password: Option<String>,
    /// PEM, trusted besides the machine's certificates.
    pub(crate) ca_file: Option<PathBuf>,
    /// The same for ever, and no other client's (I14).
    pub(crate) client_id: String,
    pub(crate) pace: Pace,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The broker hears of us at least that often, or takes us for gone; half of it is how long we wait for its answer.
    pub(crate) keep_alive: Duration,
    /// For each of the TCP connection, the TLS handshake and the answer to CONNECT.
    pub(crate) connect: Duration,
    /// The pause before the second try; it doubles each time.
    pub(crate) first_pause: Duration,
    /// The longest pause between two tries: what is due waits for it when the broker is back.
    pub(crate) longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// What the link is to do, in this order.
#[derive(Debug)]
enum Order {
    Publish(Publish),
    /// Listen to a device's reports.
    Watch(LinkId, WatchId, Arc<Confirm>),
    Unwatch(LinkId, WatchId),
}

/// What the app holds of the link. Dropped, it says goodbye to the broker in the background.
pub(crate) struct Link {
    orders: mpsc::UnboundedSender<Order>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Connects in the background, for ever, on the tokio runtime that this is called on.
///
/// # Errors
/// Where the settings cannot work, whatever the broker does: a `ca_file` that cannot be read.
pub(crate) fn connect(settings: Settings, events: mpsc::Sender<Event>) -> Result<Link, Report> {
    let transport = Transport::new(settings.url.clone(), settings.ca_file.as_deref())?;
    // I10: the core has no more attempts under way than the credit it was given, and no more watches than runs.
    let (sender, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let links = Links { settings, transport, orders, events, stopped, last: 0, outage: Outage::default() };
    Ok(Link { orders: sender, stop, task: tokio::spawn(links.run()) })
}

impl Link {
    /// Sends a message if its link is there, and drops it if that is over: the core has been told. Never waits.
    pub(crate) fn publish(&self, publish: Publish) {
        // The other end is gone only after a panic there, which shows when the link is stopped.
        let _ = self.orders.send(Order::Publish(publish));
    }

    /// Listens to a device's reports, until the end of the link or [`Link::unwatch`]. Never waits.
    pub(crate) fn watch(&self, link: LinkId, watch: WatchId, confirm: Arc<Confirm>) {
        let _ = self.orders.send(Order::Watch(link, watch, confirm));
    }

    /// That is no longer wanted. Never waits.
    pub(crate) fn unwatch(&self, link: LinkId, watch: WatchId) {
        let _ = self.orders.send(Order::Unwatch(link, watch));
    }

    /// Sends what was published, says `offline` and disconnects. Acknowledgements are not waited for, nor events sent.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!("the link to the broker ended in a panic: {error}");
        }
    }
}

/// One link after the other.
struct Links {
    settings: Settings,
    transport: Transport,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<Event>,
    stopped: oneshot::Receiver<()>,
    last: LinkId,
    outage: Outage,
}

/// Why there is no link any more.
enum End {
    Stopped,
    /// It never was.
    Failed(Failure),
    Lost(Failure),
}

impl Links {
    async fn run(mut self) {
        loop {
            let (failure, was_connected) = match self.next().await {
                End::Stopped => return,
                End::Failed(failure) => (failure, false),
                End::Lost(failure) => (failure, true),
            };
            let pause = self.outage.failed(&self.settings, &failure, was_connected);
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut self.stopped => return,
            }
        }
    }

    async fn next(&mut self) -> End {
        let opened = tokio::select! {
            opened = self.transport.open(self.settings.pace.connect) => opened,
            _ = &mut self.stopped => return End::Stopped,
        };
        match opened {
            Ok(Stream::Plain(stream)) => self.live(stream).await,
            Ok(Stream::Tls(stream)) => self.live(*stream).await,
            Err(failure) => End::Failed(failure),
        }
    }

    async fn live<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut stream: S) -> End {
        let Pace { keep_alive, connect: within, .. } = self.settings.pace;
        let greeting = timeout(within, greet(&mut stream, self.settings.connect_packet()));
        let greeted = tokio::select! {
            greeted = greeting => greeted.unwrap_or(Err(Failure::NoAnswer { what: "CONNECT", within })),
            _ = &mut self.stopped => return End::Stopped,
        };
        let (limits, read) = match greeted {
            Ok(greeted) => greeted,
            Err(failure) => return End::Failed(failure),
        };
        self.last += 1;
        let mut connection = Connection::new(stream, self.last, keep_alive, limits, read);
        self.outage.ended(&self.settings, connection.credit());
        let Err(failure) = connection.run(&mut self.orders, &self.events, &mut self.stopped).await else {
            return End::Stopped;
        };
        if connection.was_steady() {
            self.outage.was_steady();
        }
        let mut untold = connection.into_untold();
        let untold = std::iter::from_fn(move || untold.pop());
        for event in untold.chain([Event::LinkDown { link: self.last }]) {
            tokio::select! {
                sent = self.events.send(event) => if sent.is_err() { return End::Stopped },
                _ = &mut self.stopped => return End::Stopped,
            }
        }
        End::Lost(failure)
    }
}

impl Settings {
    fn connect_packet(&self) -> rumqttc::v5::mqttbytes::v5::Packet {
        let user = self.user.as_deref().or(self.url.user.as_deref());
        let password = self.password.as_deref().or(self.url.password.as_deref());
        let login = (user.is_some() || password.is_some()).then(|| (user.unwrap_or(""), password.unwrap_or("")));
        let keep_alive_s = self.pace.keep_alive.as_secs().clamp(1, u16::MAX.into()) as u16;
        wire::connect(&self.client_id, login, keep_alive_s)
    }
}
