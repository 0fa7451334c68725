mod stories;

use expect_test::expect;
use roost_scheduler::{
    body::PackedJob,
    event::Override,
    model::{Job as Model, Policy, Qos},
    names::{DeviceName, JobId, Origin, PluginName, ResourceName, RunId},
    outcome::{
        Attempt, Cancelled, Cause, Denied, Failed, Late, Missed, MissedReason, Outcome, Several, Skipped, Success,
    },
    pause::{Level, Pauses},
    scheduler::{NextStep, Phase},
    time::Site,
    topic::{Grant, Topic},
    trigger::{CronCache, Dates, parse, parse_dates},
};

use super::{
    super::pauses::tests::{paused_by, until_resumed},
    *,
};
use crate::{
    calendars::{CalendarState, Source},
    store::{outcome_from_json, why_as_json},
    zones::zone,
};

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
        state: outcome.state(),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        started: matches!(outcome, Outcome::Succeeded(_)).then(|| at("2027-03-01T06:30:00.003Z")),
        ended: Some(at("2027-03-01T06:30:02Z")),
        attempts: Some(1),
        zone: None,
        note: None,
        why: why_as_json(outcome).unwrap(),
        label: None,
        messages: None,
        next: None,
    }
}

fn planned(trigger: &str) -> JobStatus {
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
        trigger: parse(trigger, &roost_scheduler::trigger::Context::at(at(DUE)), &mut CronCache::default()).unwrap(),
        action: roost_scheduler::model::Action::Steps([step].into()),
        policy: Policy::default(),
    };
    JobStatus {
        key: 0,
        plugin: name().0,
        device: name().1,
        site: site(),
        job: PackedJob::from(&job),
        next: NextRun::Due(at("2027-03-02T06:30:00Z")),
        origin: Origin::Trigger,
        watermark: at(DUE),
        job_override: Override::default(),
        pauses: Pauses::default(),
    }
}

fn until(end: &str) -> Pauses {
    Pauses::from_iter([paused_by(Level::Plugin, None, Some(at(end)))])
}

fn site() -> Site {
    Site { zone: zone("Europe/London"), location: roost_scheduler::time::Location::new(69.6, 18.9) }
}

