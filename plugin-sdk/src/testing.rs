//! Tests plans and replies to tasks in a plain `cargo test`, with the host's calendar, sun and triggers.
//!
//! ```
//! use roost_plugin_sdk::{Context, Device, Job, Result, testing::TestHost};
//! use serde_json::json;
//!
//! #[derive(serde::Deserialize)]
//! struct Door {
//!     open_not_before: String,
//! }
//!
//! impl Device for Door {
//!     fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
//!         let open = Job::sunrise("open").not_before(self.open_not_before.as_str());
//!         Ok(vec![open.publish(ctx.topic("door/set"), "OPEN")])
//!     }
//! }
//!
//! let plan = TestHost::new("coop-door", "north")
//!     .config(json!({ "open_not_before": "06:30" }))
//!     .time_zone("Europe/London")
//!     .location(51.4779, -0.0015)
//!     .at("2027-06-01T08:00:00+01:00")
//!     .schedule_jobs::<Door>()?;
//!
//! let open = plan.job("open");
//! assert_eq!(open.trigger(), "sunrise not-before 06:30");
//! assert_eq!(open.due(2), ["2027-06-02T06:30:00+01:00", "2027-06-03T06:30:00+01:00"]);
//! assert_eq!(open.messages(), ["0s coop-door/north/door/set OPEN"]);
//! # Ok::<(), roost_plugin_sdk::Error>(())
//! ```
//!
//! `json!` is from the crate `serde_json`, a development dependency of the plugin.
//!
//! Anything that the host would refuse regardless of its settings, such as an impossible cron expression or two jobs
//! with the same id, is an error here too. Refusals that depend on its settings, such as a topic that is not granted or
//! a resource that is not configured, are not checked. [`Tasks`] has an example of a test of a task.

use roost_scheduler::{
    accept::{self, Terms},
    calendar,
    model::{self, Action},
    names::ResourceName,
    time::{Instant as HostInstant, Location as HostLocation, Site},
    trigger::Almanac,
    zone::Zone,
};

use crate::{
    Context, Device, Error, Instant, Result, Span, Task, Tasks,
    bindings::{exports::roost::device::schedule as wit, roost::device::types},
    host::Host,
    milliseconds, tasks,
};

mod describe;
mod drafts;
#[cfg(test)]
mod tests;

/// A test host for one device: its names, its settings, its site, and the time of the call.
///
/// By default it has the settings `{}`, is in UTC without a location, and is called at noon on 2027-06-01.
#[derive(Clone, Debug)]
pub struct TestHost {
    plugin: String,
    device: String,
    config: String,
    time_zone: String,
    location: Option<(f64, f64)>,
    now: String,
}

/// The plan that a device returned.
#[derive(Debug)]
pub struct Plan {
    jobs: Vec<PlannedJob>,
}

/// A job of the plan, as the host accepts it.
#[derive(Debug)]
pub struct PlannedJob {
    job: model::Job,
    site: Site,
    now: HostInstant,
}

/// The reply of a device to a task.
#[derive(Debug)]
pub struct TaskReply(model::Reply);

impl TestHost {
    /// Creates a test host for a device of a plugin. The names matter to [`Context::topic`].
    #[must_use]
    pub fn new(plugin: &str, device: &str) -> Self {
        Self {
            plugin: plugin.into(),
            device: device.into(),
            config: "{}".into(),
            time_zone: "UTC".into(),
            location: None,
            now: "2027-06-01T12:00:00Z".into(),
        }
    }

    /// Sets the device's settings.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    pub fn config(self, config: serde_json::Value) -> Self {
        Self { config: config.to_string(), ..self }
    }

    /// Sets the device's IANA time zone.
    #[must_use]
    pub fn time_zone(self, name: &str) -> Self {
        Self { time_zone: name.into(), ..self }
    }

    /// Sets the device's location, in degrees, north and east positive.
    #[must_use]
    pub fn location(self, latitude: f64, longitude: f64) -> Self {
        Self { location: Some((latitude, longitude)), ..self }
    }

    /// Sets the time of the call, in RFC 3339: `2027-06-01T08:00:00+01:00`.
    #[must_use]
    pub fn at(self, now: &str) -> Self {
        Self { now: now.into(), ..self }
    }

    /// Deserializes the settings and requests the plan, as the host would.
    ///
    /// # Errors
    /// Returns an error if the settings are wrong, the device returns one, or the host would refuse a job.
    pub fn schedule_jobs<D: Device>(&self) -> Result<Plan> {
        let (now, site) = (self.now()?, self.site()?);
        let jobs = crate::config::plan::<D>(&self.context(now, site))?;
        Plan::accept(jobs, site, now)
    }

    /// Deserializes the settings and calls a task that is due now, as the host would; `null` means no arguments.
    ///
    /// # Errors
    /// Returns an error if the settings are wrong, the device returns one, the task is not in its list, or the host
    /// would refuse the list or the reply.
    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    pub fn run_task<D: Tasks>(&self, name: &str, args: serde_json::Value) -> Result<TaskReply> {
        let (now, site) = (self.now()?, self.site()?);
        let terms = drafts::terms(&site);
        let list = accept::tasks(drafts::of(tasks::list::<D>()), terms.syntax)?;
        let task = types::Task { name: name.into(), args: args.to_string() };
        let accepted = accept::task(task.clone().into(), &Terms { tasks: Some(&list), ..terms })?;
        let reply = tasks::run::<D>(&self.context(now, site), &Task::new(task, now.millis()))?;
        Ok(TaskReply(accept::reply(&accepted.name, reply.into(), &terms)?))
    }

    fn context(&self, now: HostInstant, site: Site) -> Context {
        let call = types::Context {
            plugin: self.plugin.clone(),
            device: self.device.clone(),
            config: self.config.clone(),
            time_zone: self.time_zone.clone(),
            location: self.location.map(|(latitude, longitude)| types::Location { latitude, longitude }),
            now: now.millis(),
            until: calendar::end_of_tomorrow(now, site.zone).millis(),
        };
        Context::new(call, Host::at(site))
    }

    fn now(&self) -> Result<HostInstant> {
        crate::host::instant(self.now.parse::<Instant>()?)
    }

    fn site(&self) -> Result<Site> {
        let zone: Zone = calendar::parse_zone(&self.time_zone)?;
        let location = match self.location {
            Some((latitude, longitude)) => {
                let location = HostLocation::new(latitude, longitude);
                Some(location.ok_or_else(|| Error::new(format!("there is no place {latitude}, {longitude}")))?)
            }
            None => None,
        };
        Ok(Site { zone, location })
    }
}

