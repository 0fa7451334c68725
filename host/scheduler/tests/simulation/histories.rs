//! Histories that a seed makes up: plans, reloads, removals and returns, broken settings, acknowledgements lost and late,
//! lost links, silent devices, clocks that are set, commits that fail, crashes before and after commits. The witness
//! asserts the invariants at each step; when the faults end, everything must end (I4, I5, I13), and every occurrence of
//! a job that was never touched must be accounted for.
//!
//! `SEED=n` repeats one history, `HISTORIES=n` asks for more of them than the usual number.

use std::{env, sync::Arc};

use roost_scheduler::{
    body::PackedJob,
    event::{Digest, Event, Idempotency, NewJob, Part, Request},
    model::{Action, Confirm, Job, Matches, Message, Misfire, Overlap, Qos, Reply, Step, Task},
    names::{DeviceName, GroupName, JobId, JobName, PluginName, ResourceName, TaskName},
    rate::{Rate, Rates},
    scheduler::api_device,
    time::Instant,
    topic::{Grant, Topic, TopicFilter},
    trigger::{Search, SunCache},
};

use crate::{
    checker::is_accounted_for,
    disk::everything,
    rng::Dice,
    scenarios::{START, at, job},
    world::{World, name, site},
};

impl Dice {
    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("an index")
    }

    fn small(&mut self, sides: u64) -> i64 {
        i64::try_from(self.roll(sides)).expect("small")
    }
}

/// The jobs that no plan ever changes.
fn steady() -> Vec<Job> {
    vec![
        job("every", "every 7m", &[(0, "steady/every")]),
        job("cron", "cron */7 * * * *", &[(0, "steady/cron"), (30, "steady/off")]),
    ]
}

fn any_job(dice: &mut Dice, now: Instant) -> Job {
    let id = format!("job{}", dice.roll(5));
    let minutes = 1 + dice.roll(9);
    let at = now.plus_ms(dice.small(900_000) - 300_000);
    let trigger = [format!("every {minutes}m"), format!("at {at}"), format!("cron */{minutes} * * * *")];
    let trigger = &trigger[dice.index(3)];
    let steps: &[(u32, &str)] = match dice.roll(5) {
        0 | 1 => &[(0, "a")],
        2 => &[(0, "valve/on"), (90, "valve/off")],
        3 => &[(0, "door/open"), (20, "door/stop")],
        _ => &[(0, "z1/on"), (60, "z1/off"), (60, "z2/on"), (200, "z2/off")],
    };
    let mut job = job(&id, trigger, steps);
    let policy = &mut job.policy;
    policy.priority = if dice.one_in(2) { 0 } else { 5 };
    policy.jitter_ms = if dice.one_in(3) { 20_000 } else { 0 };
    policy.misfire = match dice.roll(4) {
        0 => Misfire::RunAll,
        1 => Misfire::LatestOfGroup(name(GroupName::parse("door"))),
        _ => Misfire::RunOnce,
    };
    policy.overlap = match dice.roll(6) {
        _ if policy.group().is_some() => Overlap::Skip,
        0 => Overlap::Queue(1 + u32::try_from(dice.roll(3)).expect("small")),
        1 => Overlap::Allow(2),
        2 => Overlap::Replace,
        _ => Overlap::Skip,
    };
    let what = if dice.one_in(6) { "well" } else { "pump" };
    policy.needs = dice.one_in(4).then(|| name(ResourceName::parse(what)));
    policy.retry.attempts = dice.one_in(4).then_some(3);
    job.action = Action::Steps(job.steps().iter().map(|step| any_step(dice, step)).collect());
    if dice.one_in(6) {
        job.action = Action::Task(Task { name: name(TaskName::parse("any")), args: "null".into() }.into());
    }
    job
}

/// What a plugin says to a task.
fn any_reply(dice: &mut Dice, now: Instant) -> Result<Reply, String> {
    let steps = if dice.one_in(4) { Vec::new() } else { any_job(dice, now).steps().to_vec() };
    let reply = Reply { steps, replan: dice.one_in(4), note: None };
    if dice.one_in(4) { Err("trap".into()) } else { Ok(reply) }
}

