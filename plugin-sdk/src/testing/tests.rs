//! Tests of refusals that do not depend on the settings of the host.

use expect_test::expect;
use roost_scheduler::zone::Zone;

use super::*;
use crate::{JsonValue, Matches, milliseconds, minutes, seconds};

fn accept(job: crate::Job) -> Result<PlannedJob> {
    let site = Site { zone: Zone::UTC, location: None };
    Ok(Plan::accept(vec![job.into_contract()?], site, HostInstant::MIN)?.jobs.remove(0))
}

fn job() -> crate::Job {
    crate::Job::every("a", minutes(1)).publish("t", "1")
}

fn confirmed(matches: Matches) -> crate::Job {
    job().confirm("s", matches, seconds(1))
}

#[test]
fn a_job_that_the_host_would_refuse_is_refused() {
    let long = "x".repeat(4_097);
    for (job, expected) in [
        (job().queue(0), "`policy.overlap.queue` 0: it must be 1 to 1,000"),
        (job().queue(1_001), "`policy.overlap.queue` 1001: it must be 1 to 1,000"),
        (job().allow(1), "`policy.overlap.allow` 1: it must be 2 to 1,000"),
        (job().allow(1_001), "`policy.overlap.allow` 1001: it must be 2 to 1,000"),
        (job().latest_of_group("a door"), "`policy.misfire.latest-of-group`: `a door` is not a group name: "),
        (job().latest_of_group("g").queue(1), "`policy.overlap` with `latest-of-group`: "),
        (job().latest_of_group("g").allow(2), "`policy.overlap` with `latest-of-group`: "),
        (job().needs(""), "`policy.needs`: `` is not a resource name: "),
        (job().label("two\nlines"), "`label` with the character U+000A: users read it"),
        (job().label("x".repeat(1_025)), "`label` of 1025 bytes: it may have 1,024 (1 KiB)"),
        (job().jitter(minutes(1)), "`policy.jitter-ms` 60000: it must be less than the period, 60000 ms"),
        (job().grace(milliseconds(999)), "`policy.grace-ms` 999: it must be 1,000 or more"),
        (job().confirm("s/#", "1", seconds(1)), "step 1: `confirm.topic`: `s/#` is not a topic: "),
        (job().confirm("s", "1", seconds(0)), "step 1: `confirm.within-ms` 0: it must be 1 or more"),
        (confirmed(long.as_str().into()), "step 1: `confirm.matches.bytes` of 4097 bytes: it may have 4,096 (4 KiB)"),
        (
            confirmed(Matches::json("state", true)),
            "step 1: `confirm.matches.json.pointer` `state`: it must be empty or begin with `/`",
        ),
        (confirmed(Matches::json(format!("/{long}"), true)), "step 1: `confirm.matches.json.pointer` of 4098 bytes: "),
        (confirmed(Matches::json("", long.as_str())), "step 1: `confirm.matches.json.value` of 4099 bytes: "),
        (
            confirmed(Matches::json("", JsonValue::parse("open"))),
            "step 1: `confirm.matches.json.value` `open`: it is not JSON: ",
        ),
        (confirmed(Matches::json("", f64::NAN)), "step 1: `confirm.matches.json.value` `NaN`: it is not JSON: "),
        (confirmed(Matches::json_range("", 2.0..=1.0)), "step 1: `confirm.matches.json-range` 2 to 1: "),
        (confirmed(Matches::json_range("", 0.0..=f64::INFINITY)), "step 1: `confirm.matches.json-range` 0 to inf: "),
        (confirmed(Matches::json_range("a", 1.0..=2.0)), "step 1: `confirm.matches.json-range.pointer` `a`: "),
    ] {
        let error = accept(job).unwrap_err().to_string();
        let fault = error.strip_prefix("job `a`").unwrap().trim_start_matches([':', ',', ' ']);
        assert!(fault.starts_with(expected), "{error}\n  does not contain\n{expected}");
    }
}

