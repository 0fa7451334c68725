//! The state of the scheduler: the machines, each of which owns its own.

use crate::{
    agenda::Agenda,
    catalog::Catalog,
    commits::Commits,
    delivery::Delivery,
    event::Step,
    model::Resource,
    names::{DeviceName, PluginName, ResourceName},
    rate::Rates,
    runs::{Resources, Runs},
    time::{Instant, Site},
    topic::{Grant, HostTopic},
    trigger::Calendars,
    work_queue::WorkQueue,
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
    pub(super) catalog: Catalog,
    pub(super) runs: Runs,
    pub(super) resources: Resources,
    pub(super) agenda: Agenda,
    pub(super) delivery: Delivery,
    pub(super) commits: Commits,
    pub(super) work: WorkQueue,
    /// The host's topic, and the site and the grant of its own jobs.
    pub(super) host: HostScope,
    /// The time of the current step.
    pub(super) now: Instant,
    /// What the current step returns.
    pub(super) out: Step,
    pub(super) stopping: bool,
    /// Whether the store has failed, so that nothing can be saved.
    pub(super) failing: bool,
}

/// The operator's settings for the scheduler.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The resources that jobs may need.
    pub resources: Vec<(ResourceName, Resource)>,
    /// What ad-hoc jobs that belong to no plugin may publish.
    pub grant: Grant,
    /// The topic of the host itself, where no job may publish.
    pub topic: HostTopic,
    /// The site of these jobs.
    pub site: Site,
    /// The rates of plugins and of ad-hoc jobs: the latter count as the host's own (I7).
    pub rates: Rates,
    /// The calendars that triggers name.
    pub calendars: Calendars,
}

impl Default for Operator {
    /// No resources, UTC, the default rates and the default grant.
    fn default() -> Self {
        let site = Site { zone: Zone::UTC, location: None };
        let grant = Grant::default_for(&PluginName::host());
        let (topic, rates, calendars) = Default::default();
        Self { resources: Vec::new(), grant, topic, site, rates, calendars }
    }
}

/// Returns the name of the device that the host's own jobs belong to.
#[must_use]
pub fn api_device() -> DeviceName {
    DeviceName::parse("api").expect("it is a name")
}

#[derive(Debug)]
pub(super) struct HostScope {
    pub(super) topic: HostTopic,
    pub(super) grant: Grant,
    pub(super) site: Site,
}
