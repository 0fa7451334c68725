//! Random histories from seeds: plans, reloads, removals and returns, broken settings, lost and late acknowledgements,
//! lost links, silent devices, clock changes, failed commits, crashes before and after commits. The checker asserts the
//! invariants at each step; after the faults, full_grant must end (I4, I5, I13), and every occurrence of a job that
//! never changed must be accounted for.
//!
//! `SEED=n` repeats one history, `HISTORIES=n` sets the number of histories.

use std::{env, sync::Arc};

use roost_scheduler::{
    body::PackedJob,
    event::{Digest, Event, Idempotency, NewJob, Part, Request},
    model::{Action, Confirm, Job, Matches, Message, Misfire, Overlap, Qos, Reply, Step, Task},
    names::{DeviceName, GroupName, JobId, JobName, PluginName, ResourceName, TaskName},
    pause::Pause,
    rate::{Rate, Rates},
    scheduler::api_device,
    time::Instant,
    topic::{Grant, Topic, TopicFilter},
    trigger::{Almanac, Search},
};

use crate::{
    checker::is_accounted_for,
    days,
    disk::full_grant,
    dsl::{START, at, job, name, site},
    rng::Rng,
    world::World,
};

/// Returns the jobs that no plan ever changes.
fn fixed_jobs() -> Vec<Job> {
    vec![
        job("every", "every 7m", &[(0, "fixed/every")]),
        job("cron", "cron */7 * * * *", &[(0, "fixed/cron"), (30, "fixed/off")]),
    ]
}

fn any_job(rng: &mut Rng, now: Instant) -> Job {
    let id = format!("job{}", rng.below::<u8>(5));
    let minutes = 1 + rng.below::<u8>(9);
    let at = now.plus_ms(rng.below::<i64>(900_000) - 300_000);
    let trigger = [format!("every {minutes}m"), format!("at {at}"), format!("cron */{minutes} * * * *")];
    let trigger = &trigger[rng.index(3)];
    let steps: &[(u32, &str)] = match rng.below::<u8>(5) {
        0 | 1 => &[(0, "a")],
        2 => &[(0, "valve/on"), (90, "valve/off")],
        3 => &[(0, "door/open"), (20, "door/stop")],
        _ => &[(0, "z1/on"), (60, "z1/off"), (60, "z2/on"), (200, "z2/off")],
    };
    let mut job = job(&id, trigger, steps);
    let policy = &mut job.policy;
    policy.priority = if rng.one_in(2) { 0 } else { 5 };
    policy.jitter_ms = if rng.one_in(3) { 20_000 } else { 0 };
    policy.misfire = match rng.below::<u8>(4) {
        0 => Misfire::RunAll,
        1 => Misfire::LatestOfGroup(name(GroupName::parse("door"))),
        _ => Misfire::RunOnce,
    };
    policy.overlap = match rng.below::<u8>(6) {
        _ if policy.group().is_some() => Overlap::Skip,
        0 => Overlap::Queue(1 + rng.below::<u32>(3)),
        1 => Overlap::Allow(2),
        2 => Overlap::Replace,
        _ => Overlap::Skip,
    };
    let what = if rng.one_in(6) { "well" } else { "pump" };
    policy.needs = rng.one_in(4).then(|| name(ResourceName::parse(what)));
    policy.retry.attempts = rng.one_in(4).then_some(3);
    job.action = Action::Steps(job.steps().iter().map(|step| any_step(rng, step)).collect());
    if rng.one_in(6) {
        job.action = Action::Task(Task { name: name(TaskName::parse("any")), args: "null".into() }.into());
    }
    job
}

/// Returns a random reply to a task.
fn any_reply(rng: &mut Rng, now: Instant) -> Result<Reply, String> {
    let steps = if rng.one_in(4) { Vec::new() } else { any_job(rng, now).steps().to_vec() };
    let reply = Reply { steps, replan: rng.one_in(4), note: None };
    if rng.one_in(4) { Err("trap".into()) } else { Ok(reply) }
}

fn reply(world: &mut World, rng: &mut Rng) {
    world.reply = any_reply(rng, world.now);
    world.reply();
}

/// Returns the devices of random requests: the last one is the host's own.
fn devices() -> [(PluginName, DeviceName); 4] {
    let place = |plugin, device| (name(PluginName::parse(plugin)), name(DeviceName::parse(device)));
    [place("coop", "north"), place("coop", "south"), place("other", "other"), (PluginName::host(), api_device())]
}

fn ad_hoc_id(number: u64) -> JobId {
    name(JobId::parse(&format!("hand{number}")))
}

