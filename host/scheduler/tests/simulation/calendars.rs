//! Named calendars, and changes of their contents.

use roost_scheduler::{
    event::{Event, RunEnded},
    model::Job,
    names::CalendarName,
    outcome::Outcome,
    trigger::{Calendars, Dates},
};

use crate::{
    dsl::{at, job, lines, name, with},
    world::World,
};

/// Returns a calendar `holidays` with these dates of March 2027.
fn holidays(days: &[u32]) -> Calendars {
    let date = |day: &u32| chrono::NaiveDate::from_ymd_opt(2027, 3, *day).expect("a date");
    let dates = Dates::new(days.iter().map(|day| (date(day), date(day))).collect());
    [(name(CalendarName::parse("holidays")), dates)].into_iter().collect()
}

fn world(days: &[u32], jobs: Vec<Job>) -> World {
    let mut world = World::new(at("2027-03-01T06:00:00Z"));
    world.link_up(100);
    change(&mut world, days);
    world.load("coop", 1, &[("north", jobs)]);
    world.run_until(world.now);
    world.log.clear();
    world
}

fn change(world: &mut World, days: &[u32]) {
    world.disk.calendars = holidays(days);
    world.step(Event::CalendarsChanged(holidays(days)));
    world.run_until(world.now);
}

fn daily() -> Vec<Job> {
    vec![
        job("work", "cron 0 7 * * * except holidays", &[(0, "work")]),
        job("rest", "cron 0 9 * * * on holidays", &[(0, "rest")]),
    ]
}

/// When a topic was published to.
fn sent(world: &World, topic: &str) -> Vec<String> {
    let end = format!(" publish {topic} #1");
    lines(world).iter().filter_map(|line| line.strip_suffix(end.as_str()).map(str::to_owned)).collect()
}

#[test]
fn a_calendar_leaves_days_out_or_selects_them() {
    let mut world = world(&[2, 3], daily());
    world.run_until(at("2027-03-05T00:00:00Z"));
    assert_eq!(sent(&world, "work"), ["07:00:00", "2027-03-04T07:00:00"]);
    assert_eq!(sent(&world, "rest"), ["2027-03-02T09:00:00", "2027-03-03T09:00:00"]);
}

#[test]
fn what_is_not_due_yet_follows_a_changed_calendar_and_nothing_is_caught_up() {
    let mut world = world(&[1, 2], daily());
    // Today's 07:00 was left out, and stays so. Today's 09:00 is left out from now on.
    world.run_until(at("2027-03-01T08:00:00Z"));
    change(&mut world, &[3]);
    world.run_until(at("2027-03-05T00:00:00Z"));
    assert_eq!(sent(&world, "work"), ["2027-03-02T07:00:00", "2027-03-04T07:00:00"]);
    assert_eq!(sent(&world, "rest"), ["2027-03-03T09:00:00"]);
    let succeeded = |run: &RunEnded| matches!(run.outcome, Outcome::Succeeded { .. });
    assert!(world.disk.history.values().all(succeeded), "{:?}", world.disk.history);
}

#[test]
fn a_run_that_waits_for_its_jitter_is_not_lost_when_a_calendar_changes() {
    let late =
        with(job("late", "cron 0 7 * * * except holidays", &[(0, "late")]), |job| job.policy.jitter_ms = 3_600_000);
    let mut world = world(&[2], vec![late]);
    world.run_until(at("2027-03-01T07:00:01Z"));
    assert_eq!(sent(&world, "late"), Vec::<String>::new(), "it waits");
    change(&mut world, &[1, 3]);
    world.run_until(at("2027-03-03T00:00:00Z"));
    assert_eq!(sent(&world, "late").len(), 2, "{:?}", sent(&world, "late"));
}

#[test]
fn a_job_without_a_day_left_continues_when_its_calendar_has_new_ones() {
    let mut world = world(&[], daily());
    world.run_until(at("2027-03-02T00:00:00Z"));
    assert_eq!(sent(&world, "rest"), Vec::<String>::new());
    change(&mut world, &[4]);
    world.run_until(at("2027-03-06T00:00:00Z"));
    assert_eq!(sent(&world, "rest"), ["2027-03-04T09:00:00"]);
}

#[test]
fn a_calendar_that_changed_while_the_host_was_down_counts_after_the_restart() {
    let mut world = world(&[2], daily());
    world.run_until(at("2027-03-01T12:00:00Z"));
    world.disk.calendars = holidays(&[3]);
    world.crash();
    world.link_up(100);
    world.run_until(at("2027-03-05T00:00:00Z"));
    assert_eq!(sent(&world, "work"), ["07:00:00", "2027-03-02T07:00:00", "2027-03-04T07:00:00"]);
    assert_eq!(sent(&world, "rest"), ["2027-03-03T09:00:00"]);
}
