//! Short scenarios, with their events and results as text.

use expect_test::expect;
use roost_scheduler::{
    event::{Digest, Event, Loaded, LoadedDevice, Plan, Version},
    model::{Action, Message, Qos, Step},
    names::{DeviceName, PluginName},
    outcome::RunState,
    topic::Grant,
};

use crate::{
    disk::full_grant,
    dsl::{START, at, check, job, name, site, world},
    world::World,
};

#[test]
fn a_due_job_is_published_and_its_outcome_recorded() {
    let mut world = world(&[job("open", "cron 30 6 * * *", &[(0, "door/open")])]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:30:00 publish door/open #1
            06:30:00 succeeded open 06:30:00
        "#]],
    );
    assert_eq!(world.disk.history.values().map(|ended| ended.attempts).collect::<Vec<_>>(), [1]);
}

#[test]
fn later_steps_are_sent_at_their_time() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:20:00 publish valve/off #1
            06:20:00 succeeded water 06:10:00
        "#]],
    );
}

#[test]
fn a_valve_that_was_opened_is_closed_after_a_crash_and_the_plugins_removal() {
    let mut world = world(&[job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])]);
    world.run_until(at("2027-03-01T06:10:00Z"));
    world.crash();
    world.remove("coop");
    world.run_until(at("2027-03-01T06:19:00Z"));
    assert!(world.disk.plugins.is_empty() && world.disk.jobs.is_empty());
    world.now = at("2027-03-01T06:30:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish valve/on #1
            06:10:00 crash
            06:30:00 publish valve/off #1
            06:30:00 succeeded water 06:10:00: step 2 was sent 10m late
        "#]],
    );
}

