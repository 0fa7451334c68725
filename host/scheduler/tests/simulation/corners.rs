//! Corner cases in which several events coincide.

use expect_test::expect;
use roost_scheduler::{
    event::{Event, Plan},
    model::{Job, Qos},
    names::PluginName,
    time::{Instant, Site},
    zone::Zone,
};

use crate::{
    dsl::{START, at, check, check_only, each_step, job, loaded, name, site, world},
    world::World,
};

fn qos0(job: Job) -> Job {
    each_step(job, |step| step.message.qos = Qos::AtMostOnce)
}

/// Lets time pass: everything commits, the broker does not answer.
fn pass_time(world: &mut World, until: Instant) {
    loop {
        while world.commit() || world.return_plan() {}
        let Some(wake) = world.wake.filter(|wake| *wake <= until) else { break };
        world.now = world.now.max(wake);
        world.step(Event::Woke);
    }
    world.now = until;
}

#[test]
fn a_run_past_its_give_up_does_not_block_the_next_day() {
    let mut world = world(&[job("open", "cron 30 6 * * *", &[(0, "door/open")])]);
    pass_time(&mut world, at("2027-03-01T06:30:00Z"));
    world.step(Event::Woke);
    world.link_down();
    pass_time(&mut world, at("2027-03-02T06:31:00Z"));
    world.link_up(100);
    world.run_until(at("2027-03-02T12:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:30:00 publish door/open #1
            2027-03-02T06:30:00 failed open 06:30:00: step 1 was given up after 1 attempt: the connection was lost before the broker answered
            2027-03-02T06:31:00 publish door/open #1
            2027-03-02T06:31:00 succeeded open 2027-03-02T06:30:00
        "#]],
    );
}

#[test]
fn an_owed_step_of_qos_0_survives_a_lost_link() {
    let mut world = world(&[qos0(job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")]))]);
    world.run_until(at("2027-03-01T06:19:00Z"));
    pass_time(&mut world, at("2027-03-01T06:20:00Z"));
    // Handed over, but not written: the link never acknowledged it, and the second message in flight is lost.
    world.in_flight.clear();
    world.link_down();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:20:00 publish valve/off #1
            06:20:00 publish valve/off #2
            06:20:00 succeeded water 06:10:00
        "#]],
    );
}

#[test]
fn an_owed_step_of_qos_0_that_never_left_the_process_is_sent() {
    let mut world = world(&[qos0(job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (0, "valve/off")]))]);
    pass_time(&mut world, at("2027-03-01T06:10:00Z"));
    world.ack(0); // valve/on; valve/off waits for the commit of RunAdvanced
    world.link_down();
    world.commit();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:10:00 publish valve/off #1
            06:10:00 succeeded water 06:10:00
        "#]],
    );
}

/// Returns a job with a jitter late in its 10 minutes.
fn jittered() -> Job {
    for n in 0..100 {
        let mut one = job(&format!("j{n}"), "cron 10 6 * * *", &[(0, "a")]);
        one.policy.jitter_ms = 600_000;
        let mut world = world(std::slice::from_ref(&one));
        world.run_until(at("2027-03-01T06:15:00Z"));
        if world.log.is_empty() {
            return one;
        }
    }
    unreachable!()
}

#[test]
fn a_job_that_is_changed_while_its_jitter_passes_does_not_lose_the_occurrence() {
    let one = jittered();
    let mut other = one.clone();
    let mut world = world(&[one]);
    world.run_until(at("2027-03-01T06:12:00Z"));
    other.policy.priority = 1;
    world.load("coop", 2, &[("north", vec![other])]);
    world.run_until(at("2027-03-01T23:00:00Z"));
    let accounted = world.disk.history.keys().any(|id| id.occurrence == at("2027-03-01T06:10:00Z"));
    assert!(accounted, "I13: 06:10 is unaccounted for\n{}", world.log.join("\n"));
}

