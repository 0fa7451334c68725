//! The whole brain: a deterministic state machine that does no I/O and reads no clock (I1).

mod attempts;
mod clock;
mod jobs;
mod misfires;
mod overrides;
mod plans;
mod queues;
mod reconcile;
mod reports;
mod requests;
mod restore;
mod run;
mod runs;
mod tasks;
mod view;
mod zones;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::RandomState,
    mem,
    ops::Bound::{Excluded, Unbounded},
};

use hashbrown::HashTable;

use self::{
    jobs::Next,
    plans::Work,
    queues::{Group, GroupKey, Pool},
    reports::Report,
    run::Run,
};
pub use self::{
    jobs::start_of,
    view::{DeviceView, JobView, NextRun, PluginView, RunUnderWay},
};
use crate::{
    body::PackedJob,
    event::{
        Announcement, AttemptId, CallId, Change, CommitToken, DeviceKey, Digest, Event, Generation, JobKey, LinkId,
        Override, PluginKey, RunKey, Step, Version, WatchId,
    },
    fair_queue::FairQueue,
    limits,
    model::Resource,
    names::{DeviceName, JobName, PluginName, ResourceName, RunId},
    rate::Rates,
    slots::Slots,
    time::{Instant, Site},
    topic::Grant,
    trigger::SunCache,
    zone::Zone,
};

/// What is due, what runs, what is owed.
///
/// ```
/// use roost_scheduler::{event::{Event, Saved}, scheduler::{Operator, Scheduler}, time::Instant};
///
/// let now = Instant::from_millis(1_800_000_000_000).expect("in range");
/// let mut scheduler = Scheduler::new(Saved::default(), [], Operator::default(), now);
/// let step = scheduler.step(now, Event::Woke);
/// assert!(step.changes.is_empty() && step.effects.is_empty());
/// ```
#[derive(Debug)]
pub struct Scheduler {
    plugins: Slots<Plugin>,
    plugin_keys: BTreeMap<PluginName, PluginKey>,
    devices: Slots<Device>,
    jobs: Slots<JobState>,
    /// Of the ids in [`Device::jobs`].
    hasher: RandomState,
    runs: Slots<Run>,
    /// The runs of each job, in the order they were admitted.
    runs_of: BTreeMap<(JobKey, Seq), RunSlot>,
    /// Runs that outlived their jobs.
    orphans: BTreeMap<RunId, RunSlot>,
    groups: BTreeMap<GroupKey, Group>,
    resources: BTreeMap<ResourceName, Pool>,
    tombstones: BTreeMap<JobName, Instant>,
    /// What people have said of jobs.
    overrides: BTreeMap<JobKey, Override>,
    /// The jobs among them that are people's own, with the bytes of what each does, and by which request it was made.
    ad_hoc: BTreeMap<JobKey, usize>,
    ad_hoc_bytes: usize,
    requests: HashMap<Digest, JobKey>,
    /// Where the host's own jobs are, and what they may do.
    host: HostScope,
    /// As far as old ones have been looked for, while they are.
    forget_after: Option<JobName>,
    timers: BTreeSet<(Instant, Timer)>,
    fair_queue: FairQueue,
    work: VecDeque<Work>,
    /// Whether a plan has taken effect in part: the disk must know all of it or nothing.
    adopting: bool,
    /// Jobs whose plan is not durable yet, and so are not due yet (I3).
    unconfirmed: HashMap<CommitToken, Vec<JobKey>>,
    /// What is under way on the link; of a run that has ended meanwhile, too.
    attempts: BTreeMap<AttemptId, Option<RunSlot>>,
    /// Who has asked its plugin.
    calls: BTreeMap<CallId, RunSlot>,
    /// Who listens to a device's reports.
    watches: BTreeMap<WatchId, RunSlot>,
    /// Runs that leave as soon as what has to be kept of them is durable (I3).
    arming: BTreeMap<CommitToken, RunSlot>,
    /// Runs of which it is not known yet that they are durable.
    saving: HashMap<CommitToken, (RunSlot, RunKey)>,
    link: Option<Link>,
    /// When the link last came up: what was due before had to wait for it.
    link_since: Instant,
    /// When the host started: what was due before had to wait for that.
    since: Instant,
    /// Of the plugin that was loaded last: no two loads share one.
    generation: Generation,
    sun_cache: SunCache,
    stopping: bool,
    /// Whether nothing can be kept any more.
    failing: bool,
    /// How often the clock was set back.
    series: u32,
    /// Whether that is to be kept yet.
    series_is_new: bool,
    /// From when to when the clock was set last, if it was forward.
    jumped: Option<(Instant, Instant)>,
    next_attempt: AttemptId,
    next_call: CallId,
    next_run: RunKey,
    next_commit_token: CommitToken,
    next_seq: Seq,
    next_watch: WatchId,
    last_replay: Instant,
}