fn reply(world: &mut World, dice: &mut Dice) {
    world.reply = any_reply(dice, world.now);
    world.reply();
}

/// Devices that people have something to say about: the last is the host's own.
fn places() -> [(PluginName, DeviceName); 4] {
    let place = |plugin, device| (name(PluginName::parse(plugin)), name(DeviceName::parse(device)));
    [place("coop", "north"), place("coop", "south"), place("other", "other"), (PluginName::of_host(), api_device())]
}

fn by_hand(number: u64) -> JobId {
    name(JobId::parse(&format!("hand{number}")))
}

/// Somebody wants something.
fn want(world: &mut World, dice: &mut Dice) {
    let (plugin, device) = places()[dice.index(4)].clone();
    let ids = ["every", "cron", "job0", "job1", "job2", "job3", "job4", "hand0", "hand1"];
    let job: JobName = (plugin.clone(), device.clone(), name(JobId::parse(ids[dice.index(ids.len())])));
    let what = match dice.roll(9) {
        0 | 1 => Request::RunNow(job),
        2 => Request::Skip { job, undo: dice.one_in(4) },
        3 | 4 => {
            let what = match dice.roll(3) {
                0 => Part::Plugin(plugin),
                1 => Part::Device(plugin, device),
                _ => Part::Job(job),
            };
            Request::Pause { what, paused: dice.one_in(3) }
        }
        5 => Request::Replan(plugin),
        6 => Request::Cancel((plugin, device, by_hand(dice.roll(2)))),
        _ => {
            let made = Job { id: by_hand(dice.roll(2)), ..any_job(dice, world.now) };
            let digest = |number| Digest([u8::try_from(number).expect("small"); 32]);
            let idempotency =
                dice.one_in(2).then(|| Idempotency { key: digest(dice.roll(4)), request: digest(dice.roll(2)) });
            let job = PackedJob::from(&made);
            Request::Schedule(Box::new(NewJob { plugin, device, job, idempotency, replaces: dice.one_in(2) }))
        }
    };
    world.ask(what);
}

/// Nobody wants anything any more.
fn want_nothing(world: &mut World) {
    for (plugin, device) in places() {
        for number in 0..2 {
            world.ask(Request::Cancel((plugin.clone(), device.clone(), by_hand(number))));
        }
        for id in ["every", "cron"] {
            let job = (plugin.clone(), device.clone(), name(JobId::parse(id)));
            world.ask(Request::Pause { what: Part::Job(job), paused: false });
        }
        world.ask(Request::Pause { what: Part::Device(plugin.clone(), device), paused: false });
        world.ask(Request::Pause { what: Part::Plugin(plugin), paused: false });
    }
}

fn any_step(dice: &mut Dice, step: &Step) -> Step {
    let topic = format!("state/{}", dice.roll(2));
    let confirm = dice.one_in(8).then(|| Confirm {
        topic: name(Topic::parse(&topic)),
        matches: Matches::Any,
        within_ms: 5_000,
        already: dice.one_in(3),
    });
    let message = Message { retain: dice.one_in(8), ..step.message.clone() };
    Step { once: dice.one_in(8), confirm: confirm.map(Arc::new), message, ..step.clone() }
}

fn plan(dice: &mut Dice, now: Instant) -> Vec<Job> {
    let mut jobs: Vec<Job> = steady();
    // So little that it changes nothing of what they do.
    for job in &mut jobs {
        job.policy.priority = i8::try_from(dice.roll(3)).expect("small");
    }
    for _ in 0..dice.roll(4) {
        let job = any_job(dice, now);
        if jobs.iter().all(|other| other.id != job.id) {
            jobs.push(job);
        }
    }
    jobs
}

/// Everything, or all but one topic.
fn any_grant(dice: &mut Dice) -> Grant {
    if !dice.one_in(8) {
        return everything();
    }
    let filters = ["a", "valve/#", "steady/#", "z1/#", "z2/#", "state/#"].map(|text| name(TopicFilter::parse(text)));
    let max_qos = if !dice.one_in(4) { Qos::ExactlyOnce } else { Qos::AtMostOnce };
    Grant { max_qos, retain: dice.one_in(2), ..Grant::of(filters.to_vec(), filters.to_vec()) }
}

