//! Steps that are done when their device says so, as short stories.

use roost_scheduler::{
    event::Event,
    model::{Action, Misfire, Step},
    names::{GroupName, ResourceName},
    topic::{Grant, TopicFilter},
};

use crate::{
    disk::everything,
    policies::{confirmed, each_step, in_group, lines, with},
    scenarios::{at, check, job, world},
    world::{World, name},
};

#[test]
fn a_silent_device_is_tried_again_with_growing_pauses_and_its_run_can_be_replayed() {
    let open = with(confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false), |job| {
        job.policy.retry.attempts = Some(3);
    });
    let mut world = world(&[open]);
    world.is_silent = true;
    world.run_until(at("2027-03-01T06:30:00Z"));
    let times: Vec<String> = lines(&world).into_iter().filter(|line| line.contains("publish")).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    let last = lines(&world).pop().expect("a line");
    assert!(
        last.ends_with("step 1 was given up after 3 attempts: the device did not confirm the step within 5s"),
        "{last}"
    );
    world.log.clear();
    world.is_silent = false;
    let failed = world.dead_letters[0].clone();
    world.replay(&failed);
    world.run_until(at("2027-03-01T06:31:00Z"));
    check(
        &world,
        &["06:30:00 answer: open", "06:30:00 publish door/open #1", "06:30:00 succeeded open 06:10:00 again"],
    );
}

#[test]
fn a_report_from_before_counts_only_if_the_step_says_so() {
    for (already, retained) in [(false, false), (false, true), (true, false), (true, true)] {
        let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), already);
        let mut world = world(&[open]);
        world.now = at("2027-03-01T06:10:00Z");
        world.step(Event::Woke);
        world.subscribed(0, None);
        world.report("door/state", true, retained);
        world.run_until(at("2027-03-01T06:11:00Z"));
        let published = world.log.iter().any(|line| line.contains("publish"));
        assert_eq!(published, !already, "{:#?}", world.log);
        assert!(world.log.iter().any(|line| line.contains("succeeded open")));
    }
}

#[test]
fn what_the_broker_has_kept_says_nothing_of_what_was_sent() {
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
    assert!(world.log.iter().any(|line| line.contains("failed open")), "{:#?}", world.log);
}

#[test]
fn a_step_that_was_done_while_it_waited_for_the_disk_gives_its_turn_back_once() {
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
    assert!(lines(&world).contains(&"06:10:01 succeeded open 06:10:00".to_owned()), "{:#?}", world.log);
    assert_eq!(world.in_flight.len(), 1, "the link takes one at a time: {:#?}", lines(&world));
}

#[test]
fn nobody_listens_outside_the_grant_of_now() {
    let open = confirmed(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), false);
    let mut world = world(std::slice::from_ref(&open));
    let grant = Grant { subscribe: vec![name(TopicFilter::parse("elsewhere"))], ..everything() };
    world.load_granted("coop", 2, &[("north", vec![open])], grant);
    world.run_until(at("2027-03-01T06:20:00Z"));
    assert!(
        lines(&world).contains(&"06:10:00 denied open 06:10:00: reading `door/state` is not granted".to_owned()),
        "{:#?}",
        world.log
    );
}

#[test]
fn nothing_is_sent_where_the_device_cannot_be_listened_to() {
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
    let last = lines(&world).pop().expect("a line");
    assert!(
        last.contains("missed open 06:10:00: the subscription to the device's reports failed: not authorized"),
        "{last}"
    );
}

/// Whoever asks for reports is refused.
fn run_deaf_until(world: &mut World, until: &str) {
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
fn what_a_run_needs_is_free_for_others_while_its_device_cannot_be_listened_to() {
    let needs_pump = |job| with(job, |job| job.policy.needs = Some(name(ResourceName::parse("pump"))));
    let deaf = in_group("deaf", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    let deaf = needs_pump(confirmed(deaf, false));
    let other = needs_pump(job("other", "at 2027-03-01T06:11:00Z", &[(0, "other")]));
    let mut world = world(&[deaf, other]);
    // Long before the resource would be taken from it anyway.
    run_deaf_until(&mut world, "2027-03-01T06:12:00Z");
    assert!(world.log.iter().any(|line| line.contains("succeeded other")), "{:#?}", world.log);
}

#[test]
fn what_is_owed_is_sent_although_its_device_cannot_be_listened_to() {
    let water = job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")]);
    let mut water = confirmed(water, false);
    let steps = water.steps().to_vec();
    water.action = Action::Steps([Step { confirm: None, ..steps[0].clone() }, steps[1].clone()].into());
    let mut world = world(&[water]);
    run_deaf_until(&mut world, "2027-03-01T06:20:00Z");
    check(
        &world,
        &[
            "06:10:00 publish valve/on #1",
            "06:11:00 publish valve/off #1",
            "06:11:00 failed water 06:10:00: step 2: the subscription to the device's reports failed: not authorized; the \
             step was sent without confirmation",
        ],
    );
}

#[test]
fn what_is_so_already_owes_what_follows_whatever_was_tried_before() {
    let open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")]);
    let open = with(confirmed(open, true), |job| {
        job.policy.misfire = Misfire::LatestOfGroup(name(GroupName::parse("valve")));
    });
    let open = with(each_step(open, |step| step.after_ms *= 1), |job| {
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
    assert!(lines(&world).iter().any(|line| line.starts_with("06:12:00 publish valve/off")), "{:#?}", world.log);
}
