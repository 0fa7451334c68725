use roost_scheduler::{
    model::{Job as Model, Policy, Qos},
    names::{DeviceName, JobId, PluginName, ResourceName},
    outcome::{Attempt, Cancelled, Cause, Denied, Failed, Late, Missed, Outcome, Several, Skipped, Why},
    topic::Topic,
    trigger::{Patterns, parse},
};

use super::*;
use crate::store::why_as_json;

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
        trigger: parse(trigger, at(DUE), &mut Patterns::default()).unwrap(),
        action: roost_scheduler::model::Action::Steps([step].into()),
        policy: Policy::default(),
    };
    let (next, watermark) = (NextRun::Due(at("2027-03-02T06:30:00Z")), at(DUE));
    Planned { job: PackedJob::from(&job), next, watermark, wish: Wish::default(), paused: None }
}

fn facts(trigger: &str) -> Facts {
    Facts {
        has_plugin: true,
        has_device: true,
        error: None,
        replan_at: None,
        site: Some(Site { zone: Tz::Europe__London, location: roost_scheduler::time::Location::new(69.6, 18.9) }),
        planned: Some(planned(trigger)),
        under_way: Vec::new(),
        is_linked: true,
        is_stopping: false,
        fault: None,
    }
}

/// What is told of the job at a time, where that is on disk.
fn told(facts: Facts, wanted: Option<&str>, before: Vec<RunView>, after: Option<RunView>) -> Explanation {
    let (wanted, now) = (wanted.map(at), at("2027-03-01T12:00:00Z"));
    let nominal = facts.nominal(wanted.unwrap_or(now), wanted.is_none(), &mut Sky::default());
    let zone = Tz::Europe__London;
    Case { name: name(), facts, at: wanted, now, zone, kept_days: 30, nominal, before, after }.explain()
}

fn missed(why: Why) -> Outcome {
    Outcome::Missed(Missed { why, several: None })
}

fn too_late(cause: Cause) -> Outcome {
    missed(Why::TooLate { late_ms: 720_000, grace_ms: 300_000, cause })
}

fn failed(last: Attempt) -> Outcome {
    Outcome::Failed(Failed { step: 1, attempts: 3, last })
}

/// Everything that can become of a run, and a word that the sentence must have.
fn outcomes() -> Vec<(Outcome, &'static str)> {
    let by = at("2027-03-01T06:45:00Z");
    let topic = || Topic::parse("barn/door").unwrap();
    let close = || JobId::parse("close").unwrap();
    let pump = || ResourceName::parse("pump").unwrap();
    vec![
        (Outcome::Succeeded(None), "it began on time"),
        (Outcome::Succeeded(Some(Late { step: 2, late_ms: 90_000 })), "step 2 was sent 1m30s late"),
        (failed(Attempt::LinkLost), "the connection was lost"),
        (failed(Attempt::HostStopped), "the host was stopped"),
        (failed(Attempt::Refused("not authorized".into())), "the broker refused the message: not authorized"),
        (failed(Attempt::Overtaken), "the time of a later step had come"),
        (failed(Attempt::PossiblySent), "was possibly sent, and is not to be repeated"),
        (
            failed(Attempt::Prevented("the device's reports could not be listened to".into())),
            "could not be listened to",
        ),
        (
            failed(Attempt::Unanswered("`run-task` said: zone 9".into())),
            "asked 3 times what to publish: `run-task` said",
        ),
        (
            failed(Attempt::NoReport { within_ms: 30_000, said: Some("OPENING".into()) }),
            "its last report was `OPENING`",
        ),
        (too_late(Cause::HostAway), "the host was not running, or the machine slept; it would have started 12m late"),
        (too_late(Cause::ClockSet), "the clock was set forward"),
        (too_late(Cause::PlannedLate), "it was planned only after it was due"),
        (too_late(Cause::LinkDown), "there was no connection to the broker"),
        (too_late(Cause::Busy), "the broker was busy"),
        (too_late(Cause::EarlierRun), "an earlier run had not ended"),
        (too_late(Cause::SlowPlugin), "its plugin took too long to say what to publish"),
        (too_late(Cause::Taken(pump())), "`pump` was taken"),
        (too_late(Cause::Deaf("not authorized".into())), "could not be listened to: not authorized"),
        (missed(Why::TooMany(1_000)), "as many runs as may wait (1000)"),
        (missed(Why::Superseded { job: None, by }), "only the newest one, of 2027-03-01T06:45:00Z"),
        (missed(Why::Superseded { job: Some(close()), by }), "only the newest one of its group, `close`"),
        (Outcome::Skipped(Skipped::Earlier(by)), "had not ended"),
        (Outcome::Skipped(Skipped::Waiting(3)), "as many runs as may wait (3)"),
        (Outcome::Skipped(Skipped::GoingOn(2)), "as many runs as may go on at once (2)"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Plugin, several: None }), "its plugin was paused"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Device, several: None }), "its device was paused"),
        (Outcome::Skipped(Skipped::Paused { what: Level::Job, several: None }), "its job was paused"),
        (Outcome::Skipped(Skipped::Unwanted), "somebody wanted this one to be left out"),
        (Outcome::Cancelled(Cancelled::DeviceRemoved), "its device was removed"),
        (Outcome::Cancelled(Cancelled::PluginRemoved), "its plugin was removed"),
        (Outcome::Cancelled(Cancelled::Replaced { by }), "replaced it"),
        (Outcome::Cancelled(Cancelled::NewerOfGroup { job: close(), by }), "a newer run of its group, `close`"),
        (Outcome::Cancelled(Cancelled::JobCancelled), "somebody cancelled its job"),
        (Outcome::Cancelled(Cancelled::JobReplaced), "somebody put another job in the place of its own"),
        (Outcome::Cancelled(Cancelled::Abandoned), "somebody abandoned it"),
        (Outcome::Cancelled(Cancelled::Restored), "restored from a backup"),
        (Outcome::Denied(Denied::Topic(topic())), "may not publish to `barn/door`"),
        (Outcome::Denied(Denied::Report(topic())), "may not read `barn/door`"),
        (Outcome::Denied(Denied::Resource(pump())), "it needs `pump`"),
    ]
}

