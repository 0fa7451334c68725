//! Shares the broker's time between connections. Work is counted in turns and in rounds.

use super::{ConnectionId, Core};
use crate::limits;

impl Core {
    /// Begins a connection's turn.
    pub(crate) fn begin_turn(&mut self) {
        self.work = 0;
    }

    /// Ends a connection's turn. Returns whether it was heavy, so that the connection's next turn must wait for those
    /// of others. The host's own client never waits. `has_waited` is whether this was the heavy turn of its round.
    pub(crate) fn end_turn(&mut self, id: ConnectionId, has_waited: bool) -> bool {
        self.round_work += if has_waited { 0 } else { self.work };
        self.work > limits::HEAVY_WORK && !self.is_privileged(id)
    }

    /// Begins a round, when all ready connections have had their turns.
    pub(crate) fn begin_round(&mut self) {
        self.round_work = 0;
    }

    /// Checks whether the work of this round is used up, so that clients must wait for the next one.
    pub(crate) fn is_round_full(&self) -> bool {
        self.round_work > limits::ROUND_WORK
    }

    /// Checks whether a connection must wait for the next round. One that has not sent CONNECT does not wait, because
    /// it may be the host's own.
    pub(crate) fn has_to_wait(&self, id: ConnectionId) -> bool {
        let is_unknown = self.silent.contains_key(&id);
        self.is_round_full() && !is_unknown && !self.is_privileged(id)
    }

    /// Checks whether a connection is the host's own.
    pub(crate) fn is_privileged(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.is_privileged)
    }
}
