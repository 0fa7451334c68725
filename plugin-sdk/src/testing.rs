//! Look at a plan, or at what a task answers, in a plain `cargo test`, with the calendar, the sun and the triggers that
//! the host has.
//!
//! ```
//! use roost_plugin_sdk::{Context, Device, Job, Result, testing::Bench};
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
//! let plan = Bench::new("coop-door", "north")
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
//! `json!` is of the crate `serde_json`, a development dependency of the plugin.
//!
//! What the host would refuse whatever its settings, such as an impossible cron expression or two jobs of the same id, is
//! an error here too. What it would refuse by its settings, such as a topic that is not granted or a resource that it has
//! not, is not. [`Tasks`] has an example of a task that is looked at.

use std::collections::HashSet;

use roost_scheduler::{
    calendar,
    model::{self, Action},
    names::ResourceName,
    time::{Instant as HostInstant, Location as HostLocation, Site},
    trigger::SunCache,
    zone::Zone,
};

use crate::{
    Context, Device, Error, Instant, Result, Span, Task, Tasks,
    bindings::{exports::roost::device::schedule as wit, roost::device::types},
    host::Host,
    milliseconds, tasks,
};

mod accept;
#[cfg(test)]
mod tests;
mod told;

/// A device on the workbench: its names, its settings, its place, and the moment when it is asked.
///
/// Unless said otherwise it has the settings `{}`, is in UTC without a location, and is asked at noon on 2027-06-01.
#[derive(Clone, Debug)]
pub struct TestHost {
    plugin: String,
    device: String,
    config: String,
    time_zone: String,
    location: Option<(f64, f64)>,
    now: String,
}

/// The jobs that a device declared.
#[derive(Debug)]
pub struct Plan {
    jobs: Vec<PlannedJob>,
}

/// One of them, as the host would have it.
#[derive(Debug)]
pub struct PlannedJob {
    job: model::Job,
    site: Site,
    now: HostInstant,
}

/// What a device answered to a task.
#[derive(Debug)]
pub struct Answer(model::Reply);

impl TestHost {
    /// A device of a plugin. The names matter to [`Context::topic`].
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

    /// The device's settings.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    pub fn config(self, config: serde_json::Value) -> Self {
        Self { config: config.to_string(), ..self }
    }

    /// The device's IANA time zone.
    #[must_use]
    pub fn time_zone(self, name: &str) -> Self {
        Self { time_zone: name.into(), ..self }
    }

    /// Where the device is, in degrees, north and east positive.
    #[must_use]
    pub fn location(self, latitude: f64, longitude: f64) -> Self {
        Self { location: Some((latitude, longitude)), ..self }
    }

    /// The moment when it is asked, in RFC 3339: `2027-06-01T08:00:00+01:00`.
    #[must_use]
    pub fn at(self, now: &str) -> Self {
        Self { now: now.into(), ..self }
    }

    /// Reads the settings and asks for the plan, as the host would.
    ///
    /// # Errors
    /// Whatever keeps the device from having the plan: its settings, what it says itself, a job that the host refuses.
    pub fn schedule_jobs<D: Device>(&self) -> Result<Plan> {
        let (now, site) = (self.now()?, self.site()?);
        let jobs = crate::config::plan::<D>(&self.context(now, site))?;
        let mut ids = HashSet::new();
        for job in &jobs {
            if !ids.insert(job.id.clone()) {
                return Err(Error::new(format!("two jobs have the id `{}`", job.id)));
            }
        }
        let jobs: Result<_> = jobs.into_iter().map(|job| PlannedJob::accept(job, site, now)).collect();
        Ok(Plan { jobs: jobs? })
    }

    /// Reads the settings and asks what to publish for a task that is due at this moment, as the host would; `null` stands
    /// for no arguments.
    ///
    /// # Errors
    /// Whatever keeps the device from doing it: its settings, what it says itself, a task that is not in its list, a list
    /// or an answer that the host refuses.
    #[allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
    pub fn run_task<D: Tasks>(&self, name: &str, args: serde_json::Value) -> Result<Answer> {
        let (now, site) = (self.now()?, self.site()?);
        let list = tasks::list::<D>();
        accept::tasks(&list)?;
        let task = types::Task { name: name.into(), args: args.to_string() };
        if !list.iter().any(|known| known.name == name) {
            let names: Vec<_> = list.iter().map(|known| known.name.as_str()).collect();
            return Err(Error::new(format!("there is no task `{name}` among {names:?}")));
        }
        accept::task(task.clone())?;
        let reply = tasks::run::<D>(&self.context(now, site), &Task::new(task, now.millis()))?;
        accept::reply(reply).map(Answer).map_err(|error| error.context(format!("task `{name}`")))
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

impl Answer {
    /// What is published, as [`PlannedJob::messages`] tells it.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.0.steps.iter().map(told::step).collect()
    }

    /// What people are told besides; empty if nothing.
    #[must_use]
    pub fn note(&self) -> &str {
        self.0.note.as_deref().unwrap_or_default()
    }

    /// Whether the device wants to be asked for its plan.
    #[must_use]
    pub fn replans(&self) -> bool {
        self.0.replan
    }
}

