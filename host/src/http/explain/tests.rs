mod stories;

use crate::zones::zone;
use roost_scheduler::{
    body::PackedJob,
    event::Override,
    model::{Job as Model, Policy, Qos},
    names::{DeviceName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{
        Attempt, Cancelled, Cause, Denied, Failed, Late, Level, Missed, MissedReason, Outcome, Several, Skipped,
        Success,
    },
    time::Site,
    topic::{Grant, Topic},
    trigger::{CronCache, parse},
};

use super::{facts::Progress, *};
use crate::store::{outcome_from_json, why_as_json};

const DUE: &str = "2027-03-01T06:30:00Z";

fn at(text: &str) -> Instant {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().into()
}

fn name() -> JobName {
    let plugin = PluginName::parse("coop-door").unwrap();
    (plugin, DeviceName::parse("north").unwrap(), JobId::parse("open").unwrap())
}

fn run(outcome: &Outcome) -> RunView {
    let reason = outcome.to_string();
    RunView {
        id: format!("coop-door/north/open/{DUE}").parse().unwrap(),
        state: outcome.word().into(),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        started: matches!(outcome, Outcome::Succeeded(_)).then(|| at("2027-03-01T06:30:00.003Z")),
        ended: Some(at("2027-03-01T06:30:02Z")),
        attempts: Some(1),
        zone: None,
        note: None,
        why: why_as_json(outcome).unwrap(),
        owed: None,
    }
}

fn planned(trigger: &str) -> Planned {
    let message = roost_scheduler::model::Message {
        topic: Topic::parse("coop-door/north/door/set").unwrap(),
        payload: b"OPEN".as_slice().into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: None,
    };
    let step = roost_scheduler::model::Step { after_ms: 0, message, once: false, confirm: None };
    let job = Model {
        id: name().2,
        label: None,
        trigger: parse(trigger, at(DUE), &mut CronCache::default()).unwrap(),
        action: roost_scheduler::model::Action::Steps([step].into()),
        policy: Policy::default(),
    };
    let (next, watermark) = (NextRun::Due(at("2027-03-02T06:30:00Z")), at(DUE));
    let (origin, job_override) = (Origin::Trigger, Override::default());
    Planned { job: PackedJob::from(&job), next, origin, watermark, job_override, paused: None }
}

fn facts(trigger: &str) -> Facts {
    Facts {
        grant: Some(Grant::default_for(&name().0)),
        has_device: true,
        error: None,
        replan_at: None,
        site: Some(Site { zone: zone("Europe/London"), location: roost_scheduler::time::Location::new(69.6, 18.9) }),
        planned: Some(planned(trigger)),
        under_way: Vec::new(),
        is_linked: true,
        is_stopping: false,
        fault: None,
        rules: crate::config::rules::Rules::default(),
    }
}

const NOON: &str = "2027-03-01T12:00:00Z";

/// Explains the job at a time, with these runs on disk.
fn explain(facts: Facts, time: Option<&str>, runs: Vec<RunView>) -> Explanation {
    explain_at(NOON, name(), facts, time, runs)
}

fn explain_at(now: &str, name: JobName, facts: Facts, time: Option<&str>, runs: Vec<RunView>) -> Explanation {
    let mut case = Case::new(name, facts, time.map(at), at(now), (zone("Europe/London"), 30));
    let (since, until) = case.window();
    let of_trigger = |run: &&RunView| run.id.origin.is_trigger();
    let nominal = case.nominal.ok();
    let behind = runs.iter().filter(of_trigger).filter(|run| nominal.is_some_and(|at| run.id.occurrence > at));
    case.disk = Around {
        of_occurrence: runs.iter().filter(of_trigger).find(|run| nominal == Some(run.id.occurrence)).cloned(),
        behind: behind.min_by_key(|run| run.id.occurrence).cloned(),
        oldest: runs.iter().map(|run| run.id.occurrence).min(),
        nearest: runs.into_iter().filter(|run| (since..until).contains(&run.id.moment())).collect(),
    };
    case.explain()
}

/// Returns a run that was started by hand at that time.
fn by_hand(when: &str, outcome: &Outcome) -> RunView {
    let run = run(outcome);
    let id = RunId { occurrence: at(when), origin: Origin::Manual { series: 0 }, ..run.id };
    let started = run.started.map(|_| at(when));
    RunView { id, started, ended: Some(at(when).plus_ms(40)), ..run }
}

fn progress(state: &'static str) -> Progress {
    let (held_by, holders, last, until, grace_end) = (None, Vec::new(), None, None, None);
    Progress { state, step: 1, of: 1, held_by, holders, attempts: 0, last, until, grace_end }
}

fn active(id: RunId, progress: Progress) -> ActiveRun {
    ActiveRun { id, started: None, progress }
}

fn missed(why: MissedReason) -> Outcome {
    Outcome::Missed(Missed { why, several: None })
}

fn too_late(cause: Cause) -> Outcome {
    missed(MissedReason::TooLate { late_ms: 720_000, grace_ms: 300_000, cause })
}

fn failed(last: Attempt) -> Outcome {
    Outcome::Failed(Failed { step: 1, attempts: 3, last })
}

/// All outcomes of a run, each with a text that the sentence must contain.
#[allow(clippy::too_many_lines, reason = "a table")]
fn outcomes() -> Vec<(Outcome, &'static str)> {
    let topic = || Topic::parse("barn/door").unwrap();
    let by = at("2027-03-01T06:45:00Z");
    let close = || JobId::parse("close").unwrap();
    let pump = || ResourceName::parse("pump").unwrap();
    vec![
        (Outcome::Succeeded(Success::PLAIN), ", began on time"),
        (
            Outcome::Succeeded(Success { late: Some(Late { step: 2, late_ms: 90_000 }), ..Success::PLAIN }),
            "step 2 was sent 1m30s late",
        ),
        (
            Outcome::Succeeded(Success { no_subscriber: Some(2), ..Success::PLAIN }),
            "; the broker had no subscriber for the topic of step 2",
        ),
        (failed(Attempt::NoSubscriber), "the broker accepted the message, and had no subscriber"),
        (failed(Attempt::LinkLost), "the connection was lost"),
        (failed(Attempt::HostStopped), "the host was stopped"),
        (failed(Attempt::Refused("not authorized".into())), "the broker refused the message: not authorized"),
        (
            failed(Attempt::EndedLink { topic: topic(), how: "the broker closed the connection".into() }),
            "the broker ended the connection at the message to `barn/door`, which was alone on it: the broker closed",
        ),
        (failed(Attempt::Overtaken), "a later step was due"),
        (
            failed(Attempt::PossiblySent),
            "was possibly sent, and is not to be repeated; if it did not arrive, `roost replay",
        ),
        (
            failed(Attempt::Prevented("the subscription to the device's reports failed".into())),
            "step 1 was given up: the subscription to the device's reports failed",
        ),
        (
            failed(Attempt::Unanswered("`run-task` said: zone 9".into())),
            "called 3 times for its messages: `run-task` said",
        ),
        (
            failed(Attempt::NoReport { within_ms: 30_000, last_report: Some("OPENING".into()) }),
            "its last report was `OPENING`",
        ),
        (
            too_late(Cause::HostAway),
            "the host was not running, or the machine slept; it would have started 12m late, and its grace is 5m",
        ),
        (too_late(Cause::ClockSet), "the clock was set forward"),
        (too_late(Cause::PlannedLate), "it was planned only after it was due"),
        (too_late(Cause::LinkDown), "there was no connection to the broker"),
        (too_late(Cause::Busy), "the broker was busy"),
        (too_late(Cause::OverRate { per_second: 1_000 }), "more to send than its rate of 1000 messages"),
        (too_late(Cause::EarlierRun), "an earlier run had not ended"),
        (too_late(Cause::SlowPlugin), "its plugin took too long to return its messages"),
        (too_late(Cause::Taken(pump())), "`pump` was in use"),
        (too_late(Cause::SubscribeFailed("not authorized".into())), "reports failed: not authorized"),
        (too_late(Cause::HeldBack(topic())), "messages to `barn/door` were held back"),
        (missed(MissedReason::TooMany(1_000)), "the limit of waiting runs (1000) was reached"),
        (
            missed(MissedReason::Superseded { job: None, by }),
            "the run of Mon 2027-03-01 06:45:00 GMT was due as well, and only the newest missed run is caught up",
        ),
        (
            missed(MissedReason::Superseded { job: Some(close()), by }),
            "`close` of Mon 2027-03-01 06:45:00 GMT was due as well, and only the newest missed run of their group",
        ),
        (Outcome::Skipped(Skipped::EarlierRun(by)), "had not ended"),
        (Outcome::Skipped(Skipped::TooManyWaiting(3)), "the limit of waiting runs (3) was reached"),
        (Outcome::Skipped(Skipped::TooManyRunning(2)), "the limit of simultaneous runs (2) was reached"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Plugin, several: None }), "its plugin was paused"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Device, several: None }), "its device was paused"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Job, several: None }), "its job was paused"),
        (Outcome::Skipped(Skipped::ByOperator), "was skipped: the operator requested it"),
        (Outcome::Cancelled(Cancelled::DeviceRemoved), "its device was removed"),
        (Outcome::Cancelled(Cancelled::PluginRemoved), "its plugin was removed"),
        (Outcome::Cancelled(Cancelled::Replaced { by }), "replaced it"),
        (Outcome::Cancelled(Cancelled::NewerOfGroup { job: close(), by }), "a newer run of its group, `close`"),
        (Outcome::Cancelled(Cancelled::JobCancelled), "its job was cancelled by hand"),
        (Outcome::Cancelled(Cancelled::JobReplaced), "its job was replaced by hand"),
        (Outcome::Cancelled(Cancelled::Abandoned), "it was abandoned by hand"),
        (Outcome::Cancelled(Cancelled::Restored), "restored from a backup"),
    ]
}

