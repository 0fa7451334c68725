//! The link to the broker, and the broker that is built in.
//!
//! A link is one connection, and lives as long as it does: a new connection is a new link with a new number. Nothing is
//! carried over from one to the next, neither a session nor a message, because the core is the only one that tries
//! again. What the broker answers goes to the core as events.

mod addresses;
mod broker;
mod connection;
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
    time::{Instant, sleep, timeout},
};

pub(crate) use roost_broker::{Broker as BuiltInBroker, Health as BuiltInHealth};

use self::{
    addresses::Addresses,
    connection::{Connection, Memory, Verdict, handshake},
    failure::Failure,
    negotiation::ConnectOptions,
    reconnect::{Lost, Reconnect},
    transport::Stream,
};
pub(crate) use self::{
    broker::{Ports, start_built_in},
    info::{Info, LinkInfo},
    url::BrokerUrl,
};
use crate::{
    config::grant::{Access, how_broker_allows},
    report::Report,
};

/// Which broker, and as whom.
#[derive(Clone)]
pub(crate) struct Settings {
    /// At least one; they are tried in turn.
    pub(crate) urls: Vec<BrokerUrl>,
    /// Outranks the URL's.
    pub(crate) user: Option<String>,
    /// Outranks the URL's.
    pub(crate) password: Option<String>,
    /// PEM, trusted besides the machine's certificates.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM: the certificate that Roost shows to the broker, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// Where this host says whether it is there: retained, `online` or `offline`. `None`: nowhere.
    pub(crate) status_topic: Option<Topic>,
    /// The same for ever, and no other client's (I14).
    pub(crate) client_id: String,
    pub(crate) pace: Timeouts,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// The broker hears of us at least that often, or takes us for gone; half of it is how long we wait for its answer.
    pub(crate) keep_alive: Duration,
    /// For each of the TCP connection, the TLS handshake and the answer to CONNECT.
    pub(crate) connect: Duration,
    /// The pause before the second try; it doubles each time.
    pub(crate) first_pause: Duration,
    /// The longest pause between two tries: what is due waits for it when the broker is back.
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

/// What the link is to do, in this order.
#[derive(Debug)]
enum Order {
    /// Since when it waits.
    Publish(Publish, Instant),
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
/// Where the settings cannot work, whatever the broker does: certificates that cannot be read, or do not fit.
pub(crate) fn connect(settings: Settings, events: mpsc::Sender<Event>, info: LinkInfo) -> Result<Link, Report> {
    let addresses = Addresses::new(&settings)?;
    // I10: the core has no more attempts under way than the credit it was given, and no more watches than runs.
    let (sender, orders) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let links = Links::new(settings, addresses, (orders, events, stopped), info);
    Ok(Link { orders: sender, stop, task: tokio::spawn(links.run()) })
}

impl Link {
    /// Sends a message if its link is there, and drops it if that is over: the core has had the event. Never waits.
    pub(crate) fn publish(&self, publish: Publish) {
        // The other end is gone only after a panic there, which shows when the link is stopped.
        let _ = self.orders.send(Order::Publish(publish, Instant::now()));
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
    addresses: Addresses,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<Event>,
    stopped: oneshot::Receiver<()>,
    last: LinkId,
    outage: Reconnect,
    memory: Memory,
    /// Whether nothing has failed since the last connection ended.
    is_first_try: bool,
    info: LinkInfo,
}

/// Where orders come from, where events go, and when to stop.
type Ends = (mpsc::UnboundedReceiver<Order>, mpsc::Sender<Event>, oneshot::Receiver<()>);

/// Why there is no link any more.
enum End {
    Stopped,
    /// It never was.
    Failed(Failure),
    Lost(Failure, Verdict),
}

impl Links {
    fn new(settings: Settings, addresses: Addresses, (orders, events, stopped): Ends, info: LinkInfo) -> Self {
        Self {
            settings,
            addresses,
            orders,
            events,
            stopped,
            last: 0,
            outage: Reconnect::default(),
            memory: Memory::new(info.clone(), Instant::now()),
            is_first_try: false,
            info,
        }
    }

