//! Tests of task lists, task calls and replies.

use expect_test::expect;
use roost_scheduler::{
    accept::{TaskDescription, draft::TaskDraft},
    model::Reply,
    names::TaskName,
};

use super::*;

fn description(name: &str, summary: &str, args_schema: Option<&str>) -> wit::TaskDescription {
    wit::TaskDescription { name: name.into(), summary: summary.into(), args_schema: args_schema.map(Into::into) }
}

fn listed(list: Vec<wit::TaskDescription>) -> Result<Vec<TaskDescription>, Fault> {
    accept::tasks(drafts(list), &TriggerCache::default())
}

pub(super) fn tasks(names: &[&str]) -> Vec<TaskDescription> {
    listed(names.iter().map(|name| description(name, "Does something", None)).collect()).unwrap()
}

fn calling(name: &str, args: &str) -> wit::Job {
    let task = wit::Task { name: name.into(), args: args.into() };
    wit::Job { action: wit::Action::Task(task), ..job("evening") }
}

fn converted_reply(answer: wit::Reply) -> Result<Reply, Fault> {
    with_terms(None, false, |terms| accept::reply(&TaskName::parse("close").unwrap(), answer.into(), terms))
}

fn no_reply() -> wit::Reply {
    wit::Reply { steps: Vec::new(), replan: false, note: None }
}

#[test]
fn a_task_list_is_converted_or_refused_as_a_whole() {
    let schema = r#"{"type":"object"}"#;
    let list = listed(vec![description("open", "Open", Some(schema)), description("close", "Close", Some("true"))]);
    let list = list.unwrap();
    assert_eq!(list[0].args_schema.as_deref(), Some(schema));
    assert_eq!(list[1].name.as_str(), "close");
    assert_eq!(listed(vec![description("a", &"x".repeat(1_024), None)]).map(|list| list.len()), Ok(1));

    let one = |name: &str, summary: &str, schema: Option<&str>| vec![description(name, summary, schema)];
    let lists = [
        vec![description("a", "A", None); 101],
        one("a b", "A", None),
        vec![description("a", "A", None); 2],
        one("a", "", None),
        one("a", &"x".repeat(1_025), None),
        one("a", "A", Some("{")),
        one("a", "A", Some("[]")),
        one("a", "A", Some(&" ".repeat(16_385))),
    ];
    expect![[r#"
        `tasks` 101: a plugin may have 100
        task number 1: `name`: `a b` is not a task name: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit
        task `a`: `name`: another task of the plugin has it already
        task `a`: `summary` of 0 bytes: it must have 1 to 1,024 (1 KiB)
        task `a`: `summary` of 1025 bytes: it must have 1 to 1,024 (1 KiB)
        task `a`: `args-schema`: it is not JSON: EOF while parsing an object at line 1 column 1
        task `a`: `args-schema`: a JSON Schema must be an object, `true` or `false`
        task `a`: `args-schema` of 16385 bytes: it may have 16,384 (16 KiB)"#]].assert_eq(&lists.map(|list| listed(list).unwrap_err().to_string()).join("\n"));
}

#[test]
fn a_job_can_call_only_existing_tasks() {
    let jobs = converted(vec![calling("close", r#"{"slowly":true}"#)], None, false).unwrap();
    let Action::Task(task) = &jobs[0].action else { panic!("it is a task") };
    assert_eq!((task.name.as_str(), task.args.as_str()), ("close", r#"{"slowly":true}"#));

    let long = format!("\"{}\"", "x".repeat(16_383));
    let cases = [
        (calling("clos", "null"), "`task.name` `clos`: the plugin has no such task, only `open`, `close`"),
        (calling("close", "{slowly}"), "`task.args`: they are not JSON: key must be a string"),
        (calling("close", ""), "`task.args`: they are not JSON: EOF"),
        (calling("close", &long), "`task.args` of 16385 bytes: they may have 16,384 (16 KiB)"),
    ];
    for (job, expected) in cases {
        let error = converted(vec![job], None, false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("job `evening`: {expected}")), "{error}\n  does not begin with\n{expected}");
    }
    let close = || TaskDraft { name: "close".into(), args: "null".into() };
    let of_none = |terms: &Terms<'_>| accept::task(close(), &Terms { tasks: Some(&[]), ..*terms });
    let none = with_terms(None, false, of_none).unwrap_err();
    assert_eq!(none.to_string(), "`task.name` `close`: the plugin has no tasks");
}

#[test]
fn a_reply_must_respect_the_rules_of_steps() {
    let nothing = converted_reply(wit::Reply { replan: true, note: Some("it rained".into()), ..no_reply() }).unwrap();
    assert_eq!(nothing, Reply { steps: Vec::new(), replan: true, note: Some("it rained".into()) });
    let whole =
        converted_reply(wit::Reply { steps: vec![step(0), step(9)], note: Some(String::new()), ..no_reply() }).unwrap();
    assert_eq!((whole.steps.len(), whole.steps[1].after_ms, whole.note), (2, 9, None));

    let elsewhere = wit::Step { message: wit::Message { topic: "barn/door".into(), ..message() }, ..step(0) };
    let of_host = wit::Step { message: wit::Message { topic: "roost/status".into(), ..message() }, ..step(0) };
    let cases = [
        (
            wit::Reply { steps: vec![of_host], ..no_reply() },
            "task `close`, step 1: `topic` `roost/status`: no job may publish there, because what is at or below `roost` is \
             the host's own",
        ),
        (wit::Reply { steps: vec![step(0); 101], ..no_reply() }, "task `close`: `steps` 101: there may be 0 to 100"),
        (
            wit::Reply { steps: vec![step(5), step(4)], ..no_reply() },
            "task `close`, step 2: `after-ms` 4: it must not be less than the step before, 5",
        ),
        (
            wit::Reply { steps: vec![elsewhere], ..no_reply() },
            "task `close`, step 1: `topic` `barn/door`: it is outside what `coop-door` may publish to",
        ),
        (
            wit::Reply { note: Some("x".repeat(4_097)), ..no_reply() },
            "task `close`: `note` of 4097 bytes: it may have 4,096 (4 KiB)",
        ),
    ];
    for (answer, expected) in cases {
        assert_eq!(converted_reply(answer).unwrap_err().to_string(), expected);
    }
}
