//! Overrides by the operator: run now, skip, pause, and ad-hoc jobs.

use std::sync::Arc;

use expect_test::expect;
use roost_scheduler::{
    body::PackedJob,
    event::{ByHand, Digest, Event, Idempotency, NewJob, Part, Request},
    model::{Action, Job},
    names::{DeviceName, JobId, JobName, PluginName, RunId},
    pause::Pause,
    scheduler::api_device,
};

use crate::{
    dsl::{at, check, check_only, in_group, job, lines, name, world},
    world::World,
};

fn named(job: &str) -> JobName {
    (name(PluginName::parse("coop")), name(DeviceName::parse("north")), name(JobId::parse(job)))
}

fn pause(world: &mut World, what: Part, paused: bool) {
    world.pause(what, paused.then_some(Pause::UNTIL_RESUMED));
}

fn new(job: &Job) -> NewJob {
    let (plugin, device) = (PluginName::host(), api_device());
    NewJob { plugin, device, job: PackedJob::from(job), idempotency: None, replaces: false }
}

fn schedule(world: &mut World, new: NewJob) {
    world.request(Request::Schedule(Box::new(new)));
}

#[test]
fn a_job_can_run_now_regardless_of_its_trigger() {
    let mut world = world(&[job("open", "cron 30 6 * * *", &[(0, "door/open")])]);
    pause(&mut world, Part::Job(named("open")), true);
    world.now = at("2027-03-01T06:10:00Z");
    world.request(Request::RunNow(named("open")));
    world.request(Request::RunNow(named("shut")));
    world.run_until(at("2027-03-01T07:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 answer: device `coop/north` has no job `shut`
            06:10:00 answer: done
            06:10:00 answer: open
            06:10:00 publish door/open #1
            06:10:00 succeeded open 06:10:00 again
            06:30:00 skipped open 06:30:00: its job was paused
        "#]],
    );
}

#[test]
fn a_manual_run_replaces_the_others_of_its_group() {
    let [open, close] = ["open", "close"].map(|id| in_group(id, "cron 30 8 * * *", &[(0, id)]));
    let mut world = world(&[open, close]);
    world.link_down();
    for (minute, job) in [(10, "open"), (11, "close")] {
        world.now = at(&format!("2027-03-01T06:{minute}:00Z"));
        world.request(Request::RunNow(named(job)));
        while world.commit() {}
    }
    world.link_up(100);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 answer: open
            06:11:00 cancelled open 06:10:00 again: a newer run of its group, `close` of 06:11:00, replaced it
            06:11:00 answer: close
            06:11:00 publish close #1
            06:11:00 succeeded close 06:11:00 again
        "#]],
    );
}

#[test]
fn what_requests_have_changed_is_reported_once_it_is_on_disk() {
    let mut world = world(&[job("tick", "every 10m", &[(0, "tick")])]);
    for undo in [false, false, true, true] {
        world.request(Request::Skip { job: named("tick"), undo });
    }
    world.request(Request::RunNow(named("tick")));
    let own = || (PluginName::host(), api_device(), name(JobId::parse("own")));
    for (topic, replaces) in [("x", false), ("x", true), ("y", true), ("z", false)] {
        schedule(&mut world, NewJob { replaces, ..new(&job("own", "every 1h", &[(0, topic)])) });
    }
    world.request(Request::Cancel(own()));
    world.request(Request::Cancel(own()));
    assert_eq!(world.by_hand, []);
    world.run_until(world.now);
    let run = |at: &str| at.parse::<RunId>().expect("a run");
    let tick = || run("coop/north/tick/2027-03-01T06:10:00Z");
    assert_eq!(
        world.by_hand,
        [
            ByHand::Skipped(tick()),
            ByHand::SkipUndone(tick()),
            ByHand::RunNow(run("coop/north/tick/2027-03-01T06:00:00.001Z/manual")),
            ByHand::Made(own()),
            ByHand::Replaced(own()),
            ByHand::Cancelled(own()),
        ]
    );
}

