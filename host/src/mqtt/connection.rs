//! One connection to the broker, from CONNECT to its end.
//!
//! One task reads, writes, keeps the connection alive and hands events over, and none of these waits for another: a broker
//! that does not read must not keep us from its acknowledgements, nor a busy core from answering in time.

mod listening;
mod trial;

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use roost_scheduler::{
    event::{self, Event, LinkId, WatchId},
    limits::NO_SUBSCRIBER_MS,
    model::Confirm,
    topic::Topic,
};
use rumqttc::v5::mqttbytes::v5::{Disconnect, DisconnectReasonCode, Packet, PubRel};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    task::yield_now,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use self::trial::Trial;
pub(super) use self::trial::Verdict;
use super::{
    Order,
    echoes::Echoes,
    failure::Failure,
    in_flight::{Answer, InFlight},
    info::LinkInfo,
    message::{fault, message},
    outgoing::Outgoing,
    pending_events::PendingEvents,
    reason::NOT_AUTHORIZED,
    suspects::{Recent, Subject, Suspects},
    unsubscribing::Unsubscribing,
    watches::{PERIOD, Watches},
    wire::{self, AckKind, Incoming, Limits, Version},
};
use crate::{
    config::grant::{Access, how_broker_allows},
    report::Report,
};

/// Attempts under way at once: enough to fill a fast link, few enough that an outage repeats little.
pub(super) const CREDIT: u16 = 1_000;
/// Subscriptions, and ends of them, that the broker has not answered: with the credit, far fewer than there are packet ids.
const SUBSCRIPTIONS: usize = 1_000;
/// Orders taken at once: they leave with one write.
const ORDERS_PER_WRITE: usize = 64;
/// While more than this waits for the socket, no further order is taken: what a slow broker has not read stays small.
const OUTGOING_BYTES: usize = 256 * 1024;
/// What one read brings at most. With [`REST`] after each, still more than brokers send of small packets.
const READ_BYTES: usize = 64 * 1024;
/// What a read brings where there is more to come. The loop, the kernel's timer and the socket's other side have their turn
/// first, and no rest: while nothing is read, acknowledgements wait behind large reports.
const LARGE_READ_BYTES: usize = READ_BYTES / 2;
/// Attempts under way with which a broker has enough to do for a moment.
const BUSY: usize = CREDIT as usize / 2;
/// The pause between two reads while it is busy: a hundred acknowledgements cost hardly more than one, here and in the
/// loop, and the machine may be the broker's too. Likewise while reports flood in: what is due has its turn in between (I7).
const REST: Duration = Duration::from_millis(1);
/// Ticks that a message or a subscription may wait for its acknowledgement, each half of the keep-alive: a broker that has lost one would
/// otherwise hold its credit for ever.
const ACK_TICKS: u32 = 5;
/// Topics of which a warning says that they cannot be listened to, or have no subscriber: the core tries again every few seconds,
/// and the run's outcome says it, too.
const WARNINGS: usize = 100;
/// For the farewell to a broker that does not read: acknowledgements were waited for before, and what stops the host may
/// soon lose patience.
const FAREWELL: Duration = Duration::from_millis(500);

/// What goes on from one connection to the next.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) suspects: Suspects,
    echoes: Echoes,
    info: LinkInfo,
}

impl Memory {
    pub(super) fn new(info: LinkInfo, now: Instant) -> Self {
        Self { suspects: Suspects::new(now), echoes: Echoes::default(), info }
    }
}

/// A connection after CONNACK.
pub(super) struct Connection<S> {
    link: LinkId,
    limits: Limits,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    /// Read and not yet taken apart.
    incoming: BytesMut,
    outgoing: Outgoing,
    ledger: InFlight,
    watches: Watches,
    unsubscribing: Unsubscribing,
    /// Topics that cannot be listened to, or have no subscriber, of which that was logged.
    warned: HashSet<Box<str>>,
    /// Events that the core has not taken yet.
    untold: PendingEvents,
    /// Whether the broker has sent anything since the last tick.
    heard: bool,
    /// Since the connection began.
    ticks: u32,
    tick: Duration,
    began: Instant,
    /// Where this host says that it is there, if it does.
    status_topic: Option<Topic>,
    /// Whether it has not said so yet, because the broker may end the connection at that.
    owes_status: bool,
    recent: Recent,
    suspects: Suspects,
    echoes: Echoes,
    info: LinkInfo,
    trial: Option<Trial>,
    /// The suspect that the broker has let pass last.
    acquitted: Option<(Subject, Instant)>,
    /// Subscriptions that wait for their trial: at most one for each run (I10).
    held: VecDeque<(WatchId, Arc<Confirm>)>,
    /// PINGREQs that the broker has not answered, and what was written before them.
    pings: VecDeque<u64>,
}