fn denials() -> Vec<(Outcome, &'static str)> {
    let topic = || Topic::parse("barn/door").unwrap();
    let pump = || ResourceName::parse("pump").unwrap();
    vec![
        (Outcome::Denied(Denied::Topic(topic())), "may not publish to `barn/door`"),
        (Outcome::Denied(Denied::Report(topic())), "may not read `barn/door`"),
        (Outcome::Denied(Denied::Resource(pump())), "it needs `pump`"),
        (
            Outcome::Denied(Denied::Qos { topic: topic(), qos: Qos::ExactlyOnce, most: Qos::AtMostOnce }),
            "its plugin may not publish to `barn/door` with QoS 2, only up to 0",
        ),
        (Outcome::Denied(Denied::Retain(topic())), "its plugin may not publish a retained message to `barn/door`"),
        (Outcome::Denied(Denied::NotGranted(pump())), "it needs `pump`, and its plugin is not among the `plugins`"),
        (
            Outcome::Denied(Denied::HoldTooLong { resource: pump(), hold_ms: 18_000_000, longest_ms: 14_400_000 }),
            "it would hold `pump` for 5h, and a run may hold it for 4h",
        ),
    ]
}

#[test]
fn every_outcome_and_every_reason_is_explained() {
    for (outcome, expected) in outcomes().into_iter().chain(denials()) {
        let explanation = explain(facts("cron 30 6 * * *"), Some(DUE), vec![run(&outcome)]);
        assert_eq!(explanation.verdict, outcome.word());
        assert!(explanation.sentence.contains(expected), "{}\n  does not contain\n{expected}", explanation.sentence);
        assert!(explanation.sentence.contains("it was due Mon 2027-03-01 06:30:00 GMT"), "{}", explanation.sentence);
        assert_eq!(explanation.notes.last().unwrap(), "it is due next Tue 2027-03-02 06:30:00 GMT");
        assert!(!explanation.sentence.contains('\n'), "{}", explanation.sentence);
        let (sentence, _) = explanation.sentence.split_once("`roost replay").unwrap_or((&explanation.sentence, ""));
        assert!(!sentence.contains("T06:"), "a time that is not local: {sentence}");
        // The reason is also given as data, without loss.
        let why = explanation.run.unwrap().why;
        assert_eq!(why.is_none(), outcome == Outcome::Succeeded(Success::PLAIN), "{outcome}");
        assert!(why.is_none_or(|why| outcome_from_json(&why.to_string()) == Ok(outcome)));
    }
}