/// What the operator has said, and the scheduler has to know.
#[derive(Clone, Debug)]
pub struct Operator {
    /// What jobs may need.
    pub resources: Vec<(ResourceName, Resource)>,
    /// What jobs may publish that people make and that are no plugin's.
    pub grant: Grant,
    /// Where these are.
    pub site: Site,
    /// How many messages each plugin may publish, and what people do by hand: that is the host's own (I7).
    pub rates: Rates,
}

impl Default for Operator {
    /// No resources, UTC, and what a plugin may do of which nothing is said.
    fn default() -> Self {
        let site = Site { zone: Zone::UTC, location: None };
        let grant = Grant::default_of(&PluginName::of_host());
        Self { resources: Vec::new(), grant, site, rates: Rates::default() }
    }
}

/// The device that the host's own jobs belong to.
#[must_use]
pub fn api_device() -> DeviceName {
    DeviceName::parse("api").expect("it is a name")
}

#[derive(Debug)]
struct HostScope {
    grant: Grant,
    site: Site,
}

/// The order in which runs were admitted.
type Seq = u64;

/// A run's place; runs that are on disk have a [`RunKey`] as well.
type RunSlot = u32;

#[derive(Debug)]
struct Link {
    id: LinkId,
    /// How many more attempts may be under way.
    credit: u32,
}

#[derive(Debug)]
struct Plugin {
    name: PluginName,
    version: Version,
    generation: Generation,
    grant: Grant,
    devices: BTreeMap<DeviceName, DeviceKey>,
    paused: bool,
    /// What its new plans have changed so far.
    announcement: Announcement,
}

#[derive(Debug)]
struct Device {
    plugin: PluginKey,
    name: DeviceName,
    /// Where it is, as its plan sees it.
    site: Site,
    /// Where the next plan sees it.
    next_site: Site,
    replan_at: Instant,
    /// Plans in a row that failed.
    failures: u32,
    error: Option<String>,
    /// Whether a plan was asked for and has not come yet.
    asked: bool,
    paused: bool,
    /// By their ids, which are in the jobs.
    jobs: HashTable<JobKey>,
}

#[derive(Debug)]
struct JobState {
    device: DeviceKey,
    job: PackedJob,
    /// Up to here, everything is decided or admitted (I2). On disk it stays behind while a run is under way that is
    /// not on disk itself.
    watermark: Instant,
    /// The same by the clock before it was set back: when it is set right again, nothing of that is made up for.
    decided: Instant,
    next: Next,
    /// Whether it was due before it was planned.
    planned_late: bool,
    /// The plan's commit that has to be durable before the job is due.
    unconfirmed: Option<CommitToken>,
    /// Whether it is in a group.
    grouped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A job is due, or its next occurrence is to be searched for.
    Job(JobKey),
    /// A run has waited long enough.
    Run(RunSlot),
    /// A run has held a resource for long enough.
    Hold(RunSlot),
    /// A device is to be asked for its plan.
    Replan(DeviceKey),
    /// Old tombstones are to be looked for.
    Forget,
}

