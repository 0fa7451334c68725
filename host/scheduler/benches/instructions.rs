//! The instructions that the core takes for a job, a run or a simulated message (`make instructions`): unlike times, they are the same on a
//! busy machine. A rise of more than a twentieth over the numbers in `instructions.txt` fails, until they are changed;
//! `WRITE=1` writes them.
//!
//! The program runs itself under Valgrind, as `instructions <work> <count>`, with two counts each.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed measurement may panic; the table is the output")]

use std::{
    env, fmt, fs, mem,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
};

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

/// The work whose instructions are counted: planning jobs, planning and running them, and simulating messages that are due
/// one after the other.
const WORKS: [&str; 6] = ["plan-at", "plan-cron", "plan-again", "fire", "fire-two-steps", "simulate"];
/// Two counts of jobs or messages; what they have in common, such as the start, does not count.
const COUNTS: [u32; 2] = [3_000, 9_000];
/// The largest rise in percent.
const MOST_PERCENT: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [work, count] = arguments.as_slice() {
        perform(work, count.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let counted = Table::count();
    let before = Table::parse(&fs::read_to_string(&kept).unwrap_or_default());
    println!("{:16}{:>10}{:>10}", "instructions", "kept", "now");
    for (work, now) in &counted.works {
        println!("{work:16}{:>10}{now:>10}", before.of(work).map_or("-".into(), |kept| kept.to_string()));
    }
    if env::var_os("WRITE").is_some() {
        fs::write(kept, counted.to_string()).unwrap();
        return ExitCode::SUCCESS;
    }
    if before.compiler != counted.compiler {
        println!("not compared: they were counted for {}, not {}", before.compiler, counted.compiler);
        return ExitCode::SUCCESS;
    }
    let has_risen =
        |(work, now): &&(String, u64)| before.of(work).is_none_or(|kept| now * 100 > kept * (100 + MOST_PERCENT));
    let risen: Vec<&str> = counted.works.iter().filter(has_risen).map(|(work, _)| work.as_str()).collect();
    if risen.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "more than {MOST_PERCENT} % above the kept number: {}\nif that is worth it, write the new numbers (`make instructions \
         WRITE=1`), and say why in the commit",
        risen.join(", ")
    );
    ExitCode::FAILURE
}

/// Instructions for one job of each work, and the compiler that they were counted for.
#[derive(Default)]
struct Table {
    compiler: String,
    works: Vec<(String, u64)>,
}

impl Table {
    fn count() -> Self {
        let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
        let compiler = format!("{} {}", String::from_utf8(version).unwrap().trim(), env::consts::ARCH);
        let works = WORKS.map(|work| {
            let [few, many] = COUNTS.map(|count| instructions(work, count));
            (work.to_owned(), (many - few) / u64::from(COUNTS[1] - COUNTS[0]))
        });
        Self { compiler, works: works.into() }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let compiler = lines.next().unwrap_or_default().to_owned();
        let work =
            |line: &str| Some((line.split_once(' ')?.0.to_owned(), line.split_once(' ')?.1.trim().parse().ok()?));
        Self { compiler, works: lines.filter_map(work).collect() }
    }

    fn of(&self, work: &str) -> Option<u64> {
        self.works.iter().find(|(name, _)| name == work).map(|(_, count)| *count)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{}", self.compiler)?;
        self.works.iter().try_for_each(|(work, count)| writeln!(to, "{work} {count}"))
    }
}

/// Returns the instructions of this program for some work.
fn instructions(work: &str, count: u32) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    let output = valgrind.arg(env::current_exe().unwrap()).args([work, &count.to_string()]).output();
    let output = output.expect("Valgrind counts the instructions: `make instructions` installs it");
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{report}");
    let line = report.lines().find_map(|line| line.split_once("refs:")).expect("Valgrind prints a count").1;
    line.trim().replace(',', "").parse().unwrap()
}

fn perform(work: &str, count: u32) {
    if work == "simulate" {
        return simulate(count);
    }
    let steps = if work == "fire-two-steps" { 2 } else { 1 };
    let jobs = || -> Vec<PackedJob> { (0..count).map(|number| job(number, steps, work)).collect() };
    let mut world = World::new();
    world.handle(BEGIN, Event::Loaded(loaded(&jobs(), 1)));
    if work == "plan-again" {
        world.handle(BEGIN, Event::Loaded(loaded(&jobs(), 2)));
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

/// Runs from one event to the next, as a simulation does: seedlings that are misted every minute, and a lamp that is lit at
/// dusk.
fn simulate(messages: u32) {
    let mut world = World::new();
    let jobs =
        [("every 1m", "mist"), ("cron 0 20 * * *", "lamp")].map(|(trigger, id)| packed(id, parsed(trigger), 0, 1));
    world.handle(BEGIN, Event::Loaded(loaded(&jobs, 1)));
    world.handle(BEGIN, Event::LinkUp { link: 1, credit: CREDIT });
    while world.published < messages {
        let wake = world.wake.unwrap();
        world.handle(wake, Event::Woke);
    }
}

/// A scheduler whose effects succeed at once.
struct World {
    scheduler: Scheduler,
    /// When the next event is due.
    wake: Option<Instant>,
    answers: Vec<Event>,
    published: u32,
}

impl World {
    fn new() -> Self {
        let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
        let operator = Operator { rates: Rates { default: rate, ..Rates::default() }, ..Operator::default() };
        Self {
            scheduler: Scheduler::new(Saved::default(), [], operator, BEGIN),
            wake: None,
            answers: Vec::new(),
            published: 0,
        }
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
        self.wake = step.wake;
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
    let trigger = match work {
        "plan-cron" => parsed("cron 30 6 * * MON-FRI"),
        _ => Trigger::At(BEGIN.plus_ms(FIRST_DUE_MS + i64::from(number))),
    };
    packed(&format!("job-{number}"), trigger, number, steps)
}

fn parsed(trigger: &str) -> Trigger {
    parse(trigger, &roost_scheduler::trigger::Context::at(BEGIN), &mut CronCache::default()).unwrap()
}

fn packed(id: &str, trigger: Trigger, number: u32, steps: u32) -> PackedJob {
    let step = |step: u32| {
        let topic = Topic::parse(&format!("bench/{}", number % 1_000)).unwrap();
        let payload = number.to_string().into_bytes().into();
        let message = Message { topic, payload, qos: Qos::AtLeastOnce, retain: false, properties: None };
        Step { after_ms: step * 100, message, once: false, confirm: None }
    };
    PackedJob::from(&Job {
        id: JobId::parse(id).unwrap(),
        label: None,
        trigger,
        action: Action::Steps((0..steps).map(step).collect::<Arc<[Step]>>()),
        policy: Policy::default(),
    })
}