/// Makes a random request.
fn random_request(world: &mut World, rng: &mut Rng) {
    let (plugin, device) = devices()[rng.index(4)].clone();
    let ids = ["every", "cron", "job0", "job1", "job2", "job3", "job4", "hand0", "hand1"];
    let job: JobName = (plugin.clone(), device.clone(), name(JobId::parse(ids[rng.index(ids.len())])));
    let what = match rng.below::<u8>(9) {
        0 | 1 => Request::RunNow(job),
        2 => Request::Skip { job, undo: rng.one_in(4) },
        3 | 4 => {
            let what = match rng.below::<u8>(8) {
                0 | 1 => Part::Plugin(plugin),
                2 | 3 => Part::Device(plugin, device),
                4 | 5 => Part::Job(job),
                6 => Part::All,
                _ => {
                    let pause = (!rng.one_in(3)).then(|| any_pause(rng, world.now));
                    let pauses = devices()
                        .into_iter()
                        .take(2)
                        .map(|(plugin, device)| (Part::Device(plugin, device), pause.clone().map(Arc::new)));
                    return world.request(Request::Pause(pauses.collect()));
                }
            };
            return world.pause(what, (!rng.one_in(4)).then(|| any_pause(rng, world.now)));
        }
        5 => Request::Replan(plugin),
        6 => Request::Cancel((plugin, device, ad_hoc_id(rng.below(2)))),
        _ => {
            let made = Job { id: ad_hoc_id(rng.below(2)), ..any_job(rng, world.now) };
            let digest = |number: u8| Digest([number; 32]);
            let idempotency =
                rng.one_in(2).then(|| Idempotency { key: digest(rng.below(4)), request: digest(rng.below(2)) });
            let job = PackedJob::from(&made);
            Request::Schedule(Box::new(NewJob { plugin, device, job, idempotency, replaces: rng.one_in(2) }))
        }
    };
    world.request(what);
}

/// Returns a pause that often begins and ends in the next hour, on full minutes: so it meets occurrences exactly.
fn any_pause(rng: &mut Rng, now: Instant) -> Pause {
    let minute = |minutes: i64| now.plus_ms(-(now.millis() % 60_000) + minutes * 60_000);
    let from = (!rng.one_in(3)).then(|| minute(rng.below::<i64>(40) - 10));
    let until = (!rng.one_in(4)).then(|| from.unwrap_or(now).plus_ms(1).max(minute(1 + rng.below::<i64>(40))));
    name(Pause::new(from, until, rng.one_in(2).then_some("rain")))
}

/// Undoes all pauses and skips, and cancels all ad-hoc jobs.
fn undo_requests(world: &mut World) {
    for (plugin, device) in devices() {
        for number in 0..2 {
            world.request(Request::Cancel((plugin.clone(), device.clone(), ad_hoc_id(number))));
        }
        for id in ["every", "cron"] {
            let job = (plugin.clone(), device.clone(), name(JobId::parse(id)));
            world.pause(Part::Job(job), None);
        }
        world.pause(Part::Device(plugin.clone(), device), None);
        world.pause(Part::Plugin(plugin), None);
    }
    world.pause(Part::All, None);
}

fn any_step(rng: &mut Rng, step: &Step) -> Step {
    let topic = format!("state/{}", rng.below::<u8>(2));
    let confirm = rng.one_in(8).then(|| Confirm {
        topic: name(Topic::parse(&topic)),
        matches: Matches::Any,
        within_ms: 5_000,
        already: rng.one_in(3),
    });
    let message = Message { retain: rng.one_in(8), ..step.message.clone() };
    Step { once: rng.one_in(8), confirm: confirm.map(Arc::new), message, ..step.clone() }
}

/// What a history is about, besides all else.
#[derive(Clone, Copy)]
struct Kind {
    /// The clock is set. Not in all histories, so that the others account for all time.
    clock_is_set: bool,
    /// It has jobs that are limited to days, and calendars that change.
    has_days: bool,
}

impl Kind {
    fn fixed_jobs(self) -> Vec<Job> {
        let limited = if self.has_days { days::fixed_jobs() } else { Vec::new() };
        [fixed_jobs(), limited].concat()
    }
}

fn plan(rng: &mut Rng, kind: Kind, now: Instant) -> Vec<Job> {
    let mut jobs: Vec<Job> = kind.fixed_jobs();
    // Too little to change what they do.
    for job in &mut jobs {
        job.policy.priority = rng.below::<i8>(3);
    }
    for _ in 0..rng.below::<u8>(4) {
        let mut job = any_job(rng, now);
        if kind.has_days {
            days::limit(rng, &mut job);
        }
        if jobs.iter().all(|other| other.id != job.id) {
            jobs.push(job);
        }
    }
    jobs
}

