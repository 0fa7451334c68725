//! Scenarios in which the clock is set.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::{Job, Misfire},
};

use crate::dsl::{at, check, job, with, world};

#[test]
fn an_owed_step_keeps_its_delay_when_the_clock_is_set() {
    for (by_ms, expected) in [
        (
            -7_200_000,
            expect![[r#"
                06:10:00 publish valve/on #1
                04:13:00 clock set
                04:20:00 publish valve/off #1
                04:20:00 succeeded water 06:10:00
            "#]],
        ),
        (
            7_200_000,
            expect![[r#"
                06:10:00 publish valve/on #1
                08:13:00 clock set
                08:20:00 publish valve/off #1
                08:20:00 succeeded water 06:10:00
            "#]],
        ),
    ] {
        let water = job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")]);
        let mut world = world(&[water]);
        world.run_until(at("2027-03-01T06:13:00Z"));
        world.set_clock(by_ms);
        let set = world.now;
        world.run_until(set.plus_ms(3_600_000));
        check(&world, &expected);
    }
}

#[test]
fn every_continues_when_the_clock_is_set_back_and_no_run_comes_twice() {
    let mut world =
        world(&[job("tick", "every 30m", &[(0, "tick")]), job("daily", "cron 30 6 * * *", &[(0, "daily")])]);
    world.run_until(at("2027-03-01T06:40:00Z"));
    world.log.clear();
    world.set_clock(-3_600_000);
    world.run_until(at("2027-03-01T06:31:00Z"));
    check(
        &world,
        &expect![[r#"
            05:40:00 clock set
            06:00:00 publish tick #1
            06:00:00 succeeded tick 06:00:00 again
            06:30:00 publish tick #1
            06:30:00 succeeded tick 06:30:00 again
        "#]],
    );
}

#[test]
fn an_occurrence_that_the_clock_was_set_past_is_missed_with_that_reason() {
    let mut world = world(&[job("daily", "cron 30 6 * * *", &[(0, "daily")])]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    world.set_clock(7_200_000);
    world.run_until(at("2027-03-01T08:21:00Z"));
    check(
        &world,
        &expect![[r#"
            08:20:00 clock set
            08:20:00 missed daily 06:30:00: the clock was set forward; it would have started 1h50m late, and its grace is 5m
        "#]],
    );
}

/// Returns a job that is due every half hour.
fn tick(misfire: Misfire, grace_ms: u32) -> Job {
    with(job("tick", "every 30m", &[(0, "tick")]), |job| {
        job.policy.misfire = misfire;
        job.policy.grace_ms = grace_ms;
    })
}

#[test]
fn runs_from_before_a_clock_was_set_back_are_not_caught_up_when_it_is_corrected() {
    for (misfire, grace_ms) in [(Misfire::RunOnce, 300_000), (Misfire::RunAll, 21_600_000)] {
        let mut world = world(&[tick(misfire, grace_ms)]);
        world.run_until(at("2027-03-01T07:00:30Z"));
        world.set_clock(-7_200_000);
        world.run_until(at("2027-03-01T05:01:00Z"));
        world.log.clear();
        world.set_clock(7_200_000);
        world.run_until(at("2027-03-01T07:40:00Z"));
        check(
            &world,
            &expect![[r#"
                07:01:00 clock set
                07:30:00 publish tick #1
                07:30:00 succeeded tick 07:30:00 again
            "#]],
        );
    }
}

#[test]
fn nor_if_the_host_was_started_with_a_wrong_clock() {
    let mut world = world(&[tick(Misfire::RunOnce, 300_000)]);
    world.run_until(at("2027-03-01T07:01:00Z"));
    world.now = at("2027-03-01T05:17:00Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T05:17:30Z"));
    // And once more, before the clock is set.
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T05:18:00Z"));
    world.log.clear();
    world.set_clock(2 * 3_600_000 + 14 * 60_000);
    world.run_until(at("2027-03-01T08:01:00Z"));
    // From here on the host was off, and the clock not set.
    check(
        &world,
        &expect![[r#"
            07:32:00 clock set
            07:32:00 publish tick #1
            07:32:00 succeeded tick 07:30:00 again
            08:00:00 publish tick #1
            08:00:00 succeeded tick 08:00:00 again
        "#]],
    );
}

#[test]
fn a_run_that_waits_for_its_start_follows_the_clock() {
    let open = with(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]), |job| {
        job.policy.jitter_ms = 120_000;
    });
    let mut world = world(&[open]);
    world.run_until(at("2027-03-01T06:10:01Z"));
    // The job is removed; the run that waits for its jitter stays, and is on disk.
    world.load("coop", 2, &[("north", vec![])]);
    world.run_until(world.now);
    world.now = at("2027-03-01T05:17:00Z");
    world.crash();
    world.link_up(100);
    world.set_clock(52 * 60_000 + 30_000);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:01 coop: 0 new, 0 changed, 1 gone, 0 unchanged
            05:17:00 crash
            06:09:30 clock set
            06:10:23.503 publish door/open #1
            06:10:23.503 succeeded open 06:10:00
        "#]],
    );
}

#[test]
fn a_job_that_changes_to_every_does_not_wait_for_a_clock_that_was_set_back() {
    let cron = job("tick", "cron */30 * * * *", &[(0, "tick")]);
    let every = tick(Misfire::RunOnce, 300_000);
    for by_restart in [false, true] {
        let mut world = world(std::slice::from_ref(&cron));
        world.run_until(at("2027-03-01T09:01:00Z"));
        if by_restart {
            world.now = at("2027-03-01T05:17:00Z");
            world.crash();
            world.link_up(100);
        } else {
            world.set_clock(-(3 * 3_600_000 + 44 * 60_000));
        }
        world.load("coop", 2, &[("north", vec![every.clone()])]);
        world.log.clear();
        world.run_until(at("2027-03-01T06:01:00Z"));
        check(
            &world,
            &expect![[r#"
                05:17:00 coop: 0 new, 1 changed, 0 gone, 0 unchanged
                05:30:00 publish tick #1
                05:30:00 succeeded tick 05:30:00 again
                06:00:00 publish tick #1
                06:00:00 succeeded tick 06:00:00 again
            "#]],
        );
    }
}

#[test]
fn a_tombstone_does_not_begin_a_series_at_each_start() {
    let mut world = world(&[tick(Misfire::RunOnce, 300_000)]);
    world.run_until(at("2027-03-01T09:01:00Z"));
    world.load("coop", 2, &[("north", vec![])]);
    world.run_until(world.now);
    world.now = at("2027-03-01T05:17:00Z");
    for _ in 0..3 {
        world.crash();
        world.run_until(world.now);
    }
    assert_eq!(world.disk.series, 0);
    world.load("coop", 3, &[("north", vec![tick(Misfire::RunOnce, 300_000)])]);
    world.run_until(world.now);
    assert_eq!(world.disk.series, 1);
}

#[test]
fn cron_waits_for_the_wall_clock_but_not_for_one_that_was_plainly_wrong() {
    let daily = job("daily", "cron 0,30 6 * * *", &[(0, "daily")]);
    let lost = at("1970-01-01T06:29:00Z").ms_since(at("2027-03-02T06:31:00Z"));
    let cases = [
        (-7_200_000, expect![[""]]),
        (
            -86_400_000,
            expect![[r#"
                2027-03-02T06:00:00 publish daily #1
                2027-03-02T06:00:00 succeeded daily 2027-03-02T06:00:00 again
                2027-03-02T06:30:00 publish daily #1
                2027-03-02T06:30:00 succeeded daily 2027-03-02T06:30:00 again
            "#]],
        ),
        (lost, expect![[""]]),
    ];
    for (by_ms, expected) in cases {
        let mut world = world(std::slice::from_ref(&daily));
        world.run_until(at("2027-03-02T06:31:00Z"));
        world.set_clock(by_ms);
        let set = world.now;
        world.log.clear();
        world.run_until(set.plus_ms(86_400_000));
        check(&world, &expected);
    }
}

#[test]
fn a_waiting_run_that_the_clock_was_set_past_is_missed() {
    let first = job("first", "at 2027-03-01T06:10:00Z", &[(0, "first")]);
    let mut world = world(&[first]);
    world.link_up(0);
    world.run_until(at("2027-03-01T06:09:00Z"));
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.set_clock(3_600_000);
    world.link_up(100);
    world.run_until(at("2027-03-01T07:20:00Z"));
    check(
        &world,
        &expect![[r#"
            07:10:00 clock set
            07:10:00 missed first 06:10:00: there was no connection to the broker; it would have started 1h late, and its grace is 5m
        "#]],
    );
}

#[test]
fn restarts_after_the_clock_lost_the_time_do_not_put_off_an_owed_step() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T06:12:00Z"));
    // It is unknown how long the host was down: the ten minutes count from here on, once.
    world.crash_and_shift(-3_600_000);
    world.link_up(100);
    for minute in [15, 20] {
        world.run_until(at(&format!("2027-03-01T05:{minute}:00Z")));
        world.crash();
        world.link_up(100);
    }
    world.run_until(at("2027-03-01T06:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            05:12:00 crash
            05:15:00 crash
            05:20:00 crash
            05:22:00 publish valve/off #1
            05:22:00 succeeded water 06:10:00
        "#]],
    );
}
