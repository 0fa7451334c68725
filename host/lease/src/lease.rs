//! The lease of one cell, as one process sees it.

use crate::{
    event::{Effect, Event, Exit, Loss, Notice},
    limits::{ANSWER_MS, BEHIND_MS, BEHIND_REPORTED_MS, LEASE_MS, LET_GO_MS, POLL_MS, TTL_MS},
    mutants::{Mutation, mutated},
    row::{Claim, Epoch, Fence, Owner, Row},
    skew::Skew,
    tenure::{Phase, Tenure},
    time::{BootTime, Moment, WallTime},
};

/// What a standby has asked, and when.
#[derive(Clone, Copy)]
enum Question {
    Read,
    Claim(Claim),
}

enum State {
    Standby {
        asked: Option<(Moment, Question)>,
        /// When it reads the row again.
        next: BootTime,
    },
    Owner(Tenure),
    /// The lease is lost, and the work is still being aborted.
    LettingGo {
        since: BootTime,
    },
    Ended,
}

/// The row as it was last read.
#[derive(Clone, Copy)]
struct Seen {
    row: Row,
    /// When an answer first showed it so.
    since: BootTime,
}

/// The lease of one cell, as one process sees it.
pub struct Lease {
    owner: Owner,
    state: State,
    is_connected: bool,
    is_stopping: bool,
    /// Kept through lost connections: it was true when it was read.
    seen: Option<Seen>,
    /// The highest wall clock by which this process has sent, under any epoch.
    decided: WallTime,
    skew: Skew,
    is_reported_behind: bool,
    wake: Option<BootTime>,
    #[cfg(feature = "mutants")]
    claimed: Option<Epoch>,
}

impl Lease {
    /// Makes a lease that is not connected. `owner` is a random number of this process.
    #[must_use]
    pub const fn new(owner: Owner) -> Self {
        Self {
            owner,
            state: State::Standby { asked: None, next: BootTime::from_millis(0) },
            is_connected: false,
            is_stopping: false,
            seen: None,
            decided: WallTime::MIN,
            skew: Skew::new(),
            is_reported_behind: false,
            wake: None,
            #[cfg(feature = "mutants")]
            claimed: None,
        }
    }

    /// Makes a lease that goes on where one of this process has ended: `decided` is that one's [`Self::decided`], and nothing
    /// of its work is left.
    #[must_use]
    pub const fn again(owner: Owner, decided: WallTime) -> Self {
        let mut lease = Self::new(owner);
        lease.decided = decided;
        lease
    }

    /// Returns the number of this process.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the highest wall clock by which this process has sent.
    #[must_use]
    pub const fn decided(&self) -> WallTime {
        self.decided
    }