/// So low that they are often in the way.
fn any_rates(dice: &mut Dice) -> Rates {
    let mut rate = || Rate { per_second: 1, burst: 1 + u32::try_from(dice.roll(2)).expect("small") };
    let of = places().map(|(plugin, _)| (plugin, rate())).into();
    Rates { of, ..Rates::default() }
}

/// One thing that may happen.
fn happen(world: &mut World, dice: &mut Dice, clock_is_set: bool) {
    match dice.roll(40) {
        0 => {
            let (a, b) = (plan(dice, world.now), plan(dice, world.now));
            let version = 1 + u8::try_from(dice.roll(200)).expect("small");
            let grant = any_grant(dice);
            world.load_granted("coop", version, &[("north", a), ("south", b)], grant);
        }
        1 => {
            let jobs = plan(dice, world.now);
            world.load("other", 1, &[("other", jobs)]);
        }
        2 => world.remove("other"),
        3 => world.link_down(),
        4 | 5 => world.link_up(1 + u32::try_from(dice.roll(6)).expect("small")),
        6 if clock_is_set && dice.one_in(8) => world.crash_and_shift(any_shift(dice)),
        6 => crash(world),
        7 | 8 => {
            world.answer();
        }
        9 if !world.in_flight.is_empty() => world.refuse(dice.index(world.in_flight.len())),
        10..=16 if !world.in_flight.is_empty() => world.ack(dice.index(world.in_flight.len())),
        17 if !world.in_flight.is_empty() => world.ack_to_nobody(dice.index(world.in_flight.len())),
        18..=25 => {
            world.commit();
        }
        26 | 27 if !world.subscribing.is_empty() => {
            let refused = dice.one_in(4).then(|| "not authorized".to_owned());
            world.subscribed(dice.index(world.subscribing.len()), refused);
        }
        28 => {
            let topics = world.listened_to();
            if !topics.is_empty() {
                let topic = &topics[dice.index(topics.len())];
                world.report(topic, dice.one_in(2), dice.one_in(2));
            }
        }
        29 => world.is_silent = dice.one_in(2),
        30 if dice.one_in(4) => {
            world.fail_store();
            for _ in 0..dice.roll(20) {
                if !world.in_flight.is_empty() {
                    world.ack(dice.index(world.in_flight.len()));
                }
                wait(world, dice);
            }
            crash(world);
        }
        31 if clock_is_set && dice.one_in(3) => {
            let by_ms = any_shift(dice);
            world.set_clock(by_ms);
        }
        32 if !world.dead_letters.is_empty() => {
            let run = world.dead_letters[dice.index(world.dead_letters.len())].clone();
            world.replay(&run);
        }
        33 if dice.one_in(4) && !world.in_flight.is_empty() => {
            let run = world.in_flight[dice.index(world.in_flight.len())].run.clone();
            world.ask(Request::Abandon(run));
        }
        35 if dice.one_in(2) => want(world, dice),
        35 | 38 if !world.in_flight.is_empty() => suspect(world, dice),
        36 | 37 if !world.called.is_empty() => reply(world, dice),
        34 => {
            // Longer than any grace.
            if dice.one_in(6) {
                world.now = world.now.plus_ms(dice.small(3_600_000));
                world.step(Event::Woke);
            }
        }
        _ => wait(world, dice),
    }
}

/// The link holds a message back, or the broker ends the connection at one that is alone.
fn suspect(world: &mut World, dice: &mut Dice) {
    if world.in_flight.len() == 1 && dice.one_in(3) {
        world.end_at(0, dice.one_in(2));
    } else {
        world.defer(dice.index(world.in_flight.len()), dice.small(60_000));
    }
}

/// An hour or two, seldom more.
fn any_shift(dice: &mut Dice) -> i64 {
    let most = if dice.one_in(4) { 18_000_000 } else { 7_200_000 };
    dice.small(2 * most) - i64::try_from(most).expect("small")
}

