//! Histories that a seed makes up: plans, reloads, removals, acknowledgements, lost links, crashes before and after
//! commits. The world asserts I1 to I3 at each step; when the faults end, everything must end (I4, I5, I13), and every
//! occurrence of a job that was never touched must be accounted for.
//!
//! `SEED=n` repeats one history, `HISTORIES=n` asks for more of them than the usual number.

use std::env;

use roost_scheduler::{
    event::Event,
    model::Job,
    outcome::{Missed, Outcome},
    time::Instant,
};

use crate::{
    scenarios::{START, at, job},
    world::World,
};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("an index")
    }
}

/// The job that no plan ever changes.
fn steady() -> Job {
    job("steady", "every 7m", &[(0, "steady")])
}

fn any_job(dice: &mut Dice, now: Instant) -> Job {
    let id = format!("job{}", dice.roll(4));
    let minutes = 1 + dice.roll(9);
    let at = now.plus_ms(i64::try_from(dice.roll(900_000)).expect("small") - 300_000);
    let trigger = [format!("every {minutes}m"), format!("at {at}"), format!("cron */{minutes} * * * *")];
    let trigger = &trigger[dice.index(3)];
    let steps: &[(u32, &str)] = match dice.roll(4) {
        0 | 1 => &[(0, "a")],
        2 => &[(0, "valve/on"), (90, "valve/off")],
        _ => &[(0, "z1/on"), (60, "z1/off"), (60, "z2/on"), (200, "z2/off")],
    };
    let mut job = job(&id, trigger, steps);
    job.policy.priority = if dice.roll(2) == 0 { 0 } else { 5 };
    job.policy.jitter_ms = if dice.roll(3) == 0 { 20_000 } else { 0 };
    job
}

fn plan(dice: &mut Dice, now: Instant) -> Vec<Job> {
    let mut jobs: Vec<Job> = vec![steady()];
    for _ in 0..dice.roll(4) {
        let job = any_job(dice, now);
        if jobs.iter().all(|other| other.id != job.id) {
            jobs.push(job);
        }
    }
    jobs
}

/// One thing that may happen.
fn happen(world: &mut World, dice: &mut Dice) {
    match dice.roll(24) {
        0 => {
            let (a, b) = (plan(dice, world.now), plan(dice, world.now));
            world.load("coop", 1 + u8::try_from(dice.roll(200)).expect("small"), &[("north", a), ("south", b)]);
        }
        1 => {
            let jobs = plan(dice, world.now);
            world.load("other", 1, &[("other", jobs)]);
        }
        2 => world.remove("other"),
        3 => world.link_down(),
        4 | 5 => world.link_up(1 + u32::try_from(dice.roll(6)).expect("small")),
        6 => world.crash(),
        7 | 8 => {
            world.answer();
        }
        9 if !world.in_flight.is_empty() => world.refuse(dice.index(world.in_flight.len())),
        10..=14 if !world.in_flight.is_empty() => world.ack(dice.index(world.in_flight.len())),
        15..=19 => {
            world.commit();
        }
        _ => {
            let pause = i64::try_from(dice.roll(120_000)).expect("small");
            let next = world.wake.map_or(pause, |wake| wake.ms_since(world.now).clamp(0, pause));
            world.now = world.now.plus_ms(next);
            world.step(Event::Woke);
        }
    }
}

fn history(seed: u64) {
    let mut dice = Dice(seed);
    let mut world = World::new(at(START));
    let steady_since = world.now;
    world.load("coop", 203, &[("north", vec![steady()]), ("south", vec![steady()])]);
    world.run_until(world.now);
    for _ in 0..400 {
        happen(&mut world, &mut dice);
    }
    // The faults end: what was lost in a crash is loaded again, as the scan would do.
    world.link_up(100);
    let jobs = vec![steady()];
    world.load("coop", 201, &[("north", jobs.clone()), ("south", jobs)]);
    world.remove("other");
    world.run_until(world.now.plus_ms(3_600_000));
    world.load("coop", 202, &[("north", vec![]), ("south", vec![])]);
    world.run_until(world.now.plus_ms(3_600_000));
    assert_eq!(world.scheduler.run_count(), 0, "I4: everything ends");
    assert_eq!(world.scheduler.job_count(), 0);
    world.check_owed();
    world.check_ended();
    for device in ["north", "south"] {
        accounted_for(&world, device, steady_since);
    }
}

/// I13: every occurrence of the steady job has an outcome of its own, or is one of those that another stands for.
fn accounted_for(world: &World, device: &str, since: Instant) {
    let of_device = world.disk.history.values().filter(|run| {
        run.id.plugin.as_str() == "coop" && run.id.device.as_str() == device && run.id.job.as_str() == "steady"
    });
    let mut spans: Vec<(Instant, Instant)> = of_device
        .map(|run| match &run.outcome {
            Outcome::Missed(Missed::Superseded { since, .. }) => (*since, run.id.occurrence),
            _ => (run.id.occurrence, run.id.occurrence),
        })
        .collect();
    spans.sort();
    let period = 7 * 60_000;
    let mut due = Instant::from_millis((since.millis() + period - 1) / period * period).expect("in range");
    let end = spans.last().expect("it ran").1;
    while due <= end {
        assert!(spans.iter().any(|(from, to)| *from <= due && due <= *to), "I13: {device} {due} is unaccounted for");
        due = due.plus_ms(period);
    }
    assert!(world.now.ms_since(end) <= 3_600_000 + 2 * period, "I4: it went on to the end");
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[allow(clippy::print_stderr, reason = "whoever looks for the fault needs it")]
fn run(seed: u64) {
    let result = std::panic::catch_unwind(|| history(seed));
    if let Err(panic) = result {
        eprintln!("reproduce: make sim SEED={seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_same_histories_as_always() {
    if number("SEED").is_none() {
        (0..200).for_each(run);
    }
}

#[test]
fn histories_that_nobody_has_seen() {
    if let Some(seed) = number("SEED") {
        return run(seed);
    }
    let fresh = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed") >> 16;
    (fresh..fresh + number("HISTORIES").unwrap_or(200)).for_each(run);
}
