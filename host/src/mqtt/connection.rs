//! One connection to the broker, from CONNECT to its end.
//!
//! One task reads, writes, keeps the connection alive and sends events to the core. None of these blocks another: a
//! broker that does not read must not delay the reading of its acknowledgements, nor a busy core delay the keep-alive.

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

pub(super) use self::trial::Diagnosis;
use self::trial::Trial;
use super::{
    Order,
    echoes::Echoes,
    failure::Failure,
    in_flight::{Answer, InFlight},
    info::LinkInfo,
    limits,
    message::{fault, message},
    outgoing::Outgoing,
    pending_events::PendingEvents,
    reason::NOT_AUTHORIZED,
    suspects::{Recent, Subject, Suspects},
    unsubscribing::Unsubscribing,
    watches::Watches,
    wire::{self, AckKind, Incoming, Limits, Version},
};
use crate::{
    config::grant::{Access, how_broker_allows},
    report::Report,
};

/// The state that is carried over from one connection to the next.
#[derive(Debug)]
pub(super) struct CarriedState {
    pub(super) suspects: Suspects,
    echoes: Echoes,
    info: LinkInfo,
}

impl CarriedState {
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
    /// Bytes that were read and not decoded yet.
    incoming: BytesMut,
    outgoing: Outgoing,
    in_flight: InFlight,
    watches: Watches,
    unsubscribing: Unsubscribing,
    /// Topics with a logged warning that they cannot be watched, or have no subscriber.
    warned: HashSet<Box<str>>,
    /// Events that the core has not taken yet.
    pending: PendingEvents,
    /// Whether the broker has sent anything since the last tick.
    has_received: bool,
    /// The number of ticks since the connection began.
    ticks: u32,
    tick: Duration,
    began: Instant,
    /// The topic on which this host publishes its status, if any.
    status_topic: Option<Topic>,
    /// Whether `online` is not published yet, because the status topic is a suspect.
    status_pending: bool,
    recent: Recent,
    suspects: Suspects,
    echoes: Echoes,
    info: LinkInfo,
    trial: Option<Trial>,
    /// The suspect that passed its trial last.
    cleared: Option<(Subject, Instant)>,
    /// Subscriptions that wait for their trial: at most one for each run (I10).
    held: VecDeque<(WatchId, Arc<Confirm>)>,
    /// The PINGREQs that the broker has not answered, as marks in `recent`.
    pings: VecDeque<u64>,
}

