//! The overlap policy: what becomes of a run that is due before earlier runs of its job have ended.

use std::{fmt, ops::RangeInclusive};

use super::misfire::Misfire;
use crate::{limits, outcome::Skipped, packing::encoded_enum, time::Instant};

/// What happens to a run that is due while an earlier run of its job has started and not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// It waits, if fewer than this many runs are waiting.
    Queue(u32),
    /// It starts, if fewer than this many runs are active.
    Allow(u32),
    /// It replaces the earlier run, which is cut short.
    Replace,
}

encoded_enum! { Overlap { 0 Skip {}, 1 Queue { 0: most }, 2 Allow { 0: most }, 3 Replace {} } }

/// Writes it as it is in the contract, with its number of runs: `queue 3`.
impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Queue(most) => write!(f, "queue {most}"),
            Self::Allow(most) => write!(f, "allow {most}"),
            Self::Replace => f.write_str("replace"),
        }
    }
}

impl Overlap {
    /// Writes it for users: `up to 3 runs queue behind the current one`.
    #[must_use]
    pub fn in_words(self) -> String {
        match self {
            Self::Skip => "a new run is skipped until the current one has ended".to_owned(),
            Self::Queue(most) => format!("up to {most} runs queue behind the current one"),
            Self::Allow(most) => format!("up to {most} runs at the same time"),
            Self::Replace => "a new run replaces the current one".to_owned(),
        }
    }

    /// Returns its number of runs, if it has one, with its field in a draft and the numbers that are accepted.
    pub(crate) const fn number(self) -> Option<(&'static str, u32, RangeInclusive<u32>)> {
        match self {
            Self::Queue(most) => Some(("policy.overlap.queue", most, 1..=limits::RUNS_PER_JOB)),
            Self::Allow(most) => Some(("policy.overlap.allow", most, 2..=limits::RUNS_PER_JOB)),
            Self::Skip | Self::Replace => None,
        }
    }

    /// Returns how many runs of the job may be active at the same time.
    pub(crate) const fn at_once(self) -> u32 {
        if let Self::Allow(most) = self { most } else { 1 }
    }

    /// Returns whether runs wait for one another, each for its own turn.
    pub(crate) const fn queues(self) -> bool {
        matches!(self, Self::Queue(_))
    }

    /// Returns whether a new run may wait for earlier ones or run beside them. Runs of a group never do.
    pub(crate) const fn joins(self) -> bool {
        matches!(self, Self::Queue(_) | Self::Allow(_))
    }

    /// Returns whether a new run cuts earlier ones short.
    pub(crate) const fn replaces(self) -> bool {
        matches!(self, Self::Replace)
    }

    /// Decides on a run that is due before the earlier ones have ended; runs that could not start are subject to the
    /// misfire policy. `is_late` states whether the run itself is late.
    pub(crate) fn decide(self, misfire: &Misfire, earlier: &Earlier, is_late: bool, has_link: bool) -> Decision {
        if misfire.group().is_some() {
            return Decision::Join;
        }
        let join_up_to = |most: u32| {
            if earlier.waiting < most { Decision::Join } else { Decision::Skip(Skipped::TooManyWaiting(most)) }
        };
        if *misfire == Misfire::RunAll && (is_late || earlier.waiting > 0) {
            // The earlier runs may belong to an earlier plan.
            return join_up_to(limits::RUNS_PER_JOB);
        }
        let queues = self.queues() && has_link;
        if earlier.waiting == earlier.all && !queues {
            return Decision::TakePlace;
        }
        match self {
            Self::Queue(most) => join_up_to(most),
            Self::Allow(most) if earlier.all < most => Decision::Join,
            Self::Allow(most) => Decision::Skip(Skipped::TooManyRunning(most)),
            // I5: it would restart the time of the owed steps.
            Self::Replace if !earlier.put_off_too_long => Decision::Replace,
            Self::Replace | Self::Skip => Decision::Skip(Skipped::EarlierRun(earlier.first)),
        }
    }
}

