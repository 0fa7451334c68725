//! One connection for messages that may wait, from CONNACK to its end.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Packet, PingReq, Publish},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadHalf, WriteHalf},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{Event, Message, Order, Refused};
use crate::mqtt::{
    failure::Failure,
    limits,
    outgoing::Outgoing,
    reason::TOO_LARGE,
    wire::{self, Ack, Arrived, Incoming, Limits},
};

/// A connection after CONNACK.
pub(super) struct Connection<S> {
    limits: Limits,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    incoming: BytesMut,
    outgoing: Outgoing,
    /// The orders that the broker has not acknowledged, by their packet ids.
    in_flight: BTreeMap<u16, Waiting>,
    last_id: u16,
    /// What the broker refused last, and when.
    last_refused: Option<(String, Instant)>,
    /// Events that the user has not taken yet. While there are any, nothing is read (I10).
    pending: VecDeque<Event>,
    /// Whether the broker has sent anything since the last tick.
    has_received: bool,
    tick: Duration,
}

/// An order that the broker has not acknowledged.
struct Waiting {
    order: Kind,
    /// Its topic or filter.
    topic: String,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    Subscribe,
    Unsubscribe,
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    pub(super) fn new(stream: S, (limits, incoming): (Limits, BytesMut), keep_alive: Duration) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let of_server = limits.keep_alive_s.filter(|seconds| *seconds > 0);
        let tick = of_server.map_or(keep_alive, |seconds| Duration::from_secs(seconds.into())) / 2;
        Self {
            limits,
            reader,
            writer,
            incoming,
            outgoing: Outgoing::new(limits.version),
            in_flight: BTreeMap::new(),
            last_id: 0,
            last_refused: None,
            pending: VecDeque::new(),
            has_received: true,
            tick: tick.max(Duration::from_millis(10)),
        }
    }

    /// Carries out orders and passes events on, until the connection breaks. `Ok`: the user is gone.
    pub(super) async fn run(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Failure> {
        let mut ticks = interval_at(Instant::now() + self.tick, self.tick);
        // After the whole process was suspended, the broker has the full time to answer.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.decode_incoming()?;
        loop {
            let has_room = self.in_flight.len() < limits::BACKGROUND_WINDOW.min(self.limits.receive_maximum.into());
            self.incoming.reserve(limits::READ_BYTES);
            tokio::select! {
                permit = events.reserve(), if !self.pending.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, self.pending.pop_front()) else { return Ok(()) };
                    permit.send(event);
                }
                read = self.reader.read_buf(&mut self.incoming), if self.pending.is_empty() => {
                    if read.map_err(Failure::Broken)? == 0 {
                        return Err(Failure::Closed);
                    }
                    self.has_received = true;
                    self.decode_incoming()?;
                }
                written = self.outgoing.advance(&mut self.writer), if !self.outgoing.is_idle() => {
                    written.map_err(Failure::Broken)?;
                }
                order = orders.recv(), if has_room => match order {
                    Some(order) => self.execute(order)?,
                    None => return Ok(()),
                },
                _ = ticks.tick() => self.on_tick()?,
            }
        }
    }

    /// Returns what the broker has probably ended the connection at: what it has just refused, or the first thing that it
    /// has not acknowledged, because it processes them in their order.
    pub(super) fn ended_at(&self, failure: &Failure) -> Option<String> {
        let first = self.in_flight.values().min_by_key(|waiting| waiting.since);
        let first = first.map(|waiting| (waiting.topic.clone(), waiting.since));
        let (topic, at) = self.last_refused.clone().or(first).filter(|_| failure.may_be_an_answer())?;
        (at.elapsed() <= limits::SUSPECT_WITHIN).then_some(topic)
    }

    /// Returns the events that its user has not taken yet.
    pub(super) fn into_pending(self) -> impl Iterator<Item = Event> {
        self.pending.into_iter()
    }

    fn execute(&mut self, order: Order) -> Result<(), Failure> {
        let id = self.next_id();
        let (order, topic, packet) = match order {
            Order::Publish { topic, payload, retain } => {
                let mut publish = Publish::new(topic.as_str(), QoS::AtLeastOnce, payload, None);
                (publish.pkid, publish.retain) = (id, retain);
                if let Some(reason) = self.limits.refusal(&publish) {
                    let is_large = self.limits.is_too_large(&publish);
                    let what = if is_large { Refused::LargeMessage } else { Refused::Message };
                    self.pending.push_back(Event::Refused { topic, what, reason });
                    return Ok(());
                }
                (Kind::Publish, topic, Packet::Publish(publish))
            }
            Order::Subscribe { filter, with_retained } => {
                let mut subscribe = wire::subscribe_to_others(&filter, with_retained);
                subscribe.pkid = id;
                (Kind::Subscribe, filter, Packet::Subscribe(subscribe))
            }
            Order::Unsubscribe(filter) => {
                let packet = wire::unsubscribe(&filter, id);
                (Kind::Unsubscribe, filter, packet)
            }
        };
        self.in_flight.insert(id, Waiting { order, topic, since: Instant::now() });
        self.outgoing.push(&packet)
    }

    fn next_id(&mut self) -> u16 {
        // The window is far smaller than the number of ids.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn decode_incoming(&mut self) -> Result<(), Failure> {
        while let Some(packet) = wire::next_packet(&mut self.incoming, self.limits.version)? {
            match packet {
                Incoming::Ack(ack) => self.on_ack(ack),
                Incoming::Message(arrived) => self.on_message(arrived)?,
                Incoming::Disconnect(reason) => return Err(Failure::Disconnected(reason)),
                Incoming::Pong => {}
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, Ack { id, reason, .. }: Ack) {
        let Some(Waiting { order, topic, .. }) = self.in_flight.remove(&id) else { return };
        if reason.is_refusal() {
            self.last_refused = Some((topic.clone(), Instant::now()));
            let what = match (order, reason.code) {
                (Kind::Publish, TOO_LARGE) => Refused::LargeMessage,
                (Kind::Publish, _) => Refused::Message,
                (Kind::Subscribe | Kind::Unsubscribe, _) => Refused::Subscription,
            };
            self.pending.push_back(Event::Refused { topic, what, reason: reason.to_string() });
        } else if order == Kind::Subscribe {
            self.pending.push_back(Event::Subscribed(topic));
        }
        if self.in_flight.is_empty() {
            self.pending.push_back(Event::Idle);
        }
    }

    fn on_message(&mut self, arrived: Arrived) -> Result<(), Failure> {
        let Arrived { topic, payload, id, retained, is_own: has_run, .. } = arrived;
        if let Some(id) = id {
            self.outgoing.push_receipt(id)?;
        }
        self.pending.push_back(Event::Arrived(Message { topic, payload, retained, has_run }));
        Ok(())
    }

    /// Checks twice per keep-alive that the broker is alive, and that it acknowledges.
    fn on_tick(&mut self) -> Result<(), Failure> {
        if !self.has_received && self.pending.is_empty() {
            return Err(Failure::Silent(self.tick));
        }
        let within = self.tick * limits::ACK_TICKS;
        if self.in_flight.values().any(|waiting| waiting.since.elapsed() > within) {
            return Err(Failure::Unacknowledged(within));
        }
        self.has_received = false;
        self.outgoing.push(&Packet::PingReq(PingReq))
    }
}
