//! The scheduler: a deterministic state machine that does no I/O and reads no clock (I1).

mod ad_hoc;
mod admission;
mod attempts;
mod catch_up;
mod clock;
mod groups;
mod lifecycle;
mod pauses;
mod plans;
mod queues;
mod reconcile;
mod reports;
mod requests;
mod resource_holds;
mod restore;
mod tasks;
mod view;
mod zones;

use self::plans::{Planner, Work};
pub use self::view::{DeviceView, JobView, NextRun, PluginView, RunUnderWay};
pub use crate::occurrence::start_of;
use crate::{
    agenda::{Agenda, Timer},
    catalog::Catalog,
    commits::Commits,
    delivery::Delivery,
    event::{Change, Event, Step},
    limits,
    model::Resource,
    names::{DeviceName, PluginName, ResourceName},
    rate::Rates,
    runs::{Report, Resources, Runs},
    time::{Instant, Site},
    topic::Grant,
    zone::Zone,
};

/// The state of all plugins, devices, jobs and runs. [`Scheduler::step`] applies one event to it.
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
    catalog: Catalog,
    runs: Runs,
    resources: Resources,
    agenda: Agenda,
    delivery: Delivery,
    commits: Commits,
    planner: Planner,
    /// The site and the grant of the host's own jobs.
    host: HostScope,
    stopping: bool,
    /// Whether the store has failed, so that nothing can be saved.
    failing: bool,
}

/// The operator's settings for the scheduler.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The resources that jobs may need.
    pub resources: Vec<(ResourceName, Resource)>,
    /// What ad-hoc jobs that belong to no plugin may publish.
    pub grant: Grant,
    /// The site of these jobs.
    pub site: Site,
    /// The rates of plugins and of ad-hoc jobs: the latter count as the host's own (I7).
    pub rates: Rates,
}

impl Default for Operator {
    /// No resources, UTC, the default rates and the default grant.
    fn default() -> Self {
        let site = Site { zone: Zone::UTC, location: None };
        let grant = Grant::default_for(&PluginName::host());
        Self { resources: Vec::new(), grant, site, rates: Rates::default() }
    }
}

/// Returns the name of the device that the host's own jobs belong to.
#[must_use]
pub fn api_device() -> DeviceName {
    DeviceName::parse("api").expect("it is a name")
}

#[derive(Debug)]
struct HostScope {
    grant: Grant,
    site: Site,
}

impl Scheduler {
    /// Applies an event, and returns the changes to store and the effects to start. The work is bounded (I10): the next
    /// step does the rest, and [`Step::wake`] states when.
    pub fn step(&mut self, now: Instant, event: Event) -> Step {
        let mut out = Step::default();
        self.delivery.set_time(now);
        self.agenda.save_new_series(&mut out);
        if let Event::ClockSet { by_ms } = event {
            // Before any timer fires by the new time.
            self.clock_set(now, by_ms, &mut out);
        }
        // Timers that fired before the event come first: a new plan does not reach back to occurrences of the old one.
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
                self.planner.push(Work::Replan { plugin, device, generation, plan });
            }
            Event::Answered { call, reply } => self.task_answered(now, call, reply, &mut out),
            Event::LinkUp { link, credit } => {
                self.link_down(now, &mut out);
                self.delivery.link_up(now, link, credit);
                self.resubscribe(&mut out);
            }
            Event::LinkDown { link } if self.delivery.link() == Some(link) => {
                self.link_down(now, &mut out);
            }
            Event::LinkDown { .. } => {}
            Event::Acked { link, attempt, no_subscriber } => self.acked(now, link, attempt, no_subscriber, &mut out),
            Event::Refused { link, attempt, reason } => self.refused(now, link, attempt, reason, &mut out),
            Event::Deferred { link, attempt, wait_ms } => self.deferred(now, link, attempt, wait_ms, &mut out),
            Event::EndedLink { link, attempt, how } => self.ended_link(now, link, attempt, how, &mut out),
            Event::Watching { link, watch, refused } => self.watch_answered(now, link, watch, refused, &mut out),
            Event::Reported { link, watch, matches, retained, excerpt } => {
                self.reported(now, link, watch, Report { matches, retained, excerpt }, &mut out);
            }
        }
        if !self.failing {
            self.work_on_plans(now, &mut out);
        }
        let timers_left = self.run_timers(now, &mut out);
        let runs_left = self.serve(now, &mut out);
        out.partial = self.planner.is_adopting() && !self.failing;
        let work_left = !self.planner.is_empty() && !self.failing;
        out.wake = if timers_left || runs_left || work_left {
            Some(now)
        } else {
            self.agenda.next_at().into_iter().chain(self.rates_allow_at()).min().map(|at| at.max(now))
        };
        out
    }

    /// Runs the timers that are due. Returns whether more are due.
    fn run_timers(&mut self, now: Instant, out: &mut Step) -> bool {
        for _ in 0..limits::TIMERS_PER_STEP {
            let Some(timer) = self.agenda.pop_due(now) else { return false };
            match timer {
                Timer::Run(run) => self.run_timer(now, run, out),
                Timer::Hold(run) => self.hold_expired(now, run, out),
                // Nothing new is started or decided: the next start of the host does that.
                _ if self.failing || self.stopping => {}
                Timer::Job(job) => self.job_timer(now, job, out),
                Timer::Replan(device) => self.request_plan(device, out),
                Timer::Forget => self.forget(now, out),
            }
        }
        self.agenda.is_due(now)
    }

    /// Removes tombstones that no occurrence can need any more.
    fn forget(&mut self, now: Instant, out: &mut Step) {
        let before = now.plus_ms(-limits::TOMBSTONE_MS);
        let forgotten = self.catalog.tombstones.forget(before);
        if forgotten.begins {
            out.changes.push(Change::TombstonesForgotten { before });
        }
        self.delivery.forget_idle();
        let is_more = self.forget_finished(now, out) || forgotten.is_more;
        let again = if is_more { now } else { now.plus_ms(limits::FORGET_EVERY_MS) };
        self.agenda.arm(again, Timer::Forget);
    }
}
