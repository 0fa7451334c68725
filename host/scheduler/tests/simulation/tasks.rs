//! Scenarios of tasks.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::{Action, Job, Reply, Task},
    names::{ResourceName, TaskName},
    outcome::Outcome,
};

use crate::{
    dsl::{at, check, check_only, job, name, with, world},
    world::World,
};

fn task(id: &str, trigger: &str) -> Job {
    let task = Task { name: name(TaskName::parse("water")), args: r#"{"zone":2}"#.into() };
    Job { action: Action::Task(task.into()), ..job(id, trigger, &[]) }
}

fn replies(steps: &[(u32, &str)]) -> Result<Reply, String> {
    let steps = job("any", "every 1m", steps).steps().to_vec();
    Ok(Reply { steps, replan: false, note: Some("the soil is dry".into()) })
}

#[test]
fn a_task_is_called_when_it_is_due_and_its_reply_is_published() {
    let mut world = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.reply = replies(&[(0, "valve/on"), (60, "valve/off")]);
    world.run_until(at("2027-03-01T06:10:30Z"));
    // The reply is stored: the task is not called again.
    world.reply = Err("trap".into());
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:10:00 publish valve/on #1
            06:10:30 crash
            06:11:00 publish valve/off #1
            06:11:00 succeeded water 06:10:00
        "#]],
    );
    let ended = world.disk.history.values().next().expect("it has ended");
    assert_eq!(ended.note.as_deref(), Some("the soil is dry"));
}

#[test]
fn a_reply_without_steps_succeeds_with_its_note() {
    let mut world = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.reply = replies(&[]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:10:00 succeeded water 06:10:00
        "#]],
    );
    assert!(world.disk.history.values().all(|ended| ended.note.is_some() && ended.started.is_none()));
}

#[test]
fn a_task_that_fails_is_called_again_until_it_is_given_up() {
    let twice = with(task("water", "at 2027-03-01T06:10:00Z"), |job| job.policy.retry.attempts = Some(2));
    let mut world = world(&[twice]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:10:00.805 call water {"zone":2} of 06:10:00
            06:10:00.805 failed water 06:10:00: the plugin was called 2 times for its messages: trap
        "#]],
    );
    // It is a dead letter; a replay calls the task again.
    world.reply = replies(&[(0, "valve/on")]);
    let run = world.dead_letters[0].clone();
    world.replay(&run);
    world.run_until(at("2027-03-01T06:20:00Z"));
    assert!(world.disk.history.values().any(|ended| matches!(ended.outcome, Outcome::Succeeded(_))));
}

#[test]
fn a_task_that_fails_beyond_its_grace_has_failed_and_is_a_dead_letter() {
    let mut world = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check_only(
        &world,
        "failed",
        &expect![[r#"
            06:16:46.145 failed water 06:10:00: the plugin was called 9 times for its messages: trap
        "#]],
    );
    assert_eq!(world.dead_letters.len(), 1);
}

#[test]
fn a_task_that_fails_does_not_keep_its_resource_from_others() {
    let pump = |job: &mut Job| job.policy.needs = Some(name(ResourceName::parse("pump")));
    let other = with(job("other", "at 2027-03-01T06:10:30Z", &[(0, "other")]), pump);
    let mut world = world(&[with(task("water", "at 2027-03-01T06:10:00Z"), pump), other]);
    world.run_until(at("2027-03-01T06:12:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:10:00.805 call water {"zone":2} of 06:10:00
            06:10:02.758 call water {"zone":2} of 06:10:00
            06:10:05.763 call water {"zone":2} of 06:10:00
            06:10:11.971 call water {"zone":2} of 06:10:00
            06:10:25.676 call water {"zone":2} of 06:10:00
            06:10:30 publish other #1
            06:10:30 succeeded other 06:10:30
            06:10:50.169 call water {"zone":2} of 06:10:00
            06:11:42.217 call water {"zone":2} of 06:10:00
        "#]],
    );
}

#[test]
fn a_reply_that_comes_too_late_starts_nothing() {
    let mut world = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    assert_eq!(world.called.len(), 1);
    world.reply = replies(&[(0, "valve/on")]);
    world.now = at("2027-03-01T06:15:01Z");
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:15:01 missed water 06:10:00: its plugin took too long to return its messages; it would have started 5m1s late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_reply_for_a_run_that_has_ended_is_dropped() {
    let mut world: World = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.reply = replies(&[(0, "valve/on")]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.remove("coop");
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water {"zone":2} of 06:10:00
            06:10:00 cancelled water 06:10:00: its plugin was removed
        "#]],
    );
}

#[test]
fn a_task_can_request_a_new_plan() {
    let mut world = world(&[task("water", "at 2027-03-01T06:10:00Z")]);
    world.reply = replies(&[]).map(|reply| Reply { replan: true, ..reply });
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.reply();
    assert_eq!(world.plan_requests.len(), 1);
}