#[test]
fn a_job_is_described_as_text() {
    let plain = accept(job()).unwrap();
    assert_eq!((plain.misfire().as_str(), plain.overlap().as_str(), plain.needs()), ("run-once", "skip", None));
    let all = accept(job().run_all().queue(3).needs("pump")).unwrap();
    assert_eq!((all.misfire().as_str(), all.overlap().as_str(), all.needs()), ("run-all", "queue 3", Some("pump")));
    let group = accept(job().latest_of_group("door").replace()).unwrap();
    assert_eq!((group.misfire().as_str(), group.overlap().as_str()), ("latest-of-group door", "replace"));
    assert_eq!(accept(job().allow(2)).unwrap().overlap(), "allow 2");
    for (job, expected) in [
        (job().once(), "once"),
        (confirmed(Matches::any()), "confirmed by s within 1s"),
        (confirmed("OPEN".into()).already(), "confirmed by s OPEN within 1s or before"),
        (confirmed(Matches::bytes([0, 255])), "confirmed by s base64:AP8= within 1s"),
        (confirmed(Matches::json("/state", "open")), "confirmed by s /state=\"open\" within 1s"),
        (confirmed(Matches::json_range("", 48.5..=52.0)), "confirmed by s =48.5..=52 within 1s"),
    ] {
        assert_eq!(accept(job).unwrap().messages(), [format!("0s t 1, {expected}")]);
    }
}

#[derive(serde::Deserialize)]
struct Bed {}

impl Device for Bed {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<crate::Job>> {
        Ok(vec![crate::Job::every("a", minutes(1)).task("water", ()).label(ctx.device())])
    }
}

impl Tasks for Bed {
    fn list() -> Vec<crate::TaskDescription> {
        vec![crate::TaskDescription::new("water", "Water the bed").args_schema("true")]
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<crate::Reply> {
        let bed = crate::Messages::new().publish(ctx.topic("set"), "ON");
        Ok(match task.args::<Option<String>>()?.as_deref() {
            None => bed.into(),
            Some("often") => crate::Reply::from(bed).replan().note("it is dry"),
            Some("wildcard") => crate::Messages::new().publish("a/#", "").into(),
            Some("mistake") => bed.expiry(minutes(-1)).into(),
            Some("chatter") => crate::Reply::nothing("x".repeat(4_097)),
            Some(_) => return Err(task.unknown()),
        })
    }
}

#[test]
fn a_reply_to_a_task_is_described_as_text() {
    let host = TestHost::new("bed", "roses");
    let job = host.schedule_jobs::<Bed>().unwrap();
    assert_eq!((job.job("a").task().as_deref(), job.job("a").messages().len()), (Some("water null"), 0));
    let run = |args: serde_json::Value| host.run_task::<Bed>("water", args);
    let plain = run(().into()).unwrap();
    assert_eq!((plain.messages(), plain.note(), plain.replans()), (vec!["0s bed/roses/set ON".into()], "", false));
    let often = run("often".into()).unwrap();
    assert_eq!((often.note(), often.replans()), ("it is dry", true));
    let errors = ["wildcard", "mistake", "chatter", "other"].map(|args| run(args.into()).unwrap_err().to_string());
    expect![[r#"
        task `water`, step 1: `topic`: `a/#` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
        task `water`: `expiry` -1m is negative
        task `water`: `note` of 4097 bytes: it may have 4,096 (4 KiB)
        there is no task `water`"#]]
    .assert_eq(&errors.join("\n"));
    assert_eq!(run(5.into()).unwrap_err().to_string(), "args: `5` is not text");
    let unknown = host.run_task::<Bed>("dry", ().into()).unwrap_err();
    assert_eq!(unknown.to_string(), "`task.name` `dry`: the plugin has no such task, only `water`");
}

#[test]
fn a_list_of_tasks_that_the_host_would_refuse_is_refused() {
    let task = |name: &str| crate::TaskDescription::new(name, "Does something");
    let lists = [
        vec![task("a b")],
        vec![task("a"), task("a")],
        vec![task("a"); 101],
        vec![crate::TaskDescription::new("a", "")],
        vec![task("a").args_schema("1")],
        vec![task("a").args_schema("{")],
        vec![task("a").args_schema(" ".repeat(16_385))],
    ]
    .map(|list| list.into_iter().map(crate::TaskDescription::finish).collect::<Vec<_>>());
    expect![[r#"
        task number 1: `name`: `a b` is not a task name: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit
        task `a`: `name`: another task of the plugin has it already
        `tasks` 101: a plugin may have 100
        task `a`: `summary` of 0 bytes: it must have 1 to 1,024 (1 KiB)
        task `a`: `args-schema`: a JSON Schema must be an object, `true` or `false`
        task `a`: `args-schema`: it is not JSON: EOF while parsing an object at line 1 column 1
        task `a`: `args-schema` of 16385 bytes: it may have 16,384 (16 KiB)"#]]
    .assert_eq(
        &lists.map(|list| super::accept::tasks(drafts::of(list), &drafts::BuiltIn).unwrap_err().to_string()).join("\n"),
    );
}
