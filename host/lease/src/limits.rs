//! Every duration of the protocol, each with its reason.

/// After how many milliseconds without a new beat an owner counts as dead. Short enough for a failover within ten
/// seconds; long enough that a slow commit, or a database's pause, ends no lease.
pub const TTL_MS: i64 = 4_000;
/// By how many milliseconds an owner stops before the others may take its cell. It covers clocks whose rates differ by up
/// to a tenth: three seconds of the slowest are less than four of the fastest.
pub const MARGIN_MS: i64 = 1_000;
/// For how many milliseconds an owner may send, from before it sent its last renewal.
pub const LEASE_MS: i64 = TTL_MS - MARGIN_MS;
/// The milliseconds between two looks of a standby at the row. With [`TTL_MS`], the longest that a dead owner's cell
/// rests.
pub const POLL_MS: i64 = 500;
/// After how many milliseconds an owner that has nothing to commit renews. Two renewals may fail to arrive in time before
/// the lease ends.
pub const RENEW_MS: i64 = 1_000;
/// For how many milliseconds a claim waits for the lock of the row (`lock_timeout`): more than a commit holds it, and
/// little beside [`TTL_MS`].
pub const LOCK_MS: i64 = 300;
/// After how many milliseconds a standby gives up a connection on which its question was not answered: the answer may
/// never come, because the other end is gone.
pub const ANSWER_MS: i64 = 2_000;
/// After how many milliseconds a process that has lost its lease and has not let go of its work is ended: what hangs
/// keeps memory, a connection, and this host from being a standby.
pub const LET_GO_MS: i64 = 5_000;
/// From how many milliseconds on a difference from the store's clock is reported: more than NTP leaves anywhere.
pub const SKEW_REPORTED_MS: i64 = 250;
/// A host whose clock differs from the store's by more than so many milliseconds does not claim: its jobs would be due
/// at wrong times, and its successor would have to wait for its clock.
pub const SKEW_MS: i64 = 2_000;
/// From how many milliseconds on the wait for the clock of an earlier owner is reported: nothing is due meanwhile.
pub const BEHIND_REPORTED_MS: i64 = 2_000;
/// A host whose clock is so many milliseconds behind that of an earlier owner does not hold the cell: another host may
/// be nearer.
pub const BEHIND_MS: i64 = 60_000;