fn facts(trigger: &str) -> Facts {
    Facts {
        grant: Some(Grant::default_for(&name().0)),
        has_device: true,
        error: None,
        replan_at: None,
        site: Some(site()),
        planned: Some(planned(trigger)),
        under_way: Vec::new(),
        is_linked: true,
        is_stopping: false,
        fault: None,
        rules: crate::config::rules::Rules::default(),
        calendars: Vec::new(),
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

/// Returns the job's run under way.
fn active(phase: Phase) -> RunStatus {
    RunStatus {
        id: format!("coop-door/north/open/{DUE}").parse().unwrap(),
        phase,
        start: at(DUE),
        started: None,
        grace_end: None,
        body: planned("every 1h").job.body,
        next: NextStep { step: 1, of: 1, due: at(DUE) },
        attempts: 0,
        last: None,
        held_by: None,
        holders: Vec::new(),
    }
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

/// All outcomes of a run.
#[allow(clippy::too_many_lines, reason = "a table")]
fn outcomes() -> Vec<Outcome> {
    let topic = || Topic::parse("barn/door").unwrap();
    let by = at("2027-03-01T06:45:00Z");
    let close = || JobId::parse("close").unwrap();
    let pump = || ResourceName::parse("pump").unwrap();
    vec![
        Outcome::Succeeded(Success::PLAIN),
        Outcome::Succeeded(Success { late: Some(Late { step: 2, late_ms: 90_000 }), ..Success::PLAIN }),
        Outcome::Succeeded(Success { no_subscriber: Some(2), ..Success::PLAIN }),
        failed(Attempt::NoSubscriber),
        failed(Attempt::LinkLost),
        failed(Attempt::HostStopped),
        failed(Attempt::Refused("not authorized".into())),
        failed(Attempt::EndedLink { topic: topic(), how: "the broker closed the connection".into() }),
        failed(Attempt::Overtaken),
        failed(Attempt::PossiblySent),
        failed(Attempt::Prevented("the subscription to the device's reports failed".into())),
        failed(Attempt::Unanswered("`run-task` said: zone 9".into())),
        failed(Attempt::NoReport { within_ms: 30_000, last_report: Some("OPENING".into()) }),
        too_late(Cause::HostAway),
        too_late(Cause::ClockSet),
        too_late(Cause::PlannedLate),
        too_late(Cause::LinkDown),
        too_late(Cause::Busy),
        too_late(Cause::OverRate { per_second: 1_000 }),
        too_late(Cause::EarlierRun),
        too_late(Cause::SlowPlugin),
        too_late(Cause::Taken(pump())),
        too_late(Cause::SubscribeFailed("not authorized".into())),
        too_late(Cause::HeldBack(topic())),
        missed(MissedReason::TooMany(1_000)),
        missed(MissedReason::Superseded { job: None, by }),
        missed(MissedReason::Superseded { job: Some(close()), by }),
        Outcome::Skipped(Skipped::EarlierRun(by)),
        Outcome::Skipped(Skipped::TooManyWaiting(3)),
        Outcome::Skipped(Skipped::TooManyRunning(2)),
        Outcome::Skipped(Skipped::Paused { by: until_resumed(Level::Plugin), several: None }),
        Outcome::Skipped(Skipped::Paused { by: until_resumed(Level::Device), several: None }),
        Outcome::Skipped(Skipped::Paused { by: until_resumed(Level::Job), several: None }),
        Outcome::Skipped(Skipped::Paused {
            by: paused_by(Level::All, None, Some(at("2027-03-02T08:00:00Z"))),
            several: None,
        }),
        Outcome::Skipped(Skipped::ByOperator),
        Outcome::Cancelled(Cancelled::DeviceRemoved),
        Outcome::Cancelled(Cancelled::PluginRemoved),
        Outcome::Cancelled(Cancelled::Replaced { by }),
        Outcome::Cancelled(Cancelled::NewerOfGroup { job: close(), by }),
        Outcome::Cancelled(Cancelled::JobCancelled),
        Outcome::Cancelled(Cancelled::JobReplaced),
        Outcome::Cancelled(Cancelled::Abandoned),
        Outcome::Cancelled(Cancelled::Restored),
    ]
}

fn denials() -> Vec<Outcome> {
    let topic = || Topic::parse("barn/door").unwrap();
    let pump = || ResourceName::parse("pump").unwrap();
    vec![
        Outcome::Denied(Denied::Topic(topic())),
        Outcome::Denied(Denied::HostTopic(Topic::parse("roost/set/x").unwrap())),
        Outcome::Denied(Denied::Report(topic())),
        Outcome::Denied(Denied::Resource(pump())),
        Outcome::Denied(Denied::Qos { topic: topic(), qos: Qos::ExactlyOnce, most: Qos::AtMostOnce }),
        Outcome::Denied(Denied::Retain(topic())),
        Outcome::Denied(Denied::NotGranted(pump())),
        Outcome::Denied(Denied::HoldTooLong { resource: pump(), hold_ms: 18_000_000, longest_ms: 14_400_000 }),
    ]
}

#[test]
fn every_outcome_and_every_reason_is_explained() {
    let mut sentences = String::new();
    for outcome in outcomes().into_iter().chain(denials()) {
        let explanation = explain(facts("cron 30 6 * * *"), Some(DUE), vec![run(&outcome)]);
        assert_eq!(explanation.verdict, outcome.state().as_str());
        assert_eq!(explanation.notes.last().unwrap(), "it is due next Tue 2027-03-02 06:30:00 GMT");
        sentences += &format!("{}\n", explanation.sentence);
        // The reason is also given as data, without loss.
        let why = explanation.run.unwrap().why;
        assert_eq!(why.is_none(), outcome == Outcome::Succeeded(Success::PLAIN), "{outcome}");
        assert!(why.is_none_or(|why| outcome_from_json(&why.to_string()) == Ok(outcome)));
    }
    expect![[r#"
        it ran: it was due Mon 2027-03-01 06:30:00 GMT, began on time, and ended Mon 2027-03-01 06:30:02 GMT
        it ran: it was due Mon 2027-03-01 06:30:00 GMT, began on time, and ended Mon 2027-03-01 06:30:02 GMT; step 2 was sent 1m30s late
        it ran: it was due Mon 2027-03-01 06:30:00 GMT, began on time, and ended Mon 2027-03-01 06:30:02 GMT; no device listens on the topic of step 2
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the broker accepted the message, and no device listens on its topic
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the connection was lost before the broker answered
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the host was stopped before the broker answered
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the broker refused the message: not authorized
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the broker ended the connection at the message to `barn/door`, which was alone on it: the broker closed the connection
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: a later step was due
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was possibly sent, and is not to be repeated; replay it if it did not arrive
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up: the subscription to the device's reports failed
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and the plugin was called 3 times for its messages: `run-task` said: zone 9
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the device did not confirm the step within 30s; its last report was `OPENING`
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: the host was not running, or the machine slept; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: the clock was set forward; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: it was planned only after it was due; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: there was no connection to the broker; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: the broker was busy with other runs; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: its plugin had more to send than its rate of 1000 messages a second allows; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: an earlier run had not ended; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: its plugin took too long to return its messages; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: `pump` was in use; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: the subscription to the device's reports failed: not authorized; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: messages to `barn/door` were held back, because the broker had ended the connection at one; it would have started 12m late, and its grace is 5m
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: the limit of waiting runs (1000) was reached
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: only the newest run, of Mon 2027-03-01 06:45:00 GMT, is caught up
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was missed: only the newest run of its group, `close` of Mon 2027-03-01 06:45:00 GMT, is caught up
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: the run of Mon 2027-03-01 06:45:00 GMT had not ended
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: the limit of waiting runs (3) was reached
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: the limit of simultaneous runs (2) was reached
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: its plugin was paused
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: its device was paused
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: its job was paused
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: everything was paused until Tue 2027-03-02 08:00:00 GMT (rain)
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was skipped: the operator requested it
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and its device was removed
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and its plugin was removed
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and the run of Mon 2027-03-01 06:45:00 GMT replaced it
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and a newer run of its group, `close` of Mon 2027-03-01 06:45:00 GMT, replaced it
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and its job was cancelled by hand
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and its job was replaced by hand
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and it was abandoned by hand
        it was cancelled before it began: it was due Mon 2027-03-01 06:30:00 GMT, and the database was restored from a backup that was made before the run ended; its messages may have been sent
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: publishing to `barn/door` is not granted
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: no job may publish to `roost/set/x`, because it is one of the host's own topics
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: reading `barn/door` is not granted
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: it needs `pump`, and no `[[resource]]` in the host's settings has that name
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: publishing to `barn/door` with QoS 2 is not granted, only up to 0
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: publishing a retained message to `barn/door` is not granted
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: it needs `pump`, and its plugin is not among the `plugins` of that `[[resource]]`
        it did not run: it was due Mon 2027-03-01 06:30:00 GMT, and was denied: it would hold `pump` for 5h, and a run may hold it for 4h
    "#]].assert_eq(&sentences);
}

#[test]
fn an_occurrence_is_found_in_the_record_that_covers_it() {
    let several = Some(Several { since: at("2027-02-25T06:30:00Z"), count: 5, more: false });
    let why = MissedReason::Superseded { job: None, by: at("2027-03-02T06:30:00Z") };
    let missed = run(&Outcome::Missed(Missed { why, several }));
    let paused = run(&Outcome::Skipped(Skipped::Paused { by: until_resumed(Level::Job), several }));
    let sentences = [missed, paused].map(|run| {
        let explanation = explain(facts("cron 30 6 * * *"), Some("2027-02-27T06:00:00Z"), vec![run]);
        assert_eq!(explanation.occurrence.as_deref(), Some("2027-02-27T06:30:00Z"));
        explanation.sentence
    });
    expect![[r#"
        it did not run: it was due Sat 2027-02-27 06:30:00 GMT, and was missed, one of 5 since Thu 2027-02-25 06:30:00 GMT: only the newest run, of Tue 2027-03-02 06:30:00 GMT, is caught up
        it did not run: it was due Sat 2027-02-27 06:30:00 GMT, and was skipped, one of 5 since Thu 2027-02-25 06:30:00 GMT: its job was paused"#]].assert_eq(&sentences.join("\n"));
}

#[test]
fn a_run_under_way_is_explained_by_what_it_waits_for() {
    let pump = Cause::Taken(ResourceName::parse("pump").unwrap());
    let hog = "greedy/greedy/hog/2027-03-01T11:00:00Z".parse().unwrap();
    let until = at("2027-03-01T12:05:00Z");
    let refused = Attempt::Refused("not\nauthorized".into());
    let waiting = || active(Phase::Waiting);
    let held = |cause| RunStatus { held_by: Some(cause), ..active(Phase::Held(Some(until))) };
    let grace = |end: &str| RunStatus { grace_end: Some(at(end)), ..waiting() };
    let cases = [
        (waiting(), false),
        (grace("2027-03-01T12:01:00Z"), false),
        (grace("2027-03-01T06:35:00Z"), false),
        (waiting(), true),
        (RunStatus { held_by: Some(Cause::OverRate { per_second: 5 }), ..grace("2027-03-01T12:01:00Z") }, true),
        (held(pump.clone()), true),
        (RunStatus { holders: vec![hog], ..held(pump) }, true),
        (RunStatus { grace_end: Some(until), ..held(Cause::EarlierRun) }, true),
        (active(Phase::Asking(1)), true),
        (active(Phase::Confirming(until)), true),
        (RunStatus { attempts: 2, last: Some(refused), ..active(Phase::Pausing(until)) }, true),
        (active(Phase::Resting(until)), true),
    ];
    let mut shown = String::new();
    for (run, is_linked) in cases {
        let (phase, under_way) = (run.phase.as_str(), vec![run]);
        let explanation = explain(Facts { under_way, is_linked, ..facts("cron 30 6 * * *") }, None, vec![]);
        assert_eq!(explanation.verdict, "running");
        assert_eq!(explanation.run.unwrap().run, format!("coop-door/north/open/{DUE}"));
        shown += &format!("{phase}: {}\n", explanation.sentence);
        explanation.notes.iter().for_each(|note| shown += &format!("  note: {note}\n"));
    }
    expect![[r#"
        waiting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message waits for the connection to the broker, which is down
          note: it is due next Tue 2027-03-02 06:30:00 GMT
          note: there is no connection to the broker now
        waiting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message waits for the connection to the broker, which is down; it will be missed if the connection is not back by Mon 2027-03-01 12:01:00 GMT
          note: it is due next Tue 2027-03-02 06:30:00 GMT
          note: there is no connection to the broker now
        waiting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message waits for the connection to the broker, which is down; it had until Mon 2027-03-01 06:35:00 GMT to start, and will be missed when the connection is back
          note: it is due next Tue 2027-03-02 06:30:00 GMT
          note: there is no connection to the broker now
        waiting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message waits for its turn with the broker
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        waiting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message waits: its plugin has more to send than its rate of 5 messages a second allows; it will be missed if it cannot start by Mon 2027-03-01 12:01:00 GMT
          note: to allow a higher rate, raise `per_second` or `burst` in `[rates.plugins.coop-door]` of `roost.toml`, and restart Roost
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        held: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and it waits to start: `pump` is in use
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        held: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and it waits to start: `pump` is in use by `greedy/greedy/hog/2027-03-01T11:00:00Z`
          note: to abandon `greedy/greedy/hog/2027-03-01T11:00:00Z` would free it; the owed messages of that run would never be sent
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        held: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and it waits to start: an earlier run has not ended; it will be missed if it cannot start by Mon 2027-03-01 12:05:00 GMT
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        asking: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its plugin has been called and has not returned yet
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        confirming: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and the broker has accepted its message, and the device has until Mon 2027-03-01 12:05:00 GMT to confirm it
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        pausing: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message was attempted 2 times: the broker refused the message: not\nauthorized; the next attempt is Mon 2027-03-01 12:05:00 GMT
          note: it is due next Tue 2027-03-02 06:30:00 GMT
        resting: it has not ended: it was due Mon 2027-03-01 06:30:00 GMT, and its message is due Mon 2027-03-01 12:05:00 GMT
          note: it is due next Tue 2027-03-02 06:30:00 GMT
    "#]].assert_eq(&shown);
}

#[test]
fn an_occurrence_without_a_record_is_explained_by_the_plan_and_the_clock() {
    let daily = || facts("cron 30 6 * * *");
    let with = |change: fn(&mut JobStatus)| {
        let mut facts = daily();
        facts.planned.iter_mut().for_each(change);
        facts
    };
    let tomorrow = Some("2027-03-02T06:00:00Z");
    let in_june = |year: &str| explain(facts("sunrise"), Some(&format!("{year}-06-21T04:00:00Z")), vec![]);
    let explanations = [
        explain(daily(), tomorrow, vec![]),
        explain(with(|job| job.pauses = Pauses::from_iter([until_resumed(Level::Device)])), tomorrow, vec![]),
        explain(with(|job| job.pauses = until("2027-03-02T06:30:00.001Z")), tomorrow, vec![]),
        explain(with(|job| job.pauses = until("2027-03-02T06:30:00Z")), tomorrow, vec![]),
        explain(with(|job| job.job_override.skip = Some(at("2027-03-02T06:30:00Z"))), tomorrow, vec![]),
        explain(with(|job| job.watermark = Instant::MIN), None, vec![]),
        // No time is requested, and no run is recorded.
        explain(daily(), None, vec![]),
        explain(daily(), Some(DUE), vec![]),
        explain(facts("at 2027-06-01T06:00:00Z"), Some(DUE), vec![]),
        in_june("2027"),
        in_june("2026"),
        explain(Facts { planned: None, ..daily() }, None, vec![]),
        explain(Facts { planned: None, has_device: false, ..daily() }, None, vec![]),
        explain(Facts { planned: None, grant: None, ..daily() }, None, vec![]),
        explain(Facts { planned: None, grant: None, fault: Some((at(DUE), "torn".into())), ..daily() }, None, vec![]),
    ];
    let shown = explanations.map(|one| format!("{}: {}\n", one.verdict, one.sentence));
    expect![[r#"
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30)
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30), and will be skipped, because its device is paused
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30), and will be skipped, because its plugin is paused until Tue 2027-03-02 06:30:00 GMT (rain)
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30)
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30), and will be skipped, because the operator requested it
        undecided: it is waiting: it was due Mon 2027-03-01 06:30:00 GMT, 5h30m ago, and is being decided
        due: it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30); it was last due Mon 2027-03-01 06:30:00 GMT, and there is no record of that run: no run has been recorded yet
        forgotten: there is no record of a run due Mon 2027-03-01 06:30:00 GMT: no run has been recorded yet
        never: nothing was due within a day of Mon 2027-03-01 06:30:00 GMT; the nearest occurrence is Tue 2027-06-01 07:00:00 BST
        never: nothing is due within a day of Mon 2027-06-21 05:00:00 BST: that sun event does not occur at the device's location on that day; the nearest occurrence is Tue 2027-05-18 00:07:05 BST
        never: nothing was due within a day of Sun 2026-06-21 05:00:00 BST: that sun event did not occur at the device's location on that day; the nearest occurrence is Mon 2026-05-18 00:00:48 BST
        unknown: device `coop-door/north` has no job `open` in its plan
        unknown: plugin `coop-door` has no device `north`: see its settings
        unknown: there is no plugin `coop-door` in the plugin folder
        unknown: plugin `coop-door` does not run, because its file was refused Mon 2027-03-01 06:30:00 GMT: torn
    "#]].assert_eq(&shown.concat());
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

#[test]
fn an_occurrence_that_a_limit_to_days_leaves_out_is_named_with_its_clause() {
    let daily = "daily 06:30 on MON-FRI in MAR-MAY except 2027-03-03,2027-03-29..2027-04-02,holidays";
    let times = ["2027-03-06T06:00:00Z", "2027-03-03T07:00:00Z", "2027-03-31T05:30:00Z", "2027-02-26T06:30:00Z"];
    let shown = times.map(|time| {
        let explained = explain(facts(daily), Some(time), vec![]);
        let left_out = explained.left_out.as_ref().map(|left_out| format!("{} {}", left_out.date, left_out.by));
        format!("{}: {} ({})\n", explained.verdict, explained.sentence, left_out.unwrap_or_default())
    });
    expect![[r#"
        left-out: it is not due: left out by `on MON-FRI` on Sat 2027-03-06; on every day, it would be due Sat 2027-03-06 06:30:00 GMT (2027-03-06 on MON-FRI)
        left-out: it is not due: left out by `except 2027-03-03` on Wed 2027-03-03; on every day, it would be due Wed 2027-03-03 06:30:00 GMT (2027-03-03 except 2027-03-03)
        left-out: it is not due: left out by `except 2027-03-29..2027-04-02` on Wed 2027-03-31; on every day, it would be due Wed 2027-03-31 06:30:00 BST (2027-03-31 except 2027-03-29..2027-04-02)
        left-out: it was not due: left out by `in MAR-MAY` on Fri 2027-02-26; on every day, it would have been due Fri 2027-02-26 06:30:00 GMT (2027-02-26 in MAR-MAY)
    "#]].assert_eq(&shown.concat());
    // What is due, or was run, is nearer.
    for (time, verdict) in
        [("2027-03-05T06:00:00Z", "due"), ("2027-03-05T19:00:00Z", "left-out"), ("2027-03-05T18:00:00Z", "due")]
    {
        assert_eq!(explain(facts(daily), Some(time), vec![]).verdict, verdict, "{time}");
    }
    let found =
        explain(facts("daily 06:30 except 2027-03-01"), Some(DUE), vec![run(&Outcome::Succeeded(Success::default()))]);
    assert_eq!((found.verdict.as_str(), found.left_out.is_none()), ("succeeded", true));
    // The sun is up until after midnight, which belongs to the evening before.
    let sun = explain(facts("sunset +6h except 2027-03-05"), Some("2027-03-05T23:00:00Z"), vec![]);
    assert_eq!(sun.left_out.map(|left_out| left_out.date).as_deref(), Some("2027-03-05"), "{}", sun.sentence);
}

#[test]
fn what_is_wrong_with_a_calendar_of_the_job_is_noted() {
    let of = |name: &str, dates: Option<&[&str]>, fault: Option<&str>| CalendarState {
        name: roost_scheduler::names::CalendarName::parse(name).unwrap(),
        source: Source::File(format!("{name}.ics").into()),
        dates: dates.map(|dates| Dates::new(dates.iter().map(|date| parse_dates(date).unwrap()).collect())),
        as_of: None,
        fault: fault.map(|why| {
            Report::new(format!("the calendar `{name}` cannot be read")).cause(why).hint("correct the file")
        }),
        notes: vec!["line 3".into()],
    };
    let calendars = vec![
        of("empty", Some(&[]), None),
        of("broken", Some(&["2027-03-01"]), Some("no.ics:3: no")),
        of("good", Some(&["2027-03-01"]), None),
    ];
    let of_days = Facts { calendars, ..facts("daily 06:30 on good,empty,gone except broken,good") };
    expect![[r#"
        it is due next Tue 2027-03-02 06:30:00 GMT
        the calendar `broken` cannot be read
          caused by: no.ics:3: no
        hint: correct the file
        the calendar `empty` has no days
        there is no calendar `gone` in `roost.toml`, so it has no days"#]]
    .assert_eq(&explain(of_days, None, vec![]).notes.join("\n"));
}
