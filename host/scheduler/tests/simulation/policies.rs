//! Scenarios of each policy.

use expect_test::expect;
use roost_scheduler::{
    event::{Event, Request},
    model::{Job, Misfire, Overlap},
    names::ResourceName,
};

use crate::dsl::{at, check, check_only, each_step, in_group, job, name, with, world};

fn overlapping(overlap: Overlap) -> Job {
    let water = job("water", "cron 1-59 6 * * *", &[(0, "valve/on"), (150, "valve/off")]);
    with(water, |job| job.policy.overlap = overlap)
}

#[test]
fn a_queue_lets_runs_wait_within_their_grace_up_to_its_limit() {
    let mut world = world(&[overlapping(Overlap::Queue(1))]);
    world.run_until(at("2027-03-01T06:05:00Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish valve/on #1
            06:03:00 skipped water 06:03:00: the limit of waiting runs (1) was reached
            06:03:30 publish valve/off #1
            06:03:30 succeeded water 06:01:00
            06:03:30 publish valve/on #1
            06:05:00 skipped water 06:05:00: the limit of waiting runs (1) was reached
        "#]],
    );
}

#[test]
fn allow_limits_the_runs_that_are_active_at_once() {
    let mut world = world(&[overlapping(Overlap::Allow(2))]);
    world.run_until(at("2027-03-01T06:03:30Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish valve/on #1
            06:02:00 publish valve/on #1
            06:03:00 skipped water 06:03:00: the limit of simultaneous runs (2) was reached
            06:03:30 publish valve/off #1
            06:03:30 succeeded water 06:01:00
        "#]],
    );
}

#[test]
fn a_run_that_replaces_another_takes_over_its_owed_steps() {
    let mut world = world(&[overlapping(Overlap::Replace)]);
    world.run_until(at("2027-03-01T06:02:30Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish valve/on #1
            06:02:00 cancelled water 06:01:00: the run of 06:02:00 replaced it
            06:02:00 publish valve/on #1
        "#]],
    );
}

#[test]
fn an_owed_step_is_not_put_off_without_end() {
    let water = job("water", "cron */5 * * * *", &[(0, "valve/on"), (600, "valve/off")]);
    let mut replaced = world(&[with(water, |job| job.policy.overlap = Overlap::Replace)]);
    // Due at 06:10, and put off for an hour at most: the last run that may restart its time is that of 07:05. It is
    // opened again later, by the job's own schedule.
    replaced.run_until(at("2027-03-01T07:04:00Z"));
    check_only(&replaced, "valve/off", &expect![[""]]);
    replaced.log.clear();
    replaced.run_until(at("2027-03-01T07:26:00Z"));
    check(
        &replaced,
        &expect![[r#"
            07:05:00 cancelled water 07:00:00: the run of 07:05:00 replaced it
            07:05:00 publish valve/on #1
            07:10:00 skipped water 07:10:00: the run of 07:05:00 had not ended
            07:15:00 skipped water 07:15:00: the run of 07:05:00 had not ended
            07:15:00 publish valve/off #1
            07:15:00 succeeded water 07:05:00
            07:20:00 publish valve/on #1
            07:25:00 cancelled water 07:20:00: the run of 07:25:00 replaced it
            07:25:00 publish valve/on #1
        "#]],
    );
}

#[test]
fn in_a_group_an_owed_step_that_was_put_off_too_long_is_sent_first() {
    let mut world = world(&[in_group("water", "cron */5 * * * *", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T07:59:00Z"));
    check_only(
        &world,
        "valve/off",
        &expect![[r#"
            07:10:00 publish valve/off #1
        "#]],
    );
    check_only(
        &world,
        "07:10:00 publish",
        &expect![[r#"
            07:10:00 publish valve/off #1
            07:10:00 publish valve/on #1
        "#]],
    );
}

#[test]
fn a_crash_does_not_restart_the_time_that_a_step_is_put_off() {
    let water = job("water", "cron */5 * * * *", &[(0, "valve/on"), (600, "valve/off")]);
    let mut world = world(&[with(water, |job| job.policy.overlap = Overlap::Replace)]);
    for minute in [20, 40] {
        world.run_until(at(&format!("2027-03-01T06:{minute}:30Z")));
        world.crash();
        world.link_up(100);
    }
    world.run_until(at("2027-03-01T08:00:00Z"));
    check_only(
        &world,
        "valve/off",
        &expect![[r#"
            07:15:00 publish valve/off #1
        "#]],
    );
}

#[test]
fn a_clock_that_lost_the_time_does_not_put_off_an_owed_step_for_longer() {
    let water = job("water", "every 5m", &[(0, "valve/on"), (600, "valve/off")]);
    let mut world = world(&[with(water, |job| job.policy.overlap = Overlap::Replace)]);
    world.run_until(at("2027-03-01T06:52:00Z"));
    // It is unknown how long ago the last run started: its time counts from now on, and the rest of the hour with it.
    world.crash_and_shift(-1_800_000);
    world.link_up(100);
    world.run_until(at("2027-03-01T08:00:00Z"));
    check_only(
        &world,
        "valve/off",
        &expect![[r#"
            06:50:00 publish valve/off #1
        "#]],
    );
}

#[test]
fn owed_steps_of_a_replaced_run_on_other_topics_are_sent_first() {
    let long = with(job("zones", "cron 1-59 6 * * *", &[(0, "z1/on"), (90, "z1/off")]), |job| {
        job.policy.overlap = Overlap::Replace;
    });
    let mut world = world(&[long]);
    world.run_until(at("2027-03-01T06:01:30Z"));
    let other = with(job("zones", "cron 1-59 6 * * *", &[(0, "z2/on"), (90, "z2/off")]), |job| {
        job.policy.overlap = Overlap::Replace;
    });
    world.load("coop", 2, &[("north", vec![other])]);
    world.run_until(at("2027-03-01T06:02:10Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish z1/on #1
            06:01:30 coop: 0 new, 1 changed, 0 gone, 0 unchanged
            06:02:00 publish z1/off #1
            06:02:00 cancelled zones 06:01:00: the run of 06:02:00 replaced it
            06:02:00 publish z2/on #1
        "#]],
    );
}

#[test]
fn steps_left_to_a_run_that_never_starts_are_sent() {
    let water = job("water", "cron 1,2 6 * * *", &[(0, "valve/on"), (150, "valve/off")]);
    let mut world = world(&[with(water, |job| job.policy.overlap = Overlap::Replace)]);
    world.run_until(at("2027-03-01T06:01:30Z"));
    world.link_down();
    // Due while the link is down, and too late when it is up again.
    while world.wake.is_some_and(|wake| wake <= at("2027-03-01T06:02:00Z")) {
        world.now = world.now.max(world.wake.expect("a wake"));
        world.step(Event::Woke);
        while world.commit() {}
    }
    world.load("coop", 2, &[("north", vec![])]);
    world.now = at("2027-03-01T06:20:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T06:21:00Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish valve/on #1
            06:20:00 missed water 06:02:00: there was no connection to the broker; it would have started 18m late, and its grace is 5m
            06:20:00 coop: 0 new, 0 changed, 1 gone, 0 unchanged
            06:20:00 publish valve/off #1
            06:20:00 cancelled water 06:01:00: the run of 06:02:00 replaced it
        "#]],
    );
}

#[test]
fn steps_left_to_a_run_that_is_replaced_before_it_starts_are_left_to_the_newest() {
    let mut world = world(&[overlapping(Overlap::Replace)]);
    world.run_until(at("2027-03-01T06:01:30Z"));
    world.link_down();
    for due in ["2027-03-01T06:02:00Z", "2027-03-01T06:03:00Z"] {
        world.now = at(due);
        world.step(Event::Woke);
        while world.commit() {}
    }
    world.link_up(100);
    world.run_until(at("2027-03-01T06:03:30Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 publish valve/on #1
            06:03:00 cancelled water 06:02:00: the run of 06:03:00 replaced it
            06:03:00 cancelled water 06:01:00: the run of 06:03:00 replaced it
            06:03:00 publish valve/on #1
        "#]],
    );
}

#[test]
fn in_a_group_only_the_newest_missed_run_is_caught_up_however_late() {
    let open = in_group("open", "cron 0 7 * * *", &[(0, "door/open")]);
    let close = in_group("close", "cron 0 20 * * *", &[(0, "door/close")]);
    let mut world = world(&[open, close]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    world.now = at("2027-03-01T21:00:00Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T21:01:00Z"));
    check(
        &world,
        &expect![[r#"
            21:00:00 crash
            21:00:00 missed open 07:00:00: only the newest run of its group, `close` of 20:00:00, is caught up
            21:00:00 publish door/close #1
            21:00:00 succeeded close 20:00:00
        "#]],
    );
}

#[test]
fn a_run_that_joins_a_group_too_late_yields_to_the_newer_one() {
    let close = in_group("close", "at 2027-03-01T06:30:00Z", &[(0, "door/close")]);
    let open = in_group("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    let mut world = world(std::slice::from_ref(&close));
    world.run_until(at("2027-03-01T06:35:00Z"));
    world.load("coop", 2, &[("north", vec![close, open])]);
    world.run_until(at("2027-03-01T06:40:00Z"));
    check(
        &world,
        &expect![[r#"
            06:30:00 publish door/close #1
            06:30:00 succeeded close 06:30:00
            06:35:00 missed open 06:10:00: only the newest run of its group, `close` of 06:30:00, is caught up
            06:35:00 coop: 1 new, 0 changed, 0 gone, 1 unchanged
        "#]],
    );
}

#[test]
fn a_retry_of_open_never_arrives_after_close() {
    let open = in_group("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    let close = in_group("close", "at 2027-03-01T06:12:00Z", &[(0, "door/close")]);
    let mut world = world(&[open, close]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.link_down();
    world.now = at("2027-03-01T06:12:30Z");
    world.step(Event::Woke);
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:12:30 cancelled open 06:10:00: a newer run of its group, `close` of 06:12:00, replaced it
            06:12:30 publish door/close #1
            06:12:30 succeeded close 06:12:00
        "#]],
    );
}

#[test]
fn run_all_catches_up_missed_runs_within_their_grace_in_order() {
    let log = with(job("log", "cron 1-59 6 * * *", &[(0, "log"), (5, "logged")]), |job| {
        job.policy.misfire = Misfire::RunAll;
        job.policy.grace_ms = 150_000;
    });
    let mut world = world(&[log]);
    world.run_until(at("2027-03-01T06:00:30Z"));
    world.now = at("2027-03-01T06:06:10Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:06:40Z"));
    check(
        &world,
        &expect![[r#"
            06:06:10 crash
            06:06:10 missed log 06:03:00: 3 missed since 06:01:00; the host was not running, or the machine slept; it would have started 3m10s late, and its grace is 2m30s
            06:06:10 publish log #1
            06:06:15 publish logged #1
            06:06:15 succeeded log 06:04:00
            06:06:15 publish log #1
            06:06:20 publish logged #1
            06:06:20 succeeded log 06:05:00
            06:06:20 publish log #1
            06:06:25 publish logged #1
            06:06:25 succeeded log 06:06:00
        "#]],
    );
}

#[test]
fn many_runs_that_are_caught_up_do_not_delay_others() {
    let log = with(job("log", "every 1s", &[(0, "log")]), |job| {
        job.policy.misfire = Misfire::RunAll;
        job.policy.grace_ms = 86_400_000;
    });
    let mut world = world(&[log]);
    world.load("other", 1, &[("one", vec![job("tick", "every 1s", &[(0, "tick")])])]);
    world.run_until(at("2027-03-01T06:00:30Z"));
    world.now = at("2027-03-01T10:00:30Z");
    world.crash();
    world.link_up(1);
    world.log.clear();
    for _ in 0..20 {
        assert!(world.scheduler.run_count() <= 2, "occurrences that are caught up later wait in their job");
        while world.commit() {}
        if !world.in_flight.is_empty() {
            world.ack(0);
        }
        world.step(Event::Woke);
    }
    let sent = |topic: &str| world.log.iter().filter(|line| line.contains(&format!("publish {topic} "))).count();
    assert!(sent("log") > 5 && sent("tick") == 1, "{:#?}", world.log);
}

#[test]
fn a_replay_does_not_yield_to_the_next_run() {
    let feed = with(job("feed", "cron */5 * * * *", &[(0, "feed")]), |job| job.policy.retry.attempts = Some(1));
    let mut world = world(&[feed]);
    world.now = at("2027-03-01T06:05:00Z");
    world.step(Event::Woke);
    world.refuse(0);
    while world.commit() {}
    world.link_down();
    let failed = world.dead_letters[0].clone();
    world.replay(&failed);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.link_up(100);
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:05:00 publish feed #1
            06:05:00 failed feed 06:05:00: step 1 was given up after 1 attempt: the broker refused the message: not authorized
            06:10:00 answer: feed
            06:10:00 publish feed #1
            06:10:00 succeeded feed 06:05:00 again
            06:10:00 publish feed #1
            06:10:00 succeeded feed 06:10:00
        "#]],
    );
}

#[test]
fn a_resource_is_held_until_the_last_step_and_passed_on_by_priority() {
    let zone = |id: &str, priority: i8| {
        with(job(id, "at 2027-03-01T06:10:00Z", &[(0, "on"), (60, "off")]), |job| {
            job.policy.needs = Some(name(ResourceName::parse("pump")));
            job.policy.priority = priority;
            job.policy.grace_ms = 90_000;
        })
    };
    let mut world = world(&[zone("lawn", 0), zone("beds", 1), zone("trees", 0)]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish on #1
            06:11:00 publish off #1
            06:11:00 succeeded beds 06:10:00
            06:11:00 publish on #1
            06:11:30.001 missed trees 06:10:00: `pump` was in use; it would have started 1m30s1ms late, and its grace is 1m30s
            06:12:00 publish off #1
            06:12:00 succeeded lawn 06:10:00
        "#]],
    );
}

#[test]
fn a_once_step_is_not_repeated_after_a_crash() {
    let feed = each_step(job("feed", "at 2027-03-01T06:10:00Z", &[(0, "feeder/turn")]), |step| step.once = true);
    let mut world = world(&[feed]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    assert!(world.in_flight.is_empty(), "I3: it is armed on disk first");
    world.commit();
    assert_eq!(world.in_flight.len(), 1);
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish feeder/turn #1
            06:10:00 crash
            06:10:00 failed feed 06:10:00: step 1 was possibly sent, and is not to be repeated
        "#]],
    );
}

#[test]
fn a_once_step_is_sent_after_a_crash_before_it_was_armed() {
    let feed = each_step(job("feed", "at 2027-03-01T06:10:00Z", &[(0, "feeder/turn")]), |step| step.once = true);
    let mut world = world(&[feed]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 crash
            06:10:00 publish feeder/turn #1
            06:10:00 succeeded feed 06:10:00
        "#]],
    );
}

#[test]
fn owed_steps_are_sent_although_the_store_has_failed() {
    let water = job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")]);
    let later = job("later", "at 2027-03-01T06:15:00Z", &[(0, "later")]);
    let mut world = world(&[water, later]);
    world.run_until(at("2027-03-01T06:11:00Z"));
    world.fail_store();
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:11:00 commits fail
            06:20:00 publish valve/off #1
            06:20:00 succeeded water 06:10:00
        "#]],
    );
}

#[test]
fn steps_left_to_a_newer_run_are_sent_after_the_other_owed_ones_if_the_store_fails() {
    let zones = |steps: &[(u32, &str)]| {
        with(job("zones", "cron 1,2 6 * * *", steps), |job| job.policy.overlap = Overlap::Replace)
    };
    let mut world = world(&[zones(&[(0, "z1/on"), (600, "z1/off"), (600, "z2/off")])]);
    world.run_until(at("2027-03-01T06:01:30Z"));
    world.load("coop", 2, &[("north", vec![zones(&[(0, "z2/on"), (600, "z2/off")])])]);
    world.run_until(at("2027-03-01T06:01:40Z"));
    world.link_down();
    world.now = at("2027-03-01T06:02:00Z");
    world.step(Event::Woke);
    while world.commit() {}
    world.fail_store();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check_only(
        &world,
        "publish",
        &expect![[r#"
            06:01:00 publish z1/on #1
            06:02:00 publish z1/off #1
            06:02:00 publish z2/off #1
        "#]],
    );
}

#[test]
fn only_abandoning_a_run_drops_its_owed_steps() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T06:11:00Z"));
    let run = "coop/north/water/2027-03-01T06:10:00Z".parse().expect("a run");
    world.request(Request::Abandon(run));
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:11:00 cancelled water 06:10:00: it was abandoned by hand
            06:11:00 answer: water
        "#]],
    );
}