/// Returns a grant for everything, or for all but one topic.
fn any_grant(rng: &mut Rng) -> Grant {
    if !rng.one_in(8) {
        return full_grant();
    }
    let filters = ["a", "valve/#", "fixed/#", "z1/#", "z2/#", "state/#"].map(|text| name(TopicFilter::parse(text)));
    let max_qos = if !rng.one_in(4) { Qos::ExactlyOnce } else { Qos::AtMostOnce };
    Grant { max_qos, retain: rng.one_in(2), ..Grant::new(filters.to_vec(), filters.to_vec()) }
}

/// Returns rates so low that they often hold up runs.
fn any_rates(rng: &mut Rng) -> Rates {
    let mut rate = || Rate { per_second: 1, burst: 1 + rng.below::<u32>(2) };
    let by_plugin = devices().map(|(plugin, _)| (plugin, rate())).into();
    Rates { by_plugin, ..Rates::default() }
}

/// Causes a random event.
fn random_event(world: &mut World, rng: &mut Rng, kind: Kind) {
    match rng.below::<u8>(40) {
        0 => {
            let (a, b) = (plan(rng, kind, world.now), plan(rng, kind, world.now));
            let version = 1 + rng.below::<u8>(200);
            let grant = any_grant(rng);
            world.load_granted("coop", version, &[("north", a), ("south", b)], grant);
        }
        1 => {
            let jobs = plan(rng, kind, world.now);
            world.load("other", 1, &[("other", jobs)]);
        }
        2 => world.remove("other"),
        3 => world.link_down(),
        4 | 5 => world.link_up(1 + rng.below::<u32>(6)),
        6 if kind.clock_is_set && rng.one_in(8) => world.crash_and_shift(any_shift(rng)),
        6 => crash(world),
        7 | 8 => {
            world.return_plan();
        }
        9 if !world.in_flight.is_empty() => world.refuse(rng.index(world.in_flight.len())),
        10..=16 if !world.in_flight.is_empty() => world.ack(rng.index(world.in_flight.len())),
        17 if !world.in_flight.is_empty() => world.ack_without_subscriber(rng.index(world.in_flight.len())),
        18..=25 => {
            world.commit();
        }
        26 | 27 if !world.subscribing.is_empty() => {
            let refused = rng.one_in(4).then(|| "not authorized".to_owned());
            world.subscribed(rng.index(world.subscribing.len()), refused);
        }
        28 => {
            let topics = world.subscriptions();
            if !topics.is_empty() {
                let topic = &topics[rng.index(topics.len())];
                world.report(topic, rng.one_in(2), rng.one_in(2));
            }
        }
        29 => world.is_silent = rng.one_in(2),
        30 if rng.one_in(4) => {
            world.fail_store();
            for _ in 0..rng.below::<u8>(20) {
                if !world.in_flight.is_empty() {
                    world.ack(rng.index(world.in_flight.len()));
                }
                wait(world, rng);
            }
            crash(world);
        }
        31 if kind.clock_is_set && rng.one_in(3) => {
            let by_ms = any_shift(rng);
            world.set_clock(by_ms);
        }
        32 if !world.dead_letters.is_empty() => {
            let run = world.dead_letters[rng.index(world.dead_letters.len())].clone();
            world.replay(&run);
        }
        33 if rng.one_in(4) && !world.in_flight.is_empty() => {
            let run = world.in_flight[rng.index(world.in_flight.len())].run.clone();
            world.request(Request::Abandon(run));
        }
        35 if rng.one_in(2) => random_request(world, rng),
        35 | 38 if !world.in_flight.is_empty() => random_suspect(world, rng),
        36 | 37 if !world.called.is_empty() => reply(world, rng),
        34 => {
            // Longer than any grace.
            if rng.one_in(6) {
                world.now = world.now.plus_ms(rng.below::<i64>(3_600_000));
                world.step(Event::Woke);
            }
        }
        _ => wait(world, rng),
    }
}

/// The link puts a message off, or the broker ends the connection at one that is alone on it.
fn random_suspect(world: &mut World, rng: &mut Rng) {
    if world.in_flight.len() == 1 && rng.one_in(3) {
        world.end_at(0, rng.one_in(2));
    } else {
        world.defer(rng.index(world.in_flight.len()), rng.below::<i64>(60_000));
    }
}