#[test]
fn an_occurrence_is_found_in_the_record_that_covers_it() {
    let several = Some(Several { since: at("2027-02-25T06:30:00Z"), count: 5, more: false });
    let why = MissedReason::Superseded { job: None, by: at("2027-03-02T06:30:00Z") };
    let missed = run(&Outcome::Missed(Missed { why, several }));
    let paused = run(&Outcome::Skipped(Skipped::Paused { what: Level::Job, several }));
    for run in [missed, paused] {
        let explanation = explain(facts("cron 30 6 * * *"), Some("2027-02-27T06:00:00Z"), vec![run]);
        assert_eq!(explanation.occurrence.as_deref(), Some("2027-02-27T06:30:00Z"));
        assert!(explanation.sentence.contains("it was due Sat 2027-02-27 06:30:00 GMT"), "{}", explanation.sentence);
        assert!(
            explanation.sentence.contains(", one of 5 since Thu 2027-02-25 06:30:00 GMT: "),
            "{}",
            explanation.sentence
        );
    }
}

#[test]
fn a_run_under_way_is_explained_by_what_it_waits_for() {
    let pump = Cause::Taken(ResourceName::parse("pump").unwrap());
    let hog = "greedy/greedy/hog/2027-03-01T11:00:00Z".parse().unwrap();
    let until = Some(at("2027-03-01T12:05:00Z"));
    let refused = Attempt::Refused("not\nauthorized".into());
    let with = |state, change: fn(&mut Progress)| {
        let mut progress = Progress { until, ..progress(state) };
        change(&mut progress);
        progress
    };
    let grace = |end: &str| Progress { grace_end: Some(at(end)), ..progress("waiting") };
    let cases = [
        (progress("waiting"), false, "its message waits for the connection to the broker, which is down"),
        (
            grace("2027-03-01T12:01:00Z"),
            false,
            "which is down; it will be missed if the connection is not back by Mon 2027-03-01 12:01:00 GMT",
        ),
        (
            grace("2027-03-01T06:35:00Z"),
            false,
            "it had until Mon 2027-03-01 06:35:00 GMT to start, and will be missed when the connection is back",
        ),
        (progress("waiting"), true, "its message waits for its turn with the broker"),
        (
            Progress { held_by: Some(Cause::OverRate { per_second: 5 }), ..grace("2027-03-01T12:01:00Z") },
            true,
            "its message waits: its plugin has more to send than its rate of 5 messages a second allows; it will be missed if \
             it cannot start by Mon 2027-03-01 12:01:00 GMT",
        ),
        (Progress { held_by: Some(pump.clone()), ..progress("held") }, true, "it waits to start: `pump` is in use"),
        (
            Progress { held_by: Some(pump), holders: vec![hog], ..progress("held") },
            true,
            "it waits to start: `pump` is in use by `greedy/greedy/hog/2027-03-01T11:00:00Z`",
        ),
        (
            with("held", |run| {
                (run.held_by, run.grace_end) = (Some(Cause::EarlierRun), Some(at("2027-03-01T12:05:00Z")));
            }),
            true,
            "an earlier run has not ended; it will be missed if it cannot start by Mon 2027-03-01 12:05:00 GMT",
        ),
        (progress("asking"), true, "its plugin has been called and has not returned yet"),
        (with("confirming", |_| {}), true, "has until Mon 2027-03-01 12:05:00 GMT to confirm it"),
        (
            Progress { attempts: 2, last: Some(refused), ..with("pausing", |_| {}) },
            true,
            "was attempted 2 times: the broker refused the message: not\\nauthorized; the next attempt is",
        ),
        (with("resting", |_| {}), true, "its message is due Mon 2027-03-01 12:05:00 GMT"),
    ];
    for (progress, is_linked, expected) in cases {
        let under_way = vec![active(run(&Outcome::Succeeded(Success::PLAIN)).id, progress)];
        let explanation = explain(Facts { under_way, is_linked, ..facts("cron 30 6 * * *") }, None, vec![]);
        assert_eq!(explanation.verdict, "running");
        assert!(explanation.sentence.contains(expected), "{}\n  does not contain\n{expected}", explanation.sentence);
        assert_eq!(explanation.notes.iter().any(|note| note.contains("no connection")), !is_linked);
        assert_eq!(explanation.run.unwrap().run, format!("coop-door/north/open/{DUE}"));
    }
}