/// Sends CONNECT and reads its answer, and perhaps more than that.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    connect: Packet,
    version: Version,
) -> Result<(Limits, BytesMut), Failure> {
    let mut outgoing = Outgoing::new(version);
    outgoing.push(&connect)?;
    while !outgoing.is_idle() {
        outgoing.advance(stream).await.map_err(before_connack)?;
    }
    let mut read = BytesMut::with_capacity(READ_BYTES);
    loop {
        if stream.read_buf(&mut read).await.map_err(before_connack)? == 0 {
            return Err(Failure::ClosedAtOnce);
        }
        if let Some(limits) = wire::next_connack(&mut read, version)? {
            return Ok((limits, read));
        }
    }
}

fn before_connack(error: io::Error) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Failure::ClosedAtOnce,
        // A broker that does not like our certificate says so after the handshake.
        _ if error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) => Failure::Tls(error),
        _ => Failure::Broken(error),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        stream: S,
        link: LinkId,
        (keep_alive, status_topic): (Duration, Option<Topic>),
        (limits, incoming): (Limits, BytesMut),
        Memory { suspects, echoes, info }: Memory,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let asked =
            limits.keep_alive_s.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()));
        let mut connection = Self {
            link,
            limits,
            reader,
            writer,
            incoming,
            outgoing: Outgoing::new(limits.version),
            ledger: InFlight::new(limits.version),
            watches: Watches::default(),
            unsubscribing: Unsubscribing::default(),
            warned: HashSet::new(),
            untold: PendingEvents::new(link),
            heard: true,
            ticks: 0,
            tick: asked.unwrap_or(keep_alive) / 2,
            began: Instant::now(),
            status_topic,
            owes_status: false,
            recent: Recent::default(),
            suspects,
            echoes,
            info,
            trial: None,
            acquitted: None,
            held: VecDeque::new(),
            pings: VecDeque::new(),
        };
        connection.untold.push(Event::LinkUp { link, credit: connection.credit().into() });
        connection
    }

    /// How many attempts may be under way at once.
    pub(super) fn credit(&self) -> u16 {
        self.limits.receive_maximum.min(CREDIT)
    }

    /// Whether it held long enough to call the broker well.
    pub(super) const fn was_steady(&self) -> bool {
        self.ticks > 0
    }

    /// The events that the core has not taken yet.
    pub(super) fn into_untold(mut self) -> PendingEvents {
        self.watches.end(&mut self.untold);
        self.untold
    }

    /// Carries orders out and events back until the connection breaks, or until it is stopped, which is the only way
    /// to end well.
    pub(super) async fn run(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        events: &mpsc::Sender<Event>,
        stop: &mut oneshot::Receiver<()>,
    ) -> Result<(), Failure> {
        self.greet_others()?;
        let (mut ticks, mut periods) = (ticks(self.tick), ticks(PERIOD));
        let mut taken = Vec::with_capacity(ORDERS_PER_WRITE);
        let (rest, mut is_resting) = (sleep(REST), false);
        tokio::pin!(rest);
        self.take_apart()?;
        loop {
            self.go_on_trying()?;
            let room = self.room();
            let trial_at = self.trial_at();
            self.incoming.reserve(READ_BYTES);
            let mut space = (&mut self.incoming).limit(READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(&mut space), if !is_resting && !self.watches.is_full() => {
                    let length = read.map_err(Failure::Broken)?;
                    let is_flooded = self.received(length)?;
                    is_resting = is_flooded || self.ledger.attempts() > BUSY;
                    if is_resting {
                        rest.as_mut().reset(Instant::now() + REST);
                    } else if length >= LARGE_READ_BYTES {
                        yield_now().await;
                    }
                }
                () = &mut rest, if is_resting => is_resting = false,
                _ = periods.tick(), if self.watches.has_looked() => self.watches.next_period(&mut self.untold),
                written = self.outgoing.advance(&mut self.writer), if !self.outgoing.is_idle() => self.written(written)?,
                _ = orders.recv_many(&mut taken, room), if room > 0 => {
                    for order in taken.drain(..) {
                        self.execute(order)?;
                    }
                }
                permit = events.reserve(), if !self.untold.is_empty() => match permit {
                    Ok(permit) => self.tell(permit, events),
                    // Nobody is left to tell.
                    Err(_) => break,
                },
                _ = ticks.tick() => self.ticked()?,
                () = sleep_until(trial_at.unwrap_or(self.began)), if trial_at.is_some() => {}
                _ = &mut *stop => break,
            }
        }
        if !matches!(timeout(FAREWELL, self.disconnect(orders)).await, Ok(Ok(()))) {
            tracing::debug!("the broker did not take the disconnect");
        }
        Ok(())
    }

    /// How many orders can be taken: the broker's receive maximum is kept even if the core does not. They are obeyed in order,
    /// so that a subscription waits behind a publish for which there is no room. The core sends none of those, and each
    /// acknowledgement makes room.
    fn room(&self) -> usize {
        if self.outgoing.len() >= OUTGOING_BYTES || self.is_trying() {
            return 0;
        }
        let under_way = self.ledger.attempts() + self.outgoing.unacknowledged();
        let subscriptions = SUBSCRIPTIONS.saturating_sub(self.ledger.subscriptions() + self.unsubscribing.waiting());
        usize::from(self.credit()).saturating_sub(under_way).min(subscriptions).min(ORDERS_PER_WRITE)
    }

    fn execute(&mut self, order: Order) -> Result<(), Failure> {
        match order {
            Order::Publish(attempt, since) => self.send(&attempt, since),
            Order::Watch(link, watch, confirm) if link == self.link => self.listen(watch, &confirm),
            Order::Unwatch(link, watch) if link == self.link => self.stop_listening(watch),
            Order::Watch(..) | Order::Unwatch(..) => Ok(()),
        }
    }

    fn send(&mut self, attempt: &event::Publish, since: Instant) -> Result<(), Failure> {
        if attempt.link != self.link {
            return Ok(());
        }
        let (link, id) = (self.link, attempt.attempt);
        let asked = attempt.message();
        let mut publish = message(attempt);
        // Any packet id, for its length.
        publish.pkid = 1;
        let reason = fault(asked).or_else(|| self.limits.refusal(&publish));
        if let Some(reason) = reason.or_else(|| too_late(&publish, since)) {
            let report = Report::new(format!("the message of {} cannot be sent", attempt.run));
            tracing::warn!("{}", report.cause(&reason));
            self.untold.push(Event::Refused { link, attempt: id, reason });
            return Ok(());
        }
        if self.holds_back(attempt) {
            return Ok(());
        }
        let packet_id = self.ledger.admit(id, &attempt.run, asked.qos);
        publish.pkid = packet_id.unwrap_or(0);
        self.outgoing.push(&Packet::Publish(publish))?;
        self.is_sent(attempt, packet_id);
        if packet_id.is_none() {
            self.outgoing.mark(id);
        }
        Ok(())
    }

    fn written(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        written.map_err(Failure::Broken)?;
        while let Some(attempt) = self.outgoing.next_done() {
            self.untold.push(Event::Acked { link: self.link, attempt, no_subscriber: false });
        }
        Ok(())
    }

    /// Whether reports flood in.
    fn received(&mut self, length: usize) -> Result<bool, Failure> {
        if length == 0 {
            return Err(Failure::Closed);
        }
        self.heard = true;
        self.take_apart()
    }

    fn take_apart(&mut self) -> Result<bool, Failure> {
        while let Some(packet) = wire::next_packet(&mut self.incoming, self.limits.version)? {
            match packet {
                Incoming::Ack(ack) => self.acknowledged(&ack)?,
                Incoming::Message(arrived) => self.arrived(arrived)?,
                Incoming::Disconnect(reason) => return Err(Failure::Disconnected(reason)),
                Incoming::Pong => self.ponged(),
            }
        }
        Ok(self.watches.end_turn())
    }

    fn acknowledged(&mut self, ack: &wire::Ack) -> Result<(), Failure> {
        let link = self.link;
        if matches!(ack.kind, AckKind::Puback | AckKind::Pubrec | AckKind::Suback) {
            self.recent.answered(ack.id);
        }
        match self.ledger.answer(ack) {
            Answer::Done(attempt, no_subscriber) => {
                if no_subscriber {
                    self.tell_no_subscriber(ack.id);
                }
                self.answered(attempt, Event::Acked { link, attempt, no_subscriber });
            }
            Answer::Refused(attempt, run, reason) => {
                // At once, and not when it is given up a quarter of an hour later. The pauses between tries grow, so
                // that this does not become a flood.
                let report = Report::new(format!("the broker refused the message of {run}")).cause(&reason);
                let denied = self.recent.step_of(ack.id).filter(|_| ack.reason.code == NOT_AUTHORIZED);
                let hint = denied.map(|(topic, _)| how_broker_allows(topic, Access::Publish));
                tracing::warn!("{}", Report { hint, ..report });
                self.answered(attempt, Event::Refused { link, attempt, reason });
            }
            Answer::Granted(watch) => {
                self.watch_answered(watch);
                self.granted(watch);
            }
            Answer::NotGranted(watch, reason) => {
                self.watch_answered(watch);
                self.not_granted(watch, &reason)?;
            }
            Answer::Unsubscribed(topic) => self.unsubscribed(&topic)?,
            Answer::Release(id) => self.outgoing.push(&Packet::PubRel(PubRel::new(id, None)))?,
            Answer::Unknown => tracing::debug!(?ack, "the broker acknowledged what it was not sent"),
            Answer::OutOfOrder => {
                return Err(Failure::Malformed(format!("{:?} for packet id {} out of order", ack.kind, ack.id)));
            }
        }
        Ok(())
    }

    /// Of a later step of a run, once for each topic: a device that should hear it is away.
    fn tell_no_subscriber(&mut self, id: u16) {
        let Some((topic, 1..)) = self.recent.step_of(id) else { return };
        if self.warned.len() < WARNINGS && self.warned.insert(topic.into()) {
            tracing::warn!(
                "the broker has no subscriber for `{topic}`: what a run owes there is sent again for up to {} min, unless none of \
                 its messages had one",
                NO_SUBSCRIBER_MS / 60_000
            );
        }
    }

    /// Hands over as much as the core takes without waiting.
    fn tell(&mut self, permit: mpsc::Permit<'_, Event>, events: &mpsc::Sender<Event>) {
        let mut next = Some(permit);
        while let Some(permit) = next {
            match self.untold.pop() {
                Some(event) => permit.send(event),
                None => return,
            }
            next = events.try_reserve().ok();
        }
    }

    /// Twice per keep-alive: whatever came since the last PINGREQ shows that the broker lives.
    fn ticked(&mut self) -> Result<(), Failure> {
        self.ticks = self.ticks.saturating_add(1);
        if !self.heard {
            return Err(Failure::Silent(self.tick));
        }
        if self.ledger.tick() >= ACK_TICKS {
            return Err(Failure::Unacknowledged(self.tick * (ACK_TICKS - 1)));
        }
        self.heard = false;
        self.ping()
    }

    /// Sends what was published before, says `offline`, takes leave so that the broker does not publish the last will,
    /// and reads on until the broker has closed: closing with something unread would reset the connection and could take
    /// the farewell along.
    async fn disconnect(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), Failure> {
        while self.room() > 0
            && let Ok(order) = orders.try_recv()
        {
            self.execute(order)?;
        }
        if let Some(topic) = self.status_topic.as_ref().filter(|_| !self.owes_status) {
            self.outgoing.push(&wire::status(topic, "offline", self.limits.retain))?;
        }
        self.outgoing.push(&Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))?;
        while !self.outgoing.is_idle() {
            self.outgoing.advance(&mut self.writer).await.map_err(Failure::Broken)?;
        }
        self.writer.shutdown().await.map_err(Failure::Broken)?;
        let mut rest = [0; 1024];
        while self.reader.read(&mut rest).await.map_err(Failure::Broken)? > 0 {}
        Ok(())
    }
}

/// Why a message is not sent any more: it waited for the broker to read for longer than the broker itself may hold it, and
/// not every broker is told how long that is.
pub(super) fn too_late(publish: &rumqttc::v5::mqttbytes::v5::Publish, since: Instant) -> Option<String> {
    let expiry_s = publish.properties.as_ref()?.message_expiry_interval?;
    let waited = since.elapsed();
    let is_late = waited >= Duration::from_secs(expiry_s.into());
    is_late.then(|| format!("it waited {} s for the connection, and was good for {expiry_s} s", waited.as_secs()))
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(10)));
    // After a pause of the whole process the broker gets its full time to answer.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
