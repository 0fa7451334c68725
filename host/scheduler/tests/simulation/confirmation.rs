//! Scenarios of steps that are confirmed by reports.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::{Action, Misfire, Step},
    names::{GroupName, ResourceName},
    topic::{Grant, TopicFilter},
};

use crate::{
    disk::full_grant,
    dsl::{at, check, confirmed, each_step, in_group, job, name, with, world},
    world::World,
};

#[test]
fn a_silent_device_is_retried_with_growing_pauses_and_its_run_can_be_replayed() {
    let open = with(confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false), |job| {
        job.policy.retry.attempts = Some(3);
    });
    let mut world = world(&[open]);
    world.is_silent = true;
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:10:05.777 publish door/open #2
            06:10:12.702 publish door/open #3
            06:10:17.702 failed open 06:10:00: step 1 was given up after 3 attempts: the device did not confirm the step within 5s
        "#]],
    );
    world.log.clear();
    world.is_silent = false;
    let failed = world.dead_letters[0].clone();
    world.replay(&failed);
    world.run_until(at("2027-03-01T06:31:00Z"));
    check(
        &world,
        &expect![[r#"
            06:30:00 answer: open
            06:30:00 publish door/open #1
            06:30:00 succeeded open 06:10:00 again
        "#]],
    );
}

#[test]
fn an_earlier_report_counts_only_if_the_step_allows_it() {
    for (already, retained) in [(false, false), (false, true), (true, false), (true, true)] {
        let expected = if already {
            expect![[r#"
                06:10:00 succeeded open 06:10:00
            "#]]
        } else {
            expect![[r#"
                06:10:00 publish door/open #1
                06:10:00 succeeded open 06:10:00
            "#]]
        };
        let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), already);
        let mut world = world(&[open]);
        world.now = at("2027-03-01T06:10:00Z");
        world.step(Event::Woke);
        world.subscribed(0, None);
        world.report("door/state", true, retained);
        world.run_until(at("2027-03-01T06:11:00Z"));
        check(&world, &expected);
    }
}

#[test]
fn a_retained_report_does_not_confirm_a_sent_step() {
    let open = with(confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false), |job| {
        job.policy.retry.attempts = Some(1);
    });
    let mut world = world(&[open]);
    world.is_silent = true;
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.subscribed(0, None);
    assert_eq!(world.in_flight.len(), 1);
    world.report("door/state", true, true);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:10:05 failed open 06:10:00: step 1 was given up after 1 attempt: the device did not confirm the step within 5s
        "#]],
    );
}

#[test]
fn a_step_confirmed_while_it_waited_for_a_commit_returns_its_credit_once() {
    let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), true);
    let open = each_step(open, |step| step.once = true);
    let late = |id: &str| job(id, "at 2027-03-01T06:10:10Z", &[(0, id)]);
    let mut world = world(&[open, late("a"), late("b")]);
    world.link_up(1);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.subscribed(0, None);
    world.now = at("2027-03-01T06:10:01Z");
    world.step(Event::Woke);
    world.report("door/state", true, false);
    world.now = at("2027-03-01T06:10:10Z");
    world.step(Event::Woke);
    while world.commit() {}
    check(
        &world,
        &expect![[r#"
            06:10:01 succeeded open 06:10:00
            06:10:10 publish a #1
        "#]],
    );
    assert_eq!(world.in_flight.len(), 1, "the link takes one at a time");
}

#[test]
fn no_run_subscribes_outside_the_current_grant() {
    let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false);
    let mut world = world(std::slice::from_ref(&open));
    let grant = Grant { subscribe: vec![name(TopicFilter::parse("elsewhere"))], ..full_grant() };
    world.load_granted("coop", 2, &[("north", vec![open])], grant);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 coop: 0 new, 0 changed, 0 gone, 1 unchanged
            06:10:00 denied open 06:10:00: reading `door/state` is not granted
        "#]],
    );
}