impl Scheduler {
    /// Takes an event, and answers with what to keep and what to do. Bounded (I10): what is left over is done by the
    /// next step, and [`Step::wake`] says when that is wanted.
    pub fn step(&mut self, now: Instant, event: Event) -> Step {
        let mut out = Step::default();
        self.fair_queue.set_time(now);
        if mem::take(&mut self.series_is_new) {
            out.changes.push(Change::SeriesBegun(self.series));
        }
        if let Event::ClockSet { by_ms } = event {
            // Before anything is due by the new time.
            self.clock_set(now, by_ms, &mut out);
        }
        // First what was due before the event: a new plan reaches back to no occurrence that the old one had.
        self.run_timers(now, &mut out);
        match event {
            Event::Woke | Event::ClockSet { .. } => {}
            Event::ZonesChanged { zones, rules } => self.zones_changed(zones, rules),
            Event::StopRequested => self.stopping = true,
            Event::StoreFailed => self.store_failed(now, &mut out),
            Event::Durable(token) => self.durable(now, token, &mut out),
            Event::Requested { request, what } => self.handle_request(now, request, what, &mut out),
            Event::Loaded(loaded) => self.loaded(loaded),
            Event::Removed(plugin) => self.removed(plugin),
            Event::Planned { plugin, device, generation, plan } => {
                self.work.push_back(Work::Replan { plugin, device, generation, plan });
            }
            Event::Answered { call, reply } => self.task_answered(now, call, reply, &mut out),
            Event::LinkUp { link, credit } => {
                self.link_down(now, &mut out);
                self.link = Some(Link { id: link, credit });
                self.link_since = now;
                self.resubscribe(&mut out);
            }
            Event::LinkDown { link } if self.link.as_ref().is_some_and(|up| up.id == link) => {
                self.link_down(now, &mut out);
            }
            Event::LinkDown { .. } => {}
            Event::Acked { link, attempt, no_subscriber } => self.acked(now, link, attempt, no_subscriber, &mut out),
            Event::Refused { link, attempt, reason } => self.refused(now, link, attempt, reason, &mut out),
            Event::Deferred { link, attempt, wait_ms } => self.deferred(now, link, attempt, wait_ms, &mut out),
            Event::EndedLink { link, attempt, how } => self.ended_link(now, link, attempt, how, &mut out),
            Event::Watching { link, watch, refused } => self.watch_answered(now, link, watch, refused, &mut out),
            Event::Reported { link, watch, matches, retained, said } => {
                self.reported(now, link, watch, Report { matches, retained, said }, &mut out);
            }
        }
        if !self.failing {
            self.work_on_plans(now, &mut out);
        }
        let timers_left = self.run_timers(now, &mut out);
        let runs_left = self.serve(now, &mut out);
        out.partial = self.adopting && !self.failing;
        let work_left = !self.work.is_empty() && !self.failing;
        out.wake = if timers_left || runs_left || work_left {
            Some(now)
        } else {
            let timer = self.timers.first().map(|(at, _)| *at);
            timer.into_iter().chain(self.rates_allow_at()).min().map(|at| at.max(now))
        };
        out
    }

    /// Does what is due; whether something due is left over.
    fn run_timers(&mut self, now: Instant, out: &mut Step) -> bool {
        for _ in 0..limits::TIMERS_PER_STEP {
            match self.timers.first() {
                Some((at, _)) if *at <= now => {}
                _ => return false,
            }
            let Some((_, timer)) = self.timers.pop_first() else { return false };
            match timer {
                Timer::Run(run) => self.run_timer(now, run, out),
                Timer::Hold(run) => self.hold_expired(now, run, out),
                // Nothing new is begun, nor decided: whoever starts the host again does that.
                _ if self.failing || self.stopping => {}
                Timer::Job(job) => self.job_timer(now, job, out),
                Timer::Replan(device) => self.request_plan(device, out),
                Timer::Forget => self.forget(now, out),
            }
        }
        self.timers.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Lets tombstones go that nothing could need again.
    fn forget(&mut self, now: Instant, out: &mut Step) {
        let before = now.plus_ms(-limits::TOMBSTONE_MS);
        let from = self.forget_after.take();
        if from.is_none() && !self.tombstones.is_empty() {
            out.changes.push(Change::TombstonesForgotten { before });
        }
        let rest = (from.map_or(Unbounded, Excluded), Unbounded);
        let piece: Vec<_> = self.tombstones.range(rest).take(limits::TOMBSTONES_PER_STEP).collect();
        let last = piece.last().filter(|_| piece.len() == limits::TOMBSTONES_PER_STEP).map(|(name, _)| (*name).clone());
        let old = piece.into_iter().filter(|(_, watermark)| **watermark < before).map(|(name, _)| name.clone());
        for name in old.collect::<Vec<_>>() {
            self.tombstones.remove(&name);
        }
        self.fair_queue.forget();
        let again = if last.is_some() { now } else { now.plus_ms(limits::FORGET_EVERY_MS) };
        let again = if self.forget_finished(now, out) { now } else { again };
        self.forget_after = last;
        self.timers.insert((again, Timer::Forget));
    }
}