#[test]
fn an_occurrence_without_a_record_is_explained_by_the_plan_and_the_clock() {
    let daily = || facts("cron 30 6 * * *");
    let with = |change: fn(&mut Planned)| {
        let mut facts = daily();
        facts.planned.iter_mut().for_each(change);
        facts
    };
    let tomorrow = Some("2027-03-02T06:00:00Z");
    let cases = [
        (daily(), tomorrow, "due", "it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT"),
        (
            with(|job| job.paused = Some(Level::Device)),
            tomorrow,
            "due",
            "will be skipped, because its device is paused",
        ),
        (
            with(|job| job.job_override.skip = Some(at("2027-03-02T06:30:00Z"))),
            tomorrow,
            "due",
            "because the operator requested it",
        ),
        (with(|job| job.watermark = Instant::MIN), None, "undecided", "5h30m ago, and is being decided"),
        // No time is requested, and no run is recorded.
        (
            daily(),
            None,
            "due",
            "it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT; it was last due Mon 2027-03-01",
        ),
        (daily(), Some(DUE), "forgotten", "no run has been recorded yet"),
        (facts("at 2027-06-01T06:00:00Z"), Some(DUE), "never", "the nearest occurrence is Tue 2027-06-01 07:00:00 BST"),
        (facts("sunrise"), Some("2027-06-21T04:00:00Z"), "never", "nothing is due within a day of Mon 2027-06-21"),
        (
            facts("sunrise"),
            Some("2027-06-21T04:00:00Z"),
            "never",
            "that sun event does not occur at the device's location on that day",
        ),
        (facts("sunrise"), Some("2026-06-21T04:00:00Z"), "never", "nothing was due within a day of Sun 2026-06-21"),
        (
            facts("sunrise"),
            Some("2026-06-21T04:00:00Z"),
            "never",
            "that sun event did not occur at the device's location on that day",
        ),
        (Facts { planned: None, ..daily() }, None, "unknown", "device `coop-door/north` has no job `open`"),
        (Facts { planned: None, has_device: false, ..daily() }, None, "unknown", "has no device `north`"),
        (Facts { planned: None, grant: None, ..daily() }, None, "unknown", "there is no plugin `coop-door`"),
        (
            Facts { planned: None, grant: None, fault: Some((at(DUE), "torn".into())), ..daily() },
            None,
            "unknown",
            "its file was refused Mon 2027-03-01 06:30:00 GMT: torn",
        ),
    ];
    for (facts, time, verdict, expected) in cases {
        let explanation = explain(facts, time, vec![]);
        assert!(explanation.sentence.contains(expected), "{}\n  does not contain\n{expected}", explanation.sentence);
        assert_eq!(explanation.verdict, verdict, "{}", explanation.sentence);
    }
}

