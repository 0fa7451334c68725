//! How long ended runs are kept.

/// How many ended runs are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Days after a run's end.
    pub(crate) days: u32,
    /// The largest number of runs. Of too many, those of the plugin with the most are deleted first, and of each plugin
    /// failed runs last, because they may be replayed.
    pub(crate) runs: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, runs: 1_000_000 }
    }
}