#[test]
fn an_unacknowledged_message_is_sent_again_on_the_next_link_by_the_same_run() {
    let mut world = world(&[job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")])]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.link_down();
    world.now = at("2027-03-01T06:10:30Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:10:30 publish door/open #2
            06:10:30 succeeded open 06:10:00
        "#]],
    );
}

#[test]
fn open_never_follows_close() {
    let mut world = world(&[job("door", "at 2027-03-01T06:10:00Z", &[(0, "door/open"), (60, "door/close")])]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    world.commit();
    world.link_down();
    world.now = at("2027-03-01T06:12:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:12:00 publish door/close #1
            06:12:00 failed door 06:10:00: step 1 was given up after 1 attempt: the connection was lost before the broker answered
        "#]],
    );
}

#[test]
fn only_the_newest_missed_run_is_caught_up_and_only_within_its_grace() {
    let mut world = world(&[job("tick", "every 1m", &[(0, "tick")])]);
    world.run_until(at("2027-03-01T06:01:30Z"));
    world.crash();
    world.log.clear();
    world.now = at("2027-03-01T06:10:30Z");
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:11:30Z"));
    check(
        &world,
        &expect![[r#"
            06:10:30 crash
            06:10:30 missed tick 06:09:00: 8 missed since 06:02:00; only the newest run, of 06:10:00, is caught up
            06:10:30 publish tick #1
            06:10:30 succeeded tick 06:10:00
            06:11:00 publish tick #1
            06:11:00 succeeded tick 06:11:00
        "#]],
    );
}

#[test]
fn a_run_that_could_start_only_after_its_grace_is_missed() {
    let mut world = world(&[job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")])]);
    world.now = at("2027-03-01T06:15:01Z");
    world.crash();
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:15:01 crash
            06:15:01 missed open 06:10:00: the host was not running, or the machine slept; it would have started 5m1s late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_new_plan_affects_only_jobs_that_differ() {
    let [a, b, c] = ["a", "b", "c"].map(|id| job(id, "cron 30 6 * * *", &[(0, id)]));
    let mut world = world(&[a.clone(), b, c]);
    let changed = job("b", "cron 40 6 * * *", &[(0, "b")]);
    let new = job("d", "cron 50 6 * * *", &[(0, "d")]);
    world.load("coop", 2, &[("north", vec![a, changed, new])]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 coop: 1 new, 1 changed, 1 gone, 1 unchanged
            06:30:00 publish a #1
            06:30:00 succeeded a 06:30:00
            06:40:00 publish b #1
            06:40:00 succeeded b 06:40:00
            06:50:00 publish d #1
            06:50:00 succeeded d 06:50:00
        "#]],
    );
}

#[test]
fn a_job_that_comes_back_does_not_run_its_past_again() {
    let open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    let mut world = world(std::slice::from_ref(&open));
    world.run_until(at("2027-03-01T06:11:00Z"));
    world.load("coop", 2, &[("north", vec![])]);
    world.run_until(at("2027-03-01T06:12:00Z"));
    world.log.clear();
    world.load("coop", 3, &[("north", vec![open])]);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:12:00 coop: 1 new, 0 changed, 0 gone, 0 unchanged
        "#]],
    );
}

#[test]
fn a_run_that_is_due_while_the_previous_one_is_active_is_skipped() {
    let mut world = world(&[job("water", "every 1m", &[(0, "valve/on"), (90, "valve/off")])]);
    world.run_until(at("2027-03-01T06:04:45Z"));
    check(
        &world,
        &expect![[r#"
            06:01:00 skipped water 06:01:00: the run of 06:00:00 had not ended
            06:01:30 publish valve/off #1
            06:01:30 succeeded water 06:00:00
            06:02:00 publish valve/on #1
            06:03:00 skipped water 06:03:00: the run of 06:02:00 had not ended
            06:03:30 publish valve/off #1
            06:03:30 succeeded water 06:02:00
            06:04:00 publish valve/on #1
        "#]],
    );
}

#[test]
fn attempts_are_counted_over_crashes() {
    let mut open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    open.policy.retry.attempts = Some(4);
    let mut world = world(&[open]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    for _ in 0..4 {
        world.refuse(0);
        while world.commit() {}
        world.crash();
        world.link_up(100);
        while world.commit() {}
    }
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:10:00 crash
            06:10:00 publish door/open #2
            06:10:00 crash
            06:10:00 publish door/open #3
            06:10:00 crash
            06:10:00 publish door/open #4
            06:10:00 failed open 06:10:00: step 1 was given up after 4 attempts: the broker refused the message: not authorized
            06:10:00 crash
        "#]],
    );
}

#[test]
fn a_refused_message_is_retried_with_growing_pauses_and_given_up() {
    let mut open = job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]);
    open.policy.retry.attempts = Some(3);
    let mut world = world(&[open]);
    world.now = at("2027-03-01T06:10:00Z");
    world.step(Event::Woke);
    for _ in 0..3 {
        world.refuse(0);
        while world.commit() {}
        while world.in_flight.is_empty() && world.wake.is_some_and(|wake| wake < at("2027-03-01T06:20:00Z")) {
            world.now = world.wake.expect("a pause ends");
            world.step(Event::Woke);
            while world.commit() {}
        }
        let is_on_disk = world.disk.runs.len() == 1;
        assert_eq!(is_on_disk, !world.in_flight.is_empty(), "a run that is retried is stored, so that users see it");
    }
    check(
        &world,
        &expect![[r#"
            06:10:00 publish door/open #1
            06:10:00.777 publish door/open #2
            06:10:02.702 publish door/open #3
            06:10:02.702 failed open 06:10:00: step 1 was given up after 3 attempts: the broker refused the message: not authorized
        "#]],
    );
}

#[test]
fn a_thousand_runs_of_one_plugin_do_not_delay_another_plugin() {
    let many = (0..1_000).map(|n| job(&format!("j{n}"), "at 2027-03-01T06:10:00Z", &[(0, "many")]));
    let mut world = World::new(at(START));
    world.link_up(10);
    world.load("many", 1, &[("many", many.collect())]);
    world.load("few", 1, &[("few", vec![job("one", "at 2027-03-01T06:10:00Z", &[(0, "few")])])]);
    world.run_until(at("2027-03-01T06:09:00Z"));
    world.log.clear();
    world.run_until(at("2027-03-01T06:10:00Z"));
    let place = world.log.iter().position(|line| line.ends_with("publish few #1"));
    assert!(place.is_some_and(|place| place < 50), "{place:?}");
}

#[test]
fn a_new_plan_is_requested_at_midnight_and_again_after_a_failure() {
    let mut world = world(&[job("open", "at 2027-03-02T06:10:00Z", &[(0, "door/open")])]);
    world.plans.clear();
    world.run_until(at("2027-03-02T00:00:30Z"));
    assert!(world.plan_requests.is_empty(), "asked and answered");
    let tomorrow = job("open", "at 2027-03-02T07:10:00Z", &[(0, "door/open")]);
    let key = (name(PluginName::parse("coop")), name(DeviceName::parse("north")));
    world.plans.insert(key, vec![tomorrow]);
    world.log.clear();
    world.run_until(at("2027-03-02T08:00:00Z"));
    check(
        &world,
        &expect![[r#"
            2027-03-02T00:01:00 coop: 0 new, 1 changed, 0 gone, 0 unchanged
            2027-03-02T07:10:00 publish door/open #1
            2027-03-02T07:10:00 succeeded open 2027-03-02T07:10:00
        "#]],
    );
}

#[test]
fn while_the_link_is_down_the_newest_run_of_a_job_waits_and_the_older_ones_are_missed() {
    let mut world = world(&[job("tick", "every 1m", &[(0, "tick")])]);
    world.run_until(at("2027-03-01T06:00:30Z"));
    world.link_down();
    world.run_until(at("2027-03-01T06:02:30Z"));
    world.log.clear();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:03:00Z"));
    check(
        &world,
        &expect![[r#"
            06:02:30 publish tick #1
            06:02:30 succeeded tick 06:02:00
            06:03:00 publish tick #1
            06:03:00 succeeded tick 06:03:00
        "#]],
    );
    let missed = world.disk.history.values().filter(|run| run.outcome.state() == RunState::Missed);
    assert_eq!(missed.map(|run| run.id.occurrence).collect::<Vec<_>>(), [at("2027-03-01T06:01:00Z")]);
}

#[test]
fn waiting_runs_start_by_priority() {
    let [mut low, mut high] = ["low", "high"].map(|id| job(id, "at 2027-03-01T06:10:00Z", &[(0, id)]));
    (low.policy.priority, high.policy.priority) = (-1, 1);
    let mut world = world(&[low, high]);
    world.link_up(1);
    world.run_until(at("2027-03-01T06:10:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish high #1
            06:10:00 succeeded high 06:10:00
            06:10:00 publish low #1
            06:10:00 succeeded low 06:10:00
        "#]],
    );
}

#[test]
fn jitter_moves_the_start_and_is_the_same_after_a_crash() {
    let mut tick = job("tick", "at 2027-03-01T06:10:00Z", &[(0, "tick")]);
    tick.policy.jitter_ms = 60_000;
    let started = |crash: bool| {
        let mut world = world(std::slice::from_ref(&tick));
        if crash {
            world.crash();
            world.link_up(100);
        }
        world.run_until(at("2027-03-01T07:00:00Z"));
        let run = world.disk.history.values().next().expect("it ran");
        assert_eq!(run.id.occurrence, at("2027-03-01T06:10:00Z"), "the nominal time is its name");
        run.started.expect("it started")
    };
    assert_eq!(started(false), started(true));
    assert!(started(false) > at("2027-03-01T06:10:00Z") && started(false) < at("2027-03-01T06:11:00Z"));
}

#[test]
fn a_plan_of_an_earlier_version_is_dropped() {
    let mut world = world(&[job("a", "cron 30 6 * * *", &[(0, "a")])]);
    world.now = at("2027-03-02T00:00:00Z");
    world.step(Event::Woke);
    let (plugin, device, generation) = world.plan_requests.pop().expect("midnight asks");
    world.load("coop", 2, &[("north", vec![job("b", "cron 30 6 * * *", &[(0, "b")])])]);
    world.run_until(world.now);
    let late = Plan::new(world.now, &[job("a", "cron 30 6 * * *", &[(0, "a")])]);
    world.step(Event::Planned { plugin, device, generation, plan: Ok(late) });
    world.log.clear();
    world.run_until(at("2027-03-02T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            2027-03-02T06:30:00 publish b #1
            2027-03-02T06:30:00 succeeded b 2027-03-02T06:30:00
        "#]],
    );
}

#[test]
fn a_topic_outside_the_grant_is_denied_when_the_run_starts() {
    let mut world = World::new(at(START));
    world.link_up(100);
    let plan = Plan::new(at(START), &[job("open", "at 2027-03-01T06:10:00Z", &[(0, "elsewhere/x")])]);
    let plugin = name(PluginName::parse("coop"));
    world.step(Event::Loaded(Loaded {
        grant: Grant::default_for(&plugin),
        plugin,
        version: Version { component: Digest([1; 32]), settings: Digest([1; 32]) },
        devices: vec![LoadedDevice { name: name(DeviceName::parse("north")), site: site(), plan: Ok(plan) }],
    }));
    world.run_until(at(START));
    world.log.clear();
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 denied open 06:10:00: publishing to `elsewhere/x` is not granted
        "#]],
    );
}

#[test]
fn a_topic_of_the_host_is_denied_whatever_the_grant() {
    let mut world = World::new(at(START));
    world.link_up(100);
    let commands = job("open", "at 2027-03-01T06:10:00Z", &[(0, "a"), (60, "roost/set/coop/north/enabled")]);
    let beside = job("close", "at 2027-03-01T06:20:00Z", &[(0, "roost-coop/north")]);
    world.load_granted("coop", 1, &[("north", vec![commands, beside])], full_grant());
    world.run_until(at(START));
    world.log.clear();
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
        06:10:00 denied open 06:10:00: no job may publish to `roost/set/coop/north/enabled`, because it is one of the host's own topics
        06:20:00 publish roost-coop/north #1
        06:20:00 succeeded close 06:20:00
    "#]],
    );
}

#[test]
fn a_message_above_a_ceiling_of_the_grant_is_denied_when_the_run_starts() {
    let mut world = World::new(at(START));
    world.link_up(100);
    let quiet = job("quiet", "at 2027-03-01T06:10:00Z", &[(0, "a")]);
    let mut kept = job("kept", "at 2027-03-01T06:11:00Z", &[(0, "b"), (60, "b")]);
    kept.action = Action::Steps(
        kept.steps()
            .iter()
            .map(|step| {
                let message = Message { qos: Qos::AtMostOnce, retain: step.after_ms > 0, ..step.message.clone() };
                Step { message, ..step.clone() }
            })
            .collect(),
    );
    let grant = Grant { max_qos: Qos::AtMostOnce, retain: false, ..full_grant() };
    world.load_granted("coop", 1, &[("north", vec![quiet, kept])], grant);
    world.run_until(at(START));
    world.log.clear();
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 denied quiet 06:10:00: publishing to `a` with QoS 1 is not granted, only up to 0
            06:11:00 denied kept 06:11:00: publishing a retained message to `b` is not granted
        "#]],
    );
}

#[test]
fn waiting_runs_of_a_removed_plugin_are_cancelled() {
    let mut world = world(&[job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")])]);
    world.link_down();
    world.run_until(at("2027-03-01T06:11:00Z"));
    world.remove("coop");
    world.link_up(100);
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:11:00 cancelled open 06:10:00: its plugin was removed
        "#]],
    );
}
