//! Tests of misfire policies, overlap policies and resources.

use roost_scheduler::names::GroupName;

use super::*;

fn accepted(change: impl FnOnce(&mut wit::Policy)) -> Policy {
    let list = vec![with_policy(change)];
    converted(list, None, false).unwrap_or_else(|invalid| panic!("{invalid}")).remove(0).policy
}

fn overlapping(overlap: wit::Overlap) -> wit::Job {
    with_policy(|of| of.overlap = Some(overlap))
}

fn in_group(name: &str, overlap: Option<wit::Overlap>) -> wit::Job {
    with_policy(|of| (of.misfire, of.overlap) = (Some(wit::Misfire::LatestOfGroup(name.into())), overlap))
}

#[test]
fn every_policy_is_converted() {
    for (proposed, expected) in [
        (wit::Overlap::Skip, Overlap::Skip),
        (wit::Overlap::Queue(1), Overlap::Queue(1)),
        (wit::Overlap::Queue(1_000), Overlap::Queue(1_000)),
        (wit::Overlap::Allow(2), Overlap::Allow(2)),
        (wit::Overlap::Allow(1_000), Overlap::Allow(1_000)),
        (wit::Overlap::Replace, Overlap::Replace),
    ] {
        assert_eq!(accepted(|of| of.overlap = Some(proposed)).overlap, expected);
    }
    let door = || GroupName::parse("door").unwrap();
    for (proposed, expected) in [
        (wit::Misfire::RunOnce, Misfire::RunOnce),
        (wit::Misfire::RunAll, Misfire::RunAll),
        (wit::Misfire::LatestOfGroup("door".into()), Misfire::LatestOfGroup(door())),
    ] {
        assert_eq!(accepted(|of| of.misfire = Some(proposed)).misfire, expected);
    }
    assert_eq!(accepted(|of| of.needs = Some("pump".into())).needs, Some(ResourceName::parse("pump").unwrap()));
    assert_eq!(accepted(|_| {}), Policy::default());
}

#[test]
fn errors_name_each_violated_range_of_a_policy() {
    for (job, expected) in [
        (overlapping(wit::Overlap::Queue(0)), "`policy.overlap.queue` 0: it must be 1 to 1,000"),
        (overlapping(wit::Overlap::Queue(1_001)), "`policy.overlap.queue` 1001: it must be 1 to 1,000"),
        (overlapping(wit::Overlap::Allow(0)), "`policy.overlap.allow` 0: it must be 2 to 1,000"),
        (overlapping(wit::Overlap::Allow(1)), "`policy.overlap.allow` 1: it must be 2 to 1,000"),
        (overlapping(wit::Overlap::Allow(1_001)), "`policy.overlap.allow` 1001: it must be 2 to 1,000"),
        (in_group("", None), "`policy.misfire.latest-of-group`: `` is not a group name: "),
        (in_group("a door", None), "`policy.misfire.latest-of-group`: `a door` is not a group name: "),
        (with_policy(|of| of.needs = Some("a pump".into())), "`policy.needs`: `a pump` is not a resource name: "),
    ] {
        let error = refusal(job);
        assert!(error.starts_with(&format!("job `open`: {expected}")), "{error}\n  does not begin with\n{expected}");
    }
}

#[test]
fn a_job_of_a_group_can_neither_queue_nor_allow_overlapping_runs() {
    for overlap in [wit::Overlap::Queue(1), wit::Overlap::Allow(2)] {
        let error = converted(vec![in_group("door", Some(overlap))], None, false).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("job `open`: `policy.overlap` with `latest-of-group`: "), "{error}");
        assert!(error.ends_with("leave `overlap` out"), "{error}");
    }
    for overlap in [wit::Overlap::Skip, wit::Overlap::Replace] {
        assert!(converted(vec![in_group("door", Some(overlap))], None, false).is_ok());
    }
}

#[test]
fn the_hint_for_an_unknown_resource_has_the_lines_that_add_it() {
    let error = converted(vec![with_policy(|of| of.needs = Some("well".into()))], None, false).unwrap_err();
    assert_eq!(error.to_string(), "job `open`: `policy.needs`: there is no resource `well`");
    assert_eq!(
        error.hint.as_deref(),
        Some(
            "to allow it, put this into `roost.toml`, and start Roost again:\n[[resource]]\nname = \"well\"\n\
             capacity = 1\nplugins = [\"coop-door\"]"
        )
    );
}

#[test]
fn the_hint_for_a_resource_that_may_not_be_held_has_the_lines_that_allow_it() {
    let needing = |name: &str, after_ms| {
        let policy = wit::Policy { needs: Some(name.into()), ..no_policy() };
        wit::Job { action: wit::Action::Steps(vec![step(0), step(after_ms)]), policy: Some(policy), ..job("open") }
    };
    let error = |job| {
        let invalid = converted(vec![job], None, false).unwrap_err();
        (invalid.to_string(), invalid.hint.unwrap().to_string())
    };
    assert_eq!(
        error(needing("spring", 0)),
        (
            "job `open`: `policy.needs`: a job of `coop-door` may not hold `spring`: its `plugins` do not name \
             `coop-door`"
                .into(),
            "to allow it, make its entry in `roost.toml` this, and start Roost again:\n[[resource]]\nname = \
             \"spring\"\ncapacity = 1\nplugins = [\"sprinkler\", \"coop-door\"]"
                .into()
        )
    );
    assert_eq!(
        error(needing("pump", 49 * 86_400_000)),
        (
            "job `open`: `policy.needs`: its steps would hold `pump` for 49d, and a run may hold it for 4h".into(),
            "to allow it, make its entry in `roost.toml` this, and start Roost again:\n[[resource]]\nname = \"pump\"\n\
             capacity = 1\nplugins = [\"coop-door\"]\nlongest_hold = \"49d\""
                .into()
        )
    );
    assert!(converted(vec![needing("pump", 14_400_000)], None, false).is_ok());
}