impl TaskReply {
    /// Returns the messages, formatted as by [`PlannedJob::messages`].
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.0.steps.iter().map(describe::step).collect()
    }

    /// Returns the note for users; empty if there is none.
    #[must_use]
    pub fn note(&self) -> &str {
        self.0.note.as_deref().unwrap_or_default()
    }

    /// Returns whether the device requests a new plan.
    #[must_use]
    pub fn replans(&self) -> bool {
        self.0.replan
    }
}

impl Plan {
    fn accept(jobs: Vec<wit::Job>, site: Site, now: HostInstant) -> Result<Self> {
        let jobs = accept::plan(drafts::of(jobs), &drafts::terms(&site))?;
        Ok(Self { jobs: jobs.into_iter().map(|job| PlannedJob { job, site, now }).collect() })
    }

    /// Returns the ids of the jobs, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.jobs.iter().map(PlannedJob::id).collect()
    }

    /// Returns the job with this id.
    ///
    /// # Panics
    /// Panics if there is none; the message lists the ids.
    #[must_use]
    pub fn job(&self, id: &str) -> &PlannedJob {
        let found = self.jobs.iter().find(|job| job.id() == id);
        found.unwrap_or_else(|| panic!("there is no job `{id}` among {:?}", self.ids()))
    }
}

impl PlannedJob {
    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.job.id.as_str()
    }

    /// Returns the label that users see.
    #[must_use]
    pub fn label(&self) -> &str {
        self.job.label.as_deref().unwrap_or_else(|| self.id())
    }

    /// Returns its trigger as text: `sunrise not-before 06:30`.
    #[must_use]
    pub fn trigger(&self) -> String {
        self.job.trigger.to_string()
    }

    /// Returns its next due times without jitter, in RFC 3339 in the device's time zone: `count` of them, or fewer if
    /// there are no more.
    #[must_use]
    pub fn due(&self, count: usize) -> Vec<String> {
        let mut almanac = Almanac::default();
        let mut due = Vec::new();
        let mut after = self.now;
        while due.len() < count
            && let Ok(at) = self.job.trigger.find(after, &self.site, &mut almanac)
        {
            due.push(at.in_zone(self.site.zone));
            after = at;
        }
        due
    }

    /// Returns its messages as text: the time after the run's start, the topic, the payload (binary payloads in
    /// base64), and anything that differs from the default: `qos 0`, `retained`, properties, `once`, and
    /// the confirmation.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.job.steps().iter().map(describe::step).collect()
    }

    /// Returns its task with its arguments, if it has one: `water {"zone":2}`. [`TestHost::run_task`] checks whether
    /// the plugin has a task of that name.
    #[must_use]
    pub fn task(&self) -> Option<String> {
        match &self.job.action {
            Action::Task(task) => Some(format!("{} {}", task.name, task.args)),
            Action::Steps(_) => None,
        }
    }

    /// Returns how late a run may start.
    #[must_use]
    pub fn grace(&self) -> Span {
        milliseconds(self.job.policy.grace_ms.into())
    }

    /// Returns the largest jitter, so that not all runs start at once.
    #[must_use]
    pub fn jitter(&self) -> Span {
        milliseconds(self.job.policy.jitter_ms.into())
    }

    /// Returns which missed runs are caught up: `run-once`, `run-all`, or `latest-of-group door`.
    #[must_use]
    pub fn misfire(&self) -> String {
        self.job.policy.misfire.to_string()
    }

    /// Returns what happens to a run that is due before the previous one has ended: `skip`, `queue 3`, `allow 2`, or
    /// `replace`.
    #[must_use]
    pub fn overlap(&self) -> String {
        self.job.policy.overlap.to_string()
    }

    /// Returns the resource that each run needs, if any.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        self.job.policy.needs.as_ref().map(ResourceName::as_str)
    }

    /// Returns the priority: among runs that could start at the same time, the higher one goes first.
    #[must_use]
    pub fn priority(&self) -> i8 {
        self.job.policy.priority
    }
}