/// Sends CONNECT and reads its answer. Returns the broker's limits, and the bytes that were read beyond the answer.
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
    let mut read = BytesMut::with_capacity(limits::READ_BYTES);
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
        // A broker reports that it rejects the client certificate only after the handshake.
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
        CarriedState { suspects, echoes, info }: CarriedState,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let server_keep_alive =
            limits.keep_alive_s.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()));
        let mut connection = Self {
            link,
            limits,
            reader,
            writer,
            incoming,
            outgoing: Outgoing::new(limits.version),
            in_flight: InFlight::new(limits.version),
            watches: Watches::default(),
            unsubscribing: Unsubscribing::default(),
            warned: HashSet::new(),
            pending: PendingEvents::new(link),
            has_received: true,
            ticks: 0,
            tick: server_keep_alive.unwrap_or(keep_alive) / 2,
            began: Instant::now(),
            status_topic,
            status_pending: false,
            recent: Recent::default(),
            suspects,
            echoes,
            info,
            trial: None,
            cleared: None,
            held: VecDeque::new(),
            pings: VecDeque::new(),
        };
        connection.pending.push(Event::LinkUp { link, credit: connection.credit().into() });
        connection
    }

    /// The number of attempts that may be under way at the same time.
    pub(super) fn credit(&self) -> u16 {
        self.limits.receive_maximum.min(limits::CREDIT)
    }

    /// Checks whether the connection lasted at least one tick.
    pub(super) const fn was_steady(&self) -> bool {
        self.ticks > 0
    }

    /// Returns the events that the core has not taken yet.
    pub(super) fn into_pending(mut self) -> PendingEvents {
        self.watches.end(&mut self.pending);
        self.pending
    }

    /// Carries out orders and sends events until the connection breaks.
    ///
    /// # Errors
    /// Returns why the connection ended, unless it was stopped.
    pub(super) async fn run(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        events: &mpsc::Sender<Event>,
        stop: &mut oneshot::Receiver<()>,
    ) -> Result<(), Failure> {
        self.announce_online()?;
        let (mut ticks, mut periods) = (ticks(self.tick), ticks(limits::PERIOD));
        let mut taken = Vec::with_capacity(limits::ORDERS_PER_WRITE);
        let (rest, mut is_resting) = (sleep(limits::REST), false);
        tokio::pin!(rest);
        self.decode_incoming()?;
        loop {
            self.advance_trial()?;
            let room = self.room();
            let trial_at = self.trial_at();
            self.incoming.reserve(limits::READ_BYTES);
            let mut space = (&mut self.incoming).limit(limits::READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(&mut space), if !is_resting && !self.watches.is_full() => {
                    let length = read.map_err(Failure::Broken)?;
                    let is_flooded = self.on_read(length)?;
                    is_resting = is_flooded || self.in_flight.attempts() > limits::BUSY_ATTEMPTS;
                    if is_resting {
                        rest.as_mut().reset(Instant::now() + limits::REST);
                    } else if length >= limits::LARGE_READ_BYTES {
                        yield_now().await;
                    }
                }
                () = &mut rest, if is_resting => is_resting = false,
                _ = periods.tick(), if self.watches.has_compared() => self.watches.next_period(&mut self.pending),
                written = self.outgoing.advance(&mut self.writer), if !self.outgoing.is_idle() => {
                    self.on_written(written)?;
                }
                _ = orders.recv_many(&mut taken, room), if room > 0 => {
                    for order in taken.drain(..) {
                        self.execute(order)?;
                    }
                }
                permit = events.reserve(), if !self.pending.is_empty() => match permit {
                    Ok(permit) => self.send_events(permit, events),
                    // The core is gone.
                    Err(_) => break,
                },
                _ = ticks.tick() => self.on_tick()?,
                () = sleep_until(trial_at.unwrap_or(self.began)), if trial_at.is_some() => {}
                _ = &mut *stop => break,
            }
        }
        if !matches!(timeout(limits::DISCONNECT, self.disconnect(orders)).await, Ok(Ok(()))) {
            tracing::debug!("the connection was not closed in order");
        }
        Ok(())
    }

    /// Returns how many orders can be taken. This enforces the broker's receive maximum even if the core exceeds its
    /// credit. Orders are carried out in sequence, so that a subscription waits behind a publish that exceeds the
    /// credit; the core sends no such publish, and each acknowledgement makes room.
    fn room(&self) -> usize {
        if self.outgoing.len() >= limits::OUTGOING_BYTES || self.is_trying() {
            return 0;
        }
        let under_way = self.in_flight.attempts() + self.outgoing.unacknowledged();
        let subscriptions =
            limits::SUBSCRIPTIONS.saturating_sub(self.in_flight.subscriptions() + self.unsubscribing.waiting());
        usize::from(self.credit()).saturating_sub(under_way).min(subscriptions).min(limits::ORDERS_PER_WRITE)
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
        let step = attempt.message();
        let mut publish = message(attempt);
        // Any packet id, so that the size is correct.
        publish.pkid = 1;
        let reason = fault(step).or_else(|| self.limits.refusal(&publish));
        if let Some(reason) = reason.or_else(|| too_late(&publish, since)) {
            let report = Report::new(format!("the message of {} cannot be sent", attempt.run));
            tracing::warn!("{}", report.cause(&reason));
            self.pending.push(Event::Refused { link, attempt: id, reason });
            return Ok(());
        }
        if self.hold_back(attempt) {
            return Ok(());
        }
        let packet_id = self.in_flight.admit(id, &attempt.run, step.qos);
        publish.pkid = packet_id.unwrap_or(0);
        self.outgoing.push(&Packet::Publish(publish))?;
        self.record_sent(attempt, packet_id);
        if packet_id.is_none() {
            self.outgoing.mark(id);
        }
        Ok(())
    }

    fn on_written(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        written.map_err(Failure::Broken)?;
        while let Some(attempt) = self.outgoing.next_done() {
            self.pending.push(Event::Acked { link: self.link, attempt, no_subscriber: false });
        }
        Ok(())
    }

    /// Decodes what was read. Returns whether there is a flood of reports.
    fn on_read(&mut self, length: usize) -> Result<bool, Failure> {
        if length == 0 {
            return Err(Failure::Closed);
        }
        self.has_received = true;
        self.decode_incoming()
    }

    /// Handles each complete packet in the buffer. Returns whether there is a flood of reports.
    fn decode_incoming(&mut self) -> Result<bool, Failure> {
        while let Some(packet) = wire::next_packet(&mut self.incoming, self.limits.version)? {
            match packet {
                Incoming::Ack(ack) => self.on_ack(&ack)?,
                Incoming::Message(arrived) => self.arrived(arrived)?,
                Incoming::Disconnect(reason) => return Err(Failure::Disconnected(reason)),
                Incoming::Pong => self.on_pong(),
            }
        }
        Ok(self.watches.end_read())
    }

    fn on_ack(&mut self, ack: &wire::Ack) -> Result<(), Failure> {
        let link = self.link;
        if matches!(ack.kind, AckKind::Puback | AckKind::Pubrec | AckKind::Suback) {
            self.recent.answered(ack.id);
        }
        match self.in_flight.answer(ack) {
            Answer::Done(attempt, no_subscriber) => {
                if no_subscriber {
                    self.log_no_subscriber(ack.id);
                }
                self.answered(attempt, Event::Acked { link, attempt, no_subscriber });
            }
            Answer::Refused(attempt, run, reason) => {
                // Logged now, because the core gives up only after a quarter of an hour. The pauses between attempts
                // grow, so that the log is not flooded.
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
            Answer::Unknown => tracing::debug!(?ack, "the broker acknowledged an unknown packet id"),
            Answer::OutOfOrder => {
                return Err(Failure::Malformed(format!("{:?} for packet id {} out of order", ack.kind, ack.id)));
            }
        }
        Ok(())
    }

    /// Logs once for each topic that the message of a later step of a run has no subscriber: the device may be away.
    fn log_no_subscriber(&mut self, id: u16) {
        let Some((topic, 1..)) = self.recent.step_of(id) else { return };
        if self.warned.len() < limits::WARNINGS && self.warned.insert(topic.into()) {
            tracing::warn!(
                "the broker has no subscriber for `{topic}`: a run's owed steps on it are sent again for up to {} \
                 min, unless its first message had no subscriber either",
                NO_SUBSCRIBER_MS / 60_000
            );
        }
    }

    /// Sends as many events as the core takes without waiting.
    fn send_events(&mut self, permit: mpsc::Permit<'_, Event>, events: &mpsc::Sender<Event>) {
        let mut next = Some(permit);
        while let Some(permit) = next {
            match self.pending.pop() {
                Some(event) => permit.send(event),
                None => return,
            }
            next = events.try_reserve().ok();
        }
    }

    /// Checks twice per keep-alive that the broker is alive: it must have sent something since the last PINGREQ.
    fn on_tick(&mut self) -> Result<(), Failure> {
        self.ticks = self.ticks.saturating_add(1);
        if !self.has_received {
            return Err(Failure::Silent(self.tick));
        }
        if self.in_flight.tick() >= limits::ACK_TICKS {
            return Err(Failure::Unacknowledged(self.tick * (limits::ACK_TICKS - 1)));
        }
        self.has_received = false;
        self.ping()
    }

    /// Sends the remaining messages, publishes `offline` and sends DISCONNECT, so that the broker does not publish the
    /// last will. Then reads until the broker has closed the connection: closing a socket with unread data would reset
    /// the connection, and the DISCONNECT could be lost.
    async fn disconnect(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<(), Failure> {
        while self.room() > 0
            && let Ok(order) = orders.try_recv()
        {
            self.execute(order)?;
        }
        if let Some(topic) = self.status_topic.as_ref().filter(|_| !self.status_pending) {
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

/// Returns why a message expired before it was sent: it waited in the host for longer than the broker may keep it. MQTT
/// 3.1.1 has no message expiry, so that the broker cannot check this.
pub(super) fn too_late(publish: &rumqttc::v5::mqttbytes::v5::Publish, since: Instant) -> Option<String> {
    let expiry_s = publish.properties.as_ref()?.message_expiry_interval?;
    let waited = since.elapsed();
    let is_late = waited >= Duration::from_secs(expiry_s.into());
    is_late.then(|| format!("it waited {} s for the connection and expired after {expiry_s} s", waited.as_secs()))
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(10)));
    // After the whole process was suspended, the broker has the full time to answer.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
