//! Resources: which runs hold them, for how long, and in which order.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::{Action, Job, Overlap, Reply, Step, Task},
    names::{ResourceName, TaskName},
};

use crate::{
    disk::LONGEST_HOLD_MS,
    dsl::{START, at, check, check_only, confirmed, in_group, job, name, with},
    world::World,
};

fn needs(what: &str, priority: i8, job: Job) -> Job {
    with(job, |job| {
        job.policy.needs = Some(name(ResourceName::parse(what)));
        job.policy.priority = priority;
        job.policy.grace_ms = 3_600_000;
    })
}

fn watering(id: &str, priority: i8) -> Job {
    needs("pump", priority, job(id, "at 2027-03-01T06:10:00Z", &[(0, &format!("{id}/on")), (60, &format!("{id}/off"))]))
}

fn two_plugins(coop: Vec<Job>, other: Vec<Job>) -> World {
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("north", coop)]);
    world.load("other", 1, &[("other", other)]);
    world.run_until(at("2027-03-01T06:05:00Z"));
    world.log.clear();
    world
}

#[test]
fn plugins_take_turns_at_a_resource_regardless_of_priority() {
    let greedy = (0..4).map(|number| watering(&format!("g{number}"), 127)).collect();
    let mut world = two_plugins(greedy, vec![watering("low", -128), watering("lower", -127)]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check_only(
        &world,
        "/on",
        &expect![[r#"
            06:10:00 publish g0/on #1
            06:11:00 publish lower/on #1
            06:12:00 publish g1/on #1
            06:13:00 publish low/on #1
            06:14:00 publish g2/on #1
            06:15:00 publish g3/on #1
        "#]],
    );
}

#[test]
fn a_plugin_that_is_not_configured_for_a_resource_is_denied() {
    let coop = needs("well", 127, job("steals", "at 2027-03-01T06:10:00Z", &[(0, "a")]));
    let other = needs("well", 0, job("draws", "at 2027-03-01T06:10:00Z", &[(0, "b")]));
    let mut world = two_plugins(vec![coop], vec![other]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 denied steals 06:10:00: it needs `well`, and its plugin is not among the `plugins` of that `[[resource]]`
            06:10:00 publish b #1
            06:10:00 succeeded draws 06:10:00
        "#]],
    );
}

#[test]
fn steps_that_take_longer_than_a_resource_may_be_held_do_not_start() {
    let most = LONGEST_HOLD_MS / 1_000;
    let long = |id: &str, after_s| needs("pump", 0, job(id, "at 2027-03-01T06:10:00Z", &[(0, id), (after_s, "off")]));
    let mut world = two_plugins(vec![long("exact", most)], vec![long("longer", most + 1)]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    // One that takes exactly so long keeps the pump to its end.
    check(
        &world,
        &expect![[r#"
            06:10:00 denied longer 06:10:00: it would hold `pump` for 5m1s, and a run may hold it for 5m
            06:10:00 publish exact #1
            06:15:00 publish off #1
            06:15:00 succeeded exact 06:10:00
        "#]],
    );
}

#[test]
fn a_reply_that_takes_longer_than_a_resource_may_be_held_does_not_start() {
    let mut water = needs("pump", 0, job("lawn", "at 2027-03-01T06:10:00Z", &[]));
    water.action = Action::Task(Task { name: name(TaskName::parse("water")), args: "null".into() }.into());
    let mut world = two_plugins(vec![water], vec![watering("beds", 0)]);
    let long = job("long", "now", &[(0, "lawn/on"), (LONGEST_HOLD_MS / 1_000 + 1, "lawn/off")]);
    world.reply = Ok(Reply { steps: long.steps().to_vec(), replan: false, note: None });
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 call water null of 06:10:00
            06:10:00 denied lawn 06:10:00: it would hold `pump` for 5m1s, and a run may hold it for 5m
            06:10:00 publish beds/on #1
            06:11:00 publish beds/off #1
            06:11:00 succeeded beds 06:10:00
        "#]],
    );
}

/// Runs a world in which the broker refuses messages to one topic.
fn run_refusing(world: &mut World, topic: &str, until: &str) {
    let until = at(until);
    loop {
        while world.commit() || world.return_plan() {}
        if let Some(sent) = world.in_flight.first() {
            if sent.message().topic() == topic {
                world.refuse(0);
            } else {
                world.ack(0);
            }
            continue;
        }
        let Some(wake) = world.wake.filter(|wake| *wake <= until) else { break };
        world.now = world.now.max(wake);
        world.step(Event::Woke);
    }
    world.now = until;
}

#[test]
fn an_owed_step_continues_without_the_resource_after_the_longest_hold() {
    let mut world = two_plugins(vec![watering("lawn", 0)], vec![watering("beds", 0)]);
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:20:00Z");
    world.run_until(at("2027-03-01T06:40:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lawn/on #1
            06:11:00 publish lawn/off #1
            06:11:00.949 publish lawn/off #2
            06:11:02.660 publish lawn/off #3
            06:11:06.343 publish lawn/off #4
            06:11:14.249 publish lawn/off #5
            06:11:27.070 publish lawn/off #6
            06:11:53.832 publish lawn/off #7
            06:12:53.496 publish lawn/off #8
            06:14:35.711 publish lawn/off #9
            06:16:00 freed pump of lawn after 360 s
            06:16:00 publish beds/on #1
            06:17:00 publish beds/off #1
            06:17:00 succeeded beds 06:10:00
            06:18:49.338 publish lawn/off #10
            06:23:26.278 publish lawn/off #11
            06:23:26.278 succeeded lawn 06:10:00: step 2 was sent 12m26s278ms late
        "#]],
    );
    let notes: Vec<&str> = world.disk.history.values().filter_map(|ended| ended.note.as_deref()).collect();
    assert_eq!(notes, ["it held `pump` for 6m, and released it while steps were owed"]);
}

#[test]
fn a_first_step_is_given_up_after_the_longest_hold() {
    let once = needs("pump", 0, job("lawn", "at 2027-03-01T06:10:00Z", &[(0, "lawn/on")]));
    let stubborn = with(once, |job| job.policy.retry.give_up_after_ms = 4_000_000);
    let mut world = two_plugins(vec![stubborn], vec![watering("beds", 0)]);
    run_refusing(&mut world, "lawn/on", "2027-03-01T06:30:00Z");
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lawn/on #1
            06:10:00.949 publish lawn/on #2
            06:10:02.660 publish lawn/on #3
            06:10:06.343 publish lawn/on #4
            06:10:14.249 publish lawn/on #5
            06:10:27.070 publish lawn/on #6
            06:10:53.832 publish lawn/on #7
            06:11:53.496 publish lawn/on #8
            06:13:35.711 publish lawn/on #9
            06:16:00 failed lawn 06:10:00: step 1 was given up: it was tried for 6m, the longest time for which `pump` may be held
            06:16:00 publish beds/on #1
            06:17:00 publish beds/off #1
            06:17:00 succeeded beds 06:10:00
        "#]],
    );
}

#[test]
fn a_first_step_given_up_while_it_waited_for_a_commit_returns_its_credit_once() {
    let late = |id: &str| job(id, "at 2027-03-01T06:16:01Z", &[(0, id)]);
    let mut world = two_plugins(vec![watering("lawn", 0)], vec![late("a"), late("b")]);
    world.link_up(1);
    for now in ["2027-03-01T06:10:00Z", "2027-03-01T06:16:01Z"] {
        world.now = at(now);
        world.step(Event::Woke);
    }
    while world.commit() {}
    check(
        &world,
        &expect![[r#"
            06:16:01 failed lawn 06:10:00: step 1 was given up: it was tried for 6m1s, the longest time for which `pump` may be held
            06:16:01 publish a #1
        "#]],
    );
    assert_eq!(world.in_flight.len(), 1, "the link takes one at a time");
}

#[test]
fn a_report_does_not_start_a_run_that_has_released_its_resource() {
    let lawn = confirmed(watering("lawn", 0), true);
    let mut world =
        two_plugins(vec![lawn], vec![watering("beds", 0), job("a", "at 2027-03-01T06:10:05Z", &[(0, "a")])]);
    world.link_up(1);
    for now in ["2027-03-01T06:10:00Z", "2027-03-01T06:10:05Z"] {
        world.now = at(now);
        world.step(Event::Woke);
        while world.commit() {}
    }
    assert_eq!(world.in_flight.len(), 1, "the link takes no more");
    world.subscribed(0, None);
    world.now = at("2027-03-01T06:16:00Z");
    world.step(Event::Woke);
    world.report("door/state", true, false);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:05 publish a #1
            06:16:00 succeeded a 06:10:05
            06:16:00 publish beds/on #1
            06:17:00 publish beds/off #1
            06:17:00 succeeded beds 06:10:00
            06:17:00.250 publish lawn/on #1
            06:18:00.500 publish lawn/off #1
            06:18:00.500 succeeded lawn 06:10:00
        "#]],
    );
}

#[test]
fn a_run_that_has_not_started_releases_the_resource_and_starts_later() {
    // A run of a group waits for the link without a limit.
    let door = needs("pump", 0, in_group("door", "at 2027-03-01T06:10:00Z", &[(0, "door/on"), (60, "door/off")]));
    let mut world = two_plugins(vec![watering("lawn", 0)], vec![door]);
    world.run_until(at("2027-03-01T06:10:30Z"));
    world.link_down();
    world.run_until(at("2027-03-01T06:40:00Z"));
    world.link_up(100);
    world.run_until(at("2027-03-01T06:50:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lawn/on #1
            06:16:00 freed pump of lawn after 360 s
            06:40:00 publish lawn/off #1
            06:40:00 publish door/on #1
            06:40:00 succeeded lawn 06:10:00: step 2 was sent 29m late
            06:41:00 publish door/off #1
            06:41:00 succeeded door 06:10:00
        "#]],
    );
}

#[test]
fn a_removed_plugin_leaves_the_queue_and_keeps_the_resource_only_for_owed_steps() {
    let mut world = two_plugins(vec![watering("lawn", 0), watering("trees", 0)], vec![watering("beds", 0)]);
    world.run_until(at("2027-03-01T06:10:30Z"));
    world.remove("coop");
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:20:00Z");
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lawn/on #1
            06:10:30 cancelled trees 06:10:00: its plugin was removed
            06:11:00 publish lawn/off #1
            06:11:00.949 publish lawn/off #2
            06:11:02.660 publish lawn/off #3
            06:11:06.343 publish lawn/off #4
            06:11:14.249 publish lawn/off #5
            06:11:27.070 publish lawn/off #6
            06:11:53.832 publish lawn/off #7
            06:12:53.496 publish lawn/off #8
            06:14:35.711 publish lawn/off #9
            06:16:00 freed pump of lawn after 360 s
            06:16:00 publish beds/on #1
            06:17:00 publish beds/off #1
            06:17:00 succeeded beds 06:10:00
            06:18:49.338 publish lawn/off #10
        "#]],
    );
}

#[test]
fn after_a_crash_a_resource_is_held_for_the_rest_of_the_longest_hold() {
    let mut world = two_plugins(vec![watering("lawn", 0)], vec![watering("beds", 0)]);
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:13:00Z");
    world.crash();
    world.link_up(100);
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:15:30Z");
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:16:10Z");
    world.crash();
    world.link_up(100);
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:18:00Z");
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lawn/on #1
            06:11:00 publish lawn/off #1
            06:11:00.949 publish lawn/off #2
            06:11:02.660 publish lawn/off #3
            06:11:06.343 publish lawn/off #4
            06:11:14.249 publish lawn/off #5
            06:11:27.070 publish lawn/off #6
            06:11:53.832 publish lawn/off #7
            06:12:53.496 publish lawn/off #8
            06:13:00 crash
            06:13:00 publish lawn/off #9
            06:16:00 freed pump of lawn after 360 s
            06:16:00 publish beds/on #1
            06:16:10 crash
            06:16:10 publish lawn/off #10
            06:17:00 publish beds/off #1
            06:17:00 succeeded beds 06:10:00
        "#]],
    );
}

#[test]
fn runs_that_replace_each_other_hold_a_resource_as_one() {
    let steps: &[(u32, &str)] = &[(0, "lawn/on"), (150, "lawn/off")];
    let again =
        with(needs("pump", 0, job("lawn", "cron * 6 * * *", steps)), |job| job.policy.overlap = Overlap::Replace);
    let mut world = two_plugins(vec![again], vec![watering("beds", 0)]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check_only(
        &world,
        "beds",
        &expect![[r#"
            06:12:00 publish beds/on #1
            06:13:00 publish beds/off #1
            06:13:00 succeeded beds 06:10:00
        "#]],
    );
}

#[test]
fn owed_steps_keep_their_resource_if_the_store_fails_before_the_newer_run_starts() {
    let steps: &[(u32, &str)] = &[(0, "lawn/on"), (150, "lawn/off")];
    let lawn = confirmed(needs("pump", 0, job("lawn", "cron 10,11 6 * * *", steps)), false);
    let lawn = with(lawn, |job| {
        job.policy.overlap = Overlap::Replace;
        let [first, last] = job.steps() else { unreachable!("two steps") };
        job.action = Action::Steps([first.clone(), Step { confirm: None, ..last.clone() }].into());
    });
    let mut world = two_plugins(vec![lawn], vec![]);
    world.run_until(at("2027-03-01T06:10:30Z"));
    // The newer run has taken the resource over, and waits for its subscription.
    world.now = at("2027-03-01T06:11:00Z");
    world.step(Event::Woke);
    world.fail_store();
    run_refusing(&mut world, "lawn/off", "2027-03-01T06:16:30Z");
    check_only(
        &world,
        "freed",
        &expect![[r#"
            06:16:00 freed pump of lawn after 360 s
        "#]],
    );
}
