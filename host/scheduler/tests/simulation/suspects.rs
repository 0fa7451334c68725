//! Topics at which the broker ends the connection, so that the link puts off their messages.

use expect_test::expect;
use roost_scheduler::{event::Event, model::Action};

use crate::dsl::{at, check, job, with, world};

#[test]
fn a_message_that_the_link_puts_off_was_never_sent() {
    let switch = with(job("switch", "at 2027-03-01T06:10:00Z", &[(0, "lamp/on"), (60, "lamp/off")]), |job| {
        job.policy.retry.attempts = Some(2);
        let mut steps = job.steps().to_vec();
        steps[0].once = true;
        job.action = Action::Steps(steps.into());
    });
    let mut world = world(&[switch]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    // Repeatedly: it is neither an attempt, nor sent once.
    for _ in 0..5 {
        while world.commit() {}
        world.defer(0, 30_000);
        assert_eq!(world.in_flight.len(), 0);
        world.now = world.wake.expect("it is tried again");
        world.step(Event::Woke);
    }
    world.run_until(at("2027-03-01T06:20:00Z"));
    // The second step counts from the first, and that was sent late.
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lamp/on #1
            06:10:00 deferred lamp/on #1
            06:10:30 publish lamp/on #1
            06:10:30 deferred lamp/on #1
            06:11:00 publish lamp/on #1
            06:11:00 deferred lamp/on #1
            06:11:30 publish lamp/on #1
            06:11:30 deferred lamp/on #1
            06:12:00 publish lamp/on #1
            06:12:00 deferred lamp/on #1
            06:12:30 publish lamp/on #1
            06:13:30 publish lamp/off #1
            06:13:30 succeeded switch 06:10:00
        "#]],
    );
}

#[test]
fn a_run_that_is_put_off_beyond_its_grace_is_missed_with_that_reason() {
    let mut world = world(&[job("switch", "at 2027-03-01T06:10:00Z", &[(0, "lamp/on")])]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.defer(0, 600_000);
    // No longer than any other pause.
    world.run_until(at("2027-03-01T06:14:59Z"));
    world.now = at("2027-03-01T06:15:01Z");
    world.step(Event::Woke);
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lamp/on #1
            06:10:00 deferred lamp/on #1
            06:15:01 missed switch 06:10:00: messages to `lamp/on` were held back, because the broker had ended the connection at one; it would have started 5m1s late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_message_that_ends_the_connection_is_given_up_with_that_reason() {
    let switch = with(job("switch", "at 2027-03-01T06:10:00Z", &[(0, "lamp/on")]), |job| {
        job.policy.retry.attempts = Some(2);
    });
    let mut world = world(&[switch]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    for _ in 0..2 {
        world.end_at(0, false);
        world.link_up(1);
        world.now = world.wake.unwrap_or(world.now);
        world.step(Event::Woke);
        while world.commit() {}
    }
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lamp/on #1
            06:10:00.841 publish lamp/on #2
            06:10:00.841 failed switch 06:10:00: step 1 was given up after 2 attempts: the broker ended the connection at the message to `lamp/on`, which was alone on it: the broker closed the connection
        "#]],
    );
}
