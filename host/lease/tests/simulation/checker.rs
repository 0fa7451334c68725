//! Checks the invariants of the crate's documentation after each action.

use std::collections::HashMap;

use roost_lease::{
    row::Epoch,
    time::{Moment, WallTime},
};

pub(crate) struct Checker {
    /// The store has lost commits: what depends on it does not hold.
    pub(crate) is_forgetful: bool,
    senders: HashMap<Epoch, u128>,
    newest_sent: Epoch,
    decided: WallTime,
    pub(crate) sends: u64,
    pub(crate) starts: u64,
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self {
            is_forgetful: false,
            senders: HashMap::new(),
            newest_sent: Epoch(0),
            decided: WallTime::MIN,
            sends: 0,
            starts: 0,
        }
    }

    /// The work of a process has sent something under an epoch.
    pub(crate) fn sent(&mut self, epoch: Epoch, process: u128, now: Moment, is_lost: bool) {
        self.sends += 1;
        if self.is_forgetful {
            return;
        }
        let sender = *self.senders.entry(epoch).or_insert(process);
        assert_eq!(sender, process, "L1: two processes send under {epoch:?}");
        assert!(epoch >= self.newest_sent, "L2: {epoch:?} sends after {:?}", self.newest_sent);
        let goes_back = epoch > self.newest_sent && now.wall < self.decided;
        assert!(!goes_back, "L5: {epoch:?} begins to send at {:?}, after {:?}", now.wall, self.decided);
        assert!(!is_lost, "L6: {epoch:?} sends after it was lost");
        self.newest_sent = epoch;
        self.decided = self.decided.max(now.wall);
    }

    /// A transaction of an epoch has taken effect, while the row had another one.
    pub(crate) fn committed(&self, epoch: Epoch, row: Epoch) {
        assert!(self.is_forgetful || epoch == row, "L3: a transaction of {epoch:?} takes effect in {row:?}");
    }
}
