//! Scenarios of runs that are cut short while they send an owed step.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::{Job, Overlap},
};

use crate::{
    dsl::{at, check, each_step, in_group, job, with, world},
    world::World,
};

/// Returns `open`, which owes `door/stop` after 30 s, and `close`, which is due a second later.
fn door() -> [Job; 2] {
    let open = in_group("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open"), (30, "door/stop")]);
    [open, in_group("close", "at 2027-03-01T06:10:31Z", &[(0, "door/close")])]
}

/// The same, with steps that are sent at most once.
fn door_once() -> [Job; 2] {
    door().map(|job| each_step(job, |step| step.once = true))
}

/// Lets the time come, and nothing else.
fn wake_at(world: &mut World, time: &str) {
    world.now = at(time);
    world.step(Event::Woke);
}

/// Returns a world in which `open` is due to send `door/stop`.
fn before_stop(jobs: &[Job]) -> World {
    let mut world = world(jobs);
    world.run_until(at("2027-03-01T06:10:29Z"));
    world.log.clear();
    wake_at(&mut world, "2027-03-01T06:10:30Z");
    world
}

#[test]
fn an_owed_step_in_flight_is_not_sent_again() {
    for jobs in [door(), door_once()] {
        let mut world = before_stop(&jobs);
        while world.commit() {}
        assert_eq!(world.in_flight.len(), 1, "the broker takes its time");
        wake_at(&mut world, "2027-03-01T06:10:31Z");
        world.run_until(at("2027-03-01T06:11:00Z"));
        check(
            &world,
            &expect![[r#"
                06:10:30 publish door/stop #1
                06:10:31 cancelled open 06:10:00: a newer run of its group, `close` of 06:10:31, replaced it
                06:10:31 publish door/close #1
                06:10:31 succeeded close 06:10:31
            "#]],
        );
    }
}

#[test]
fn an_owed_step_that_is_to_be_sent_once_and_was_not_is_sent() {
    let mut world = before_stop(&door_once());
    assert!(world.in_flight.is_empty(), "it is armed on disk first, and the disk takes its time");
    wake_at(&mut world, "2027-03-01T06:10:31Z");
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:31 publish door/stop #1
            06:10:31 cancelled open 06:10:00: a newer run of its group, `close` of 06:10:31, replaced it
            06:10:31 publish door/close #1
            06:10:31 succeeded close 06:10:31
        "#]],
    );
}

#[test]
fn an_owed_step_is_marked_as_a_repeat_if_it_may_have_been_sent() {
    let mut world = before_stop(&door());
    while world.commit() {}
    world.now = at("2027-03-01T06:10:32Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:30 publish door/stop #1
            06:10:32 crash
            06:10:32 publish door/stop #2
            06:10:32 cancelled open 06:10:00: a newer run of its group, `close` of 06:10:31, replaced it
            06:10:32 publish door/close #1
            06:10:32 succeeded close 06:10:31
        "#]],
    );
}

#[test]
fn an_owed_step_that_may_have_been_sent_is_marked_although_it_was_left_to_a_newer_run() {
    let water = with(job("water", "cron 10,11 6 * * *", &[(0, "valve/on"), (30, "valve/off")]), |job| {
        (job.policy.overlap, job.policy.grace_ms) = (Overlap::Replace, 60_000);
    });
    let mut world = before_stop(&[water]);
    while world.commit() {}
    world.link_down();
    wake_at(&mut world, "2027-03-01T06:11:00Z");
    while world.commit() {}
    // Too late for the newer run.
    world.now = at("2027-03-01T06:20:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T06:21:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:30 publish valve/off #1
            06:20:00 missed water 06:11:00: there was no connection to the broker; it would have started 9m late, and its grace is 1m
            06:20:00 publish valve/off #2
            06:20:00 cancelled water 06:10:00: the run of 06:11:00 replaced it
        "#]],
    );
}
