//! Clock changes: forward and back, by the operator and by summer time.

use roost_tests::{Broker, Listener, Message, Roost, Site, guest};

use crate::{SECOND, job, more};

const HOUR: i64 = 3_600 * SECOND;
/// 2027-03-01T06:30:00Z.
const MARCH: i64 = 1_803_882_600_000;
/// 2027-03-28T01:00:00Z: in London, 01:00 becomes 02:00.
const SPRING: i64 = 1_806_195_600_000;
/// 2027-10-31T00:30:00Z: in London 01:30, for the first time that day.
const AUTUMN: i64 = 1_824_942_600_000;

/// A host with the guest `declared` and a shifted clock.
struct World {
    site: Site,
    listener: Listener,
    roost: Roost,
    _broker: Broker,
}

impl World {
    /// Starts one whose clock shows a time.
    fn at(millis: i64, jobs: &str) -> Self {
        let (broker, site) = (Broker::new(), Site::new());
        let listener = Listener::new(broker.port);
        site.settings("declared", jobs);
        site.drop_in(&guest("declared"), "declared");
        let roost = site.start_at(&broker, millis);
        Self { site, listener, roost, _broker: broker }
    }

    /// Starts one in whose life that time is near: the jobs are planned before.
    fn shortly_before(millis: i64, jobs: &str) -> Self {
        let world = Self::at(millis - HOUR, jobs);
        world.roost.wait_for_log(&format!("{} new", jobs.matches("[[config.jobs]]").count()));
        world.show(millis - SECOND);
        world.roost.wait_for_log("the clock was set forward");
        world
    }

    /// Sets the clock.
    fn show(&self, millis: i64) {
        self.site.set_clock(millis);
    }

    /// Waits for a number of runs of a job in a state.
    fn has(&self, job: &str, state: &str, count: i64) {
        let sql = format!("SELECT count(*) FROM runs WHERE job = '{job}' AND state = '{state}'");
        self.roost.has(&self.site, &sql, count);
    }

    fn occurrence(&self, job: &str) -> i64 {
        self.site.query(&format!("SELECT max(occurrence) FROM runs WHERE job = '{job}'"))
    }
}

#[test]
fn jobs_in_an_hour_that_summer_time_skips_run_and_elapsed_time_continues() {
    let jobs =
        job("fixed", "cron = \"30 1 * * *\"", "declared/fixed") + &job("tick", "every_ms = 1000", "declared/tick");
    let world = World::shortly_before(SPRING, &jobs);
    world.listener.wait_for("declared/fixed");
    world.has("fixed", "succeeded", 1);
    assert_eq!(world.occurrence("fixed"), SPRING, "right after the gap");
    more(&world.listener, "declared/tick");
    // Only those that the clock was set past at first, which are one record.
    world.has("tick", "missed", 1);
}

#[test]
fn jobs_in_an_hour_that_summer_time_repeats_run_once() {
    let jobs =
        job("fixed", "cron = \"30 1 * * *\"", "declared/fixed") + &job("tick", "every_ms = 1000", "declared/tick");
    let world = World::shortly_before(AUTUMN, &jobs);
    world.listener.wait_for("declared/fixed");
    world.has("fixed", "succeeded", 1);
    assert_eq!(world.occurrence("fixed"), AUTUMN);
    // Half past one, for the second time.
    let so_far = world.roost.log.count();
    world.show(AUTUMN + HOUR - SECOND);
    world.roost.log.wait_for(so_far, "the clock was set forward");
    for _ in 0..3 {
        more(&world.listener, "declared/tick");
    }
    assert_eq!(world.listener.count("declared/fixed"), 1);
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing_and_delays_nothing() {
    let valve = "[[config.jobs]]\nid = \"water\"\ntrigger = { in_ms = 1000 }\nsteps = [\n\
                 { topic = \"declared/valve\", payload = \"on\" },\n\
                 { topic = \"declared/valve\", payload = \"off\", after_ms = 4000 },\n]\n";
    let daily = job("daily", "cron = \"30 6 * * *\"", "declared/daily");
    let world = World::at(MARCH - 3 * SECOND, &(daily + &job("tick", "every_ms = 1000", "declared/tick") + valve));
    world.listener.wait_for("declared/daily");
    world.listener.wait_for("declared/valve");
    world.has("daily", "succeeded", 1);
    world.show(MARCH - 2 * HOUR);
    world.roost.wait_for_log("the clock was set back");
    let in_series = |message: &Message| message.property("roost-run").is_some_and(|run| run.ends_with("/series-1"));
    world
        .listener
        .wait("ticks of a new series", |messages| messages.iter().filter(|message| in_series(message)).count() > 2);
    world.listener.wait("off", |messages| messages.iter().any(|message| message.payload == "off"));
    // The time comes a second time, and no run is repeated.
    world.show(MARCH - 2 * SECOND);
    world.roost.wait_for_log("the clock was set forward");
    for _ in 0..3 {
        more(&world.listener, "declared/tick");
    }
    assert_eq!(world.listener.count("declared/daily"), 1);
    let twice = "SELECT count(*) FROM (SELECT 1 FROM runs GROUP BY job, occurrence, origin HAVING count(*) > 1)";
    assert_eq!(world.site.query(twice), 0);
}

#[test]
fn owed_steps_are_sent_when_the_clock_is_set_after_the_store_failed() {
    let valve = "[[config.jobs]]\nid = \"water\"\ntrigger = { in_ms = 1000 }\nsteps = [\n\
                 { topic = \"declared/valve\", payload = \"on\" },\n\
                 { topic = \"declared/valve\", payload = \"off\", after_ms = 16000 },\n]\n";
    let world = World::at(MARCH, &(job("tick", "every_ms = 1000", "declared/tick") + valve));
    world.listener.wait_for("declared/valve");
    world.roost.has(&world.site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    // The database is moved away.
    let database = world.site.path().join("data/roost.db");
    std::fs::rename(&database, database.with_extension("away")).unwrap();
    world.roost.wait_for_log("it was deleted or moved away");
    world.show(MARCH + HOUR);
    world.roost.wait_for_log("the clock was set forward");
    world.listener.wait("off", |messages| messages.iter().any(|message| message.payload == "off"));
    // No more steps are owed.
    assert!(!world.roost.ended().0.success());
}

#[test]
fn runs_that_the_clock_is_set_past_are_missed_with_the_reason() {
    let jobs =
        job("daily", "cron = \"30 6 * * *\"", "declared/daily") + &job("tick", "every_ms = 1000", "declared/tick");
    let world = World::at(MARCH - HOUR, &jobs);
    world.listener.wait_for("declared/tick");
    world.show(MARCH + HOUR);
    world.has("daily", "missed", 1);
    let why = "SELECT count(*) FROM runs WHERE job = 'daily' AND reason LIKE 'the clock was set forward;%'";
    assert_eq!(world.site.query(why), 1);
    more(&world.listener, "declared/tick");
    assert_eq!(world.listener.count("declared/daily"), 0);
}

#[test]
fn nothing_is_planned_by_a_clock_that_has_lost_the_time() {
    let world = World::at(8 * 24 * HOUR, &job("tick", "every_ms = 1000", "declared/tick"));
    world.roost.wait_for_log("which is impossible: nothing is planned before it is set");
    world.roost.wait_for_log("connected to the broker");
    assert_eq!(world.listener.messages().iter().filter(|message| message.topic == "declared/tick").count(), 0);
    world.show(MARCH);
    world.roost.wait_for_log("the clock is set");
    world.listener.wait_for("declared/tick");
}
