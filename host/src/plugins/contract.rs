//! The contract, version 1: converts WIT types into the scheduler's types, and checks every range.

mod imports;
mod steps;
pub(super) mod tasks;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt};

use chrono::NaiveTime;
use roost_scheduler::{
    model::{Action, Job, Misfire, Overlap, Policy, Retry, hold_ms},
    names::{GroupName, JobId, PluginName, ResourceName},
    rules::{self, Fault},
    time::{Instant, Site},
    topic::Grant,
    trigger::{Every, Sun, SunEvent, Trigger},
};

use self::tasks::Tasks;
use super::trigger_cache::TriggerCache;
use crate::{
    config::rules::{NotNeedable, Rules},
    zones,
};

/// The bindings generated from `wit/`.
#[allow(unreachable_pub, clippy::all, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "device-plugin",
        imports: { default: trappable },
        exports: { default: async },
    });

    /// The world of plugins with tasks, with the same types.
    pub(super) mod with_tasks {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "with-tasks",
            with: { "roost:device/types@1.0.0": super::roost::device::types },
            imports: { default: trappable },
            exports: { default: async },
        });
    }
}

pub(super) mod bindings {
    pub(in super::super) use super::generated::{
        DevicePlugin, DevicePluginPre,
        exports::roost::device::schedule::{Action, Cron, Job, Misfire, Overlap, Policy, Retry, Sun, Trigger},
        roost::device::{
            calendar, log, sun, types,
            types::{
                Confirm, Context, Date, JsonRange, JsonValue, Location, Matches, Message, MessageProperties, Reply,
                Step, SunEvent, Task, Time,
            },
        },
        with_tasks::{WithTasksPre, exports::roost::device::tasks::TaskDescription},
    };
}
use bindings as wit;

/// The terms that an answer must respect.
pub(super) struct Terms<'a> {
    pub(super) plugin: &'a PluginName,
    pub(super) site: &'a Site,
    pub(super) grant: &'a Grant,
    /// Whether the grant is the operator's, so that only the operator can widen it.
    pub(super) granted_by_operator: bool,
    pub(super) rules: &'a Rules,
    pub(super) jobs: usize,
    /// The plugin's tasks, which jobs may call.
    pub(super) tasks: &'a Tasks,
    pub(super) trigger_cache: &'a TriggerCache,
}

