//! The time in which a process owns a cell, under one epoch.

use crate::{
    limits::{LEASE_MS, RENEW_MS},
    mutants::{Mutation, mutated},
    row::{Claim, Epoch, Fence, Owner},
    time::{BootTime, Moment, WallTime},
};

/// What an owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits until its clock shows that time (L5).
    Waiting(WallTime),
    /// Works: only now may it send.
    Working,
    /// Releases the cell when no transaction is under way.
    Finished,
    /// The transaction that releases the cell is under way.
    Releasing,
}

/// A transaction under way.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    /// When it was about to be sent.
    pub(crate) at: Moment,
    /// The clock that it stores.
    clock: WallTime,
}

/// The ownership of a cell.
pub(crate) struct Tenure {
    epoch: Epoch,
    pub(crate) phase: Phase,
    deadline: BootTime,
    /// What the clock has to show when it first sends, if it has not: the clock may be set back while it loads (L5).
    first: Option<WallTime>,
    /// The clock that the row has at least.
    stored: WallTime,
    renew_at: BootTime,
    pub(crate) sent: Option<Sent>,
}

impl Tenure {
    /// Begins with a claim that has succeeded.
    pub(crate) fn new(claim: &Claim, asked: Moment, answered: Moment) -> Self {
        let phase = Phase::Waiting(claim.clock);
        let mut tenure = Self {
            epoch: claim.new_epoch(),
            phase,
            deadline: asked.boot,
            first: Some(claim.clock),
            stored: claim.clock,
            renew_at: asked.boot,
            sent: None,
        };
        tenure.extend(asked, answered);
        tenure
    }

    /// The lease counts from before the statement was sent: the store may have performed it at once, and the answer may
    /// have taken long (L2).
    fn extend(&mut self, asked: Moment, answered: Moment) {
        let from = if mutated(Mutation::DeadlineCountsFromAnswer) { answered } else { asked };
        let margin = if mutated(Mutation::DeadlineHasNoMargin) { crate::limits::MARGIN_MS } else { 0 };
        self.deadline = from.boot.plus_ms(LEASE_MS + margin);
        self.renew_at = asked.boot.plus_ms(RENEW_MS);
    }

    /// A new connection counts as a renewal: only a mutant calls this.
    pub(crate) fn extend_unasked(&mut self, now: Moment) {
        self.extend(now, now);
        self.sent = None;
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) const fn deadline(&self) -> BootTime {
        self.deadline
    }

    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        now.boot >= self.deadline
    }

    /// Returns whether to renew, if nothing is under way.
    pub(crate) fn is_renewal_due(&self, now: Moment) -> bool {
        now.boot >= self.renew_at && !mutated(Mutation::IdleOwnerDoesNotRenew)
    }

    /// Returns whether it sends now.
    pub(crate) fn may_send(&mut self, now: Moment) -> bool {
        let is_working = self.phase == Phase::Working
            || matches!(self.phase, Phase::Finished | Phase::Releasing) && mutated(Mutation::ReleaseGoesOnSending);
        let is_in_time = !self.is_expired(now) || mutated(Mutation::DeadlineIsNotChecked);
        let may_send = is_working && is_in_time && self.is_by_right_clock(now.wall);
        if may_send {
            self.first = None;
        }
        may_send
    }

    /// A clock that was set forward must be stored first: a successor reckons with [`LEASE_MS`] beyond the stored one
    /// (L5). One that is set back later is the work's own affair, which notices it.
    fn is_by_right_clock(&self, wall: WallTime) -> bool {
        let is_stored = wall <= self.stored.plus_ms(LEASE_MS) || mutated(Mutation::SetClockIsNotBounded);
        let is_awaited = !mutated(Mutation::ClockIsNotAwaited) && !mutated(Mutation::ClockIsAwaitedOnce);
        is_stored && self.first.is_none_or(|first| wall >= first || !is_awaited)
    }

    /// Begins a transaction, which stores a clock.
    pub(crate) fn begin(&mut self, now: Moment, owner: Owner, decided: WallTime) -> Fence {
        let clock = now.wall.max(decided);
        self.sent = Some(Sent { at: now, clock });
        Fence { epoch: self.epoch, owner, clock }
    }

    /// The transaction is durable. Returns when it was about to be sent.
    pub(crate) fn committed(&mut self, now: Moment) -> Option<Moment> {
        let sent = self.sent.take()?;
        self.stored = self.stored.max(sent.clock);
        self.extend(sent.at, now);
        Some(sent.at)
    }

    /// Returns when it is to be woken.
    pub(crate) fn wake(&self, now: Moment) -> BootTime {
        let mut wake = self.deadline;
        if self.sent.is_none() {
            wake = wake.min(self.renew_at);
            if let Phase::Waiting(until) = self.phase {
                wake = wake.min(now.boot.plus_ms(until.ms_since(now.wall).max(0)));
            }
        }
        wake
    }
}
