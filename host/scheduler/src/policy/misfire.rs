//! The misfire policy: which occurrences are caught up if several have passed, and when.

use super::{Misfire, Overlap, Policy};
use crate::{limits, time::Instant};

/// The decision on a job of which several occurrences have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The newest is admitted; the others are superseded by it.
    AdmitNewest,
    /// The oldest is admitted; the others follow one by one.
    AdmitOldest,
    /// All are recorded as missed: too many runs of the job wait already.
    TooManyRuns,
    /// Those up to an instant are recorded as missed: they are certainly beyond their grace.
    TooLate(Instant),
}

/// Decides on a job of which several occurrences have passed, the second one at `second`, and which has some runs that
/// have not ended.
pub(crate) fn decide(policy: &Policy, runs: usize, second: Option<Instant>, now: Instant) -> Decision {
    if policy.misfire != Misfire::RunAll {
        return Decision::AdmitNewest;
    }
    if runs >= limits::RUNS_PER_JOB as usize {
        return Decision::TooManyRuns;
    }
    let in_time = now.plus_ms(-i64::from(policy.grace_ms) - i64::from(policy.jitter_ms) - 1);
    if second.is_none_or(|second| second > in_time) { Decision::AdmitOldest } else { Decision::TooLate(in_time) }
}

/// The runs of a job that have not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unended {
    /// Whether there is one that has not started.
    pub(crate) any_waits: bool,
    /// Whether all of them wait for their plugin's rate.
    pub(crate) all_wait_for_rate: bool,
}

/// Returns whether a due occurrence waits until an earlier run of its job has ended: if all missed runs are caught up,
/// they run one after the other, and runs that are due while an earlier one waits for its plugin's rate wait with it.
/// Until then, the occurrence is part of its job, costs nothing and blocks no other run (I7).
pub(crate) fn waits(policy: &Policy, unended: Unended, is_late: bool) -> bool {
    match policy.misfire {
        // A plugin that is over its rate costs no more than the messages it sends. Later occurrences are decided
        // together.
        Misfire::RunOnce => unended.all_wait_for_rate && !matches!(policy.overlap, Overlap::Queue(_)),
        Misfire::RunAll => is_late || unended.any_waits,
        Misfire::LatestOfGroup(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::GroupName;

    const NOW: Instant = Instant::from_millis(1_800_000_000_000).unwrap();

    fn group() -> Misfire {
        Misfire::LatestOfGroup(GroupName::parse("valves").unwrap())
    }

    #[test]
    fn of_several_passed_occurrences_the_newest_is_admitted_or_all_in_their_grace() {
        let most = limits::RUNS_PER_JOB as usize;
        let before = |ms: i64| Some(NOW.plus_ms(-ms));
        let in_time = NOW.plus_ms(-60_001);
        for (misfire, runs, second, decision) in [
            (Misfire::RunOnce, 0, before(1), Decision::AdmitNewest),
            (Misfire::RunOnce, most, before(1), Decision::AdmitNewest),
            (group(), 0, before(86_400_000), Decision::AdmitNewest),
            (Misfire::RunAll, 0, None, Decision::AdmitOldest),
            (Misfire::RunAll, most - 1, before(60_000), Decision::AdmitOldest),
            (Misfire::RunAll, most, before(60_000), Decision::TooManyRuns),
            (Misfire::RunAll, 0, before(60_001), Decision::TooLate(in_time)),
        ] {
            let policy = Policy { misfire, grace_ms: 60_000, ..Policy::default() };
            assert_eq!(decide(&policy, runs, second, NOW), decision, "{:?}, {runs} runs, {second:?}", policy.misfire);
        }
        let jittered = Policy { misfire: Misfire::RunAll, grace_ms: 60_000, jitter_ms: 500, ..Policy::default() };
        assert_eq!(decide(&jittered, 0, before(60_001), NOW), Decision::AdmitOldest, "it may start later");
    }

    #[test]
    fn an_occurrence_waits_for_earlier_runs_that_are_caught_up_or_over_the_rate() {
        let queue = Overlap::Queue(3);
        for (misfire, overlap, any_waits, all_wait_for_rate, is_late, does_wait) in [
            (Misfire::RunOnce, Overlap::Skip, true, false, true, false),
            (Misfire::RunOnce, Overlap::Skip, true, true, false, true),
            (Misfire::RunOnce, queue, true, true, false, false),
            (Misfire::RunAll, Overlap::Skip, false, false, false, false),
            (Misfire::RunAll, Overlap::Skip, true, false, false, true),
            (Misfire::RunAll, queue, false, false, true, true),
            (group(), Overlap::Skip, true, true, true, false),
        ] {
            let policy = Policy { misfire, overlap, ..Policy::default() };
            let unended = Unended { any_waits, all_wait_for_rate };
            assert_eq!(waits(&policy, unended, is_late), does_wait, "{policy:?}, {unended:?}, late: {is_late}");
        }
    }
}
