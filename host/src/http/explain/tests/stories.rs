//! Which run is told of, and what is advised.

use roost_scheduler::model::Resource;

use super::*;
use crate::config::rules::Rules;

#[test]
fn of_runs_by_hand_the_nearest_is_told_whether_it_has_ended_or_not() {
    let daily = || facts("cron 30 6 * * *");
    let times: Vec<String> = (0..14).map(|n| format!("2027-03-01T11:00:{:02}Z", n * 2)).collect();
    let runs = || times.iter().map(|when| by_hand(when, &Outcome::Succeeded(Success::PLAIN))).collect::<Vec<_>>();
    for when in &times {
        let told = told(daily(), Some(when), runs());
        assert_eq!(told.verdict, "succeeded");
        assert_eq!(told.run.unwrap().run, format!("coop-door/north/open/{when}/manual"));
        let local = when.replace('T', " ").replace('Z', " GMT");
        let expected = format!("it ran: it was started by hand Mon {local}, it began at once");
        assert!(told.sentence.starts_with(&expected), "{}", told.sentence);
    }
    // One that is under way.
    let id = RunId { occurrence: at("2027-03-01T11:00:03Z"), ..runs()[0].id.clone() };
    let with_one = || Facts { under_way: vec![begun(id.clone(), progress("sent"))], ..daily() };
    let told_of = told(with_one(), Some("2027-03-01T11:00:03Z"), runs());
    assert_eq!((told_of.verdict.as_str(), told_of.occurrence.as_deref()), ("running", Some("2027-03-01T11:00:03Z")));
    let told_of = told(with_one(), Some("2027-03-01T11:00:04Z"), runs());
    assert_eq!((told_of.verdict.as_str(), told_of.occurrence.as_deref()), ("succeeded", Some("2027-03-01T11:00:04Z")));
    // What the trigger made, where that is nearer.
    let of_trigger = || [runs(), vec![run(&Outcome::Succeeded(Success::PLAIN))]].concat();
    assert_eq!(told(daily(), Some("2027-03-01T08:00:00Z"), of_trigger()).occurrence.as_deref(), Some(DUE));
    // The last one, whatever made it.
    let told_of = told(daily(), None, of_trigger());
    assert_eq!(told_of.occurrence.as_deref(), Some("2027-03-01T11:00:26Z"));
    let of_yesterday = vec![
        by_hand("2027-02-28T11:00:00Z", &Outcome::Succeeded(Success::PLAIN)),
        run(&Outcome::Succeeded(Success::PLAIN)),
    ];
    assert_eq!(told(daily(), None, of_yesterday).occurrence.as_deref(), Some(DUE));
    // Also of a job that has never been due.
    let told_of = told(facts("at 2027-06-01T06:00:00Z"), None, runs());
    assert_eq!(told_of.occurrence.as_deref(), Some("2027-03-01T11:00:26Z"));
}

#[test]
fn what_failed_is_told_with_how_to_do_it_again_only_where_that_can_be() {
    let daily = || facts("cron 30 6 * * *");
    let failed = || run(&failed(Attempt::LinkLost));
    let again = RunId { origin: Origin::Replay { at: at("2027-03-01T11:00:00Z"), series: 0 }, ..failed().id };
    let advised = |facts: Facts| told(facts, Some(DUE), vec![failed()]).sentence.contains("`roost replay ");
    assert!(advised(daily()));
    assert!(!advised(Facts { grant: None, has_device: false, planned: None, ..daily() }));
    assert!(!advised(Facts { has_device: false, planned: None, ..daily() }));
    assert!(!advised(Facts { is_stopping: true, ..daily() }));
    assert!(!advised(Facts { under_way: vec![begun(again.clone(), progress("sent"))], ..daily() }));
    // The one that was wanted again has a time of its own.
    let ended = RunView {
        id: again,
        started: Some(at("2027-03-01T11:00:00.100Z")),
        ..run(&Outcome::Succeeded(Success::PLAIN))
    };
    for wanted in [None, Some("2027-03-01T11:00:00Z")] {
        let told = told(daily(), wanted, vec![failed(), ended.clone()]);
        assert!(
            told.sentence.starts_with(
                "it ran: it was due Mon 2027-03-01 06:30:00 GMT, it was replayed by hand Mon 2027-03-01 11:00:00 GMT, \
                 it began at once"
            ),
            "{}",
            told.sentence
        );
    }
    assert_eq!(told(daily(), Some(DUE), vec![failed(), ended]).verdict, "failed");
}