impl Plan {
    /// The ids of the jobs, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.jobs.iter().map(PlannedJob::id).collect()
    }

    /// The job with this id.
    ///
    /// # Panics
    /// If there is none; the text has the ids there are.
    #[must_use]
    pub fn job(&self, id: &str) -> &PlannedJob {
        let found = self.jobs.iter().find(|job| job.id() == id);
        found.unwrap_or_else(|| panic!("there is no job `{id}` among {:?}", self.ids()))
    }
}

impl PlannedJob {
    fn accept(job: wit::Job, site: Site, now: HostInstant) -> Result<Self> {
        let id = job.id.clone();
        let named = |error: Error| error.context(format!("job `{id}`"));
        Ok(Self { job: accept::job(job, &site).map_err(named)?, site, now })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.job.id.as_str()
    }

    /// What people see.
    #[must_use]
    pub fn label(&self) -> &str {
        self.job.label.as_deref().unwrap_or_else(|| self.id())
    }

    /// When it is due, as it is written for people: `sunrise not-before 06:30`.
    #[must_use]
    pub fn trigger(&self) -> String {
        self.job.trigger.to_string()
    }

    /// The next so many times when it is due, without jitter, in RFC 3339 in the device's time zone. Fewer if there are
    /// no more.
    #[must_use]
    pub fn due(&self, count: usize) -> Vec<String> {
        let mut sky = SunCache::default();
        let mut due = Vec::new();
        let mut after = self.now;
        while due.len() < count
            && let Ok(at) = self.job.trigger.find(after, &self.site, &mut sky)
        {
            due.push(at.in_zone(self.site.zone));
            after = at;
        }
        due
    }

    /// What it publishes: how long after the run's start, the topic, the payload (what is not text as hexadecimal
    /// digits), and what is not as usual: `qos 0`, `retained`, its properties, `once`, and how the device confirms it.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.job.steps().iter().map(told::step).collect()
    }

    /// The task that the plugin is asked for, if it is, with its arguments: `water {"zone":2}`. Whether it has one of that
    /// name, [`TestHost::run_task`] tells.
    #[must_use]
    pub fn task(&self) -> Option<String> {
        match &self.job.action {
            Action::Task(task) => Some(format!("{} {}", task.name, task.args)),
            Action::Steps(_) => None,
        }
    }

    /// How late a run may start.
    #[must_use]
    pub fn grace(&self) -> Span {
        milliseconds(self.job.policy.grace_ms.into())
    }

    /// How much later than it is due a run may start, so that not all start at once.
    #[must_use]
    pub fn jitter(&self) -> Span {
        milliseconds(self.job.policy.jitter_ms.into())
    }

    /// Which missed runs are made up for: `run-once`, `run-all`, or `latest-of-group door`.
    #[must_use]
    pub fn misfire(&self) -> String {
        told::misfire(&self.job.policy.misfire)
    }

    /// What happens to a run that is due before the one before it has ended: `skip`, `queue 3`, `allow 2`, or `replace`.
    #[must_use]
    pub fn overlap(&self) -> String {
        told::overlap(self.job.policy.overlap)
    }

    /// What each run holds one of.
    #[must_use]
    pub fn needs(&self) -> Option<&str> {
        self.job.policy.needs.as_ref().map(ResourceName::as_str)
    }

    /// Of runs that could start at the same time, the higher goes first.
    #[must_use]
    pub fn priority(&self) -> i8 {
        self.job.policy.priority
    }
}
