//! Tests of task calls: each has the limits of one call, and each is answered.

use std::fs;

use expect_test::expect;
use roost_scheduler::{
    accept::draft::TaskDraft,
    event::Event,
    model::{Reply, Task},
    names::{DeviceName, TaskName},
    time::Instant,
};
use roost_tests::redact;

use super::{
    causes,
    guests::{self, LOOPS, NO_STEPS, ONE_TASK},
    load,
    test_folder::{Edge, TestFolder, name},
};

/// Starts an edge with the plugin `porch`, whose `run-task` has this body.
async fn porch(run: &str) -> (TestFolder, Edge) {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::guest_with_tasks(ONE_TASK, run));
    let mut edge = place.start(Vec::new());
    edge.loaded().await;
    (place, edge)
}

/// Runs a task and returns the answer to the scheduler.
async fn answer(edge: &mut Edge, task: &str) -> Result<Reply, String> {
    let task = Task { name: TaskName::parse(task).unwrap(), args: "null".into() };
    let device = DeviceName::parse("porch").unwrap();
    edge.plugins.run_task(7, name("porch"), device, task, Instant::MIN);
    match edge.events.recv().await {
        Some(Event::Answered { call: 7, reply }) => reply,
        other => panic!("{other:?}"),
    }
}

fn call(name: &str, args: &str) -> TaskDraft {
    TaskDraft { name: name.into(), args: args.into() }
}

#[tokio::test]
async fn tasks_are_listed_checked_and_run() {
    let (_place, mut edge) = porch(NO_STEPS).await;
    let reply = Reply { steps: Vec::new(), replan: true, note: Some("Water the porch".into()) };
    assert_eq!(answer(&mut edge, "water").await, Ok(reply.clone()));
    let unknown = answer(&mut edge, "dry").await.unwrap_err();
    assert_eq!(unknown, "`task.name` `dry`: the plugin has no such task, only `water`");

    let queries = edge.plugins.handle().queries;
    let tasks = queries.tasks(name("porch")).await.unwrap();
    assert_eq!((tasks.len(), tasks[0].summary.as_str()), (1, "Water the porch"));
    let porch = DeviceName::parse("porch").unwrap();
    let simulated = queries.dry_run_task(name("porch"), porch.clone(), call("water", "{}")).await;
    assert_eq!(simulated, Ok(reply));
    let wrong = queries.dry_run_task(name("porch"), porch.clone(), call("water", "{")).await.unwrap_err();
    assert!(wrong.starts_with("`task.args`: they are not JSON: "), "{wrong}");
    let south = DeviceName::parse("south").unwrap();
    let absent = queries.dry_run_task(name("porch"), south, call("water", "{}")).await;
    assert_eq!(absent, Err("the plugin has no device `south`".into()));
    assert!(queries.tasks(name("barn")).await.is_err());
}

#[tokio::test]
async fn errors_name_the_function() {
    let mut errors = String::new();
    for body in [
        "(unreachable)",
        LOOPS,
        // An error of 5 bytes.
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 16))
        (i32.store (i32.const 1032) (i32.const 5)) (i32.const 1024)",
        // An error of 2 MiB, which exceeds the fixed limit, so that no setting is named.
        "(drop (memory.grow (i32.const 40)))
        (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store (i32.const 1028) (i32.const 4096))
        (i32.store (i32.const 1032) (i32.const 2097152)) (i32.const 1024)",
    ] {
        let (_place, mut edge) = porch(body).await;
        errors += &(redact(&answer(&mut edge, "water").await.unwrap_err()) + "\n");
    }
    expect![[r#"
        `run-task` trapped: wasm trap: wasm `unreachable` instruction executed, in `run`
        the fault is in the plugin: its author can reproduce it with `roost check`
        `run-task` ran longer than 500 ms
        if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings
        `run-task` returned an error: water
        `run-task` returned more than 1 MiB to the host
        the plugin must return less: that limit cannot be raised
    "#]]
    .assert_eq(&errors);
}

#[tokio::test]
async fn a_task_call_to_a_plugin_without_tasks_fails() {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::numbered(1));
    let mut edge = place.start(Vec::new());
    edge.loaded().await;
    let none = answer(&mut edge, "water").await.unwrap_err();
    assert_eq!(none, "`task.name` `water`: the plugin has no tasks");
    assert_eq!(edge.plugins.handle().queries.tasks(name("porch")).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_stored_version_lists_its_tasks_before_the_first_call() {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::guest_with_tasks(ONE_TASK, NO_STEPS));
    let mut edge = place.start(Vec::new());
    let known = edge.loaded().await.version;
    edge.plugins.stop();
    fs::remove_file(place.file("porch.wasm")).unwrap();

    let mut edge = place.start(vec![(name("porch"), known)]);
    assert!(answer(&mut edge, "water").await.is_ok());
}

#[tokio::test]
async fn a_plugin_with_bad_tasks_is_refused() {
    let list = |body: &str| guests::guest_with_tasks(body, NO_STEPS);
    assert!(load(list(ONE_TASK)).await.is_ok());
    let before = "its tasks cannot be listed";
    assert_eq!(causes(list(LOOPS)).await, format!("{before}; `list-tasks` ran longer than 500 ms"));
    let nameless = format!("(i32.store (i32.const 68) (i32.const 0)) {ONE_TASK}");
    let rule = "1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit";
    assert_eq!(
        causes(list(&nameless)).await,
        format!("{before}; task number 1: `name`: `` is not a task name: {rule}")
    );
    let endless = format!("(i32.store (i32.const 100) (i32.const 1000000)) {ONE_TASK}");
    assert!(causes(list(&endless)).await.starts_with(&format!("{before}; `list-tasks` trapped: ")));
}

#[tokio::test]
async fn another_major_version_of_tasks_is_refused() {
    let text = include_str!("guest.wat").replace("ITEMS", "").replace("BODY", guests::NOTHING);
    let tasks = include_str!("tasks.wat").replace("LIST", ONE_TASK).replace("RUN", NO_STEPS);
    let later = wat::parse_str(text.replace("TASKS", &tasks.replace("tasks@1.0.0", "tasks@2.0.0"))).unwrap();
    assert_eq!(
        causes(later).await,
        "it was built for `roost:device/tasks@2.0.0`, but this Roost supports `roost:device/tasks@1.0.0`"
    );
}