#[test]
fn what_has_come_and_not_started_says_when_it_starts_or_that_it_will_not() {
    let jittery = |change: fn(&mut Planned)| {
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
    let soon = |change| told_at("2027-03-01T06:30:00.600Z", name(), jittery(change), None, vec![]);
    let told = soon(|_| {});
    assert_eq!(told.verdict, "undecided");
    let (first, last) = ("it has not started yet: it was due Mon 2027-03-01 06:30:00 GMT, and starts ", "over 30s");
    assert!(told.sentence.starts_with(first) && told.sentence.ends_with(last), "{}", told.sentence);
    assert_eq!(told.notes, ["it is due next Tue 2027-03-02 06:30:00 GMT"]);
    let skipped = soon(|planned| planned.wish.skip = Some(at(DUE)));
    assert!(
        skipped.sentence.ends_with("and will be left out, because that was asked for by hand"),
        "{}",
        skipped.sentence
    );
    let paused = soon(|planned| planned.paused = Some(Level::Job));
    assert_eq!(paused.notes[0], "its job is paused now; `roost resume coop-door/north/open` ends that");
    assert!(paused.sentence.ends_with("and will be left out, because its job is paused"), "{}", paused.sentence);
    // Before its time has come it is told as well.
    let before = told_at("2027-03-01T06:00:00Z", name(), jittery(|_| {}), Some(DUE), vec![]);
    let starts = |told: &Explanation| told.sentence.split_once("and starts").unwrap().1.to_owned();
    assert!(before.sentence.starts_with("it has not come yet: it is due "), "{}", before.sentence);
    assert_eq!(starts(&before), starts(&told));
}

#[test]
fn what_was_called_off_had_not_begun_and_what_had_was_cut_short() {
    let cancelled = run(&Outcome::Cancelled(Cancelled::Abandoned));
    let begun = RunView { started: Some(at("2027-03-01T06:30:01Z")), ..cancelled.clone() };
    let sentence = |run| told(facts("cron 30 6 * * *"), Some(DUE), vec![run]).sentence;
    let due = "it was due Mon 2027-03-01 06:30:00 GMT";
    assert_eq!(sentence(cancelled), format!("it was called off: {due}, and it was abandoned by hand"));
    assert_eq!(
        sentence(begun),
        format!("it was cut short: {due}, began Mon 2027-03-01 06:30:01 GMT, and then it was abandoned by hand")
    );
}

#[test]
fn what_there_is_no_record_of_is_told_as_far_as_it_is_known() {
    let run = || run(&Outcome::Succeeded(Success::PLAIN));
    let sentence = |wanted: &str, runs| {
        let told = told(facts("cron 30 6 * * *"), Some(wanted), runs);
        assert_eq!(told.verdict, "forgotten");
        told.sentence
    };
    let oldest = "the oldest run that this Roost knows of was due Mon 2027-03-01 06:30:00 GMT";
    assert!(sentence("2027-02-01T06:30:00Z", vec![run()]).ends_with(oldest));
    assert!(
        sentence("2026-07-01T06:30:00Z", vec![run()]).contains(&format!("{oldest}, and what became of runs is kept"))
    );
    let older = RunView { id: RunId { occurrence: at("2026-06-01T06:30:00Z"), ..run().id }, ..run() };
    assert!(sentence("2026-07-01T06:30:00Z", vec![older.clone()]).ends_with("what became of runs is kept for 30 days"));
    assert!(sentence("2027-02-20T06:30:00Z", vec![older]).contains("most likely the job was first planned"));
    let told = told(facts("cron 30 6 * * *"), None, vec![]);
    assert!(
        told.sentence.contains("; its last time was Mon 2027-03-01 06:30:00 GMT, and there is no record of that: ")
    );
}

#[test]
fn the_lines_that_say_what_to_do_are_notes() {
    let hint =
        "to allow it, put this into `plugins/coop-door.toml`:\n[grants]\npublish = [\"coop-door/#\", \"barn/door\"]";
    let why = format!("task `open`: `topic` `barn/door` is outside what `coop-door` may publish to\n{hint}");
    let told_of = told(facts("cron 30 6 * * *"), Some(DUE), vec![run(&failed(Attempt::Unanswered(why.clone())))]);
    assert!(told_of.sentence.contains("may publish to; `roost replay "), "{}", told_of.sentence);
    assert_eq!(told_of.notes[0], hint);
    let pausing = Progress { last: Some(Attempt::Unanswered(why.clone())), attempts: 1, ..progress("pausing") };
    let under_way = vec![begun(run(&Outcome::Succeeded(Success::PLAIN)).id, pausing)];
    let told_of = told(Facts { under_way, ..facts("cron 30 6 * * *") }, Some(DUE), vec![]);
    assert!(!told_of.sentence.contains('\n') && told_of.notes[0] == hint, "{told_of:?}");
    let failing = Facts { error: Some(why), ..facts("cron 30 6 * * *") };
    let told_of = told(failing, Some(DUE), vec![run(&Outcome::Succeeded(Success::PLAIN))]);
    assert!(told_of.notes[0].ends_with("is outside what `coop-door` may publish to") && told_of.notes[1] == hint);
    // So is how to allow what was denied.
    let denied = run(&Outcome::Denied(Denied::Topic(Topic::parse("barn/door").unwrap())));
    let told_of = told(facts("cron 30 6 * * *"), Some(DUE), vec![denied]);
    assert!(told_of.sentence.ends_with("was not allowed: its plugin may not publish to `barn/door`"));
    assert_eq!(told_of.notes[0], hint);
    let pump = ResourceName::parse("pump").unwrap();
    let denied = run(&Outcome::Denied(Denied::NotGranted(pump.clone())));
    let rules = Rules { resources: [(pump, Resource::new(1))].into(), ..Rules::default() };
    let told_of = told(Facts { rules, ..facts("cron 30 6 * * *") }, Some(DUE), vec![denied]);
    assert!(told_of.notes[0].ends_with("capacity = 1\nplugins = [\"api\", \"coop-door\"]"), "{}", told_of.notes[0]);
}

#[test]
fn what_jobs_made_by_hand_may_not_do_is_told_as_such() {
    let of_host = PluginName::of_host();
    let name = (of_host.clone(), DeviceName::parse("api").unwrap(), name().2);
    let facts = Facts { grant: Some(Grant::of(vec![], vec![])), ..facts("cron 30 6 * * *") };
    let run = run(&Outcome::Denied(Denied::Report(Topic::parse("z/c").unwrap())));
    let run = RunView { id: RunId { plugin: of_host, device: name.1.clone(), ..run.id }, ..run };
    let told = told_at(NOON, name, facts, Some(DUE), vec![run]);
    let expected = "was not allowed: jobs made by hand may not read `z/c`, by `[grants.api]` in `roost.toml`";
    assert!(told.sentence.ends_with(expected), "{}", told.sentence);
    assert!(told.notes[0].ends_with("`roost.toml`:\n[grants.api]\nsubscribe = [\"z/c\"]"), "{}", told.notes[0]);
}
