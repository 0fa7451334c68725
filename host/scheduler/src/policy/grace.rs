//! The grace: how late a run may start. The newest run of a group may start however late.

use super::Policy;
use crate::time::Instant;

/// Returns when a run's grace ends, if it has one: from then on it does not start.
pub(crate) fn end(policy: &Policy, start: Instant) -> Option<Instant> {
    let has_grace = policy.group().is_none();
    has_grace.then(|| start.plus_ms(i64::from(policy.grace_ms) + 1))
}

/// Returns whether it is too late for a run to start.
pub(crate) fn is_over(policy: &Policy, start: Instant, now: Instant) -> bool {
    end(policy, start).is_some_and(|end| end <= now)
}

/// Returns an instant at which no run can have been due that may start now, with any jitter.
pub(crate) fn too_late(policy: &Policy, now: Instant) -> Instant {
    now.plus_ms(-i64::from(policy.grace_ms) - i64::from(policy.jitter_ms) - 1)
}

#[cfg(test)]
mod tests {
    use super::super::Misfire;
    use super::*;
    use crate::names::GroupName;

    #[test]
    fn a_run_may_start_up_to_its_grace_and_the_newest_of_a_group_at_any_time() {
        let start = Instant::from_millis(1_800_000_000_000).unwrap();
        let job = Policy { grace_ms: 5_000, ..Policy::default() };
        let group = GroupName::parse("valves").unwrap();
        let grouped = Policy { misfire: Misfire::LatestOfGroup(group), ..job.clone() };
        for (policy, late_ms, is_late) in [
            (&job, -1, false),
            (&job, 0, false),
            (&job, 5_000, false),
            (&job, 5_001, true),
            (&grouped, 5_001, false),
            (&grouped, 86_400_000, false),
        ] {
            assert_eq!(is_over(policy, start, start.plus_ms(late_ms)), is_late, "{late_ms} ms after the start");
        }
        let jittered = Policy { jitter_ms: 500, ..job };
        assert_eq!(too_late(&jittered, start), start.plus_ms(-5_501), "it may have started 500 ms later");
    }
}
