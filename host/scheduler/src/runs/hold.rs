//! The hold of a resource.

use crate::time::Instant;

/// A run's hold of its resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Since when it is held; if it was taken over from an earlier run, since that run had it.
    pub(crate) since: Instant,
    /// Whether it was taken over.
    pub(crate) inherited: bool,
    /// When a timer checks whether the hold has expired.
    pub(crate) until: Instant,
}