#[test]
fn only_the_next_run_is_skipped() {
    let mut world =
        world(&[job("tick", "every 10m", &[(0, "tick")]), job("once", "at 2027-03-01T05:59:00Z", &[(0, "x")])]);
    world.log.clear();
    world.request(Request::Skip { job: named("tick"), undo: false });
    world.request(Request::Skip { job: named("once"), undo: false });
    world.run_until(at("2027-03-01T06:05:00Z"));
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-01T06:15:00Z"));
    world.request(Request::Skip { job: named("tick"), undo: false });
    world.request(Request::Skip { job: named("tick"), undo: true });
    world.run_until(at("2027-03-01T06:25:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: it is never due again
            06:00:00 answer: tick
            06:05:00 crash
            06:10:00 skipped tick 06:10:00: the operator requested it
            06:15:00 answer: tick
            06:15:00 answer: tick
            06:20:00 publish tick #1
            06:20:00 succeeded tick 06:20:00
        "#]],
    );
}

#[test]
fn a_skip_follows_the_next_run_when_a_plan_or_the_clock_moves_it() {
    let mut world =
        world(&[job("close", "cron 30 6 * * *", &[(0, "close")]), job("tick", "every 10m", &[(0, "tick")])]);
    world.run_until(at("2027-03-01T06:05:00Z"));
    world.request(Request::Skip { job: named("close"), undo: false });
    world.request(Request::Skip { job: named("tick"), undo: false });
    let later = [job("close", "cron 40 6 * * *", &[(0, "close")]), job("tick", "every 10m", &[(0, "tick")])];
    world.load("coop", 2, &[("north", later.to_vec())]);
    world.run_until(at("2027-03-01T06:06:00Z"));
    world.set_clock(-1_800_000);
    world.run_until(at("2027-03-01T05:37:00Z"));
    world.crash();
    world.link_up(100);
    world.log.clear();
    world.run_until(at("2027-03-01T05:55:00Z"));
    world.run_until(at("2027-03-02T06:45:00Z"));
    check_only(
        &world,
        "skipped",
        &expect![[r#"
            05:40:00 skipped tick 05:40:00 again: the operator requested it
            06:40:00 skipped close 06:40:00 again: the operator requested it
        "#]],
    );
    check_only(
        &world,
        "close",
        &expect![[r#"
            06:40:00 skipped close 06:40:00 again: the operator requested it
            2027-03-02T06:40:00 publish close #1
            2027-03-02T06:40:00 succeeded close 2027-03-02T06:40:00 again
        "#]],
    );
    let first = lines(&world).into_iter().find(|line| line.contains("publish tick"));
    assert_eq!(first.as_deref(), Some("05:50:00 publish tick #1"));
}

#[test]
fn an_ad_hoc_job_that_replaces_another_runs_instead_of_it() {
    let mut world = world(&[]);
    let made = |job: Job| NewJob { replaces: true, ..new(&job) };
    let own = || (PluginName::host(), api_device(), name(JobId::parse("lamp")));
    world.link_down();
    schedule(&mut world, made(job("lamp", "at 2027-03-01T06:00:01Z", &[(0, "old")])));
    world.run_until(at("2027-03-01T06:00:02Z"));
    schedule(&mut world, made(job("lamp", "at 2027-03-01T06:10:00Z", &[(0, "new")])));
    world.link_up(100);
    world.request(Request::Skip { job: own(), undo: false });
    schedule(&mut world, made(job("lamp", "at 2027-03-01T06:10:00Z", &[(0, "newer")])));
    world.run_until(at("2027-03-01T06:20:00Z"));
    world.log.retain(|line| !line.contains("answer"));
    check(
        &world,
        &expect![[r#"
            06:00:02 cancelled lamp 06:00:01: its job was replaced by hand
            06:10:00 publish newer #1
            06:10:00 succeeded lamp 06:10:00
        "#]],
    );
}

#[test]
fn a_pause_starts_nothing_and_keeps_owed_steps() {
    let water = job("water", "every 10m", &[(0, "valve/on"), (300, "valve/off")]);
    let mut world = world(&[water]);
    world.run_until(at("2027-03-01T06:11:00Z"));
    world.log.clear();
    pause(&mut world, Part::Plugin(name(PluginName::parse("coop"))), true);
    world.run_until(at("2027-03-01T06:25:00Z"));
    world.crash();
    // The host was down for a while, and all occurrences are skipped as one.
    world.now = at("2027-03-01T06:55:00Z");
    world.link_up(100);
    world.run_until(at("2027-03-01T06:59:00Z"));
    pause(&mut world, Part::Plugin(name(PluginName::parse("coop"))), false);
    world.run_until(at("2027-03-01T07:06:00Z"));
    check(
        &world,
        &expect![[r#"
            06:11:00 answer: done
            06:15:00 publish valve/off #1
            06:15:00 succeeded water 06:10:00
            06:20:00 skipped water 06:20:00: its plugin was paused
            06:25:00 crash
            06:55:00 skipped water 06:50:00: 3 skipped since 06:30:00; its plugin was paused
            06:59:00 answer: done, was paused
            07:00:00 publish valve/on #1
            07:05:00 publish valve/off #1
            07:05:00 succeeded water 07:00:00
        "#]],
    );
}

#[test]
fn a_paused_or_skipped_run_replaces_no_other_of_its_group() {
    // As for a door: the run that was due last sets the state that should hold, unless it was paused or skipped.
    for (request, expected) in [
        (
            Request::Pause(vec![(Part::Job(named("open")), Some(Arc::new(Pause::UNTIL_RESUMED)))]),
            expect![[r#"
                06:00:00 answer: done
                09:00:00 crash
                09:00:00 skipped open 08:00:00: its job was paused
                09:00:00 publish door/close #1
                09:00:00 succeeded close 07:00:00
            "#]],
        ),
        (
            Request::Skip { job: named("open"), undo: false },
            expect![[r#"
                06:00:00 answer: open
                09:00:00 crash
                09:00:00 skipped open 08:00:00: the operator requested it
                09:00:00 publish door/close #1
                09:00:00 succeeded close 07:00:00
            "#]],
        ),
    ] {
        let open = in_group("open", "cron 0 8 * * *", &[(0, "door/open")]);
        let close = in_group("close", "cron 0 7 * * *", &[(0, "door/close")]);
        let mut world = world(&[open, close]);
        world.request(request);
        world.run_until(at("2027-03-01T06:10:00Z"));
        world.now = at("2027-03-01T09:00:00Z");
        world.crash();
        world.link_up(100);
        world.run_until(at("2027-03-01T09:01:00Z"));
        check(&world, &expected);
    }
}

#[test]
fn a_run_that_fell_due_during_a_pause_is_not_caught_up() {
    let mut tick = job("tick", "every 10m", &[(0, "tick")]);
    tick.policy.misfire = roost_scheduler::model::Misfire::RunAll;
    tick.policy.grace_ms = 7_200_000;
    let mut world = world(&[tick]);
    world.link_down();
    world.run_until(at("2027-03-01T06:15:00Z"));
    world.log.clear();
    pause(&mut world, Part::Job(named("tick")), true);
    world.run_until(at("2027-03-01T06:35:00Z"));
    pause(&mut world, Part::Job(named("tick")), false);
    world.link_up(100);
    world.run_until(at("2027-03-01T06:45:00Z"));
    // 06:10 had waited.
    check(
        &world,
        &expect![[r#"
            06:15:00 answer: done
            06:20:00 skipped tick 06:20:00: its job was paused
            06:30:00 skipped tick 06:30:00: its job was paused
            06:35:00 answer: done, was paused
            06:35:00 publish tick #1
            06:35:00 succeeded tick 06:10:00
            06:40:00 publish tick #1
            06:40:00 succeeded tick 06:40:00
        "#]],
    );
}

#[test]
fn an_ad_hoc_at_runs_although_the_clock_was_set_back() {
    let mut world = world(&[]);
    schedule(&mut world, new(&job("radio", "at 2027-03-01T06:10:00Z", &[(0, "radio")])));
    world.run_until(at("2027-03-01T06:11:00Z"));
    world.set_clock(-1_800_000);
    world.run_until(at("2027-03-01T05:42:00Z"));
    let again = new(&job("radio", "at 2027-03-01T05:45:00Z", &[(0, "radio")]));
    schedule(&mut world, NewJob { replaces: true, ..again });
    world.run_until(at("2027-03-01T05:50:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: roost/api/radio
            06:10:00 publish radio #1
            06:10:00 succeeded radio 06:10:00
            05:41:00 clock set
            05:42:00 answer: roost/api/radio, as before
            05:45:00 publish radio #1
            05:45:00 succeeded radio 05:45:00 again
        "#]],
    );
}

#[test]
fn a_replaced_job_keeps_its_idempotency_key() {
    let mut world = world(&[]);
    let idempotency = Some(Idempotency { key: Digest([1; 32]), request: Digest([1; 32]) });
    let first = || NewJob { idempotency, ..new(&job("one", "every 1h", &[(0, "x")])) };
    schedule(&mut world, first());
    let other = NewJob { replaces: true, ..new(&job("one", "every 2h", &[(0, "y")])) };
    schedule(&mut world, other);
    schedule(&mut world, first());
    assert_eq!(world.scheduler.job_count(), 1);
    world.run_until(at("2027-03-01T06:00:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: roost/api/one
            06:00:00 publish y #1
            06:00:00 answer: roost/api/one, as before
            06:00:00 answer: roost/api/one, as before
            06:00:00 succeeded one 06:00:00
        "#]],
    );
}

#[test]
fn queued_requests_are_refused_when_the_store_fails() {
    let mut world = world(&[job("own", "every 1h", &[(0, "x")])]);
    // A plan that takes many steps is queued first.
    let many: Vec<Job> = (0..600).map(|number| job(&format!("job{number}"), "every 1h", &[(0, "x")])).collect();
    world.load("coop", 2, &[("north", many)]);
    schedule(&mut world, new(&job("late", "every 1h", &[(0, "x")])));
    world.fail_store();
    check(
        &world,
        &expect![[r#"
            06:00:00 commits fail
            06:00:00 answer: the host is stopping
        "#]],
    );
}

#[test]
fn a_run_that_waits_when_it_is_paused_does_not_start_later() {
    let mut world = world(&[job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")])]);
    world.link_down();
    world.run_until(at("2027-03-01T06:11:00Z"));
    let device = Part::Device(name(PluginName::parse("coop")), name(DeviceName::parse("north")));
    pause(&mut world, device, true);
    world.link_up(100);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:11:00 skipped open 06:10:00: its device was paused
            06:11:00 answer: done
        "#]],
    );
}

#[test]
fn an_ad_hoc_job_outlives_a_crash_and_every_plan() {
    let mut world = world(&[]);
    schedule(&mut world, new(&job("siesta", "at 2027-03-01T06:10:00Z", &[(0, "blinds/down"), (300, "blinds/up")])));
    schedule(&mut world, new(&job("siesta", "at 2027-03-01T06:20:00Z", &[(0, "blinds/up")])));
    let of_plugin = NewJob {
        plugin: name(PluginName::parse("coop")),
        device: name(DeviceName::parse("north")),
        ..new(&job("extra", "every 10m from 2027-03-01T06:10:00Z", &[(0, "extra")]))
    };
    schedule(&mut world, of_plugin);
    world.run_until(at("2027-03-01T06:05:00Z"));
    world.crash();
    world.load("coop", 2, &[("north", vec![])]);
    world.link_up(100);
    world.run_until(at("2027-03-01T06:16:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: there is already a job `roost/api/siesta`
            06:00:00 answer: roost/api/siesta
            06:00:00 answer: coop/north/extra
            06:05:00 crash
            06:05:00 coop: 0 new, 0 changed, 0 gone, 0 unchanged
            06:10:00 publish extra #1
            06:10:00 publish blinds/down #1
            06:10:00 succeeded extra 06:10:00
            06:15:00 publish blinds/up #1
            06:15:00 succeeded siesta 06:10:00
        "#]],
    );
}

#[test]
fn a_repeated_request_makes_one_job() {
    let mut world = world(&[]);
    let repeated = |request: u8, id: &str| {
        let idempotency = Some(Idempotency { key: Digest([1; 32]), request: Digest([request; 32]) });
        NewJob { idempotency, ..new(&job(id, "at 2027-03-01T06:10:00Z", &[(0, "x")])) }
    };
    schedule(&mut world, repeated(1, "one"));
    world.run_until(at("2027-03-01T06:00:00Z"));
    world.crash();
    schedule(&mut world, repeated(1, "two"));
    schedule(&mut world, repeated(2, "three"));
    world.link_up(100);
    // The request is known although its job has finished.
    world.run_until(at("2027-03-01T06:20:00Z"));
    schedule(&mut world, repeated(1, "four"));
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: roost/api/one
            06:00:00 crash
            06:00:00 answer: roost/api/one, as before
            06:00:00 answer: the idempotency key was used before, with another request
            06:10:00 publish x #1
            06:10:00 succeeded one 06:10:00
            06:20:00 answer: roost/api/one, as before
        "#]],
    );
    // But not without end.
    world.run_until(at("2027-03-03T07:00:00Z"));
    assert!(world.disk.overrides.is_empty() && world.disk.jobs.is_empty(), "{:?}", world.disk.overrides);
}

#[test]
fn a_cancelled_job_sends_its_owed_steps_at_once() {
    let mut world = world(&[job("own", "every 1h", &[(0, "x")])]);
    schedule(&mut world, new(&job("water", "at 2027-03-01T06:10:00Z", &[(0, "valve/on"), (600, "valve/off")])));
    world.run_until(at("2027-03-01T06:12:00Z"));
    let water = (PluginName::host(), api_device(), name(JobId::parse("water")));
    world.request(Request::Cancel(water));
    world.request(Request::Cancel(named("own")));
    world.run_until(at("2027-03-01T06:30:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: roost/api/water
            06:10:00 publish valve/on #1
            06:12:00 answer: job `coop/north/own` is planned by its plugin
            06:12:00 answer: done
            06:12:00 publish valve/off #1
            06:12:00 cancelled water 06:10:00: its job was cancelled by hand
        "#]],
    );
}

#[test]
fn an_ad_hoc_job_can_be_replaced_and_replaces_no_planned_job() {
    let mut world = world(&[job("own", "every 1h", &[(0, "x")])]);
    let place = || (name(PluginName::parse("coop")), name(DeviceName::parse("north")));
    let of_coop = |made: &Job, replaces| {
        let (plugin, device) = place();
        NewJob { plugin, device, replaces, ..new(made) }
    };
    schedule(&mut world, of_coop(&job("own", "every 10m", &[(0, "y")]), true));
    schedule(&mut world, of_coop(&job("extra", "every 10m from 2027-03-01T06:10:00Z", &[(0, "y")]), true));
    schedule(&mut world, of_coop(&job("extra", "every 15m from 2027-03-01T06:15:00Z", &[(0, "z")]), true));
    world.run_until(at("2027-03-01T06:01:00Z"));
    // A plan with a job of that name is refused.
    world.load("coop", 2, &[("north", vec![job("extra", "every 1m", &[(0, "plan")])])]);
    world.run_until(at("2027-03-01T06:16:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: job `coop/north/own` is planned by its plugin
            06:00:00 answer: coop/north/extra
            06:00:00 answer: coop/north/extra, as before
            06:01:00 coop: 0 new, 0 changed, 0 gone, 0 unchanged
            06:15:00 publish z #1
            06:15:00 succeeded extra 06:15:00
        "#]],
    );
    assert!(world.disk.devices.values().any(|row| row.error.is_some()), "the device shows why it keeps its plan");
}

#[test]
fn no_plan_is_requested_for_the_hosts_own_jobs() {
    let mut world = world(&[]);
    let task =
        roost_scheduler::model::Task { name: name(roost_scheduler::names::TaskName::parse("x")), args: "1".into() };
    let made = Job { action: Action::Task(task.into()), ..job("any", "at 2027-03-01T06:10:00Z", &[]) };
    schedule(&mut world, new(&made));
    world.set_clock(86_400_000);
    world.step(Event::Woke);
    assert!(world.plan_requests.iter().all(|(plugin, ..)| plugin.as_str() != "roost"));
}

#[test]
fn an_ad_hoc_job_of_a_removed_device_is_cancelled_and_recorded() {
    let mut world = world(&[job("own", "every 1h", &[(0, "x")])]);
    let (plugin, device, _) = named("extra");
    let extra = new(&job("extra", "at 2027-03-01T06:30:00Z", &[(0, "extra")]));
    schedule(&mut world, NewJob { plugin, device, ..extra });
    world.run_until(at("2027-03-01T06:10:00Z"));
    world.remove("coop");
    world.run_until(at("2027-03-01T06:40:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: coop/north/extra
            06:10:00 cancelled extra 06:30:00: its plugin was removed
        "#]],
    );
}

#[test]
fn a_finished_ad_hoc_job_makes_room_for_a_plan() {
    let mut world = world(&[]);
    let (plugin, device, _) = named("mist");
    let mist = new(&job("mist", "at 2027-03-01T06:05:00Z", &[(0, "once")]));
    schedule(&mut world, NewJob { plugin, device, ..mist });
    world.run_until(at("2027-03-01T06:10:00Z"));
    world.load("coop", 2, &[("north", vec![job("mist", "every 15m", &[(0, "mist")])])]);
    world.run_until(at("2027-03-01T06:20:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: coop/north/mist
            06:05:00 publish once #1
            06:05:00 succeeded mist 06:05:00
            06:10:00 coop: 1 new, 0 changed, 0 gone, 0 unchanged
            06:15:00 publish mist #1
            06:15:00 succeeded mist 06:15:00
        "#]],
    );
    assert!(world.disk.overrides.is_empty() && world.disk.devices.values().all(|row| row.error.is_none()));
}

#[test]
fn an_occurrence_due_when_its_job_is_cancelled_has_a_recorded_outcome() {
    let mut world = world(&[]);
    let mut tick = job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")]);
    tick.policy.misfire = roost_scheduler::model::Misfire::RunAll;
    tick.policy.grace_ms = 7_200_000;
    schedule(&mut world, new(&tick));
    world.run_until(at("2027-03-01T06:05:00Z"));
    world.link_down();
    world.run_until(at("2027-03-01T06:35:00Z"));
    world.request(Request::Cancel((PluginName::host(), api_device(), name(JobId::parse("tick")))));
    world.run_until(at("2027-03-01T06:36:00Z"));
    check(
        &world,
        &expect![[r#"
            06:00:00 answer: roost/api/tick
            06:35:00 cancelled tick 06:10:00: its job was cancelled by hand
            06:35:00 cancelled tick 06:20:00: its job was cancelled by hand
            06:35:00 cancelled tick 06:30:00: its job was cancelled by hand
            06:35:00 answer: done
        "#]],
    );
}