#[test]
fn a_job_that_is_changed_during_a_burst_does_not_lose_the_occurrence() {
    let jobs: Vec<Job> = (0..9_000).map(|n| job(&format!("j{n:05}"), "at 2027-03-01T06:10:00Z", &[(0, "a")])).collect();
    let mut last = job("last", "cron 10 6 * * *", &[(0, "b")]);
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("many", 1, &[("many", jobs)]);
    world.load("coop", 1, &[("north", vec![last.clone()])]);
    world.run_until(at("2027-03-01T06:09:00Z"));
    world.log.clear();
    world.now = at("2027-03-01T06:10:00.005Z");
    last.policy.priority = 1;
    world.load("coop", 2, &[("north", vec![last])]);
    world.run_until(at("2027-03-01T23:00:00Z"));
    let accounted = world.disk.history.keys().any(|id| id.job.as_str() == "last");
    assert!(accounted, "I13: 06:10 of `last` is unaccounted for");
}

#[test]
fn an_occurrence_due_before_its_plan_was_durable_is_not_lost() {
    let ticks = |topic: &str| vec![job("tick", "every 1h", &[(0, topic)])];
    let mut world = World::new(at(START));
    world.link_up(100);
    world.now = at("2027-03-01T06:59:59Z");
    let gone = job("gone", "at 2027-03-01T07:00:00Z", &[(0, "gone")]);
    world.load("coop", 1, &[("north", [ticks("first"), vec![gone]].concat())]);
    while world.wake == Some(world.now) {
        world.step(Event::Woke);
    }
    world.now = at("2027-03-01T07:00:01Z");
    world.load("coop", 2, &[("north", ticks("second"))]);
    while world.wake == Some(world.now) {
        world.step(Event::Woke);
    }
    assert!(world.in_flight.is_empty(), "I3: nothing of a plan is sent before it is durable");
    world.run_until(at("2027-03-01T08:30:00Z"));
    check_only(
        &world,
        "publish",
        &expect![[r#"
            07:00:01 publish gone #1
            07:00:01 publish first #1
            08:00:00 publish second #1
        "#]],
    );
}

#[test]
fn a_plan_of_a_removed_plugin_does_not_reach_its_successor() {
    let old = job("old", "cron 30 6 * * *", &[(0, "old")]);
    let mut world = world(std::slice::from_ref(&old));
    // At midnight the request is sent, and the guest takes its time.
    world.now = at("2027-03-02T00:00:00Z");
    world.step(Event::Woke);
    world.commit();
    let (plugin, device, generation) = world.plan_requests.pop().expect("asked");
    let stale = Plan::new(world.now, &[old]);
    world.remove("coop");
    world.run_until(at("2027-03-02T00:00:05Z"));
    world.load("coop", 2, &[("north", vec![job("new", "cron 30 6 * * *", &[(0, "new")])])]);
    world.run_until(at("2027-03-02T00:00:06Z"));
    world.log.clear();
    world.step(Event::Planned { plugin, device, generation, plan: Ok(stale) });
    world.run_until(at("2027-03-02T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            2027-03-02T06:30:00 publish new #1
            2027-03-02T06:30:00 succeeded new 2027-03-02T06:30:00
        "#]],
    );
}

#[test]
fn a_device_that_moves_and_fails_once_does_not_keep_times_of_its_old_zone() {
    let open = job("open", "cron 30 6 * * *", &[(0, "door/open")]);
    let mut world = world(std::slice::from_ref(&open));
    let new_york = Site { zone: Zone::bundled("America/New_York").expect("a zone"), location: None };
    world.step(loaded(2, vec![("north", new_york, Err("trap".into()))]));
    world.run_until(at("2027-03-01T06:05:00Z")); // requested again after a minute, and answered with the same plan
    world.log.clear();
    world.run_until(at("2027-03-01T12:00:00Z"));
    check(
        &world,
        &expect![[r#"
            11:30:00 publish door/open #1
            11:30:00 succeeded open 11:30:00
        "#]],
    );
}

#[test]
fn a_crash_during_a_removal_leaves_no_part_of_a_plugin() {
    let one = [job("open", "cron 30 6 * * *", &[(0, "a")])];
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("north", one.to_vec()), ("south", one.to_vec())]);
    world.run_until(at(START));
    world.remove("coop"); // removes its devices
    world.step(Event::Woke); // the first one is removed
    while world.commit() {}
    world.crash();
    let (plugins, devices) = (world.disk.plugins.len(), world.disk.devices.len());
    let version = world.disk.plugins.values().next().map(|(_, version)| version.component.0[0]);
    assert!(
        (plugins, devices) == (1, 2) || plugins == 0 || version == Some(0),
        "version {version:?} with {devices} of its 2 devices"
    );
}

#[test]
fn jitter_longer_than_the_time_between_occurrences_misses_nothing() {
    let mut one = job("tick", "cron * * * * *", &[(0, "a")]);
    one.policy.jitter_ms = 300_000;
    let mut world = world(&[one]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check_only(&world, "missed", &expect![[""]]);
}

#[test]
fn a_run_does_not_start_before_its_jitter_has_passed() {
    let mut one = job("tick", "every 10m", &[(0, "a")]);
    one.policy.jitter_ms = 590_000;
    let mut early = Vec::new();
    for n in 0..20 {
        let mut one = one.clone();
        one.id = name(roost_scheduler::names::JobId::parse(&format!("tick{n}")));
        let mut free = world(std::slice::from_ref(&one));
        free.run_until(at("2027-03-01T08:00:00Z"));
        let start = |world: &World| {
            world
                .log
                .iter()
                .zip(world.log.iter().skip(1))
                .find(|(_, end)| end.ends_with("2027-03-01T06:40:00Z"))
                .map(|(publish, _)| publish.clone())
        };
        let due = start(&free);
        let mut away = world(std::slice::from_ref(&one));
        away.run_until(at("2027-03-01T06:05:00Z"));
        away.now = at("2027-03-01T06:40:01Z");
        away.crash();
        away.link_up(100);
        away.run_until(at("2027-03-01T08:00:00Z"));
        if start(&away) != due {
            early.push(format!("{:?} instead of {due:?}", start(&away)));
        }
    }
    assert!(early.is_empty(), "{early:#?}");
}

#[test]
fn jobs_of_a_removed_device_are_counted_as_gone() {
    let one = [job("open", "cron 30 6 * * *", &[(0, "a")])];
    let mut world = World::new(at(START));
    world.load("coop", 1, &[("north", one.to_vec()), ("south", one.to_vec())]);
    world.run_until(at(START));
    world.log.clear();
    world.load("coop", 2, &[("north", one.to_vec())]);
    world.run_until(at(START));
    check(
        &world,
        &expect![[r#"
            06:00:00 coop: 0 new, 0 changed, 1 gone, 1 unchanged
        "#]],
    );
}

#[test]
fn a_run_that_the_host_missed_is_not_reported_as_planned_late() {
    let mut world = world(&[job("tick", "every 1h", &[(0, "a")])]);
    world.run_until(at("2027-03-01T06:30:00Z"));
    world.link_down();
    pass_time(&mut world, at("2027-03-01T08:30:00Z")); // 07:00 waits, 08:00 replaces it
    world.log.clear();
    world.now = at("2027-03-01T08:40:00Z");
    world.crash();
    check(
        &world,
        &expect![[r#"
            08:40:00 crash
            08:40:00 missed tick 08:00:00: the host was not running, or the machine slept; it would have started 40m late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_plan_requested_before_midnight_is_requested_again_at_once() {
    let mut world = world(&[]);
    let plan = Plan::new(at("2027-03-01T23:59:59Z"), &[job("open", "at 2027-03-03T00:00:01Z", &[(0, "a")])]);
    world.now = at("2027-03-02T00:00:01Z");
    world.step(loaded(2, vec![("north", site(), Ok(plan))]));
    for _ in 0..5 {
        while world.commit() {}
        world.plan_requests.clear();
        world.step(Event::Woke);
    }
    let replan = world.disk.devices.values().next().map(|device| device.replan_at);
    assert!(replan < Some(at("2027-03-02T23:00:00Z")), "{replan:?}: it covers one day less than it should until then");
}

#[test]
fn a_step_that_was_given_up_is_not_forgotten_by_a_crash() {
    let mut world =
        world(&[job("door", "at 2027-03-01T06:10:00Z", &[(0, "door/open"), (60, "door/close"), (600, "lamp/off")])]);
    pass_time(&mut world, at("2027-03-01T06:10:00Z"));
    world.link_down();
    world.now = at("2027-03-01T06:12:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T06:13:00Z"));
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:12:00 publish door/close #1
            06:13:00 crash
            06:20:00 publish lamp/off #1
            06:20:00 failed door 06:10:00: step 1 was given up after 1 attempt: the connection was lost before the broker answered
        "#]],
    );
}

#[test]
fn a_waiting_run_is_cancelled_with_the_right_reason() {
    let mut open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "a")]);
    let mut world = world(std::slice::from_ref(&open));
    world.link_down();
    pass_time(&mut world, at("2027-03-01T06:10:30Z"));
    open.policy.priority = 1;
    world.load("coop", 2, &[("north", vec![])]);
    pass_time(&mut world, at("2027-03-01T06:10:31Z"));
    world.log.clear();
    world.remove("coop");
    pass_time(&mut world, at("2027-03-01T06:10:32Z"));
    check(
        &world,
        &expect![[r#"
            06:10:31 cancelled open 06:10:00: its plugin was removed
        "#]],
    );
}

#[test]
fn a_saved_run_that_the_host_slept_through_is_not_blamed_on_the_broker() {
    let mut open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "a")]);
    let mut world = world(std::slice::from_ref(&open));
    world.link_down();
    pass_time(&mut world, at("2027-03-01T06:10:30Z"));
    open.policy.priority = 1;
    world.load("coop", 2, &[("north", vec![open])]);
    pass_time(&mut world, at("2027-03-01T06:10:31Z"));
    world.now = at("2027-03-01T06:40:00Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:41:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:30 coop: 0 new, 1 changed, 0 gone, 0 unchanged
            06:40:00 crash
            06:40:00 missed open 06:10:00: the host was not running, or the machine slept; it would have started 30m late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_crash_during_a_first_load_leaves_no_part_of_it() {
    let open = |n| job(&format!("open-{n}"), "cron 30 6 * * *", &[(0, "a")]);
    let mut world = World::new(at(START));
    world.link_up(100);
    world.load("coop", 1, &[("north", vec![open(1)]), ("south", (1..=900).map(open).collect())]);
    world.step(Event::Woke); // the plan of the first device is adopted, the other one is still being compared
    assert_eq!(world.disk.jobs.len(), 0);
    world.commit();
    assert_eq!(world.disk.jobs.len(), 1);
    world.commit();
    world.crash();
    world.link_up(1);
    world.run_until(at("2027-03-01T07:00:00Z"));
    // Accepted for one of two devices: nothing is due.
    check(
        &world,
        &expect![[r#"
            06:00:00 crash
        "#]],
    );
}

#[test]
fn a_crash_does_not_change_the_previous_run() {
    let runs = |crash: bool| {
        let water = job("water", "cron */10 * * * *", &[(0, "valve/on"), (900, "valve/off")]);
        let mut world = world(std::slice::from_ref(&water));
        world.run_until(at("2027-03-01T06:01:00Z"));
        world.remove("coop");
        world.run_until(at("2027-03-01T06:02:00Z"));
        world.load("coop", 1, &[("north", vec![water])]);
        world.run_until(at("2027-03-01T06:03:00Z"));
        if crash {
            world.crash();
            world.link_up(100);
        }
        world.log.clear();
        world.run_until(at("2027-03-01T06:16:00Z"));
        world.log
    };
    assert_eq!(runs(false), runs(true));
}

#[test]
fn an_occurrence_is_recorded_if_its_job_is_removed_during_its_jitter() {
    let one = jittered();
    let mut world = world(std::slice::from_ref(&one));
    world.run_until(at("2027-03-01T06:12:00Z"));
    world.load("coop", 2, &[("north", vec![])]);
    world.run_until(at("2027-03-01T23:00:00Z"));
    assert!(!world.disk.history.is_empty(), "I13: 06:10 is unaccounted for\n{}", world.log.join("\n"));
}

#[test]
fn after_an_outage_the_newest_occurrence_is_caught_up() {
    let mut world = world(&[job("state", "every 10m", &[(0, "a")])]);
    pass_time(&mut world, at("2027-03-01T06:10:00Z"));
    world.step(Event::Woke);
    world.link_down();
    pass_time(&mut world, at("2027-03-01T08:01:00Z"));
    world.log.clear();
    world.link_up(100);
    world.run_until(at("2027-03-01T08:09:00Z"));
    // 08:00 is a minute late.
    check(
        &world,
        &expect![[r#"
            08:01:00 publish a #1
            08:01:00 succeeded state 08:00:00
        "#]],
    );
}

#[test]
fn a_message_repeated_after_a_crash_counts_as_a_second_attempt() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T06:19:00Z"));
    pass_time(&mut world, at("2027-03-01T06:20:00Z")); // valve/off is sent, and not acknowledged
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:20:00 publish valve/off #1
            06:20:00 crash
            06:20:00 publish valve/off #2
            06:20:00 succeeded water 06:10:00
        "#]],
    );
}

#[test]
fn a_sunset_found_after_a_long_search_is_on_disk_as_the_next_one() {
    let place = roost_scheduler::time::Location::new(78.2, 15.6);
    let svalbard = Site { zone: Zone::bundled("Arctic/Longyearbyen").expect("a zone"), location: place };
    let mut world = World::new(at("2027-05-01T12:00:00Z"));
    let plan = Plan::new(world.now, &[job("dusk", "sunset", &[(0, "a")])]);
    world.step(loaded(1, vec![("north", svalbard, Ok(plan))]));
    world.run_until(at("2027-08-20T12:00:00Z"));
    let memory: Vec<_> = world
        .scheduler
        .jobs_of(&name(PluginName::parse("coop")))
        .map(|job| match job.next {
            roost_scheduler::scheduler::NextRun::Due(d) => Some(d),
            _ => None,
        })
        .collect();
    let disk: Vec<_> = world.disk.jobs.values().map(|row| row.due).collect();
    assert_eq!(memory, disk);
}

#[test]
fn a_message_that_repeatedly_loses_the_link_pauses_and_others_are_sent() {
    let mut world = world(&[job("bad", "at 2027-03-01T06:10:00Z", &[(0, "bad")])]);
    pass_time(&mut world, at("2027-03-01T06:10:00Z"));
    for _ in 0..3 {
        world.link_down();
        world.link_up(100);
    }
    // The third attempt waits.
    check(
        &world,
        &expect![[r#"
            06:10:00 publish bad #1
            06:10:00 publish bad #2
        "#]],
    );
    world.log.clear();
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:01.598 publish bad #3
            06:10:01.598 succeeded bad 06:10:00
        "#]],
    );
}

#[test]
fn a_link_that_is_lost_repeatedly_does_not_delay_closing_the_valve() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (60, "valve/off")])]);
    pass_time(&mut world, at("2027-03-01T06:10:00Z"));
    // Each loss doubles the pause, until the next one is longer than the valve may stay open.
    for _ in 0..6 {
        world.link_down();
        world.link_up(100);
        let retried = world.wake.expect("it is tried again").min(at("2027-03-01T06:11:00Z"));
        pass_time(&mut world, retried);
    }
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:10:00 publish valve/on #2
            06:11:00 publish valve/off #1
            06:11:00 publish valve/off #2
        "#]],
    );
}
