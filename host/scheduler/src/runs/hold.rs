//! The hold of a resource.

use crate::time::Instant;

/// A run's hold of its resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Since when it is held: from the start of its run on, or of the run from which that has taken it over.
    pub(crate) since: Instant,
    /// When a timer checks whether the hold has expired.
    pub(crate) until: Instant,
}
