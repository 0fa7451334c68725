//! The lease of the cell that this process works for, where several hosts share a database: the part that everything
//! asks before it sends. `store/postgres/keeper.rs` keeps the lease.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roost_lease::{
    lease::Lease,
    row::Owner,
    time::{BootTime, Moment, WallTime},
};

use crate::clock;

/// A handle to the lease.
#[derive(Clone)]
pub(crate) struct LeaseHandle(Arc<Mutex<Lease>>);

impl LeaseHandle {
    pub(crate) fn new(lease: Lease) -> Self {
        Self(Arc::new(Mutex::new(lease)))
    }

    /// Returns the number of this process, and the highest wall clock by which it has sent; nothing if the lease is in use:
    /// this never waits.
    pub(crate) fn identity(&self) -> Option<(Owner, WallTime)> {
        let lease = self.0.try_lock().ok()?;
        Some((lease.owner(), lease.decided()))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Lease> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseHandle")
    }
}

/// Says whether this process may send: always, unless it shares its database with other hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendPermit(Option<LeaseHandle>);

impl SendPermit {
    pub(crate) const fn of(lease: LeaseHandle) -> Self {
        Self(Some(lease))
    }

    /// Checks whether something may be sent at this very moment.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.as_ref().is_none_or(|lease| lease.lock().may_send(moment()))
    }

    /// Waits for ever if nothing may be sent any more: the process is about to begin anew.
    pub(crate) async fn check(&self) {
        if !self.is_valid() {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns what the clocks of this host show.
pub(crate) fn moment() -> Moment {
    Moment { boot: BootTime::from_millis(clock::boot_ms()), wall: WallTime::from_millis(clock::now().millis()) }
}