#[test]
fn notes_mention_a_failing_plugin_and_a_removed_job() {
    let failing = Facts {
        error: Some("`schedule-jobs` trapped".into()),
        replan_at: Some(at("2027-03-01T12:01:00Z")),
        ..facts("cron 30 6 * * *")
    };
    let explanation = explain(failing, Some(DUE), vec![run(&Outcome::Succeeded(Success::PLAIN))]);
    assert_eq!(
        explanation.notes[0],
        "the device's newest plan was refused: `schedule-jobs` trapped; a new plan is requested Mon \
         2027-03-01 12:01:00 GMT"
    );
    let outdated = Facts { fault: Some((at(DUE), "it trapped".into())), ..facts("cron 30 6 * * *") };
    let explanation = explain(outdated, Some(DUE), vec![run(&Outcome::Succeeded(Success::PLAIN))]);
    assert_eq!(
        explanation.notes[0],
        "its plugin runs in its previous version, because the newest files were refused Mon 2027-03-01 06:30:00 GMT: it trapped"
    );
    let gone = Facts { planned: None, ..facts("cron 30 6 * * *") };
    let explanation = explain(gone, None, vec![run(&Outcome::Cancelled(Cancelled::DeviceRemoved))]);
    assert_eq!(explanation.verdict, "cancelled");
}
