//! Pauses that begin and end: what is due decides, not when it is decided.

use expect_test::expect;
use proptest::prelude::*;
use roost_scheduler::{
    event::{Part, PauseScope},
    limits,
    model::{Job, Misfire},
    names::{DeviceName, JobId, JobName, PluginName},
    outcome::Outcome,
    pause::Pause,
    time::Instant,
    trigger::Almanac,
};

use crate::{
    dsl::{START, at, check, check_only, in_group, job, name, with, world},
    world::World,
};

fn coop() -> PluginName {
    name(PluginName::parse("coop"))
}

fn named(job: &str) -> JobName {
    (coop(), name(DeviceName::parse("north")), name(JobId::parse(job)))
}

/// Returns an instant of the first day.
fn clock(time: &str) -> Instant {
    at(&format!("2027-03-01T{time}:00Z"))
}

fn pause(from: Option<&str>, until: Option<&str>) -> Pause {
    name(Pause::new(from.map(clock), until.map(clock), Some("rain")))
}

fn set(world: &mut World, what: Part, pause: impl Into<Option<Pause>>) {
    world.pause(what, pause);
    while world.commit() {}
    world.log.clear();
}

fn run_all(job: Job) -> Job {
    with(job, |job| (job.policy.misfire, job.policy.grace_ms) = (Misfire::RunAll, 86_400_000))
}