/// That takes a moment.
fn crash(world: &mut World) {
    world.now = world.now.plus_ms(100);
    world.crash();
}

/// Time passes, at most until something is to be done.
fn wait(world: &mut World, dice: &mut Dice) {
    let pause = dice.small(120_000);
    let next = world.wake.map_or(pause, |wake| wake.ms_since(world.now).clamp(0, pause));
    world.now = world.now.plus_ms(next);
    world.step(Event::Woke);
}

/// How many simulated hours it was.
fn history(seed: u64) -> i64 {
    let mut dice = Dice(seed);
    let mut world = if seed.is_multiple_of(16) { World::new(at(START)) } else { World::alone(at(START)) };
    world.is_loud = number("SEED").is_some();
    if dice.one_in(3) {
        world.set_rates(any_rates(&mut dice));
    }
    let since = world.now;
    // The clock is not set in all of them, so that some time is accounted for without that.
    let clock_is_set = dice.one_in(2);
    world.load("coop", 203, &[("north", steady()), ("south", steady())]);
    world.run_until(world.now);
    for _ in 0..400 {
        happen(&mut world, &mut dice, clock_is_set);
    }
    // The faults end: what was lost in a crash is loaded again, as the scan would do.
    if world.is_failing {
        world.crash();
    }
    world.is_silent = false;
    world.reply = Ok(Reply { steps: Vec::new(), replan: false, note: None });
    want_nothing(&mut world);
    world.link_up(100);
    world.load("coop", 201, &[("north", steady()), ("south", steady())]);
    world.remove("other");
    // A clock that was set back catches up.
    world.run_until(world.now.max(world.latest).plus_ms(3 * 3_600_000));
    let until = world.now;
    world.load("coop", 202, &[("north", vec![]), ("south", vec![])]);
    world.run_until(world.now.plus_ms(3_600_000));
    let left: Vec<String> = world.scheduler.runs().map(|run| format!("{run:?}")).collect();
    assert_eq!(left, Vec::<String>::new(), "I4: everything ends");
    assert_eq!(world.scheduler.job_count(), 0);
    assert_eq!(world.scheduler.attempts_under_way(), 0, "I10: answers are waited for that nobody gives");
    world.witness.all_is_done(&world.disk);
    for job in steady() {
        let next = |after: Instant| match job.trigger.next(after, &site(), &mut SunCache::default()) {
            Search::Found(next) => next,
            Search::NotUntil(_) | Search::Never(_) => Instant::MAX,
        };
        if job.id.as_str() == "cron" || !clock_is_set {
            for device in ["north", "south"] {
                is_accounted_for(&world.disk, (device, job.id.as_str()), since, until, next);
            }
        }
    }
    world.now.ms_since(since) / 3_600_000
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[allow(clippy::print_stderr, reason = "whoever looks for the fault needs it")]
fn run(seed: u64) -> i64 {
    std::panic::catch_unwind(|| history(seed)).unwrap_or_else(|panic| {
        eprintln!("reproduce: make sim SEED={seed}");
        std::panic::resume_unwind(panic);
    })
}

/// On two threads: each history is a world of its own.
#[allow(clippy::print_stderr, reason = "whoever asks for many wants to know how many hours that was")]
fn run_all(from: u64, count: u64) {
    let half = count / 2;
    let hours: i64 = std::thread::scope(|scope| {
        let first = scope.spawn(move || (from..from + half).map(run).sum::<i64>());
        let second: i64 = (from + half..from + count).map(run).sum();
        first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) + second
    });
    eprintln!("{count} histories, {hours} simulated hours");
}

#[test]
fn the_same_histories_as_always() {
    if number("SEED").is_none() {
        run_all(0, 200);
    }
}

#[test]
fn histories_that_nobody_has_seen() {
    if let Some(seed) = number("SEED") {
        run(seed);
        return;
    }
    let fresh = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed") >> 16;
    run_all(number("FROM").unwrap_or_else(fresh), number("HISTORIES").unwrap_or(200));
}
