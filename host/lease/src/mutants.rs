//! Mutations of the lease (`make mutants`): each breaks one property, and the simulation must notice. A mutation is a
//! condition at the very place whose work it breaks, so that it moves with the code.
//!
//! Without the feature `mutants` there is no mutation, and the compiler drops the conditions.

macro_rules! mutations {
    ($($(#[doc = $breaks:literal])+ $name:ident,)+) => {
        /// A mutation of the lease, and what it breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[doc = $breaks])+ $name,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutation {
            /// All mutations.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns what it breaks.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($breaks),+),)+
                }
            }
        }
    };
}

mutations! {
    /// A host takes the row of the epoch that it claimed for its own, whichever process is its owner (L2).
    OwnerIsNotRecognised,
    /// A claim succeeds although the owner has renewed since the row was read (L2).
    BeatIsNotCompared,
    /// An owner that renews counts as dead (L2).
    BeatIsNotWatched,
    /// A claim begins no new epoch (L1).
    EpochIsKept,
    /// A transaction of an older epoch of the same process takes effect (L3).
    EpochIsNotFenced,
    /// After the store has lost a claim, two processes renew one epoch for ever (L8).
    OwnerIsNotFenced,
    /// The time of an owner counts from when it was first heard to be renewed, not from before it asked (L2).
    DeadlineCountsFromAnswer,
    /// An owner sends until the very moment at which another may claim (L2).
    DeadlineHasNoMargin,
    /// The deadline is not checked before a message is sent (L2).
    DeadlineIsNotChecked,
    /// The time without a beat counts from when a standby asked (L2).
    TtlCountsFromQuestion,
    /// The time without a beat is measured by the wall clock (L2).
    TtlCountsByWallClock,
    /// A claim whose outcome is unknown counts as a success (L1).
    UnknownClaimSucceeds,
    /// A new connection counts as a renewal (L2, L6).
    ConnectionRenews,
    /// A commit that failed, or whose outcome is unknown, loses nothing (L6).
    FailedCommitIsIgnored,
    /// A claim is made while the work of an earlier epoch has not let go (L2).
    ClaimDoesNotWaitForWork,
    /// An owner sends while it releases the cell (L2).
    ReleaseGoesOnSending,
    /// The clock of owners is not stored (L5).
    ClockIsNotStored,
    /// A successor does not wait for the clock of the earlier owner (L5).
    ClockIsNotAwaited,
    /// A clock that is set back while the work loads is not noticed (L5).
    ClockIsAwaitedOnce,
    /// What a dead owner has sent since its last renewal is forgotten (L5).
    DeadOwnerStoppedAtRenewal,
    /// What this process has sent since its last renewal is forgotten (L5).
    OwnDecisionsAreForgotten,
    /// An owner whose clock is set forward sends before that is stored (L5).
    SetClockIsNotBounded,
    /// A host whose clock is wrong claims (L9).
    SkewedHostClaims,
    /// A host whose clock is far behind holds the cell (L9).
    HostFarBehindHolds,
    /// An owner that has nothing to commit does not renew (L7).
    IdleOwnerDoesNotRenew,
    /// A host waits for an answer that never comes (L4).
    AnswerIsAwaitedForEver,
    /// The lock of a paused owner holds up each claim (L4).
    PausedOwnerKeepsLock,
    /// A process that does not let go stays (L4).
    StuckProcessStays,
    /// The cell of a process that is restarted, or of an owner that stops, is not released (L4).
    StopReleasesNothing,
    /// A host that has lost its lease waits for it as for another's (L4).
    OwnRowIsWaitedFor,
}

/// Returns whether the lease has a mutation: without the feature `mutants` it has none.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}

#[cfg(feature = "mutants")]
thread_local! {
    /// The mutation of this thread, if any.
    static MUTATION: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Mutates every lease of this thread.
#[cfg(feature = "mutants")]
pub fn mutate(mutation: Option<Mutation>) {
    MUTATION.set(mutation);
}

/// Returns whether the lease has a mutation.
#[cfg(feature = "mutants")]
pub(crate) fn mutated(mutation: Mutation) -> bool {
    MUTATION.get() == Some(mutation)
}
