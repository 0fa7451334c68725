//! The store: one row that is linearizable, and the lock of a transaction that has changed it and is not committed.

use roost_lease::{
    row::{Backend, Claim, Epoch, Fence, Row},
    time::WallTime,
};

/// What a host sends on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    Read,
    /// With the milliseconds for which it has waited for the lock.
    Claim(Claim, i64),
    /// The first statement of a transaction, and whether it releases the cell.
    Begin(Fence, bool),
    Commit,
    Terminate(Backend),
}

/// A transaction that is not committed.
struct Lock {
    connection: usize,
    fence: Fence,
    row: Row,
}

pub(crate) struct Store {
    pub(crate) row: Row,
    lock: Option<Lock>,
    /// Rows as they once were, for stores that lose commits.
    past: Vec<Row>,
}

/// What became of a request that may have to wait for the lock.
pub(crate) enum Tried {
    Done(bool),
    Locked,
}

impl Store {
    pub(crate) fn new() -> Self {
        let clock = WallTime::from_millis(0);
        Self {
            row: Row { epoch: Epoch(0), owner: None, beat: 0, backend: Backend(0), clock },
            lock: None,
            past: Vec::new(),
        }
    }

    fn is_locked_for(&self, connection: usize) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.connection != connection)
    }

    fn set(&mut self, row: Row) {
        assert!(row.epoch >= self.row.epoch, "L3: {:?} follows {:?}", row.epoch, self.row.epoch);
        self.past.push(self.row);
        self.row = row;
    }

    pub(crate) fn claim(&mut self, connection: usize, claim: &Claim) -> Tried {
        if self.is_locked_for(connection) {
            return Tried::Locked;
        }
        let mut row = self.row;
        let is_claimed = row.claim(claim, Backend(i32::try_from(connection).expect("few connections")));
        if is_claimed {
            self.set(row);
        }
        Tried::Done(is_claimed)
    }

    /// Performs the first statement of a transaction; false if it is fenced.
    pub(crate) fn begin(&mut self, connection: usize, fence: Fence, releases: bool) -> Tried {
        if self.is_locked_for(connection) {
            return Tried::Locked;
        }
        let mut row = self.row;
        let is_owner = if releases { row.release(&fence) } else { row.renew(&fence) };
        self.lock = is_owner.then_some(Lock { connection, fence, row });
        Tried::Done(is_owner)
    }

    /// Commits the transaction of a connection, if it has one, and returns its epoch.
    pub(crate) fn commit(&mut self, connection: usize) -> Option<Epoch> {
        let lock = self.lock.take_if(|lock| lock.connection == connection)?;
        self.set(lock.row);
        Some(lock.fence.epoch)
    }

    /// Ends the transaction of a connection without effect. Returns whether it had one.
    pub(crate) fn roll_back(&mut self, connection: usize) -> bool {
        self.lock.take_if(|lock| lock.connection == connection).is_some()
    }

    /// Sets the row back to what it was some changes ago: a table that was restored beneath its hosts.
    pub(crate) fn forget(&mut self, changes: usize) {
        self.lock = None;
        if let Some(row) = self.past.iter().rev().nth(changes) {
            self.row = *row;
        }
    }
}