/// The error for an invalid answer: the place, the value and the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Invalid {
    /// The part of the answer, such as "job `open`".
    part: Option<String>,
    step: Option<usize>,
    what: String,
    pub(super) hint: Option<String>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(part) = &self.part {
            f.write_str(part)?;
            if let Some(step) = self.step {
                write!(f, ", step {step}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Creates the error for a value that is out of range.
    fn value(field: &str, value: impl fmt::Display, rule: &str) -> Self {
        Self::new(format!("`{field}` {value}: {rule}"))
    }

    /// Converts a fault found by the scheduler's rules.
    fn broken(fault: Fault) -> Self {
        let Fault { step, field, value, rule } = fault;
        Self { step, ..Self::value(field, value, &rule) }
    }

    /// Adds the part of the answer.
    fn of(self, part: impl Into<String>) -> Self {
        Self { part: Some(part.into()), ..self }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Converts a plan.
///
/// # Errors
/// Returns the first fault. A plan is refused as a whole.
pub(super) fn jobs(list: Vec<wit::Job>, terms: &Terms<'_>) -> Result<Vec<Job>, Invalid> {
    if list.len() > terms.jobs {
        let what = format!("the plan has {} jobs, and a device may have {}", list.len(), terms.jobs);
        return Err(Invalid::new(what));
    }
    let mut ids = HashSet::with_capacity(list.len());
    let mut jobs = Vec::with_capacity(list.len());
    for (index, proposed) in list.into_iter().enumerate() {
        let numbered = |error| Invalid::new(format!("`id`: {error}")).of(format!("job number {}", index + 1));
        let id = JobId::parse(&proposed.id).map_err(numbered)?;
        let named = |invalid: Invalid| invalid.of(format!("job `{id}`"));
        if !ids.insert(id.clone()) {
            return Err(named(Invalid::new("`id`: another job of the device has it already")));
        }
        jobs.push(job(id.clone(), proposed, terms).map_err(named)?);
    }
    Ok(jobs)
}

fn job(id: JobId, job: wit::Job, terms: &Terms<'_>) -> Result<Job, Invalid> {
    let trigger = trigger(job.trigger, terms)?;
    let action = match job.action {
        wit::Action::Steps(list) => Action::Steps(steps::steps(list, terms)?.into()),
        wit::Action::Task(task) => Action::Task(terms.tasks.task("action.task", &task.name, task.args)?.into()),
    };
    let policy = policy(job.policy)?;
    let job = Job { id, label: job.label.map(Into::into), trigger, action, policy };
    rules::job(&job).map_err(Invalid::broken)?;
    // The steps of a task are known only when it is due; the scheduler checks them then.
    job.policy.needs.as_ref().map_or(Ok(()), |name| needs(name, hold_ms(job.steps()), terms))?;
    Ok(job)
}

fn trigger(trigger: wit::Trigger, terms: &Terms<'_>) -> Result<Trigger, Invalid> {
    Ok(match trigger {
        wit::Trigger::At(at) => Trigger::At(instant("trigger.at", at)?),
        wit::Trigger::Every(every) => {
            let anchor = every.anchor.map(|anchor| instant("trigger.every.anchor", anchor)).transpose()?;
            Trigger::Every(Every { period_ms: every.period_ms, anchor: anchor.unwrap_or(Instant::MIN) })
        }
        wit::Trigger::Cron(cron) => self::cron(&cron, terms)?,
        wit::Trigger::Sun(sun) => self::sun(&sun, terms)?.into(),
    })
}

fn instant(field: &str, millis: i64) -> Result<Instant, Invalid> {
    let rule = "it must be 0 to 253,402,300,799,999, in milliseconds since 1970";
    Instant::from_millis(millis).ok_or_else(|| Invalid::value(field, millis, rule))
}

fn cron(cron: &wit::Cron, terms: &Terms<'_>) -> Result<Trigger, Invalid> {
    let zone = cron.time_zone.as_deref().map(zones::find).transpose();
    let zone = zone.map_err(|error| Invalid::new(format!("`trigger.cron.time-zone`: {error}")))?;
    let cron = terms.trigger_cache.cron().cron(&cron.expression, zone);
    cron.map(Trigger::Cron).map_err(|error| {
        let invalid = Invalid::new(format!("`trigger.cron.expression`: {error}"));
        match error.hint() {
            Some(hint) => invalid.hint(hint.to_owned()),
            None => invalid,
        }
    })
}

fn sun(sun: &wit::Sun, terms: &Terms<'_>) -> Result<Sun, Invalid> {
    if terms.site.location.is_none() {
        return Err(Invalid::new("`trigger.sun`: the device has no location").hint(format!(
            "set its location below its `[[device]]` in `plugins/{}.toml`, or for all devices at the top of \
             `roost.toml`:\nlatitude = 51.5\nlongitude = -0.1",
            terms.plugin
        )));
    }
    let time = |field, time: Option<wit::Time>| time.map(|time| self::time(field, time)).transpose();
    let not_before = time("trigger.sun.not-before", sun.not_before)?;
    let not_after = time("trigger.sun.not-after", sun.not_after)?;
    let otherwise = time("trigger.sun.otherwise", sun.otherwise)?;
    Ok(Sun { event: event(sun.event), offset_ms: sun.offset_ms, not_before, not_after, otherwise })
}

fn time(field: &str, time: wit::Time) -> Result<NaiveTime, Invalid> {
    NaiveTime::from_hms_opt(time.hour.into(), time.minute.into(), time.second.into()).ok_or_else(|| {
        let value = format!("{}:{:02}:{:02}", time.hour, time.minute, time.second);
        Invalid::value(field, value, "it must be 0:00:00 to 23:59:59")
    })
}

const fn event(event: wit::SunEvent) -> SunEvent {
    match event {
        wit::SunEvent::Sunrise => SunEvent::Sunrise,
        wit::SunEvent::Sunset => SunEvent::Sunset,
        wit::SunEvent::CivilDawn => SunEvent::CivilDawn,
        wit::SunEvent::CivilDusk => SunEvent::CivilDusk,
        wit::SunEvent::NauticalDawn => SunEvent::NauticalDawn,
        wit::SunEvent::NauticalDusk => SunEvent::NauticalDusk,
        wit::SunEvent::AstronomicalDawn => SunEvent::AstronomicalDawn,
        wit::SunEvent::AstronomicalDusk => SunEvent::AstronomicalDusk,
        wit::SunEvent::SolarNoon => SunEvent::SolarNoon,
    }
}

fn policy(policy: Option<wit::Policy>) -> Result<Policy, Invalid> {
    let Some(policy) = policy else { return Ok(Policy::default()) };
    let default = Policy::default();
    let wrong = |error| Invalid::new(format!("`policy.needs`: {error}"));
    let needs = policy.needs.as_deref().map(ResourceName::parse).transpose().map_err(wrong)?;
    let misfire = match policy.misfire {
        None | Some(wit::Misfire::RunOnce) => Misfire::RunOnce,
        Some(wit::Misfire::RunAll) => Misfire::RunAll,
        Some(wit::Misfire::LatestOfGroup(name)) => {
            let group = GroupName::parse(&name);
            let wrong = |error| Invalid::new(format!("`policy.misfire.latest-of-group`: {error}"));
            Misfire::LatestOfGroup(group.map_err(wrong)?)
        }
    };
    Ok(Policy {
        misfire,
        grace_ms: policy.grace_ms.unwrap_or(default.grace_ms),
        overlap: overlap(policy.overlap.as_ref()),
        jitter_ms: policy.jitter_ms.unwrap_or(default.jitter_ms),
        priority: policy.priority.unwrap_or(default.priority),
        retry: retry(policy.retry.as_ref()),
        needs,
    })
}

const fn overlap(overlap: Option<&wit::Overlap>) -> Overlap {
    match overlap {
        None | Some(wit::Overlap::Skip) => Overlap::Skip,
        Some(wit::Overlap::Queue(count)) => Overlap::Queue(*count),
        Some(wit::Overlap::Allow(count)) => Overlap::Allow(*count),
        Some(wit::Overlap::Replace) => Overlap::Replace,
    }
}

/// Checks whether the plugin's jobs may hold a resource for this long.
fn needs(name: &ResourceName, hold_ms: u32, terms: &Terms<'_>) -> Result<(), Invalid> {
    let needable = terms.rules.needable(name, terms.plugin, hold_ms);
    needable.map_err(|NotNeedable { what, hint }| Invalid::new(what).hint(hint))
}

fn retry(retry: Option<&wit::Retry>) -> Retry {
    let default = Retry::default();
    let Some(retry) = retry else { return default };
    Retry {
        attempts: retry.attempts,
        give_up_after_ms: retry.give_up_after_ms.unwrap_or(default.give_up_after_ms),
        backoff_ms: retry.backoff_ms.unwrap_or(default.backoff_ms),
    }
}
