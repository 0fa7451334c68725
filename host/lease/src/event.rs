//! What happens to a lease, and what it has done about it.

use crate::{
    row::{Backend, Claim, Epoch, Fence, Row},
    time::WallTime,
};

/// An input of the lease: something that happened. Answers are those of the present connection; the edge drops what comes
/// on one that it has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The time is that of `wake`, or anything.
    Woke,
    /// There is a connection to the store.
    Connected,
    /// The connection is gone. What was asked on it may have taken effect, may take effect yet, or never will.
    ConnectionLost,
    /// Answers `Read`.
    Read {
        /// The row as it was.
        row: Row,
        /// The store's wall clock meanwhile.
        clock: WallTime,
    },
    /// Answers `Claim`: it has taken effect.
    Claimed,
    /// Answers `Claim`: the row was another one, and nothing was changed.
    ClaimRefused,
    /// Answers `Claim`: the row was locked for [`LOCK_MS`](crate::limits::LOCK_MS), and nothing was changed.
    ClaimBlocked,
    /// A transaction that began with the fence is durable.
    Committed {
        /// The store's wall clock meanwhile.
        clock: WallTime,
    },
    /// A transaction was given up because the fence found no row.
    Fenced,
    /// A transaction failed, or its outcome is unknown.
    CommitFailed,
    /// The work that was to be aborted is gone: the link, the scheduler, and what waits for the store.
    LetGo,
    /// The process is to end, and the work, if there was any, has ended: its link is closed, and only its last changes
    /// are still to be stored.
    Stopped,
}

/// An output of the lease: something that the edge does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the row, and the store's clock.
    Read,
    /// Claim the cell, in a transaction of its own.
    Claim(Claim),
    /// Commit a transaction of the fence alone.
    Renew(Fence),
    /// Commit the last changes behind the fence, with `owner = NULL`.
    Release(Fence),
    /// End the connection of an owner that counts as dead, whose half transaction locks the row
    /// (`pg_terminate_backend`). Without answer.
    Terminate(Backend),
    /// Close the connection without waiting for anything, and make another one.
    Disconnect,
    /// Load everything from the store, connect to the broker, and work, under this epoch.
    Start(Epoch),
    /// Abort the work at once: flush nothing, send nothing, commit nothing. Answer `LetGo`.
    Abort(Loss),
    /// End the process.
    Exit(Exit),
    /// Report it to the operator.
    Report(Notice),
}

/// Why a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Another host has claimed the cell.
    Fenced,
    /// It was not renewed in time.
    Expired,
    /// A transaction failed, or its outcome is unknown.
    CommitFailed,
    /// The connection to the store was lost.
    Disconnected,
}

/// Why the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was to stop, and the cell is released, or could not be.
    Stopped,
    /// The work has not let go in time.
    Stuck,
}

/// What the operator has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This host's clock differs from the store's by more than [`SKEW_REPORTED_MS`](crate::limits::SKEW_REPORTED_MS);
    /// beyond [`SKEW_MS`](crate::limits::SKEW_MS), it claims no cell.
    Skewed {
        /// The milliseconds by which it is ahead of the store's.
        ahead_ms: i64,
    },
    /// The clocks agree again.
    Agreed,
    /// The cell is this host's, and it waits until its clock shows what the earlier owner's had shown.
    WaitsForClock {
        /// The milliseconds that are left.
        behind_ms: i64,
    },
    /// The cell is free, and this host's clock is too far behind the earlier owner's.
    TooFarBehind {
        /// The milliseconds by which it is behind.
        behind_ms: i64,
    },
}
