//! A job's next occurrence, and the jitter of its run: derived from the run's id, so that it is the same after a reload
//! and a restart, on every machine.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::{
    body::PackedJob,
    names::{Origin, RunId},
    time::{Instant, Site},
    trigger::{Almanac, Search},
};

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next occurrence, and the jitter of its run in milliseconds.
    Due { occurrence: Instant, jitter_ms: u32 },
    /// No occurrence up to then, when the search continues.
    Search(Instant),
    /// It is never due again.
    Never,
}

impl Next {
    pub(crate) fn due(self) -> Option<Instant> {
        match self {
            Self::Due { occurrence, .. } => Some(occurrence),
            Self::Search(_) | Self::Never => None,
        }
    }

    /// Returns when the job's timer fires.
    pub(crate) fn timer(self) -> Option<Instant> {
        match self {
            Self::Due { occurrence, jitter_ms } => Some(occurrence.plus_ms(jitter_ms.into())),
            Self::Search(from) => Some(from),
            Self::Never => None,
        }
    }
}

/// When a job's next run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextRun {
    /// It is due then.
    Due(Instant),
    /// Not before then: the sun event does not occur for so long.
    NotBefore(Instant),
    /// There is no next run.
    Never,
}

impl From<Next> for NextRun {
    fn from(next: Next) -> Self {
        match next {
            Next::Due { occurrence, .. } => Self::Due(occurrence),
            Next::Search(until) => Self::NotBefore(until),
            Next::Never => Self::Never,
        }
    }
}

/// Returns when a run starts: its occurrence plus its jitter.
pub(crate) fn start_of(job: &PackedJob, run: &RunId, site: &Site, almanac: &mut Almanac) -> Instant {
    run.occurrence.plus_ms(jitter_of(job, run.occurrence, site, almanac, || run.clone()).into())
}

/// Returns the jitter of the run at an occurrence, in milliseconds: less than the time to the next occurrence, so that
/// the runs of a job start in order.
pub(crate) fn jitter_of(
    job: &PackedJob,
    occurrence: Instant,
    site: &Site,
    almanac: &mut Almanac,
    run: impl FnOnce() -> RunId,
) -> u32 {
    let mut most = job.body.policy().jitter_ms;
    if most > 0
        && let Search::Found(next) = job.trigger.next(occurrence, site, almanac)
    {
        most = most.min(u32::try_from(next.ms_since(occurrence) - 1).unwrap_or(u32::MAX));
    }
    if most == 0 { 0 } else { salted(&run(), 0, most) }
}

/// Returns a number for a run, uniform from 0 to `most`; another one for each salt.
pub(crate) fn salted(run: &RunId, salt: u32, most: u32) -> u32 {
    let mut hasher = SipHasher13::new();
    // The origin does not count: the clock may be set, and an occurrence keeps its jitter.
    let nominal = RunId { origin: Origin::Trigger, ..run.clone() };
    hasher.write(nominal.to_string().as_bytes());
    hasher.write_u32(salt);
    let range = u64::from(most) + 1;
    u32::try_from(hasher.finish() % range).unwrap_or(0)
}
