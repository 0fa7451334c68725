//! Acknowledgements of messages in both directions.

use super::{Answer, ConnectionId, Core};
use crate::{
    clock::Now,
    codec::{Ack, AckKind, Qos, Reason},
    disk::Op,
};

impl Core {
    pub(super) fn on_ack(&mut self, id: ConnectionId, ack: Ack, now: Now) {
        let packet_id = ack.packet_id;
        let Some(session) = self.connections.get(&id).and_then(|connection| connection.session) else { return };
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let before = self.ops.len();
        match ack.kind {
            AckKind::Puback => self.done(session, packet_id, Qos::AtLeastOnce),
            AckKind::Pubrec if ack.reason >= 0x80 => self.done(session, packet_id, Qos::ExactlyOnce),
            AckKind::Pubrec => {
                let reason = match found.queue.release(packet_id) {
                    Ok(Some(released)) => {
                        self.totals.load.remove(&released);
                        if released.persisted.is_some() {
                            self.ops.push(Op::Release(released.id));
                        }
                        Reason::Success
                    }
                    Ok(None) => Reason::Success,
                    Err(_) => Reason::PacketIdentifierNotFound,
                };
                // After PUBREL the client forgets the packet identifier, so that the message must not be sent again.
                self.answer(id, self.token_since(before), Answer::Ack(AckKind::Pubrel, packet_id, reason), now);
            }
            AckKind::Pubrel => {
                let was_there = found.received.remove(&packet_id);
                self.totals.received_ids -= usize::from(was_there);
                if was_there && found.is_persistent {
                    self.ops.push(Op::Forget { session, packet_id });
                }
                let reason = if was_there { Reason::Success } else { Reason::PacketIdentifierNotFound };
                // After PUBCOMP the client may use the packet identifier for another message.
                self.answer(id, self.token_since(before), Answer::Ack(AckKind::Pubcomp, packet_id, reason), now);
            }
            AckKind::Pubcomp => {
                if let Some(message) = found.queue.complete(packet_id)
                    && found.is_persistent
                {
                    self.ops.push(Op::Unqueue(message));
                }
            }
        }
        self.pump(session, now);
    }

    fn done(&mut self, session: super::SessionId, packet_id: u16, qos: Qos) {
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let Some(done) = found.queue.acknowledge(packet_id, qos) else { return };
        self.totals.load.remove(&done);
        self.unqueue(&done);
    }
}
