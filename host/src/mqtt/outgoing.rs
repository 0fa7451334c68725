//! Bytes on their way to the broker.

use std::{collections::VecDeque, io};

use bytes::{Buf, BytesMut};
use roost_scheduler::event::AttemptId;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{failure::Failure, wire::Version};

/// Acknowledgements of the broker's messages that wait for the socket. A broker sends no more messages than it was allowed
/// to before it has read them, so this many only wait at one that breaks the rules: memory must not grow by that.
const RECEIPTS: usize = 10_000;

/// Encoded packets that the socket has not taken yet, many per write.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    version: Version,
    bytes: BytesMut,
    /// Of all that was ever queued here.
    queued: u64,
    /// Of all that the socket has taken.
    written: u64,
    /// Attempts that are done when the socket has taken everything up to here.
    done_when_written: VecDeque<(u64, AttemptId)>,
    /// Acknowledgements of the broker's messages end here.
    receipts: VecDeque<u64>,
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn new(version: Version) -> Self {
        Self { version, ..Self::default() }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many attempts wait to be written, of those that no acknowledgement ends.
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

    /// Acknowledges a message of the broker's.
    pub(super) fn push_receipt(&mut self, id: u16) -> Result<(), Failure> {
        while self.receipts.front().is_some_and(|end| *end <= self.written) {
            self.receipts.pop_front();
        }
        if self.receipts.len() >= RECEIPTS {
            return Err(Failure::Malformed("more messages than it was allowed to send".to_owned()));
        }
        self.push(&Packet::PubAck(PubAck::new(id, None)))?;
        self.receipts.push_back(self.queued);
        Ok(())
    }

    /// Remembers that an attempt is done as soon as all that is queued has been written.
    pub(super) fn mark(&mut self, attempt: AttemptId) {
        self.done_when_written.push_back((self.queued, attempt));
    }

    /// An attempt whose mark has been reached.
    pub(super) fn next_done(&mut self) -> Option<AttemptId> {
        let reached = self.done_when_written.front().is_some_and(|(mark, _)| *mark <= self.written);
        if reached { self.done_when_written.pop_front().map(|(_, attempt)| attempt) } else { None }
    }

    /// Writes as much as the socket takes now, or flushes when there is nothing left to write. Can be cancelled: there is
    /// one wait on either way, and what was written is counted after it.
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
    async fn acknowledgements_that_are_not_read_do_not_pile_up() {
        let mut outgoing = Outgoing::default();
        for _ in 0..2 {
            for _ in 0..RECEIPTS {
                outgoing.push_receipt(1).expect("there is room");
            }
            assert!(matches!(outgoing.push_receipt(1), Err(Failure::Malformed(_))));
            while !outgoing.is_idle() {
                outgoing.advance(&mut tokio::io::sink()).await.expect("writable");
            }
        }
    }
}