    async fn run(mut self) {
        loop {
            let end = self.next().await;
            self.is_first_try = matches!(end, End::Lost(..));
            let pause = match end {
                End::Stopped => return,
                // That was to be found out, and nothing else was under way.
                End::Lost(_, Verdict::Convicted) => continue,
                End::Failed(failure) => {
                    let is_round_over = self.addresses.is_last();
                    let pause = self.outage.failed(
                        &self.settings,
                        self.addresses.url(),
                        &failure,
                        Lost::Never { is_round_over },
                    );
                    self.addresses.turn();
                    pause
                }
                End::Lost(failure, verdict) => {
                    let pause = self.outage.failed(&self.settings, self.addresses.url(), &failure, Lost::Now(verdict));
                    if verdict == Verdict::Unwelcome {
                        self.addresses.turn();
                    }
                    pause
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut self.stopped => return,
            }
        }
    }

    /// One link, in the first manner that the broker takes.
    async fn next(&mut self) -> End {
        let mut manner = self.addresses.current().manners.first(Instant::now());
        let mut first = None;
        loop {
            let failure = match self.try_in(manner).await {
                End::Failed(failure) => failure,
                end => return end,
            };
            match self.addresses.current().manners.other(manner, &failure) {
                Some(other) => manner = other,
                // Of a broker that takes none, the first answer says most.
                None => return End::Failed(first.filter(|_| !failure.is_of_login()).unwrap_or(failure)),
            }
            first.get_or_insert(failure);
        }
    }

    async fn try_in(&mut self, manner: ConnectOptions) -> End {
        let opened = tokio::select! {
            opened = self.addresses.transport().open(self.settings.pace.connect) => opened,
            _ = &mut self.stopped => return End::Stopped,
        };
        match opened {
            Ok(Stream::Plain(stream)) => self.live(stream, manner).await,
            Ok(Stream::Tls(stream)) => self.live(*stream, manner).await,
            Err(failure) => End::Failed(failure),
        }
    }

    async fn live<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut stream: S, manner: ConnectOptions) -> End {
        let Timeouts { keep_alive, connect: within, .. } = self.settings.pace;
        let greeting = timeout(within, handshake(&mut stream, self.connect_packet(manner), manner.version));
        let greeted = tokio::select! {
            greeted = greeting => greeted.unwrap_or(Err(Failure::NoAnswer { what: failure::CONNECT, within })),
            _ = &mut self.stopped => return End::Stopped,
        };
        let (limits, read) = match greeted {
            Ok(greeted) => greeted,
            Err(failure) => return End::Failed(failure),
        };
        self.last += 1;
        if self.addresses.succeeded() {
            // Its rules may be others.
            self.memory.suspects.retry_all(Instant::now());
        }
        self.outage.ended(self.addresses.url(), manner.version, limits.receive_maximum.min(connection::CREDIT));
        self.tell_manner(manner);
        self.tell_suspects();
        self.info.connected(Some((self.addresses.url().to_string(), manner.version.as_str())));
        let memory = std::mem::replace(&mut self.memory, Memory::new(self.info.clone(), Instant::now()));
        let of_settings = (keep_alive, self.settings.status_topic.clone());
        let mut connection = Connection::new(stream, self.last, of_settings, (limits, read), memory);
        let Err(failure) = connection.run(&mut self.orders, &self.events, &mut self.stopped).await else {
            return End::Stopped;
        };
        if connection.was_steady() {
            self.outage.was_steady();
        }
        let verdict = connection.judge(&failure);
        self.memory = connection.take_memory();
        self.info.connected(None);
        let mut untold = connection.into_untold();
        let untold = std::iter::from_fn(move || untold.pop());
        for event in untold.chain([Event::LinkDown { link: self.last }]) {
            tokio::select! {
                sent = self.events.send(event) => if sent.is_err() { return End::Stopped },
                _ = &mut self.stopped => return End::Stopped,
            }
        }
        let is_unwelcome = verdict == Verdict::Unwelcome;
        End::Lost(if is_unwelcome { Failure::ClosedAfterConnack } else { failure }, verdict)
    }

    /// The connection before this one ended right after something was sent, and this one was made at once.
    fn tell_suspects(&mut self) {
        let named = self.memory.suspects.connected(self.is_first_try, Instant::now());
        let Some(first) = named.first() else { return };
        let more = named.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" or one of {more} more") };
        tracing::warn!(
            "the broker ended the connection right after {first}{more}: these topics are held back now and tried one at a time, \
             to find out at which of them"
        );
    }

    /// Says what is missing, once.
    fn tell_manner(&mut self, manner: ConnectOptions) {
        let is_news = self.addresses.current().manners.succeeded(manner, Instant::now());
        let url = self.addresses.url();
        if is_news {
            let hours = limits::TRY_5_AGAIN.as_secs() / 3_600;
            tracing::warn!(
                "the broker `{url}` speaks MQTT 3.1.1, and not 5: messages do not say which run they belong to, do not expire \
                 at the broker while a device is away, and count as delivered even where the broker denies them or no \
                 client has subscribed; all else is as with MQTT 5, which is tried again at a new connection, in {hours} h at the earliest"
            );
        }
        if let Some(topic) = self.settings.status_topic.as_ref().filter(|_| !manner.will) {
            let what = format!("the broker `{url}` lets Roost in only without a last will on `{topic}`");
            let hint = format!(
                "{}; or set `status_topic = \"off\"` in `[mqtt]`",
                how_broker_allows(topic.as_str(), Access::Publish)
            );
            tracing::warn!("{}", Report::new(what).hint(hint));
        }
    }

    fn connect_packet(&self, manner: ConnectOptions) -> rumqttc::v5::mqttbytes::v5::Packet {
        let (settings, url) = (&self.settings, self.addresses.url());
        let user = settings.user.as_deref().or(url.user.as_deref());
        let password = settings.password.as_deref().or(url.password.as_deref());
        let login = (user.is_some() || password.is_some()).then(|| (user.unwrap_or(""), password.unwrap_or("")));
        let keep_alive_s = settings.pace.keep_alive.as_secs().clamp(1, u16::MAX.into()) as u16;
        let status_topic = settings.status_topic.as_ref().filter(|_| manner.will);
        wire::connect(&settings.client_id, login, keep_alive_s, status_topic)
    }
}
