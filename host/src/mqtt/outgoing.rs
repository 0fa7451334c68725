//! The queue of encoded packets for the socket.

use std::{collections::VecDeque, io};

use bytes::{Buf, BytesMut};
use roost_scheduler::event::AttemptId;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{failure::Failure, limits, wire::Version};

/// Encoded packets that the socket has not taken yet, many per write.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    version: Version,
    bytes: BytesMut,
    /// Bytes queued since the start of the connection.
    queued: u64,
    /// Bytes that the socket has taken since the start of the connection.
    written: u64,
    /// Attempts that are done once `written` reaches the given position.
    done_when_written: VecDeque<(u64, AttemptId)>,
    /// The end positions of queued acknowledgements for the broker's messages.
    receipts: VecDeque<u64>,
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn new(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    /// The number of bytes that the socket has not taken yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of queued attempts at QoS 0, which end when they are written.
    pub(super) fn unacknowledged(&self) -> usize {
        self.done_when_written.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    pub(super) fn push(&mut self, packet: &Packet) -> Result<(), Failure> {
        let before = self.bytes.len();
        let pushed = self.version.write(packet, &mut self.bytes);
        pushed.map_err(|error| Failure::Broken(io::Error::other(error)))?;
        self.queued += (self.bytes.len() - before) as u64;
        Ok(())
    }

    /// Queues the acknowledgement of a message from the broker.
    pub(super) fn push_receipt(&mut self, id: u16) -> Result<(), Failure> {
        while self.receipts.front().is_some_and(|end| *end <= self.written) {
            self.receipts.pop_front();
        }
        if self.receipts.len() >= limits::RECEIPTS {
            return Err(Failure::Malformed("more messages than the receive maximum allows".to_owned()));
        }
        self.push(&Packet::PubAck(PubAck::new(id, None)))?;
        self.receipts.push_back(self.queued);
        Ok(())
    }

    /// Marks an attempt as done once everything queued so far has been written.
    pub(super) fn mark(&mut self, attempt: AttemptId) {
        self.done_when_written.push_back((self.queued, attempt));
    }

    /// Takes the next attempt whose mark has been reached.
    pub(super) fn next_done(&mut self) -> Option<AttemptId> {
        let reached = self.done_when_written.front().is_some_and(|(mark, _)| *mark <= self.written);
        if reached { self.done_when_written.pop_front().map(|(_, attempt)| attempt) } else { None }
    }

    /// Writes as much as the socket takes now, or flushes if nothing is left to write. Cancel-safe: each branch has a
    /// single await, and `written` is updated after it.
    pub(super) async fn advance(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        let taken = writer.write(&self.bytes).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes.advance(taken);
        self.written += taken as u64;
        self.unflushed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use roost_scheduler::model::Qos;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::mqtt::{message::message, tests::attempt};

    #[tokio::test]
    async fn an_attempt_is_done_when_its_last_byte_is_written() {
        let (mut near, mut far) = tokio::io::duplex(8);
        let mut outgoing = Outgoing::default();
        for number in 1..=2 {
            let publish = message(&attempt(1, number, "a/b", b"on", Qos::AtMostOnce));
            outgoing.push(&Packet::Publish(publish)).expect("encodable");
            outgoing.mark(number);
        }
        let whole = outgoing.len();
        let mut done = Vec::new();
        let mut taken = 0;
        while !outgoing.is_idle() {
            outgoing.advance(&mut near).await.expect("writable");
            let mut some = [0; 8];
            if taken < whole {
                taken += far.read(&mut some).await.expect("readable");
            }
            done.extend(std::iter::from_fn(|| outgoing.next_done().map(|attempt| (attempt, taken))));
        }
        assert_eq!(done.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2]);
        assert!(done[0].1 >= whole / 2 && done[0].1 < whole, "{done:?} of {whole}");
    }

    #[tokio::test]
    async fn acknowledgements_that_the_broker_does_not_read_are_bounded() {
        let mut outgoing = Outgoing::default();
        for _ in 0..2 {
            for _ in 0..limits::RECEIPTS {
                outgoing.push_receipt(1).expect("below the bound");
            }
            assert!(matches!(outgoing.push_receipt(1), Err(Failure::Malformed(_))));
            while !outgoing.is_idle() {
                outgoing.advance(&mut tokio::io::sink()).await.expect("writable");
            }
        }
    }
}