#[test]
fn every_outcome_and_every_reason_can_be_asked_for() {
    for (outcome, expected) in outcomes() {
        let told = told(facts("cron 30 6 * * *"), Some(DUE), vec![run(&outcome)], None);
        assert_eq!(told.verdict, outcome.word());
        assert!(told.sentence.contains(expected), "{}\n  does not contain\n{expected}", told.sentence);
        assert!(told.sentence.contains("it was due Mon 2027-03-01 06:30:00 GMT"), "{}", told.sentence);
        assert_eq!(told.notes, ["it is due next Tue 2027-03-02 06:30:00 GMT"]);
        // The reason is there as data, too.
        let why = told.run.unwrap().why;
        assert_eq!(why.is_none(), outcome == Outcome::Succeeded(None), "{outcome}");
    }
}

#[test]
fn one_of_several_is_found_in_what_stands_for_them() {
    let several = Some(Several { since: at("2027-02-25T06:30:00Z"), count: 5, more: false });
    let why = Why::Superseded { job: None, by: at("2027-03-02T06:30:00Z") };
    let missed = run(&Outcome::Missed(Missed { why, several }));
    let paused = run(&Outcome::Skipped(Skipped::Paused { what: Level::Job, several }));
    for run in [missed, paused] {
        let told = told(facts("cron 30 6 * * *"), Some("2027-02-27T06:00:00Z"), vec![], Some(run));
        assert_eq!(told.occurrence.as_deref(), Some("2027-02-27T06:30:00Z"));
        assert!(told.sentence.contains("it was due Sat 2027-02-27 06:30:00 GMT"), "{}", told.sentence);
        assert!(told.sentence.contains("5 "), "{}", told.sentence);
    }
}

