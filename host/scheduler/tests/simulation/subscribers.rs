//! Messages to topics without subscribers.

use expect_test::expect;
use roost_scheduler::model::{Action, Overlap};

use crate::{
    dsl::{at, check, check_only, job, with, world},
    world::World,
};

fn without_subscribers(world: &mut World, topics: &[&str]) {
    world.unsubscribed = topics.iter().map(|topic| (*topic).to_owned()).collect();
}

#[test]
fn an_owed_step_waits_for_a_device_that_was_subscribed_before() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")])]);
    without_subscribers(&mut world, &["valve/off"]);
    world.run_until(at("2027-03-01T06:12:00Z"));
    // With growing pauses.
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:11:00 publish valve/off #1
            06:11:00.805 publish valve/off #2
            06:11:02.758 publish valve/off #3
            06:11:05.763 publish valve/off #4
            06:11:11.971 publish valve/off #5
            06:11:25.676 publish valve/off #6
            06:11:50.169 publish valve/off #7
        "#]],
    );
    let under_way = world
        .scheduler
        .runs_from(0)
        .0
        .first()
        .map(|run| (run.phase.as_str(), run.last.as_ref().map(ToString::to_string)));
    let last = "the broker accepted the message, and no device listens on its topic";
    assert_eq!(under_way, Some(("pausing", Some(last.to_owned()))));
    // The device is back.
    without_subscribers(&mut world, &[]);
    world.log.clear();
    world.run_until(at("2027-03-01T06:16:00Z"));
    check(
        &world,
        &expect![[r#"
            06:12:42.217 publish valve/off #8
            06:12:42.217 succeeded water 06:10:00: step 2 was sent 1m42s217ms late
        "#]],
    );
}

#[test]
fn the_wait_for_a_subscriber_ends_and_is_recorded() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")])]);
    without_subscribers(&mut world, &["valve/off"]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    // After five minutes.
    check_only(
        &world,
        "water",
        &expect![[r#"
            06:16:00 succeeded water 06:10:00: step 2 was sent 3m20s607ms late; no device listens on the topic of step 2
        "#]],
    );
    assert!(world.dead_letters.is_empty());
}

#[test]
fn a_topic_that_never_had_a_subscriber_holds_up_nothing() {
    let mut world = world(&[
        job("lamp", "at 2027-03-01T06:10:00Z", &[(0, "lamp/on")]),
        job("water", "at 2027-03-01T06:11:00Z", &[(0, "valve/on"), (60, "valve/off"), (90, "valve/check")]),
    ]);
    without_subscribers(&mut world, &["lamp/on", "valve/on", "valve/off", "valve/check"]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish lamp/on #1
            06:10:00 succeeded lamp 06:10:00: no device listens on the topic of step 1
            06:11:00 publish valve/on #1
            06:12:00 publish valve/off #1
            06:12:30 publish valve/check #1
            06:12:30 succeeded water 06:11:00: no device listens on the topic of step 1
        "#]],
    );
}

#[test]
fn other_steps_do_not_wait_for_a_device_that_is_offline() {
    let zones = &[(0, "z1/on"), (60, "z1/off"), (63, "z2/on"), (120, "z2/off")];
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", zones)]);
    without_subscribers(&mut world, &["z1/off"]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish z1/on #1
            06:11:00 publish z1/off #1
            06:11:00.805 publish z1/off #2
            06:11:02.758 publish z1/off #3
            06:11:03 publish z2/on #1
            06:12:00 publish z2/off #1
            06:12:00 succeeded water 06:10:00: step 2 was sent 2s758ms late; no device listens on the topic of step 2
        "#]],
    );
}

#[test]
fn a_newer_run_a_retained_message_and_a_once_step_do_not_wait() {
    let water = |change: &dyn Fn(&mut roost_scheduler::model::Step)| {
        with(job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")]), |job| {
            let mut steps = job.steps().to_vec();
            change(&mut steps[1]);
            job.action = Action::Steps(steps.into());
        })
    };
    for job in [water(&|step| step.once = true), water(&|step| step.message.retain = true)] {
        let mut world = world(&[job]);
        without_subscribers(&mut world, &["valve/off"]);
        world.run_until(at("2027-03-01T06:20:00Z"));
        check(
            &world,
            &expect![[r#"
                06:10:00 publish valve/on #1
                06:11:00 publish valve/off #1
                06:11:00 succeeded water 06:10:00: no device listens on the topic of step 2
            "#]],
        );
    }
    let replaced = with(job("water", "every 3m", &[(0, "valve/on"), (60, "valve/off")]), |job| {
        job.policy.overlap = Overlap::Replace;
    });
    let mut world = world(&[replaced]);
    without_subscribers(&mut world, &["valve/off"]);
    world.run_until(at("2027-03-01T06:10:00Z"));
    // Each starts on time.
    check_only(
        &world,
        "publish valve/on",
        &expect![[r#"
            06:03:00 publish valve/on #1
            06:06:00 publish valve/on #1
            06:09:00 publish valve/on #1
        "#]],
    );
}

/// A master valve and a zone, on topics of their own.
fn round() -> Vec<roost_scheduler::model::Job> {
    vec![job(
        "round",
        "at 2027-03-01T06:10:00Z",
        &[(0, "master/on"), (1, "zone/on"), (3, "zone/off"), (4, "master/off")],
    )]
}

#[test]
fn overdue_steps_after_a_crash_wait_for_a_device_that_is_not_back_yet() {
    let mut world = world(&round());
    world.run_until(at("2027-03-01T06:10:00.100Z"));
    world.crash();
    world.run_until(at("2027-03-01T06:10:07Z"));
    without_subscribers(&mut world, &["zone/on", "zone/off", "master/off"]);
    world.link_up(100);
    world.log.clear();
    world.run_until(at("2027-03-01T06:10:20Z"));
    // The device is back: both valves are closed, in their order.
    without_subscribers(&mut world, &[]);
    world.log.clear();
    world.run_until(at("2027-03-01T06:16:00Z"));
    let sent: Vec<_> =
        crate::dsl::lines(&world).iter().filter_map(|line| line.split(" publish ").nth(1).map(str::to_owned)).collect();
    assert_eq!(
        sent.iter().map(|sent| sent.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["zone/on", "zone/off", "master/off"],
        "{sent:?}"
    );
}

#[test]
fn the_last_step_waits_although_an_earlier_owed_one_found_no_subscriber() {
    let mut world = world(&round());
    world.run_until(at("2027-03-01T06:10:02Z"));
    without_subscribers(&mut world, &["zone/on", "zone/off", "master/off"]);
    world.run_until(at("2027-03-01T06:10:30Z"));
    without_subscribers(&mut world, &[]);
    world.log.clear();
    world.run_until(at("2027-03-01T06:12:00Z"));
    assert!(crate::dsl::lines(&world).iter().any(|line| line.contains("publish master/off #")), "{:?}", world.log);
}

#[test]
fn overdue_steps_share_one_wait_for_a_device_that_stays_away() {
    let mut world = world(&round());
    world.run_until(at("2027-03-01T06:10:02Z"));
    world.crash();
    world.run_until(at("2027-03-01T06:10:10Z"));
    without_subscribers(&mut world, &["zone/on", "zone/off", "master/off"]);
    world.link_up(100);
    world.log.clear();
    world.run_until(at("2027-03-01T06:30:00Z"));
    let ended: Vec<_> = crate::dsl::lines(&world).into_iter().filter(|line| line.contains("succeeded")).collect();
    assert_eq!(ended.len(), 1, "{:?}", crate::dsl::lines(&world));
    assert!(ended[0].starts_with("06:15:"), "{ended:?}");
}

#[test]
fn a_step_that_a_later_one_overtook_while_the_host_was_down_is_not_said_to_be_sent() {
    let mut world = world(&round());
    world.run_until(at("2027-03-01T06:10:00.500Z"));
    world.crash();
    world.run_until(at("2027-03-01T06:10:07Z"));
    world.link_up(100);
    world.log.clear();
    world.run_until(at("2027-03-01T06:11:00Z"));
    let lines = crate::dsl::lines(&world);
    assert!(lines.iter().any(|line| line.contains("publish master/off #")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("after 1 attempt: the host was stopped")), "{lines:?}");
}
