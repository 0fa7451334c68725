//! Which run is explained, and which hints are given.

use expect_test::expect;
use roost_scheduler::model::Resource;

use super::*;
use crate::config::rules::Rules;

#[test]
fn the_nearest_run_by_hand_is_explained_whether_it_has_ended_or_not() {
    let daily = || facts("cron 30 6 * * *");
    let times: Vec<String> = (0..14).map(|n| format!("2027-03-01T11:00:{:02}Z", n * 2)).collect();
    let runs = || times.iter().map(|when| by_hand(when, &Outcome::Succeeded(Success::PLAIN))).collect::<Vec<_>>();
    for when in &times {
        let explanation = explain(daily(), Some(when), runs());
        assert_eq!(explanation.verdict, "succeeded");
        assert_eq!(explanation.run.unwrap().run, format!("coop-door/north/open/{when}/manual"));
        let local = when.replace('T', " ").replace('Z', " GMT");
        let expected = format!("it ran: it was started by hand Mon {local}, began at once");
        assert!(explanation.sentence.starts_with(&expected), "{}", explanation.sentence);
    }
    // A run under way.
    let id = RunId { occurrence: at("2027-03-01T11:00:03Z"), ..runs()[0].id.clone() };
    let with_one = || Facts { under_way: vec![RunStatus { id: id.clone(), ..active(Phase::Sent(1)) }], ..daily() };
    let explanation = explain(with_one(), Some("2027-03-01T11:00:03Z"), runs());
    assert_eq!(
        (explanation.verdict.as_str(), explanation.occurrence.as_deref()),
        ("running", Some("2027-03-01T11:00:03Z"))
    );
    let explanation = explain(with_one(), Some("2027-03-01T11:00:04Z"), runs());
    assert_eq!(
        (explanation.verdict.as_str(), explanation.occurrence.as_deref()),
        ("succeeded", Some("2027-03-01T11:00:04Z"))
    );
    // The run of the trigger, if it is nearer.
    let of_trigger = || [runs(), vec![run(&Outcome::Succeeded(Success::PLAIN))]].concat();
    assert_eq!(explain(daily(), Some("2027-03-01T08:00:00Z"), of_trigger()).occurrence.as_deref(), Some(DUE));
    // The last run, whatever its origin.
    let explanation = explain(daily(), None, of_trigger());
    assert_eq!(explanation.occurrence.as_deref(), Some("2027-03-01T11:00:26Z"));
    let of_yesterday = vec![
        by_hand("2027-02-28T11:00:00Z", &Outcome::Succeeded(Success::PLAIN)),
        run(&Outcome::Succeeded(Success::PLAIN)),
    ];
    assert_eq!(explain(daily(), None, of_yesterday).occurrence.as_deref(), Some(DUE));
    // Also for a job that has never been due.
    let explanation = explain(facts("at 2027-06-01T06:00:00Z"), None, runs());
    assert_eq!(explanation.occurrence.as_deref(), Some("2027-03-01T11:00:26Z"));
}

