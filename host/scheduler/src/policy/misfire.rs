//! The misfire policy: which occurrences are caught up if several have passed, and when.

use std::fmt;

use crate::{
    limits,
    names::{GroupName, NameError},
    packing::encoded_enum,
    time::Instant,
};

/// Which runs are caught up, of those that could not start when they were due. In a draft, the group is a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misfire<Group = GroupName> {
    /// The newest, if it is within its grace.
    #[default]
    RunOnce,
    /// All that are within their grace, one after the other.
    RunAll,
    /// Only the newest run of all jobs of the device in this group, however late.
    LatestOfGroup(Group),
}

encoded_enum! { Misfire { 0 RunOnce {}, 1 RunAll {}, 2 LatestOfGroup { 0: group } } }

/// Writes it as it is in the contract, with the name of its group: `latest-of-group door`.
impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunOnce => f.write_str("run-once"),
            Self::RunAll => f.write_str("run-all"),
            Self::LatestOfGroup(group) => write!(f, "latest-of-group {group}"),
        }
    }
}

impl Misfire<String> {
    /// Parses the name of the group.
    pub(crate) fn parse(self) -> Result<Misfire, NameError> {
        Ok(match self {
            Self::RunOnce => Misfire::RunOnce,
            Self::RunAll => Misfire::RunAll,
            Self::LatestOfGroup(name) => Misfire::LatestOfGroup(GroupName::parse(&name)?),
        })
    }
}

impl Misfire {
    /// Writes it for users: `all missed runs are caught up`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::RunOnce => "the latest missed run is caught up".to_owned(),
            Self::RunAll => "all missed runs are caught up".to_owned(),
            Self::LatestOfGroup(group) => format!("only the latest missed run of group `{group}` is caught up"),
        }
    }

    /// Returns the group, if there is one.
    pub(crate) const fn group(&self) -> Option<&GroupName> {
        if let Self::LatestOfGroup(group) = self { Some(group) } else { None }
    }

    /// Decides on a job of which several occurrences have passed, the second one at `second`, and which has some runs
    /// that have not ended. A run that is due at `too_late` is certainly beyond its grace.
    pub(crate) fn decide(&self, runs: usize, second: Option<Instant>, too_late: Instant) -> Decision {
        if *self != Self::RunAll {
            Decision::AdmitNewest
        } else if runs >= limits::RUNS_PER_JOB as usize {
            Decision::TooManyRuns
        } else if second.is_some_and(|second| second <= too_late) {
            Decision::TooLate
        } else {
            Decision::AdmitOldest
        }
    }

    /// Returns whether a due occurrence waits until an earlier run of its job has ended: if all missed runs are caught
    /// up, they run one after the other, and runs that are due while an earlier one waits for its plugin's rate wait with
    /// it. Until then, the occurrence is part of its job, costs nothing and blocks no other run (I7).
    pub(crate) const fn waits(&self, unended: Unended, is_late: bool) -> bool {
        match self {
            // A plugin that is over its rate costs no more than the messages it sends. Later occurrences are decided
            // together.
            Self::RunOnce => unended.all_wait_for_rate && !unended.queue,
            Self::RunAll => is_late || unended.any_waits,
            Self::LatestOfGroup(_) => false,
        }
    }
}

/// The decision on a job of which several occurrences have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The newest is admitted; the others are superseded by it.
    AdmitNewest,
    /// The oldest is admitted; the others follow one by one.
    AdmitOldest,
    /// All are recorded as missed: too many runs of the job wait already.
    TooManyRuns,
    /// Those that are too late are recorded as missed.
    TooLate,
}

/// The runs of a job that have not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unended {
    /// Whether there is one that has not started.
    pub(crate) any_waits: bool,
    /// Whether all of them wait for their plugin's rate.
    pub(crate) all_wait_for_rate: bool,
    /// Whether each of them waits for its own turn.
    pub(crate) queue: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(1_800_000_000_000).unwrap();

    fn group() -> Misfire {
        Misfire::LatestOfGroup(GroupName::parse("valves").unwrap())
    }

    #[test]
    fn of_several_passed_occurrences_the_newest_is_admitted_or_all_in_their_grace() {
        let most = limits::RUNS_PER_JOB as usize;
        let before = |ms: i64| Some(NOW.plus_ms(-ms));
        let too_late = NOW.plus_ms(-60_001);
        for (misfire, runs, second, decision) in [
            (Misfire::RunOnce, 0, before(1), Decision::AdmitNewest),
            (Misfire::RunOnce, most, before(1), Decision::AdmitNewest),
            (group(), 0, before(86_400_000), Decision::AdmitNewest),
            (Misfire::RunAll, 0, None, Decision::AdmitOldest),
            (Misfire::RunAll, most - 1, before(60_000), Decision::AdmitOldest),
            (Misfire::RunAll, most, before(60_000), Decision::TooManyRuns),
            (Misfire::RunAll, 0, before(60_001), Decision::TooLate),
        ] {
            assert_eq!(misfire.decide(runs, second, too_late), decision, "{misfire:?}, {runs} runs, {second:?}");
        }
    }

    #[test]
    fn an_occurrence_waits_for_earlier_runs_that_are_caught_up_or_over_the_rate() {
        for (misfire, queue, any_waits, all_wait_for_rate, is_late, does_wait) in [
            (Misfire::RunOnce, false, true, false, true, false),
            (Misfire::RunOnce, false, true, true, false, true),
            (Misfire::RunOnce, true, true, true, false, false),
            (Misfire::RunAll, false, false, false, false, false),
            (Misfire::RunAll, false, true, false, false, true),
            (Misfire::RunAll, true, false, false, true, true),
            (group(), false, true, true, true, false),
        ] {
            let unended = Unended { any_waits, all_wait_for_rate, queue };
            assert_eq!(misfire.waits(unended, is_late), does_wait, "{misfire:?}, {unended:?}, late: {is_late}");
        }
    }
}
