//! Plugins that have more messages to send than their rate allows.

use expect_test::expect;
use roost_scheduler::{
    event::Event,
    model::Job,
    names::PluginName,
    rate::{Rate, Rates},
};

use crate::{
    dsl::{START, at, check, check_only, job, name, with},
    world::World,
};

/// Returns a world in which the plugin may send a message a second, and `burst` at once.
fn world(burst: u32, jobs: &[Job]) -> World {
    let mut world = World::new(at(START));
    let rate = Rate { per_second: 1, burst };
    world.set_rates(Rates { by_plugin: [(name(PluginName::parse("coop")), rate)].into(), ..Rates::default() });
    world.link_up(10);
    world.load("coop", 1, &[("north", jobs.to_vec())]);
    world.run_until(world.now);
    world.log.clear();
    world
}

fn due_at_once(count: u32) -> Vec<Job> {
    (0..count)
        .map(|number| job(&format!("job{number}"), "at 2027-03-01T06:10:00Z", &[(0, &format!("t{number}"))]))
        .collect()
}

#[test]
fn a_run_over_the_rate_waits_and_is_missed_after_its_grace() {
    let jobs = due_at_once(5).into_iter().map(|job| with(job, |job| job.policy.grace_ms = 1_500)).collect::<Vec<_>>();
    let mut world = world(2, &jobs);
    world.load("other", 1, &[("other", vec![job("own", "at 2027-03-01T06:10:01.600Z", &[(0, "other")])])]);
    world.run_until(at("2027-03-01T06:00:00Z"));
    world.log.clear();
    world.run_until(at("2027-03-01T06:11:00Z"));
    check(
        &world,
        &expect![[r#"
            06:10:00 publish t0 #1
            06:10:00 publish t1 #1
            06:10:00 succeeded job0 06:10:00
            06:10:00 succeeded job1 06:10:00
            06:10:01 publish t2 #1
            06:10:01 succeeded job2 06:10:00
            06:10:01.501 missed job3 06:10:00: its plugin had more to send than its rate of 1 message a second allows; it would have started 1s501ms late, and its grace is 1s500ms
            06:10:01.501 missed job4 06:10:00: its plugin had more to send than its rate of 1 message a second allows; it would have started 1s501ms late, and its grace is 1s500ms
            06:10:01.600 publish other #1
            06:10:01.600 succeeded own 06:10:01.600
        "#]],
    );
}

#[test]
fn an_owed_step_waits_for_the_rate_and_goes_before_new_runs() {
    let mut jobs = due_at_once(4);
    for job in &mut jobs {
        (job.policy.priority, job.policy.grace_ms) = (100, 60_000);
    }
    jobs.push(job("water", "at 2027-03-01T06:09:55Z", &[(0, "valve/on"), (5, "valve/off")]));
    let mut world = world(1, &jobs);
    world.run_until(at("2027-03-01T06:11:00Z"));
    check_only(
        &world,
        "publish",
        &expect![[r#"
            06:09:55 publish valve/on #1
            06:10:00 publish valve/off #1
            06:10:01 publish t0 #1
            06:10:02 publish t1 #1
            06:10:03 publish t2 #1
            06:10:04 publish t3 #1
        "#]],
    );
}

#[test]
fn a_missing_connection_is_the_reason_even_for_a_run_over_the_rate() {
    let mut world = world(1, &due_at_once(2));
    world.link_down();
    world.run_until(at("2027-03-01T07:10:00Z"));
    world.log.clear();
    world.link_up(10);
    world.run_until(at("2027-03-01T07:10:01Z"));
    check(
        &world,
        &expect![[r#"
            07:10:00 missed job0 06:10:00: there was no connection to the broker; it would have started 1h late, and its grace is 5m
            07:10:00 missed job1 06:10:00: there was no connection to the broker; it would have started 1h late, and its grace is 5m
        "#]],
    );
}

#[test]
fn a_waiting_run_shows_that_its_plugin_is_over_its_rate() {
    let mut world = world(1, &due_at_once(3));
    world.run_until(at("2027-03-01T06:10:00Z"));
    let (runs, _) = world.scheduler.runs_from(0);
    let statuses: Vec<_> = runs
        .iter()
        .map(|run| (run.phase.as_str(), run.held_by.as_ref().map(ToString::to_string), run.until()))
        .collect();
    let over = Some("its plugin had more to send than its rate of 1 message a second allows".to_owned());
    assert_eq!(statuses, [("waiting", over.clone(), None), ("waiting", over, None)]);
    // The clock is set back by an hour: a second has not passed.
    world.set_clock(-3_600_000);
    world.step(Event::Woke);
    assert_eq!(world.scheduler.run_count(), 2);
}

#[test]
fn occurrences_due_while_a_run_waits_for_the_rate_are_decided_together() {
    let jobs = [job("one", "every 1s", &[(0, "one")]), job("two", "every 1s", &[(0, "two")])];
    let mut world = world(1, &jobs);
    world.run_until(at("2027-03-01T06:00:04Z"));
    check(
        &world,
        &expect![[r#"
            06:00:01 publish two #1
            06:00:01 succeeded two 06:00:00
            06:00:02 publish one #1
            06:00:02 succeeded one 06:00:01
            06:00:03 publish two #1
            06:00:03 succeeded two 06:00:01
            06:00:03 missed two 06:00:02: 1 missed since 06:00:02; only the newest run, of 06:00:03, is caught up
            06:00:04 publish one #1
            06:00:04 succeeded one 06:00:02
            06:00:04 missed one 06:00:03: 1 missed since 06:00:03; only the newest run, of 06:00:04, is caught up
        "#]],
    );
}
