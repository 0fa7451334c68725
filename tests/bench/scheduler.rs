//! The scheduler alone, with a million jobs: no disk, no broker, no plugin.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use roost_scheduler::{
    body::PackedJob,
    event::{Digest, Effect, Event, Loaded, LoadedDevice, Plan, Saved, Step, Version},
    model::{Action, Job, Message, Policy, Qos, Step as ActionStep},
    names::{DeviceName, JobId, PluginName},
    scheduler::{Operator, Scheduler},
    time::{Instant, Site},
    topic::{Grant, Topic},
    trigger::Trigger,
    zone::Zone,
};

use roost_tests::figure::Figure;

use crate::{
    clock::{ms_between, now_ns},
    process::Process,
};

const DEVICES: i64 = 100;
const JOBS_PER_DEVICE: i64 = 10_000;
const JOBS: i64 = DEVICES * JOBS_PER_DEVICE;
/// Their time of planning; a day later, one is due each millisecond.
const BEGIN_MS: i64 = 1_800_000_000_000;
const FIRST_DUE_MS: i64 = BEGIN_MS + 86_400_000;
/// The link's credit.
const CREDIT: u32 = 1_000;
/// The interval between steps of the scheduler, so that each has as much to do as in a burst.
const FIRE_EVERY_MS: i64 = 500;

/// An allocator that counts the bytes that the present thread has allocated and not freed.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<i64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator cannot be written without; this one only counts")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.set(ALLOCATED.get() - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Measures planning, waiting and firing.
pub(crate) fn scheduler() -> Vec<Figure> {
    let (mut insert, mut fire, mut allocated, mut resident, mut longest) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (bytes_before, rss_before) = (ALLOCATED.get(), rss());
        let plan = loaded();
        let mut world = World::new();
        let begun = now_ns();
        world.step(BEGIN_MS, Event::Loaded(plan));
        world.settle(BEGIN_MS);
        insert.push(JOBS as f64 / ms_between(begun, now_ns()) * 1e3);
        assert_eq!(world.scheduler.job_count() as i64, JOBS, "all jobs are planned");
        allocated.push((ALLOCATED.get() - bytes_before) as f64 / JOBS as f64);
        resident.push((rss() - rss_before) / JOBS as f64);

        world.step(FIRST_DUE_MS - 1, Event::LinkUp { link: 1, credit: CREDIT });
        let begun = now_ns();
        for tick in 1..=JOBS / FIRE_EVERY_MS {
            let now_ms = FIRST_DUE_MS + tick * FIRE_EVERY_MS;
            world.step(now_ms, Event::Woke);
            world.settle(now_ms);
        }
        fire.push(JOBS as f64 / ms_between(begun, now_ns()) * 1e3);
        assert_eq!(world.published, JOBS, "all runs are published");
        longest.push(world.longest_ns as f64 / 1e6);
    }
    vec![
        Figure::higher("planned", "jobs/s", insert),
        Figure::higher("fired, acknowledged and ended", "runs/s", fire),
        Figure::lower("allocated for a waiting job", "bytes", allocated),
        // Later rounds reuse the memory that the first one freed.
        Figure::lower("resident for a waiting job", "bytes", resident.into_iter().take(1).collect()),
        Figure::lower("longest single step", "ms", longest),
    ]
}

fn rss() -> f64 {
    Process(std::process::id()).memory().rss_bytes
}

/// A scheduler whose effects succeed at once.
struct World {
    scheduler: Scheduler,
    answers: Vec<Event>,
    again: bool,
    published: i64,
    longest_ns: i64,
}

impl World {
    fn new() -> Self {
        let scheduler = Scheduler::new(Saved::default(), [], Operator::default(), at(BEGIN_MS));
        Self { scheduler, answers: Vec::new(), again: false, published: 0, longest_ns: 0 }
    }

    fn step(&mut self, now_ms: i64, event: Event) {
        let begun = now_ns();
        let Step { changes, effects, wake, .. } = self.scheduler.step(at(now_ms), event);
        self.longest_ns = self.longest_ns.max(now_ns() - begun);
        drop(changes);
        self.again = wake.is_some_and(|wake| wake <= at(now_ms));
        for effect in effects {
            match effect {
                Effect::Publish(publish) => {
                    self.published += 1;
                    self.answers.push(Event::Acked {
                        link: publish.link,
                        attempt: publish.attempt,
                        no_subscriber: false,
                    });
                }
                Effect::NotifyDurable(token) => self.answers.push(Event::Durable(token)),
                Effect::Announce(_)
                | Effect::ZonesMoved { .. }
                | Effect::PauseChanged { .. }
                | Effect::ByHand(_)
                | Effect::Call { .. }
                | Effect::Plan { .. }
                | Effect::Watch { .. }
                | Effect::Unwatch { .. }
                | Effect::Answer { .. } => {}
            }
        }
    }

    /// Steps until nothing is left to be done at that moment.
    fn settle(&mut self, now_ms: i64) {
        while self.again || !self.answers.is_empty() {
            let answers = std::mem::take(&mut self.answers);
            if answers.is_empty() {
                self.step(now_ms, Event::Woke);
            }
            for answer in answers {
                self.step(now_ms, answer);
            }
        }
    }
}

fn at(millis: i64) -> Instant {
    Instant::from_millis_clamped(millis)
}

fn loaded() -> Loaded {
    let plugin = PluginName::parse("bench").expect("a name");
    let device = |device: i64| LoadedDevice {
        name: DeviceName::parse(&format!("at-{device}")).expect("a name"),
        site: Site { zone: Zone::UTC, location: None },
        plan: Ok(Plan {
            requested_at: at(BEGIN_MS),
            jobs: (device * JOBS_PER_DEVICE..(device + 1) * JOBS_PER_DEVICE)
                .map(|number| PackedJob::from(&job(number)))
                .collect(),
        }),
    };
    Loaded {
        grant: Grant::default_for(&plugin),
        plugin,
        version: Version { component: Digest([1; 32]), settings: Digest([1; 32]) },
        devices: (0..DEVICES).map(device).collect(),
    }
}

fn job(number: i64) -> Job {
    let due = at(FIRST_DUE_MS + number);
    let message = Message {
        topic: Topic::parse(&format!("bench/{}", number % 1_000)).expect("a topic"),
        payload: format!("{}:{number}", due.millis() * 1_000_000).into_bytes().into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: None,
    };
    Job {
        id: JobId::parse(&format!("job-{number}")).expect("a name"),
        label: None,
        trigger: Trigger::At(due),
        action: Action::Steps(Arc::new([ActionStep { after_ms: 0, message, once: false, confirm: None }])),
        policy: Policy::default(),
    }
}
