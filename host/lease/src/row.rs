//! The row of a cell, and what each statement does to it: the store's statements do the same, and nothing else.

use crate::{
    mutants::{Mutation, mutated},
    time::WallTime,
};

/// A number that each claim of a cell raises by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// A process, by a number that it drew at its start: at random, so that no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

/// The process of the database's server that serves one connection (`pg_backend_pid()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backend(pub i32);

/// The row of a cell, as far as the lease knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Raised by each claim.
    pub epoch: Epoch,
    /// The process that has claimed it, or none if it was released.
    pub owner: Option<Owner>,
    /// Raised by each statement that changes the row, so that an epoch and a beat identify its contents.
    pub beat: i64,
    /// The connection on which it was claimed: the only one that an owner writes on.
    pub backend: Backend,
    /// The highest wall clock of owners when they last wrote.
    pub clock: WallTime,
}

/// A claim: succeeds if the row is as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The epoch that was read. The claim raises it by one.
    pub epoch: Epoch,
    /// The beat that was read.
    pub beat: i64,
    /// The process that claims.
    pub owner: Owner,
    /// The clock to store: no earlier than any by which an earlier owner may have sent (L5).
    pub clock: WallTime,
}

/// What a transaction of an owner begins with: renews the lease, or fails if it is another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The owner.
    pub owner: Owner,
    /// The highest wall clock by which the owner has decided. The row keeps the higher one.
    pub clock: WallTime,
}

impl Claim {
    /// Returns the epoch that the claim begins.
    #[must_use]
    pub fn new_epoch(&self) -> Epoch {
        if mutated(Mutation::EpochIsKept) { self.epoch } else { Epoch(self.epoch.0 + 1) }
    }
}

impl Row {
    /// Returns whether nothing has changed the row between two reads.
    #[must_use]
    pub fn is_unchanged(&self, earlier: &Self) -> bool {
        self.epoch == earlier.epoch && (self.beat == earlier.beat || mutated(Mutation::BeatIsNotWatched))
    }

    /// `UPDATE cells SET epoch = epoch + 1, beat = beat + 1, owner = $3, backend = pg_backend_pid(), clock = $4 WHERE id
    /// = … AND epoch = $1 AND beat = $2`. Returns whether there was such a row.
    #[must_use]
    pub fn claim(&mut self, claim: &Claim, backend: Backend) -> bool {
        let is_as_read = self.epoch == claim.epoch && (self.beat == claim.beat || mutated(Mutation::BeatIsNotCompared));
        if is_as_read {
            let beat = self.beat + 1;
            *self = Self { epoch: claim.new_epoch(), owner: Some(claim.owner), beat, backend, clock: claim.clock };
        }
        is_as_read
    }

    /// `UPDATE cells SET beat = beat + 1, clock = greatest(clock, $3) WHERE id = … AND epoch = $1 AND owner = $2`.
    /// Returns whether there was such a row.
    #[must_use]
    pub fn renew(&mut self, fence: &Fence) -> bool {
        let is_owner = (self.epoch == fence.epoch || mutated(Mutation::EpochIsNotFenced))
            && (self.owner == Some(fence.owner) || mutated(Mutation::OwnerIsNotFenced));
        if is_owner {
            self.beat += 1;
            if !mutated(Mutation::ClockIsNotStored) {
                self.clock = self.clock.max(fence.clock);
            }
        }
        is_owner
    }

    /// The same with `owner = NULL`. Returns whether there was such a row.
    #[must_use]
    pub fn release(&mut self, fence: &Fence) -> bool {
        let is_owner = self.renew(fence);
        if is_owner {
            self.owner = None;
        }
        is_owner
    }
}