#[test]
fn a_pause_ends_by_itself_and_what_is_due_at_its_end_runs() {
    let mut world = world(&[job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")])]);
    set(&mut world, Part::Plugin(coop()), pause(None, Some("06:30")));
    world.run_until(clock("06:35"));
    check(
        &world,
        &expect![[r#"
            06:10:00 skipped tick 06:10:00: its plugin was paused until 06:30:00 (rain)
            06:20:00 skipped tick 06:20:00: its plugin was paused until 06:30:00 (rain)
            06:30:00 publish tick #1
            06:30:00 pause of plugin(pluginname("coop")) has ended
            06:30:00 succeeded tick 06:30:00
        "#]],
    );
}

#[test]
fn a_pause_that_begins_later_covers_what_is_due_from_its_beginning_on() {
    let mut world = world(&[job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")])]);
    set(&mut world, Part::All, pause(Some("06:20"), Some("06:40")));
    world.run_until(clock("06:45"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish tick #1
            06:10:00 succeeded tick 06:10:00
            06:20:00 skipped tick 06:20:00: everything was paused until 06:40:00 (rain)
            06:20:00 pause of all has begun
            06:30:00 skipped tick 06:30:00: everything was paused until 06:40:00 (rain)
            06:40:00 publish tick #1
            06:40:00 pause of all has ended
            06:40:00 succeeded tick 06:40:00
        "#]],
    );
}

#[test]
fn a_new_pause_replaces_the_one_of_its_scope_and_resuming_removes_one_that_has_not_begun() {
    let mut world = world(&[job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")])]);
    set(&mut world, Part::Job(named("tick")), pause(None, None));
    set(&mut world, Part::Job(named("tick")), pause(Some("06:20"), Some("06:25")));
    set(&mut world, Part::All, pause(Some("06:30"), None));
    world.run_until(clock("06:25"));
    set(&mut world, Part::All, None);
    world.run_until(clock("06:35"));
    check_only(
        &world,
        "tick 06",
        &expect![[r#"
            06:30:00 succeeded tick 06:30:00
        "#]],
    );
    assert!(world.scheduler.pauses_of_all().is_empty());
}

#[test]
fn of_what_passed_before_in_and_after_a_pause_the_newest_outside_of_it_is_caught_up() {
    let mut world = world(&[job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")])]);
    set(&mut world, Part::Device(coop(), name(DeviceName::parse("north"))), pause(Some("06:30"), Some("06:50")));
    world.crash();
    // The host is down from before the pause until after it.
    world.now = clock("07:05");
    world.link_up(100);
    world.run_until(clock("07:06"));
    check(
        &world,
        &expect![[r#"
            06:00:00 crash
            07:05:00 missed tick 06:20:00: 2 missed since 06:10:00; only the newest run, of 07:00:00, is caught up
            07:05:00 skipped tick 06:40:00: 2 skipped since 06:30:00; its device was paused until 06:50:00 (rain)
            07:05:00 missed tick 06:50:00: 1 missed since 06:50:00; only the newest run, of 07:00:00, is caught up
            07:05:00 publish tick #1
            07:05:00 pause of device(pluginname("coop"), devicename("north")) has ended
            07:05:00 succeeded tick 07:00:00
        "#]],
    );
}

#[test]
fn a_host_that_returns_in_a_pause_catches_up_what_was_due_before_it() {
    let tick = job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")]);
    let mut world = world(&[with(tick, |job| job.policy.grace_ms = 3_600_000)]);
    set(&mut world, Part::All, pause(Some("06:30"), None));
    world.crash();
    world.now = clock("06:55");
    world.link_up(100);
    world.run_until(clock("06:56"));
    check(
        &world,
        &expect![[r#"
            06:00:00 crash
            06:55:00 missed tick 06:10:00: 1 missed since 06:10:00; only the newest run, of 06:20:00, is caught up
            06:55:00 skipped tick 06:50:00: 3 skipped since 06:30:00; everything was paused (rain)
            06:55:00 pause of all has begun
            06:55:00 publish tick #1
            06:55:00 succeeded tick 06:20:00
        "#]],
    );
}

#[test]
fn all_that_passed_outside_of_a_pause_is_caught_up_if_all_is() {
    let mut world = world(&[run_all(job("tick", "every 10m from 2027-03-01T06:10:00Z", &[(0, "tick")]))]);
    set(&mut world, Part::Plugin(coop()), pause(Some("06:20"), Some("06:40")));
    world.crash();
    world.now = clock("06:55");
    world.link_up(100);
    world.run_until(clock("06:56"));
    check_only(
        &world,
        "tick 06",
        &expect![[r#"
            06:55:00 skipped tick 06:30:00: 2 skipped since 06:20:00; its plugin was paused until 06:40:00 (rain)
            06:55:00 succeeded tick 06:10:00
            06:55:00 succeeded tick 06:40:00
            06:55:00 succeeded tick 06:50:00
        "#]],
    );
}

#[test]
fn the_newest_of_a_group_that_was_due_in_no_pause_is_caught_up() {
    let open = in_group("open", "cron 0,30 6-8 * * *", &[(0, "door/open")]);
    let close = in_group("close", "cron 15 7 * * *", &[(0, "door/close")]);
    let mut world = world(&[open, close]);
    set(&mut world, Part::Job(named("open")), pause(Some("07:20"), Some("08:20")));
    world.crash();
    world.now = clock("08:25");
    world.link_up(100);
    world.run_until(clock("08:26"));
    check(
        &world,
        &expect![[r#"
            06:00:00 crash
            08:25:00 missed open 07:00:00: 2 missed since 06:30:00; only the newest run of its group, `close` of 07:15:00, is caught up
            08:25:00 skipped open 08:00:00: 2 skipped since 07:30:00; its job was paused until 08:20:00 (rain)
            08:25:00 publish door/close #1
            08:25:00 pause of job((pluginname("coop"), devicename("north"), jobid("open"))) has ended
            08:25:00 succeeded close 07:15:00
        "#]],
    );
}

#[test]
fn what_waited_through_its_pause_is_skipped_after_its_end() {
    let mut world = world(&[job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")])]);
    world.link_down();
    world.run_until(clock("06:11"));
    set(&mut world, Part::All, pause(None, Some("06:20")));
    world.run_until(clock("06:30"));
    world.crash();
    world.now = clock("06:40");
    world.link_up(100);
    world.run_until(clock("06:41"));
    check_only(
        &world,
        "open",
        &expect![[r#"
            06:30:00 skipped open 06:10:00: everything was paused until 06:20:00 (rain)
        "#]],
    );
}

#[test]
fn a_run_that_was_due_before_a_pause_and_waits_may_start_in_it() {
    let mut world = world(&[run_all(job("open", "at 2027-03-01T06:10:00Z", &[(0, "door/open")]))]);
    world.link_down();
    world.run_until(clock("06:11"));
    set(&mut world, Part::All, pause(Some("06:15"), Some("06:40")));
    world.run_until(clock("06:20"));
    world.link_up(100);
    world.run_until(clock("06:21"));
    check_only(
        &world,
        "open",
        &expect![[r#"
            06:20:00 publish door/open #1
            06:20:00 succeeded open 06:10:00
        "#]],
    );
}

#[test]
fn a_clock_that_is_set_moves_neither_end_of_a_pause() {
    let mut world = world(&[job("tick", "cron */10 * * * *", &[(0, "tick")])]);
    set(&mut world, Part::Plugin(coop()), pause(Some("06:20"), Some("06:40")));
    // Forward over its end, and back into it.
    world.run_until(clock("06:25"));
    world.set_clock(20 * 60_000);
    world.run_until(clock("06:46"));
    world.set_clock(-4 * 3_600_000);
    world.run_until(clock("06:41"));
    check_only(
        &world,
        " has ",
        &expect![[r#"
            06:20:00 pause of plugin(pluginname("coop")) has begun
            06:45:00 pause of plugin(pluginname("coop")) has ended
            06:20:00 pause of plugin(pluginname("coop")) has begun
            06:40:00 pause of plugin(pluginname("coop")) has ended
        "#]],
    );
    world.log.retain(|line| line.contains("tick 2027-03-01T06"));
    check(
        &world,
        &expect![[r#"
            06:10:00 succeeded tick 06:10:00
            06:20:00 skipped tick 06:20:00: its plugin was paused until 06:40:00 (rain)
            06:45:00 skipped tick 06:30:00: its plugin was paused until 06:40:00 (rain)
            06:45:00 succeeded tick 06:40:00
            06:00:00 succeeded tick 06:00:00 again
            06:10:00 succeeded tick 06:10:00 again
            06:20:00 skipped tick 06:20:00 again: its plugin was paused until 06:40:00 (rain)
            06:30:00 skipped tick 06:30:00 again: its plugin was paused until 06:40:00 (rain)
            06:40:00 succeeded tick 06:40:00 again
        "#]],
    );
}

#[test]
fn the_jitter_of_a_run_decides_whether_it_is_in_a_pause() {
    let jittered = with(job("tick", "cron 30 6 * * *", &[(0, "tick")]), |job| job.policy.jitter_ms = 20_000);
    let (plugin, device, id) = named("tick");
    let status = world(std::slice::from_ref(&jittered)).scheduler.job(&plugin, &device, &id).expect("a job");
    let start = status.start(clock("06:30"), &mut Almanac::default());
    assert!(start > clock("06:30"), "it has a jitter");
    let is_skipped = |from: Option<i64>, until: i64| {
        let mut world = world(std::slice::from_ref(&jittered));
        let pause = Pause::new(from.map(|by_ms| start.plus_ms(by_ms)), Some(start.plus_ms(until)), None);
        set(&mut world, Part::All, name(pause));
        world.run_until(clock("07:00"));
        world.log.iter().any(|line| line.contains("skipped tick"))
    };
    assert!(!is_skipped(None, 0));
    assert!(is_skipped(None, 1));
    assert!(is_skipped(Some(0), 1));
    assert!(!is_skipped(Some(1), 2));
}

#[test]
fn a_pause_is_forgotten_when_nothing_that_was_due_in_it_can_start_any_more() {
    let mut world = world(&[job("tick", "at 2027-03-01T06:05:00Z", &[(0, "tick")])]);
    set(&mut world, Part::Plugin(coop()), pause(None, Some("06:10")));
    set(&mut world, Part::Job(named("tick")), pause(None, None));
    let forgotten = clock("06:10").plus_ms(limits::TOMBSTONE_MS);
    world.run_until(forgotten.plus_ms(-1));
    assert_eq!(world.disk.pauses.len(), 2);
    world.crash();
    world.link_up(100);
    world.run_until(forgotten);
    assert!(matches!(world.disk.pauses.keys().collect::<Vec<_>>()[..], [PauseScope::Job(_)]));
    // And the others go with what they were set on.
    world.remove("coop");
    world.run_until(forgotten.plus_ms(60_000));
    assert!(world.disk.pauses.is_empty());
}

#[test]
fn a_pause_outlives_versions_and_plans() {
    let tick = |seconds: u8| job("tick", &format!("cron {seconds} */10 * * * *"), &[(0, "tick")]);
    let mut world = world(&[tick(0)]);
    set(&mut world, Part::Job(named("tick")), pause(None, Some("06:40")));
    world.load("coop", 2, &[("north", vec![tick(5)])]);
    world.run_until(clock("06:25"));
    world.load("coop", 3, &[("north", vec![tick(10)])]);
    world.run_until(clock("06:41"));
    check_only(
        &world,
        "tick 06",
        &expect![[r#"
            06:00:05 skipped tick 06:00:05: its job was paused until 06:40:00 (rain)
            06:10:05 skipped tick 06:10:05: its job was paused until 06:40:00 (rain)
            06:20:05 skipped tick 06:20:05: its job was paused until 06:40:00 (rain)
            06:30:10 skipped tick 06:30:10: its job was paused until 06:40:00 (rain)
            06:40:10 succeeded tick 06:40:10
        "#]],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whenever the host is down, has no link, or restarts: a pause admits nothing inside and everything outside.
    #[test]
    fn a_pause_with_an_end_admits_nothing_inside_and_everything_else(
        from in proptest::option::of(-30_i64..90),
        lasts in 1_i64..60,
        period in 1_u32..9,
        jitter_s in 0_u32..20,
        outages in proptest::collection::vec((0_i64..60, 1_i64..60, any::<bool>()), 0..4),
    ) {
        let minutes = |minutes: i64| at(START).plus_ms(minutes * 60_000);
        let until = minutes(from.unwrap_or(0) + lasts);
        let ticking = with(run_all(job("tick", &format!("every {period}m from {START}"), &[(0, "tick")])), |job| {
            job.policy.jitter_ms = jitter_s * 1_000;
        });
        let mut world = world(&[]);
        let pause = name(Pause::new(from.map(minutes), Some(until), None));
        set(&mut world, Part::Plugin(coop()), pause.clone());
        world.load("coop", 2, &[("north", vec![ticking])]);
        for (after, lasts, is_crash) in outages {
            world.run_until(world.now.plus_ms(after * 60_000));
            if is_crash { world.crash() } else { world.link_down() }
            if is_crash {
                world.now = world.now.plus_ms(lasts * 60_000);
            } else {
                world.run_until(world.now.plus_ms(lasts * 60_000));
            }
            world.link_up(100);
        }
        let end = world.now.max(until).plus_ms(60 * 60_000);
        world.run_until(end);
        let (plugin, device, id) = named("tick");
        let status = world.scheduler.job(&plugin, &device, &id).expect("a job");
        let mut cache = Almanac::default();
        let mut due = at(START);
        while status.start(due, &mut cache) < end.plus_ms(-60_000) {
            let start = status.start(due, &mut cache);
            let is_in = from.is_none_or(|from| minutes(from) <= start) && start < until;
            let of = |ended: &&roost_scheduler::event::RunEnded| {
                let since = ended.outcome.several().map_or(ended.id.occurrence, |several| several.since);
                since <= due && due <= ended.id.occurrence
            };
            let outcomes: Vec<&Outcome> = world.disk.history.values().filter(of).map(|ended| &ended.outcome).collect();
            let expected = if is_in { "skipped" } else { "succeeded" };
            let states: Vec<&str> = outcomes.iter().map(|outcome| outcome.state().as_str()).collect();
            prop_assert_eq!(&states, &[expected], "{} with {:?}: {:?}", due, pause, outcomes);
            due = due.plus_ms(i64::from(period) * 60_000);
        }
    }
}
