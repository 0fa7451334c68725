//! Work for the core whose instructions are counted (`make instructions`): `instructions <work> <count>`.
//!
//! It prints nothing. The caller runs it twice, with different counts, under a program that counts instructions.
#![allow(clippy::unwrap_used, reason = "a failed measurement may panic")]

use std::{env, mem, sync::Arc};

use roost_scheduler::{
    body::PackedJob,
    event::{Digest, Effect, Event, Loaded, LoadedDevice, Plan, Saved, Version},
    model::{Action, Job, Message, Policy, Qos, Step},
    names::{DeviceName, JobId, PluginName},
    rate::{Rate, Rates},
    scheduler::{Operator, Scheduler},
    time::{Instant, Site},
    topic::{Grant, Topic},
    trigger::{CronCache, Trigger, parse},
    zone::Zone,
};

const JOBS_PER_DEVICE: u32 = 1_000;
const BEGIN: Instant = Instant::from_millis(1_800_000_000_000).unwrap();
/// Jobs with `at` are due a day later, one each millisecond.
const FIRST_DUE_MS: i64 = 86_400_000;
const CREDIT: u32 = 1_000;
/// The interval between steps of the scheduler.
const FIRE_EVERY_MS: i64 = 500;

fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(work), Some(count)) = (arguments.next(), arguments.next()) else { return };
    let count: u32 = count.parse().unwrap();
    let steps = if work == "fire-two-steps" { 2 } else { 1 };
    let jobs: Vec<PackedJob> = (0..count).map(|number| job(number, steps, &work)).collect();
    let mut world = World::new();
    world.handle(BEGIN, Event::Loaded(loaded(&jobs, 1)));
    if work == "plan-again" {
        let jobs: Vec<PackedJob> = (0..count).map(|number| job(number, steps, &work)).collect();
        world.handle(BEGIN, Event::Loaded(loaded(&jobs, 2)));
    }
    assert_eq!(world.scheduler.job_count(), count as usize);
    if work.starts_with("fire") {
        let due = BEGIN.plus_ms(FIRST_DUE_MS);
        world.handle(due.plus_ms(-1), Event::LinkUp { link: 1, credit: CREDIT });
        for tick in 1..=i64::from(count) / FIRE_EVERY_MS + 4 {
            world.handle(due.plus_ms(tick * FIRE_EVERY_MS), Event::Woke);
        }
        assert_eq!((world.published, world.scheduler.run_count()), (count * steps, 0));
    }
}

/// A scheduler whose effects succeed at once.
struct World {
    scheduler: Scheduler,
    answers: Vec<Event>,
    published: u32,
}

impl World {
    fn new() -> Self {
        let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
        let operator = Operator { rates: Rates { default: rate, ..Rates::default() }, ..Operator::default() };
        Self { scheduler: Scheduler::new(Saved::default(), [], operator, BEGIN), answers: Vec::new(), published: 0 }
    }

    /// Applies an event, and everything that follows from it at that moment.
    fn handle(&mut self, now: Instant, event: Event) {
        let mut is_woken = self.step(now, event);
        while is_woken || !self.answers.is_empty() {
            let answers = mem::take(&mut self.answers);
            if answers.is_empty() {
                is_woken = self.step(now, Event::Woke);
            }
            for answer in answers {
                is_woken = self.step(now, answer);
            }
        }
    }

    fn step(&mut self, now: Instant, event: Event) -> bool {
        let step = self.scheduler.step(now, event);
        for effect in step.effects {
            match effect {
                Effect::Publish(publish) => {
                    self.published += 1;
                    let (link, attempt) = (publish.link, publish.attempt);
                    self.answers.push(Event::Acked { link, attempt, no_subscriber: false });
                }
                Effect::NotifyDurable(token) => self.answers.push(Event::Durable(token)),
                _ => {}
            }
        }
        step.wake.is_some_and(|wake| wake <= now)
    }
}

fn loaded(jobs: &[PackedJob], version: u8) -> Loaded {
    let plugin = PluginName::parse("bench").unwrap();
    let site = Site { zone: Zone::UTC, location: None };
    let devices = jobs.chunks(JOBS_PER_DEVICE as usize).zip(0..).map(|(jobs, number)| LoadedDevice {
        name: DeviceName::parse(&format!("at-{number}")).unwrap(),
        site,
        plan: Ok(Plan { requested_at: BEGIN, jobs: jobs.to_vec() }),
    });
    let digest = Digest([version; 32]);
    let version = Version { component: digest, settings: digest };
    Loaded { grant: Grant::default_for(&plugin), devices: devices.collect(), plugin, version }
}

fn job(number: u32, steps: u32, work: &str) -> PackedJob {
    let due = BEGIN.plus_ms(FIRST_DUE_MS + i64::from(number));
    let trigger = match work {
        "plan-cron" => parse("cron 30 6 * * MON-FRI", BEGIN, &mut CronCache::default()).unwrap(),
        _ => Trigger::At(due),
    };
    let step = |step: u32| {
        let topic = Topic::parse(&format!("bench/{}", number % 1_000)).unwrap();
        let payload = number.to_string().into_bytes().into();
        let message = Message { topic, payload, qos: Qos::AtLeastOnce, retain: false, properties: None };
        Step { after_ms: step * 100, message, once: false, confirm: None }
    };
    PackedJob::from(&Job {
        id: JobId::parse(&format!("job-{number}")).unwrap(),
        label: None,
        trigger,
        action: Action::Steps((0..steps).map(step).collect::<Arc<[Step]>>()),
        policy: Policy::default(),
    })
}