/// Returns an hour or two, seldom more.
fn any_shift(rng: &mut Rng) -> i64 {
    let most = if rng.one_in(4) { 18_000_000 } else { 7_200_000 };
    rng.below::<i64>(2 * most) - i64::try_from(most).expect("small")
}

/// Crashes, which takes a moment.
fn crash(world: &mut World) {
    world.now = world.now.plus_ms(100);
    world.crash();
}

/// Lets time pass, at most until the next wake-up.
fn wait(world: &mut World, rng: &mut Rng) {
    let pause = rng.below::<i64>(120_000);
    let next = world.wake.map_or(pause, |wake| wake.ms_since(world.now).clamp(0, pause));
    world.now = world.now.plus_ms(next);
    world.step(Event::Woke);
}

/// Runs a history. Returns the number of simulated hours.
fn history(seed: u64) -> i64 {
    let mut rng = Rng::new(seed);
    let has_days = seed % 4 == 1;
    let start = if has_days { days::start(&mut rng) } else { at(START) };
    let mut world =
        if seed.is_multiple_of(16) || seed % 16 == 1 { World::new(start) } else { World::without_twin(start) };
    world.is_verbose = number("SEED").is_some();
    if rng.one_in(3) {
        world.set_rates(any_rates(&mut rng));
    }
    let since = world.now;
    let kind = Kind { clock_is_set: rng.one_in(2), has_days };
    if has_days {
        days::change(&mut world, days::any_calendars(&mut rng, start));
    }
    world.load("coop", 203, &[("north", kind.fixed_jobs()), ("south", kind.fixed_jobs())]);
    world.run_until(world.now);
    for _ in 0..400 {
        if kind.has_days && rng.one_in(15) {
            days::random_event(&mut world, &mut rng);
        } else {
            random_event(&mut world, &mut rng, kind);
        }
    }
    // The faults end: plugins lost in a crash are loaded again, as the scan would do.
    if world.is_failing {
        world.crash();
    }
    world.is_silent = false;
    world.reply = Ok(Reply { steps: Vec::new(), replan: false, note: None });
    undo_requests(&mut world);
    world.link_up(100);
    world.load("coop", 201, &[("north", kind.fixed_jobs()), ("south", kind.fixed_jobs())]);
    world.remove("other");
    // Let a clock that was set back catch up.
    world.run_until(world.now.max(world.latest).plus_ms(3 * 3_600_000));
    let until = world.now;
    world.load("coop", 202, &[("north", vec![]), ("south", vec![])]);
    world.run_until(world.now.plus_ms(3_600_000));
    let left: Vec<String> = world.scheduler.runs().map(|run| format!("{run:?}")).collect();
    assert_eq!(left, Vec::<String>::new(), "I4: everything ends");
    assert_eq!(world.scheduler.job_count(), 0);
    assert_eq!(world.scheduler.attempts_under_way(), 0, "I10: attempts wait for answers that never come");
    world.checker.all_is_done(&world.disk);
    for job in fixed_jobs() {
        let next = |after: Instant| match job.trigger.next(after, &site(), &mut Almanac::default()) {
            Search::Found(next) => next,
            Search::NotUntil(_) | Search::Never(_) => Instant::MAX,
        };
        if job.id.as_str() == "cron" || !kind.clock_is_set {
            for device in ["north", "south"] {
                is_accounted_for(&world.disk, (device, job.id.as_str()), since, until, next);
            }
        }
    }
    if has_days && !kind.clock_is_set {
        days::check(&world, since, until);
    }
    world.now.ms_since(since) / 3_600_000
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a whole number"))
}

#[allow(clippy::print_stderr, reason = "shown to find the fault")]
fn run(seed: u64) -> i64 {
    std::panic::catch_unwind(|| history(seed)).unwrap_or_else(|panic| {
        // Written at once, so that no other thread's output divides it.
        let line = format!("reproduce: make sim SEED={seed}\n");
        eprint!("{line}");
        std::panic::resume_unwind(panic);
    })
}

/// Runs histories on two threads: each has its own world.
#[allow(clippy::print_stderr, reason = "shows how many hours were simulated")]
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
fn fixed_random_histories() {
    if number("SEED").is_none() {
        run_all(0, 200);
    }
}

#[test]
fn new_random_histories() {
    if let Some(seed) = number("SEED") {
        run(seed);
        return;
    }
    let fresh = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed") >> 16;
    run_all(number("FROM").unwrap_or_else(fresh), number("HISTORIES").unwrap_or(200));
}
