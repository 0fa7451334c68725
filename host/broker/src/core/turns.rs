//! How the broker's time is shared out between connections: work is counted in turns and in rounds.

use super::{ConnectionId, Core};
use crate::limits;

impl Core {
    /// A connection has its turn.
    pub(crate) fn begin_turn(&mut self) {
        self.work = 0;
    }

    /// A connection has had its turn. True if that was so much work that its next turn has to wait for those of others.
    /// The host's own client never waits. `has_waited`: it was the one heavy turn of its round.
    pub(crate) fn end_turn(&mut self, id: ConnectionId, has_waited: bool) -> bool {
        self.round_work += if has_waited { 0 } else { self.work };
        self.work > limits::HEAVY_WORK && !self.is_privileged(id)
    }

    /// All connections that were ready have had their turns.
    pub(crate) fn begin_round(&mut self) {
        self.round_work = 0;
    }

    /// Whether there has been so much work in this round that other clients wait for the next one.
    pub(crate) fn is_round_full(&self) -> bool {
        self.round_work > limits::ROUND_WORK
    }

    /// The same for one connection. One that has not sent CONNECT has its turn, for that alone: it may be the host's own.
    pub(crate) fn has_to_wait(&self, id: ConnectionId) -> bool {
        let is_unknown = self.silent.contains_key(&id);
        self.is_round_full() && !is_unknown && !self.is_privileged(id)
    }

    /// Whether it is the host's own.
    pub(crate) fn is_privileged(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.is_privileged)
    }
}
