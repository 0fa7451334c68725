//! Large plans and long outages: bounded steps, and plans committed as a whole.

use roost_scheduler::{event::Event, model::Job};

use crate::{
    dsl::{START, at, job},
    world::World,
};

#[test]
fn the_end_of_a_long_outage_is_processed_in_bounded_steps() {
    let jobs: Vec<Job> =
        (0..10_000).map(|n| job(&format!("j{n:05}"), "at 2027-03-01T06:10:00Z", &[(0, "a")])).collect();
    let mut world = World::new(at(START));
    for plugin in ["a", "b"] {
        world.load(plugin, 1, &[("many", jobs.clone())]);
    }
    world.run_until(at("2027-03-01T08:00:00Z"));
    let step = world.scheduler.step(world.now, Event::LinkUp { link: 77, credit: 100 });
    assert!(step.changes.len() <= 5_000, "I10: {} changes in one step", step.changes.len());
}

fn many(topic: &str) -> Vec<Job> {
    (0..1_000).map(|n| job(&format!("j{n:04}"), "every 1h", &[(0, topic)])).collect()
}

/// Returns how many stored jobs are from the old plan, and how many from the new one.
fn by_topic(world: &World) -> (usize, usize) {
    let of = |topic: &str| {
        let steps = world.disk.jobs.values().filter(|saved| saved.job.body.step(0).is_some_and(|s| s.topic() == topic));
        steps.count()
    };
    (of("old"), of("new"))
}

#[test]
fn a_large_plan_is_adopted_in_bounded_steps_and_committed_as_a_whole() {
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("many", many("old"))]);
    world.run_until(at(START));
    assert_eq!(by_topic(&world), (1_000, 0));
    world.load("coop", 2, &[("many", many("new")[..900].to_vec())]);
    let mut steps = 0;
    while world.wake == Some(world.now) {
        assert!(matches!(by_topic(&world), (1_000, 0) | (0, 900)), "a part of a plan is on disk");
        world.now = world.now.plus_ms(1);
        let changes = world.step(Event::Woke);
        assert!(changes <= 600, "I10: {changes} changes in one step");
        steps += 1;
        if steps % 3 == 0 {
            world.commit();
        }
    }
    assert!(steps > 6, "{steps} steps");
    while world.commit() {}
    assert_eq!(by_topic(&world), (0, 900));
}

#[test]
fn a_commit_between_two_large_plans_contains_no_part_of_one() {
    let mut world = World::new(at(START));
    world.load("coop", 1, &[("one", many("old")), ("two", many("new")), ("three", many("old"))]);
    while world.wake == Some(world.now) {
        // A plan becomes durable while the next one is adopted: arming its jobs is queued with the other work.
        if world.partial {
            while world.commit() {}
        }
        let (old, new) = by_topic(&world);
        assert!(old % 1_000 == 0 && new % 1_000 == 0, "a part of a plan is on disk: {old} and {new}");
        world.step(Event::Woke);
    }
    while world.commit() {}
    assert_eq!(by_topic(&world), (2_000, 1_000));
}

#[test]
fn a_crash_during_the_adoption_of_a_large_plan_leaves_the_previous_plan() {
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("many", many("old"))]);
    world.run_until(at("2027-03-01T06:59:59.998Z"));
    world.load("coop", 2, &[("many", many("new"))]);
    for _ in 0..7 {
        // Jobs are due meanwhile: those that the new plan has reached wait for it, the others follow the old one.
        world.now = world.now.plus_ms(1);
        world.step(Event::Woke);
        while world.commit() {}
    }
    assert_eq!(by_topic(&world), (1_000, 0));
    world.crash();
    world.link_up(100);
    world.load("coop", 2, &[("many", many("new"))]);
    world.run_until(at("2027-03-01T08:30:00Z"));
    world.checker.all_is_done(&world.disk);
    assert_eq!(by_topic(&world), (0, 1_000));
}