#[test]
fn a_replay_is_suggested_for_a_failed_run_only_if_it_is_possible() {
    let daily = || facts("cron 30 6 * * *");
    let failed = || run(&failed(Attempt::LinkLost));
    let again = RunId { origin: Origin::Replay { at: at("2027-03-01T11:00:00Z"), series: 0 }, ..failed().id };
    let sentence = |facts: Facts| explain(facts, Some(DUE), vec![failed()]).sentence;
    let unadvised = sentence(Facts { is_stopping: true, ..daily() });
    let advised = |facts: Facts| sentence(facts) != unadvised;
    expect![[r#"
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the connection was lost before the broker answered
        it failed: it was due Mon 2027-03-01 06:30:00 GMT, and step 1 was given up after 3 attempts: the connection was lost before the broker answered"#]].assert_eq(&[&unadvised[..], &sentence(daily())].join("\n"));
    assert!(!advised(Facts { grant: None, has_device: false, planned: None, ..daily() }));
    assert!(!advised(Facts { has_device: false, planned: None, ..daily() }));
    assert!(!advised(Facts { under_way: vec![RunStatus { id: again.clone(), ..active(Phase::Sent(1)) }], ..daily() }));
    // The replay has a time of its own.
    let ended = RunView {
        id: again,
        started: Some(at("2027-03-01T11:00:00.100Z")),
        ..run(&Outcome::Succeeded(Success::PLAIN))
    };
    let [last, at_that_time] =
        [None, Some("2027-03-01T11:00:00Z")].map(|time| explain(daily(), time, vec![failed(), ended.clone()]).sentence);
    assert_eq!(last, at_that_time);
    expect!["it ran: it was due Mon 2027-03-01 06:30:00 GMT, was replayed by hand Mon 2027-03-01 11:00:00 GMT, began at once, and ended Mon 2027-03-01 06:30:02 GMT"].assert_eq(&last);
    assert_eq!(explain(daily(), Some(DUE), vec![failed(), ended]).verdict, "failed");
}

#[test]
fn a_past_occurrence_that_has_not_started_is_explained_by_its_start_or_its_skip() {
    let jittery = |change: fn(&mut JobStatus)| {
        let mut facts = facts("cron 30 6 * * *");
        facts.planned.iter_mut().for_each(|planned| {
            let mut job = Model::from(&planned.job);
            job.policy.jitter_ms = 30_000;
            (planned.job, planned.watermark) = (PackedJob::from(&job), Instant::MIN);
            planned.next = NextRun::Due(at(DUE));
            change(planned);
        });
        facts
    };
    let soon = |change| explain_at("2027-03-01T06:30:00.600Z", name(), jittery(change), None, vec![]);
    let explanation = soon(|_| {});
    assert_eq!(explanation.verdict, "undecided");
    assert_eq!(explanation.notes, ["it is due next Tue 2027-03-02 06:30:00 GMT"]);
    let skipped = soon(|planned| planned.job_override.skip = Some(at(DUE)));
    let paused = soon(|planned| planned.pauses = Pauses::from_iter([until_resumed(Level::Job)]));
    expect![[r#"
        it has not started yet: it was due Mon 2027-03-01 06:30:00 GMT (every day at 06:30), and starts Mon 2027-03-01 06:30:19 GMT, because its runs are spread over 30s
        it has not started yet: it was due Mon 2027-03-01 06:30:00 GMT (every day at 06:30), and will be skipped, because the operator requested it
        it has not started yet: it was due Mon 2027-03-01 06:30:00 GMT (every day at 06:30), and will be skipped, because its job is paused"#]].assert_eq(&[&explanation, &skipped, &paused].map(|one| one.sentence.as_str()).join("\n"));
    expect![[r#"
        its job is paused now
        it is due next Tue 2027-03-02 06:30:00 GMT, and will be skipped then, because its job is paused"#]]
    .assert_eq(&paused.notes.join("\n"));
    // The start is also given in advance.
    let before = explain_at("2027-03-01T06:00:00Z", name(), jittery(|_| {}), Some(DUE), vec![]);
    let starts = |explanation: &Explanation| explanation.sentence.split_once("and starts").unwrap().1.to_owned();
    assert!(before.sentence.starts_with("it has not run yet: it is due "), "{}", before.sentence);
    assert_eq!(starts(&before), starts(&explanation));
}

#[test]
fn a_cancelled_run_is_explained_by_whether_it_had_begun() {
    let cancelled = run(&Outcome::Cancelled(Cancelled::Abandoned));
    let begun = RunView { started: Some(at("2027-03-01T06:30:01Z")), ..cancelled.clone() };
    let sentence = |run| explain(facts("cron 30 6 * * *"), Some(DUE), vec![run]).sentence;
    let due = "it was due Mon 2027-03-01 06:30:00 GMT";
    assert_eq!(sentence(cancelled), format!("it was cancelled before it began: {due}, and it was abandoned by hand"));
    assert_eq!(
        sentence(begun),
        format!(
            "it was cancelled under way: {due}, began Mon 2027-03-01 06:30:01 GMT, and then it was abandoned by hand"
        )
    );
}

#[test]
fn a_missing_record_is_explained_by_the_history_that_is_kept() {
    let run = || run(&Outcome::Succeeded(Success::PLAIN));
    let sentence = |time: &str, runs| {
        let explanation = explain(facts("cron 30 6 * * *"), Some(time), runs);
        assert_eq!(explanation.verdict, "forgotten");
        explanation.sentence
    };
    let older = RunView { id: RunId { occurrence: at("2026-06-01T06:30:00Z"), ..run().id }, ..run() };
    let sentences = [
        sentence("2027-02-01T06:30:00Z", vec![run()]),
        sentence("2026-07-01T06:30:00Z", vec![run()]),
        sentence("2026-07-01T06:30:00Z", vec![older.clone()]),
        sentence("2027-02-20T06:30:00Z", vec![older]),
        explain(facts("cron 30 6 * * *"), None, vec![]).sentence,
    ];
    expect![[r#"
        there is no record of a run due Mon 2027-02-01 06:30:00 GMT: the oldest recorded run was due Mon 2027-03-01 06:30:00 GMT
        there is no record of a run due Wed 2026-07-01 06:30:00 BST: the oldest recorded run was due Mon 2027-03-01 06:30:00 GMT, and outcomes are kept for 30 days
        there is no record of a run due Wed 2026-07-01 06:30:00 BST: outcomes are kept for 30 days
        there is no record of a run due Sat 2027-02-20 06:30:00 GMT: most likely the job was planned or its trigger changed after that, or an older backup was restored
        it has not run yet: it is due Tue 2027-03-02 06:30:00 GMT (every day at 06:30); it was last due Mon 2027-03-01 06:30:00 GMT, and there is no record of that run: no run has been recorded yet"#]].assert_eq(&sentences.join("\n"));
}

#[test]
fn hints_are_notes() {
    let hint =
        "to allow it, put this into `plugins/coop-door.toml`:\n[grants]\npublish = [\"coop-door/#\", \"barn/door\"]";
    let why = format!("task `open`: `topic` `barn/door` is outside what `coop-door` may publish to\n{hint}");
    let explanation =
        explain(facts("cron 30 6 * * *"), Some(DUE), vec![run(&failed(Attempt::Unanswered(why.clone())))]);
    expect!["it failed: it was due Mon 2027-03-01 06:30:00 GMT, and the plugin was called 3 times for its messages: task `open`: `topic` `barn/door` is outside what `coop-door` may publish to"].assert_eq(&explanation.sentence);
    assert_eq!(explanation.notes[0], hint);
    let last = Some(Attempt::Unanswered(why.clone()));
    let under_way = vec![RunStatus { last, attempts: 1, ..active(Phase::Pausing(at(DUE))) }];
    let explanation = explain(Facts { under_way, ..facts("cron 30 6 * * *") }, Some(DUE), vec![]);
    assert!(!explanation.sentence.contains('\n') && explanation.notes[0] == hint, "{explanation:?}");
    let failing = Facts { error: Some(why), ..facts("cron 30 6 * * *") };
    let explanation = explain(failing, Some(DUE), vec![run(&Outcome::Succeeded(Success::PLAIN))]);
    assert!(
        explanation.notes[0].ends_with("is outside what `coop-door` may publish to") && explanation.notes[1] == hint
    );
    // So are the settings that allow what was denied.
    let denied = run(&Outcome::Denied(Denied::Topic(Topic::parse("barn/door").unwrap())));
    let explanation = explain(facts("cron 30 6 * * *"), Some(DUE), vec![denied]);
    assert!(explanation.sentence.ends_with("was denied: publishing to `barn/door` is not granted"));
    assert_eq!(explanation.notes[0], hint);
    let pump = ResourceName::parse("pump").unwrap();
    let denied = run(&Outcome::Denied(Denied::NotGranted(pump.clone())));
    let rules = Rules { resources: [(pump, Resource::new(1))].into(), ..Rules::default() };
    let explanation = explain(Facts { rules, ..facts("cron 30 6 * * *") }, Some(DUE), vec![denied]);
    assert!(
        explanation.notes[0].ends_with("capacity = 1\nplugins = [\"api\", \"coop-door\"]"),
        "{}",
        explanation.notes[0]
    );
}

#[test]
fn a_denial_of_an_ad_hoc_job_names_the_grant_of_the_api() {
    let of_host = PluginName::host();
    let name = (of_host.clone(), DeviceName::parse("api").unwrap(), name().2);
    let facts = Facts { grant: Some(Grant::new(vec![], vec![])), ..facts("cron 30 6 * * *") };
    let run = run(&Outcome::Denied(Denied::Report(Topic::parse("z/c").unwrap())));
    let run = RunView { id: RunId { plugin: of_host, device: name.1.clone(), ..run.id }, ..run };
    let explanation = explain_at(NOON, name, facts, Some(DUE), vec![run]);
    let expected = "was denied: reading `z/c` is not granted";
    assert!(explanation.sentence.ends_with(expected), "{}", explanation.sentence);
    assert!(
        explanation.notes[0].ends_with("`roost.toml`:\n[grants.api]\nsubscribe = [\"z/c\"]"),
        "{}",
        explanation.notes[0]
    );
}

#[test]
fn without_a_time_the_run_under_way_is_explained_or_the_last_one_known_or_the_next() {
    let daily = || facts("cron 30 6 * * *");
    let of_last_week = || RunView {
        id: "coop-door/north/open/2027-02-22T06:30:00Z".parse().unwrap(),
        ..run(&Outcome::Succeeded(Success::PLAIN))
    };
    let about = |facts: Facts, runs| {
        let explanation = explain(facts, None, runs);
        format!("{} {}", explanation.verdict, explanation.occurrence.unwrap_or_default())
    };
    // An earlier run is under way, and the newer one was skipped because of it.
    let id = RunId { occurrence: at("2027-03-01T05:30:00Z"), ..of_last_week().id };
    let under_way = vec![RunStatus { id, ..active(Phase::Sent(1)) }];
    let skipped = run(&Outcome::Skipped(Skipped::EarlierRun(at("2027-03-01T05:30:00Z"))));
    assert_eq!(about(Facts { under_way, ..daily() }, vec![skipped]), "running 2027-03-01T05:30:00Z");
    // The newest occurrence has no record, because the trigger has changed since.
    assert_eq!(about(daily(), vec![of_last_week()]), "succeeded 2027-02-22T06:30:00Z");
    // It is being decided.
    let mut undecided = daily();
    undecided.planned.iter_mut().for_each(|planned| planned.watermark = Instant::MIN);
    assert_eq!(about(undecided, vec![of_last_week()]), "undecided 2027-03-01T06:30:00Z");
    assert_eq!(about(daily(), vec![]), "due 2027-03-02T06:30:00Z");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn remedies_are_requests_of_the_api() {
    let daily = || facts("cron 30 6 * * *");
    let with = |change: fn(&mut JobStatus)| {
        let mut facts = daily();
        facts.planned.iter_mut().for_each(change);
        facts
    };
    let hog = "greedy/greedy/hog/2027-03-01T11:00:00Z".parse().unwrap();
    let pump = Cause::Taken(ResourceName::parse("pump").unwrap());
    let held = RunStatus { held_by: Some(pump), holders: vec![hog], ..active(Phase::Held(None)) };
    let pausing = RunStatus { attempts: 2, last: Some(Attempt::LinkLost), ..active(Phase::Pausing(at(NOON))) };
    let denied = || run(&Outcome::Denied(Denied::Topic(Topic::parse("coop-door/north/door/set").unwrap())));
    let forbidden = || run(&Outcome::Denied(Denied::Topic(Topic::parse("barn/door").unwrap())));
    let tomorrow = Some("2027-03-02T06:30:00Z");
    let explanations = [
        explain(daily(), Some(DUE), vec![run(&Outcome::Succeeded(Success::PLAIN))]),
        explain(daily(), Some(DUE), vec![run(&failed(Attempt::LinkLost))]),
        explain(Facts { is_stopping: true, ..daily() }, Some(DUE), vec![run(&failed(Attempt::LinkLost))]),
        explain(daily(), Some(DUE), vec![run(&too_late(Cause::HostAway))]),
        explain(daily(), Some(DUE), vec![denied()]),
        explain(daily(), Some(DUE), vec![forbidden()]),
        explain(
            with(|job| job.pauses = Pauses::from_iter([until_resumed(Level::Device)])),
            Some(DUE),
            vec![run(&Outcome::Skipped(Skipped::ByOperator))],
        ),
        explain(with(|job| job.job_override.skip = Some(at("2027-03-02T06:30:00Z"))), tomorrow, vec![]),
        explain(with(|job| job.job_override.skip = Some(at("2027-03-02T06:30:00Z"))), Some(DUE), vec![]),
        // Another run than the one that is skipped.
        explain(
            with(|job| job.job_override.skip = Some(at("2027-03-02T06:30:00Z"))),
            Some("2027-03-03T06:30:00Z"),
            vec![],
        ),
        explain(Facts { under_way: vec![held], ..daily() }, None, vec![]),
        explain(Facts { under_way: vec![pausing], ..daily() }, None, vec![]),
    ];
    let mut shown = String::new();
    for explanation in explanations {
        shown += &format!("{}\n", explanation.verdict);
        for Remedy { method, path, body, label, command, note } in explanation.remedies {
            let body = body.map(|body| format!(" {body}")).unwrap_or_default();
            shown += &format!("  {label}: {method} {path}{body} (`{command}`)\n");
            note.iter().for_each(|note| shown += &format!("    for: {}\n", explanation.notes[*note]));
        }
    }
    expect![[r#"
        succeeded
        failed
          Replay coop-door/north/open of Mon 2027-03-01 06:30:00 GMT: POST /api/v1/runs/replay {"run":"coop-door/north/open/2027-03-01T06:30:00Z"} (`roost replay coop-door/north/open/2027-03-01T06:30:00Z`)
        failed
        missed
          Run coop-door/north/open now: POST /api/v1/jobs/coop-door/north/open/run (`roost run-now coop-door/north/open`)
        denied
          Run coop-door/north/open now: POST /api/v1/jobs/coop-door/north/open/run (`roost run-now coop-door/north/open`)
        denied
        skipped
          Resume coop-door/north: POST /api/v1/devices/coop-door/north/resume (`roost resume coop-door/north`)
            for: its device is paused now
          Run coop-door/north/open now: POST /api/v1/jobs/coop-door/north/open/run (`roost run-now coop-door/north/open`)
        due
          Do not skip coop-door/north/open of Tue 2027-03-02 06:30:00 GMT: DELETE /api/v1/jobs/coop-door/north/open/skip (`roost skip coop-door/north/open --undo`)
        forgotten
          Run coop-door/north/open now: POST /api/v1/jobs/coop-door/north/open/run (`roost run-now coop-door/north/open`)
          Do not skip coop-door/north/open of Tue 2027-03-02 06:30:00 GMT: DELETE /api/v1/jobs/coop-door/north/open/skip (`roost skip coop-door/north/open --undo`)
            for: it is due next Wed 2027-03-03 06:30:00 GMT: the run of Tue 2027-03-02 06:30:00 GMT will be skipped, because the operator requested it
        due
        running
          Abandon greedy/greedy/hog of Mon 2027-03-01 11:00:00 GMT: POST /api/v1/runs/abandon {"run":"greedy/greedy/hog/2027-03-01T11:00:00Z"} (`roost abandon greedy/greedy/hog/2027-03-01T11:00:00Z`)
            for: to abandon `greedy/greedy/hog/2027-03-01T11:00:00Z` would free it; the owed messages of that run would never be sent
        running
          Abandon coop-door/north/open of Mon 2027-03-01 06:30:00 GMT: POST /api/v1/runs/abandon {"run":"coop-door/north/open/2027-03-01T06:30:00Z"} (`roost abandon coop-door/north/open/2027-03-01T06:30:00Z`)
    "#]].assert_eq(&shown);
}

#[test]
fn the_next_run_is_the_first_one_after_the_pause_and_the_remedy_removes_the_pause_that_skips_it() {
    let facts = || {
        let mut facts = facts("cron 30 6 * * *");
        let holiday = paused_by(Level::Device, Some(at("2027-03-01T18:00:00Z")), Some(at("2027-03-03T08:00:00Z")));
        let today = paused_by(Level::Plugin, None, Some(at("2027-03-01T20:00:00Z")));
        facts.planned.iter_mut().for_each(|job| job.pauses = [holiday.clone(), today.clone()].into_iter().collect());
        facts
    };
    let last = explain(facts(), Some(DUE), vec![]);
    expect![[r#"
        its device will be paused from Mon 2027-03-01 18:00:00 GMT until Wed 2027-03-03 08:00:00 GMT (rain)
        it is due next Thu 2027-03-04 06:30:00 GMT: the run of Tue 2027-03-02 06:30:00 GMT will be skipped, because its device will be paused until Wed 2027-03-03 08:00:00 GMT (rain)"#]]
    .assert_eq(&last.notes.join("\n"));
    let tomorrow = explain(facts(), Some("2027-03-02T06:30:00Z"), vec![]);
    for explanation in [&last, &tomorrow] {
        assert_eq!(explanation.remedies[0].path, "/api/v1/devices/coop-door/north/resume");
    }
}

#[test]
fn the_first_occurrence_that_is_not_skipped_is_after_all_pauses_and_considers_jitter_and_a_skip() {
    let first = |jitter_ms, pauses: &[(Option<&str>, Option<&str>)]| {
        let mut planned = planned("cron 30 6 * * *");
        let mut job = Model::from(&planned.job);
        job.policy.jitter_ms = jitter_ms;
        planned.job = PackedJob::from(&job);
        let by = |(from, until): &(Option<&str>, Option<&str>)| paused_by(Level::Job, from.map(at), until.map(at));
        planned.pauses = pauses.iter().map(by).collect();
        let first = planned.first_unskipped(at("2027-02-28T06:30:00Z"), &mut crate::calendars::almanac());
        first.map_or_else(|| "never".to_owned(), |at| at.to_string())
    };
    let until = |end| [(None, Some(end))];
    assert_eq!(first(0, &[]), "2027-02-28T06:30:00Z");
    assert_eq!(first(0, &until("2027-03-02T06:30:00Z")), "2027-03-02T06:30:00Z");
    // That run starts 19 s later.
    assert_eq!(first(0, &until("2027-03-01T06:30:10Z")), "2027-03-02T06:30:00Z");
    assert_eq!(first(30_000, &until("2027-03-01T06:30:10Z")), DUE);
    let (one, other) = ("2027-03-03T06:00:00Z", "2027-03-03T07:00:00Z");
    assert_eq!(first(0, &[(None, Some("2027-03-02T08:00:00Z")), (Some(one), Some(other))]), "2027-03-04T06:30:00Z");
    assert_eq!(first(0, &[(None, Some(one)), (Some(DUE), None)]), "never");
    let mut skipped = planned("cron 30 6 * * *");
    skipped.job_override.skip = Some(at(DUE));
    skipped.pauses = [paused_by(Level::All, None, Some(at(DUE)))].into_iter().collect();
    let first = |from| skipped.first_unskipped(at(from), &mut crate::calendars::almanac());
    // The pause ends when the one run is due that the operator skips.
    assert_eq!(["2027-02-27T06:30:00Z", DUE].map(first), [Some(at("2027-03-02T06:30:00Z")); 2]);
}