    /// Takes an event and returns what to do about it, in order. `now` is read after what the event reports has come.
    #[must_use]
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take(now, event, &mut effects);
        self.advance(now, &mut effects);
        self.wake = self.next_wake(now);
        effects
    }

    /// Returns whether the work may send something at this very moment: checked before each turn of its loop, each order
    /// that the link takes, and each write to the broker's socket, the first one of a connection included.
    #[must_use]
    pub fn may_send(&mut self, now: Moment) -> bool {
        let State::Owner(tenure) = &mut self.state else { return false };
        let may_send = tenure.may_send(now);
        if may_send {
            self.decided = self.decided.max(now.wall);
        }
        may_send
    }

    /// Returns what a transaction of the work begins with, which is about to be sent; or none, if it must not be sent
    /// now: the work waits for the answer to the one under way, or for `Abort`.
    #[must_use]
    pub fn fence(&mut self, now: Moment) -> Option<Fence> {
        let State::Owner(tenure) = &mut self.state else { return None };
        let may_commit = tenure.phase == Phase::Working && tenure.sent.is_none() && !tenure.is_expired(now);
        may_commit.then(|| tenure.begin(now, self.owner, self.decided))
    }

    /// Returns until when the owner may send at most, if this process owns the cell.
    #[must_use]
    pub const fn deadline(&self) -> Option<BootTime> {
        match &self.state {
            State::Owner(tenure) => Some(tenure.deadline()),
            _ => None,
        }
    }

    /// Returns the epoch, if this process owns the cell.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match &self.state {
            State::Owner(tenure) => Some(tenure.epoch()),
            _ => None,
        }
    }

    /// Returns when the lease wants `Woke`, if nothing else happens before.
    #[must_use]
    pub const fn wake(&self) -> Option<BootTime> {
        self.wake
    }

    /// Returns by how many milliseconds this host's clock was ahead of the store's when it was last compared.
    #[must_use]
    pub const fn ahead_ms(&self) -> i64 {
        self.skew.ahead_ms()
    }

    fn take(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Woke => {}
            Event::Connected => self.connected(now),
            Event::ConnectionLost => self.connection_lost(now, effects),
            Event::Read { row, clock } => self.read(now, row, clock, effects),
            Event::Claimed => self.claimed(now, effects),
            Event::ClaimRefused | Event::ClaimBlocked => self.not_claimed(now, event, effects),
            Event::Committed { clock } => self.committed(now, clock, effects),
            Event::Fenced => self.lose(now, Loss::Fenced, effects),
            Event::CommitFailed => {
                if !mutated(Mutation::FailedCommitIsIgnored) {
                    self.lose(now, Loss::CommitFailed, effects);
                } else if let State::Owner(tenure) = &mut self.state {
                    tenure.sent = None;
                }
            }
            Event::LetGo => {
                if matches!(self.state, State::LettingGo { .. }) {
                    self.stand_by(now.boot);
                }
            }
            Event::Stopped => {
                self.is_stopping = true;
                if let State::Owner(tenure) = &mut self.state
                    && tenure.phase != Phase::Releasing
                {
                    tenure.phase = Phase::Finished;
                }
            }
        }
    }

    fn connected(&mut self, now: Moment) {
        self.is_connected = true;
        match &mut self.state {
            State::Owner(tenure) if mutated(Mutation::ConnectionRenews) => tenure.extend_unasked(now),
            State::Standby { .. } => self.stand_by(now.boot),
            State::Owner(_) | State::LettingGo { .. } | State::Ended => {}
        }
    }

    fn connection_lost(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.is_connected = false;
        match &self.state {
            State::Standby { asked: Some((at, Question::Claim(claim))), .. }
                if mutated(Mutation::UnknownClaimSucceeds) =>
            {
                self.state = State::Owner(Tenure::new(claim, *at, now));
            }
            State::Standby { .. } => self.stand_by(now.boot),
            State::Owner(_) if mutated(Mutation::ConnectionRenews) => {}
            // L6: what was under way may or may not be durable.
            State::Owner(_) => self.lose(now, Loss::Disconnected, effects),
            State::LettingGo { .. } | State::Ended => {}
        }
    }

    /// Reads the row as it was between the question and now, and claims it if it is free.
    fn read(&mut self, now: Moment, row: Row, clock: WallTime, effects: &mut Vec<Effect>) {
        let State::Standby { asked: Some((asked, Question::Read)), .. } = self.state else { return };
        effects.extend(self.skew.measure(asked, now, clock).map(Effect::Report));
        // L2: the time without a beat counts from when an answer first showed this one. The owner may have renewed just
        // before the store read it.
        let at = match () {
            () if mutated(Mutation::TtlCountsFromQuestion) => asked.boot,
            () if mutated(Mutation::TtlCountsByWallClock) => BootTime::from_millis(now.wall.millis()),
            () => now.boot,
        };
        let since = self.seen.filter(|seen| row.is_unchanged(&seen.row)).map_or(at, |seen| seen.since);
        self.seen = Some(Seen { row, since });
        let free_at = since.plus_ms(TTL_MS);
        let is_own = self.is_own(&row) && !mutated(Mutation::OwnRowIsWaitedFor);
        let is_free = row.owner.is_none() || is_own || at >= free_at;
        if is_free
            && !self.is_stopping
            && let Some(claim) = self.claim(now, &row, effects)
        {
            effects.push(Effect::Claim(claim));
            self.ask(now, Question::Claim(claim));
            return;
        }
        let next = now.boot.plus_ms(POLL_MS);
        // A dead owner's cell is taken as soon as it is known to be dead.
        self.stand_by(if is_free || mutated(Mutation::TtlCountsByWallClock) { next } else { next.min(free_at) });
    }

    /// Returns whether the row shows an earlier claim of this process: one that it has lost, or one of unknown outcome.
    #[cfg(not(feature = "mutants"))]
    fn is_own(&self, row: &Row) -> bool {
        row.owner == Some(self.owner)
    }

    #[cfg(feature = "mutants")]
    fn is_own(&self, row: &Row) -> bool {
        if mutated(Mutation::OwnerIsNotRecognised) {
            return self.claimed == Some(row.epoch);
        }
        row.owner == Some(self.owner)
    }

    /// Returns a claim of that row, unless this host's clock forbids it (L9).
    fn claim(&mut self, now: Moment, row: &Row, effects: &mut Vec<Effect>) -> Option<Claim> {
        // L5: no earlier than any clock by which an earlier owner has sent. An owner that released the cell has stored it;
        // this process knows its own; a dead one may have sent until its deadline.
        let clock = match row.owner {
            None => row.clock,
            Some(owner) if owner == self.owner => {
                if mutated(Mutation::OwnDecisionsAreForgotten) {
                    row.clock
                } else {
                    row.clock.max(self.decided)
                }
            }
            Some(_) if mutated(Mutation::DeadOwnerStoppedAtRenewal) => row.clock,
            Some(_) => row.clock.plus_ms(LEASE_MS),
        };
        let behind_ms = clock.ms_since(now.wall);
        let is_far_behind = behind_ms > BEHIND_MS && !mutated(Mutation::HostFarBehindHolds);
        if is_far_behind && !self.is_reported_behind {
            effects.push(Effect::Report(Notice::TooFarBehind { behind_ms }));
        }
        self.is_reported_behind = is_far_behind;
        let is_skewed = self.skew.is_too_large() && !mutated(Mutation::SkewedHostClaims);
        if is_far_behind || is_skewed {
            return None;
        }
        Some(Claim { epoch: row.epoch, beat: row.beat, owner: self.owner, clock: clock.max(now.wall) })
    }

    fn claimed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let State::Standby { asked: Some((asked, Question::Claim(claim))), .. } = self.state else { return };
        let behind_ms = claim.clock.ms_since(now.wall);
        if behind_ms > BEHIND_REPORTED_MS {
            effects.push(Effect::Report(Notice::WaitsForClock { behind_ms }));
        }
        let mut tenure = Tenure::new(&claim, asked, now);
        if self.is_stopping {
            tenure.phase = Phase::Finished;
        }
        self.state = State::Owner(tenure);
    }

    fn not_claimed(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        let State::Standby { asked: Some((_, Question::Claim(_))), .. } = self.state else { return };
        let dead = self.seen.filter(|seen| event == Event::ClaimBlocked && seen.row.owner.is_some());
        if let Some(seen) = dead.filter(|_| !mutated(Mutation::PausedOwnerKeepsLock)) {
            effects.push(Effect::Terminate(seen.row.backend));
        }
        self.stand_by(now.boot);
    }

    fn committed(&mut self, now: Moment, clock: WallTime, effects: &mut Vec<Effect>) {
        let State::Owner(tenure) = &mut self.state else { return };
        let Some(asked) = tenure.committed(now) else { return };
        effects.extend(self.skew.measure(asked, now, clock).map(Effect::Report));
        if tenure.phase == Phase::Releasing {
            // The others are first to look at a cell that this host's clock has made it release.
            self.stand_by(now.boot.plus_ms(2 * POLL_MS));
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match &mut self.state {
            // A claim that succeeds is released again.
            State::Standby { asked, .. } if self.is_stopping && !matches!(asked, Some((_, Question::Claim(_)))) => {
                self.end(Exit::Stopped, effects);
            }
            State::Standby { asked: Some((asked, _)), .. } => {
                if now.boot >= asked.boot.plus_ms(ANSWER_MS) && !mutated(Mutation::AnswerIsAwaitedForEver) {
                    self.is_connected = false;
                    self.stand_by(now.boot);
                    effects.push(Effect::Disconnect);
                }
            }
            State::Standby { next, .. } => {
                if self.is_connected && now.boot >= *next {
                    effects.push(Effect::Read);
                    self.ask(now, Question::Read);
                }
            }
            State::Owner(tenure) if tenure.is_expired(now) => self.lose(now, Loss::Expired, effects),
            State::Owner(_) => self.advance_tenure(now, effects),
            State::LettingGo { since } => {
                if now.boot >= since.plus_ms(LET_GO_MS) && !mutated(Mutation::StuckProcessStays) {
                    self.end(Exit::Stuck, effects);
                }
            }
            State::Ended => {}
        }
    }

    fn advance_tenure(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let State::Owner(tenure) = &mut self.state else { return };
        if let Phase::Waiting(until) = tenure.phase {
            let behind_ms = until.ms_since(now.wall);
            if behind_ms <= 0 || mutated(Mutation::ClockIsNotAwaited) {
                tenure.phase = Phase::Working;
                effects.push(Effect::Start(tenure.epoch()));
            } else if behind_ms > BEHIND_MS && !mutated(Mutation::HostFarBehindHolds) {
                tenure.phase = Phase::Finished;
            }
        }
        if tenure.sent.is_some() {
            return;
        }
        if tenure.phase == Phase::Finished {
            if mutated(Mutation::StopReleasesNothing) {
                return self.end(Exit::Stopped, effects);
            }
            tenure.phase = Phase::Releasing;
            effects.push(Effect::Release(tenure.begin(now, self.owner, self.decided)));
        } else if tenure.is_renewal_due(now) {
            effects.push(Effect::Renew(tenure.begin(now, self.owner, self.decided)));
        }
    }

    /// Loses the lease: what was under way may or may not be durable, so nothing of the work is kept (L6). The connection
    /// goes as well: with it ends a half transaction, whose lock would hold up the next claim.
    fn lose(&mut self, now: Moment, loss: Loss, effects: &mut Vec<Effect>) {
        let State::Owner(tenure) = &self.state else { return };
        if tenure.phase == Phase::Working {
            effects.push(Effect::Abort(loss));
            self.state = State::LettingGo { since: now.boot };
        } else {
            self.stand_by(now.boot);
        }
        if mutated(Mutation::ClaimDoesNotWaitForWork) {
            self.stand_by(now.boot);
        }
        if self.is_connected {
            effects.push(Effect::Disconnect);
        }
        self.is_connected = false;
    }

    fn stand_by(&mut self, next: BootTime) {
        self.state = State::Standby { asked: None, next };
    }

    fn ask(&mut self, now: Moment, question: Question) {
        #[cfg(feature = "mutants")]
        if let Question::Claim(claim) = question {
            self.claimed = Some(claim.new_epoch());
        }
        self.state = State::Standby { asked: Some((now, question)), next: now.boot };
    }

    fn end(&mut self, exit: Exit, effects: &mut Vec<Effect>) {
        self.state = State::Ended;
        effects.push(Effect::Exit(exit));
    }

    fn next_wake(&self, now: Moment) -> Option<BootTime> {
        match &self.state {
            State::Standby { asked: Some((asked, _)), .. } => Some(asked.boot.plus_ms(ANSWER_MS)),
            State::Standby { next, .. } => (self.is_connected || self.is_stopping).then_some(*next),
            State::Owner(tenure) => Some(tenure.wake(now)),
            State::LettingGo { since } => Some(since.plus_ms(LET_GO_MS)),
            State::Ended => None,
        }
    }
}