#[test]
fn what_has_not_ended_says_what_it_waits_for() {
    let progress = |state, held_by: Option<&str>| Progress {
        state,
        step: 1,
        of: 1,
        held_by: held_by.map(str::to_owned),
        attempts: 2,
        last: Some("the broker refused the message: not authorized".into()),
        until: Some(at("2027-03-01T12:05:00Z")),
    };
    let cases = [
        (progress("waiting", None), false, "its message waits for the connection to the broker, which is not there"),
        (progress("waiting", None), true, "its message waits for its turn with the broker"),
        (progress("held", Some("`pump` was taken")), true, "it waits to start: `pump` was taken"),
        (progress("asking", None), true, "its plugin is being asked what to publish"),
        (progress("confirming", None), true, "has until Mon 2027-03-01 12:05:00 GMT to report that it did so"),
        (
            progress("pausing", None),
            true,
            "was tried 2 times: the broker refused the message: not authorized; that is done again",
        ),
        (progress("resting", None), true, "its message is due Mon 2027-03-01 12:05:00 GMT"),
    ];
    for (progress, is_linked, expected) in cases {
        let under_way = vec![(at(DUE), Origin::Trigger, progress)];
        let told = told(Facts { under_way, is_linked, ..facts("cron 30 6 * * *") }, None, vec![], None);
        assert_eq!(told.verdict, "running");
        assert!(told.sentence.contains(expected), "{}\n  does not contain\n{expected}", told.sentence);
        assert_eq!(told.notes.iter().any(|note| note.contains("no connection")), !is_linked);
    }
}

#[test]
fn what_nothing_is_recorded_of_is_explained_by_the_plan_and_the_clock() {
    let daily = || facts("cron 30 6 * * *");
    let with = |change: fn(&mut Planned)| {
        let mut facts = daily();
        facts.planned.iter_mut().for_each(change);
        facts
    };
    let tomorrow = Some("2027-03-02T06:00:00Z");
    let cases = [
        (daily(), tomorrow, "due", "it has not come yet: it is due Tue 2027-03-02 06:30:00 GMT"),
        (with(|job| job.paused = Some(Level::Device)), tomorrow, "due", "will be left out, for its device is paused"),
        (with(|job| job.wish.skip = Some(at("2027-03-02T06:30:00Z"))), tomorrow, "due", "for somebody wants that"),
        (with(|job| job.watermark = Instant::MIN), None, "undecided", "5h30m ago, and is just being decided"),
        (daily(), Some(DUE), "forgotten", "most likely the job was first planned"),
        (daily(), Some("2026-03-01T06:30:00Z"), "forgotten", "is kept for 30 days"),
        (facts("at 2027-06-01T06:00:00Z"), Some(DUE), "never", "the nearest time is Tue 2027-06-01 07:00:00 BST"),
        (facts("sunrise"), Some("2027-06-21T04:00:00Z"), "never", "the sun did not do that on that day"),
        (Facts { planned: None, ..daily() }, None, "unknown", "device `coop-door/north` has no job `open`"),
        (Facts { planned: None, has_device: false, ..daily() }, None, "unknown", "has no device `north`"),
        (Facts { planned: None, has_plugin: false, ..daily() }, None, "unknown", "there is no plugin `coop-door`"),
        (
            Facts { planned: None, has_plugin: false, fault: Some((at(DUE), "torn".into())), ..daily() },
            None,
            "unknown",
            "its file was refused Mon 2027-03-01 06:30:00 GMT: torn",
        ),
    ];
    for (facts, wanted, verdict, expected) in cases {
        let told = told(facts, wanted, vec![], None);
        assert!(told.sentence.contains(expected), "{}\n  does not contain\n{expected}", told.sentence);
        assert_eq!(told.verdict, verdict, "{}", told.sentence);
    }
}

#[test]
fn a_plugin_that_fails_and_a_job_that_has_gone_are_told() {
    let failing = Facts {
        error: Some("`schedule-jobs` trapped".into()),
        replan_at: Some(at("2027-03-01T12:01:00Z")),
        ..facts("cron 30 6 * * *")
    };
    let told_of = told(failing, Some(DUE), vec![run(&Outcome::Succeeded(None))], None);
    assert_eq!(
        told_of.notes[0],
        "the device keeps an older plan, for the newest one was refused: `schedule-jobs` trapped; it is asked again Mon \
         2027-03-01 12:01:00 GMT"
    );
    let outdated = Facts { fault: Some((at(DUE), "it trapped".into())), ..facts("cron 30 6 * * *") };
    let told_of = told(outdated, Some(DUE), vec![run(&Outcome::Succeeded(None))], None);
    assert_eq!(
        told_of.notes[0],
        "its plugin goes on as it was, for its newest files were refused Mon 2027-03-01 06:30:00 GMT: it trapped"
    );
    let gone = Facts { planned: None, ..facts("cron 30 6 * * *") };
    let told_of = told(gone, None, vec![run(&Outcome::Cancelled(Cancelled::DeviceRemoved))], None);
    assert_eq!(told_of.verdict, "cancelled");
}