#[test]
fn a_first_step_is_not_sent_if_the_subscription_fails() {
    let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false);
    let mut world = world(&[open]);
    world.run_until(at("2027-03-01T06:09:59Z"));
    while world.now < at("2027-03-01T06:20:00Z") {
        world.now = world.now.max(world.wake.expect("a wake"));
        world.step(Event::Woke);
        while !world.subscribing.is_empty() {
            world.subscribed(0, Some("not authorized".into()));
        }
        if world.scheduler.run_count() == 0 {
            break;
        }
    }
    check(
        &world,
        &expect![[r#"
            06:15:10 missed open 06:10:00: the subscription to the device's reports failed: not authorized; it would have started 5m10s late, and its grace is 5m
        "#]],
    );
}

/// Runs a world in which subscriptions to reports are refused.
fn run_refusing_subscriptions_until(world: &mut World, until: &str) {
    while world.now < at(until) {
        world.now = world.wake.map_or(at(until), |wake| wake.max(world.now).min(at(until)));
        world.step(Event::Woke);
        loop {
            if !world.subscribing.is_empty() {
                world.subscribed(0, Some("not authorized".into()));
            } else if !world.in_flight.is_empty() {
                world.ack(0);
            } else if !world.commit() {
                break;
            }
        }
    }
}

#[test]
fn a_run_releases_its_resource_while_its_subscription_fails() {
    let needs_pump = |job| with(job, |job| job.policy.needs = Some(name(ResourceName::parse("pump"))));
    let door = in_group("door", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    let door = needs_pump(confirmed(door, false));
    let other = needs_pump(job("other", "at 2027-03-01T06:11:00Z", &[(0, "other")]));
    let mut world = world(&[door, other]);
    // Long before the hold of the resource would expire.
    run_refusing_subscriptions_until(&mut world, "2027-03-01T06:12:00Z");
    check(
        &world,
        &expect![[r#"
            06:11:00 publish other #1
            06:11:00 succeeded other 06:11:00
        "#]],
    );
}

#[test]
fn an_owed_step_is_sent_even_if_the_subscription_fails() {
    let water = job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")]);
    let mut water = confirmed(water, false);
    let steps = water.steps().to_vec();
    water.action = Action::Steps([Step { confirm: None, ..steps[0].clone() }, steps[1].clone()].into());
    let mut world = world(&[water]);
    run_refusing_subscriptions_until(&mut world, "2027-03-01T06:20:00Z");
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:11:00 publish valve/off #1
            06:11:00 failed water 06:10:00: step 2 was given up: the subscription to the device's reports failed: not authorized; the step was sent without confirmation
        "#]],
    );
}

#[test]
fn a_step_confirmed_without_sending_owes_the_later_steps() {
    let open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")]);
    let open = with(confirmed(open, true), |job| {
        job.policy.misfire = Misfire::LatestOfGroup(name(GroupName::parse("valve")));
    });
    let open = with(open, |job| {
        let mut steps = job.steps().to_vec();
        steps[1].confirm = None;
        job.action = Action::Steps(steps.into());
    });
    let newer = with(job("newer", "at 2027-03-01T06:12:00Z", &[(0, "elsewhere")]), |job| {
        job.policy.misfire = Misfire::LatestOfGroup(name(GroupName::parse("valve")));
    });
    let mut world = world(&[open, newer]);
    world.run_until(at("2027-03-01T06:09:59Z"));
    world.is_silent = true;
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    while world.in_flight.is_empty() {
        if !world.subscribing.is_empty() {
            world.subscribed(0, None);
        }
        if !world.commit() {
            world.now = world.wake.expect("a wake");
            world.step(Event::Woke);
        }
    }
    world.refuse(0);
    world.report("door/state", true, false);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00.250 publish valve/on #1
            06:12:00 publish valve/off #1
            06:12:00 cancelled open 06:10:00: a newer run of its group, `newer` of 06:12:00, replaced it
            06:12:00 publish elsewhere #1
            06:12:00 succeeded newer 06:12:00
        "#]],
    );
}