/// The earlier runs of a job, of which there is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    /// Their number.
    pub(crate) all: u32,
    /// The number of those that have not started.
    pub(crate) waiting: u32,
    /// The occurrence of the first one.
    pub(crate) first: Instant,
    /// Whether a run that replaces them would put off owed steps that have been put off as long as allowed (I5).
    pub(crate) put_off_too_long: bool,
}

/// The decision on a run that meets earlier runs of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It waits or runs beside them.
    Join,
    /// It takes the place of those that have not started, and waits for the others.
    TakePlace,
    /// It cuts them short.
    Replace,
    /// It is skipped.
    Skip(Skipped),
}

#[cfg(test)]
mod tests {
    use super::{Decision::*, *};
    use crate::names::GroupName;

    const FIRST: Instant = Instant::from_millis(1_800_000_000_000).unwrap();

    /// Returns the decision beside some earlier runs, of which some have started.
    fn beside(overlap: Overlap, started: u32, waiting: u32) -> Decision {
        overlap.decide(&Misfire::RunOnce, &earlier(started, waiting), false, true)
    }

    fn earlier(started: u32, waiting: u32) -> Earlier {
        Earlier { all: started + waiting, waiting, first: FIRST, put_off_too_long: false }
    }

    #[test]
    fn each_policy_decides_by_the_runs_that_have_started_and_those_that_wait() {
        let behind_first = Skip(Skipped::EarlierRun(FIRST));
        for (overlap, started, waiting, decision) in [
            (Overlap::Skip, 1, 0, behind_first.clone()),
            (Overlap::Skip, 1, 1, behind_first),
            (Overlap::Skip, 0, 1, TakePlace),
            (Overlap::Queue(2), 1, 0, Join),
            (Overlap::Queue(2), 1, 1, Join),
            (Overlap::Queue(2), 1, 2, Skip(Skipped::TooManyWaiting(2))),
            (Overlap::Queue(2), 0, 1, Join),
            (Overlap::Allow(2), 1, 0, Join),
            (Overlap::Allow(2), 2, 0, Skip(Skipped::TooManyRunning(2))),
            (Overlap::Allow(2), 0, 2, TakePlace),
            (Overlap::Replace, 1, 0, Replace),
            (Overlap::Replace, 0, 3, TakePlace),
        ] {
            assert_eq!(beside(overlap, started, waiting), decision, "{overlap:?}, {started} started, {waiting} wait");
        }
    }

    #[test]
    fn without_a_link_the_newest_run_takes_the_place_of_queued_ones() {
        let without_link =
            |started, waiting| Overlap::Queue(2).decide(&Misfire::RunOnce, &earlier(started, waiting), false, false);
        assert_eq!((without_link(0, 1), without_link(1, 1)), (TakePlace, Join));
    }

    #[test]
    fn a_run_does_not_put_off_owed_steps_beyond_their_limit() {
        let put_off = Earlier { put_off_too_long: true, ..earlier(1, 0) };
        let decision = Overlap::Replace.decide(&Misfire::RunOnce, &put_off, false, true);
        assert_eq!(decision, Skip(Skipped::EarlierRun(FIRST)));
    }

    #[test]
    fn missed_runs_that_are_all_caught_up_wait_for_one_another() {
        let most = limits::RUNS_PER_JOB;
        for (started, waiting, is_late, decision) in [
            (1, 0, false, Skip(Skipped::EarlierRun(FIRST))),
            (1, 0, true, Join),
            (0, 1, false, Join),
            (0, most, false, Skip(Skipped::TooManyWaiting(most))),
        ] {
            assert_eq!(Overlap::Skip.decide(&Misfire::RunAll, &earlier(started, waiting), is_late, true), decision);
        }
    }

    #[test]
    fn a_run_of_a_group_joins_the_others() {
        let group = Misfire::LatestOfGroup(GroupName::parse("valves").unwrap());
        assert_eq!(Overlap::Skip.decide(&group, &earlier(1, 2), true, true), Join);
    }
}
