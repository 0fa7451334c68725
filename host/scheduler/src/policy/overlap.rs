//! The overlap policy: what becomes of a run that is due before earlier runs of its job have ended.

use super::{Misfire, Overlap, Policy};
use crate::{limits, outcome::Skipped, time::Instant};

/// The earlier runs of a job, of which there is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    /// Their number.
    pub(crate) all: u32,
    /// The number of those that have not started.
    pub(crate) waiting: u32,
    /// The occurrence of the first one.
    pub(crate) first: Instant,
    /// Whether the new run would put off owed steps that have been put off as long as allowed (I5).
    pub(crate) put_off_too_long: bool,
}

/// The decision on a run that meets earlier runs of its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It waits or runs beside them.
    Join,
    /// None of them has started, and it replaces them.
    TakePlace,
    /// It cuts them short.
    Replace,
    /// It is skipped.
    Skip(Skipped),
}

/// Applies the overlap policy to a run that is due before the earlier ones have ended, and the misfire policy to runs
/// that could not start. `is_late` states whether the run itself is late.
pub(crate) fn decide(policy: &Policy, earlier: &Earlier, is_late: bool, has_link: bool) -> Decision {
    if policy.group().is_some() {
        return Decision::Join;
    }
    let join_up_to = |most: u32| {
        if earlier.waiting < most { Decision::Join } else { Decision::Skip(Skipped::TooManyWaiting(most)) }
    };
    if policy.misfire == Misfire::RunAll && (is_late || earlier.waiting > 0) {
        // The earlier runs may belong to an earlier plan.
        return join_up_to(limits::RUNS_PER_JOB);
    }
    let queues = matches!(policy.overlap, Overlap::Queue(_)) && has_link;
    if earlier.waiting == earlier.all && !queues {
        return Decision::TakePlace;
    }
    match policy.overlap {
        Overlap::Queue(most) => join_up_to(most),
        Overlap::Allow(most) if earlier.all < most => Decision::Join,
        Overlap::Allow(most) => Decision::Skip(Skipped::TooManyRunning(most)),
        // I5: it would restart the time of the owed steps.
        Overlap::Replace if !earlier.put_off_too_long => Decision::Replace,
        Overlap::Replace | Overlap::Skip => Decision::Skip(Skipped::EarlierRun(earlier.first)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision::*, *};
    use crate::names::GroupName;

    const FIRST: Instant = Instant::from_millis(1_800_000_000_000).unwrap();

    /// Returns the decision beside some earlier runs, of which some have started.
    fn beside(overlap: Overlap, started: u32, waiting: u32) -> Decision {
        let policy = Policy { overlap, ..Policy::default() };
        decide(&policy, &earlier(started, waiting), false, true)
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
        let queue = Policy { overlap: Overlap::Queue(2), ..Policy::default() };
        assert_eq!(decide(&queue, &earlier(0, 1), false, false), TakePlace);
        assert_eq!(decide(&queue, &earlier(1, 1), false, false), Join);
    }

    #[test]
    fn a_run_does_not_put_off_owed_steps_beyond_their_limit() {
        let replace = Policy { overlap: Overlap::Replace, ..Policy::default() };
        let put_off = Earlier { put_off_too_long: true, ..earlier(1, 0) };
        assert_eq!(decide(&replace, &put_off, false, true), Skip(Skipped::EarlierRun(FIRST)));
    }

    #[test]
    fn missed_runs_that_are_all_caught_up_wait_for_one_another() {
        let run_all = Policy { misfire: Misfire::RunAll, ..Policy::default() };
        let most = limits::RUNS_PER_JOB;
        for (started, waiting, is_late, decision) in [
            (1, 0, false, Skip(Skipped::EarlierRun(FIRST))),
            (1, 0, true, Join),
            (0, 1, false, Join),
            (0, most, false, Skip(Skipped::TooManyWaiting(most))),
        ] {
            assert_eq!(decide(&run_all, &earlier(started, waiting), is_late, true), decision);
        }
    }

    #[test]
    fn a_run_of_a_group_joins_the_others() {
        let group = GroupName::parse("valves").unwrap();
        let grouped = Policy { misfire: Misfire::LatestOfGroup(group), ..Policy::default() };
        assert_eq!(decide(&grouped, &earlier(1, 2), true, true), Join);
    }
}
