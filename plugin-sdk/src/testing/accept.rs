//! Converts a plugin's plans and replies as the host does, or refuses them, as far as that does not depend on the
//! host's settings.

use std::{collections::HashSet, sync::Arc};

use roost_scheduler::{
    calendar, limits,
    model::{
        Action, Confirm, Job, Matches, Message, MessageProperties, Misfire, Overlap, Policy, Qos, Reply, Retry, Step,
        Task,
    },
    names::{GroupName, JobId, ResourceName, TaskName},
    rules,
    time::{Instant as HostInstant, Site},
    topic::Topic,
    trigger::{CronCache, Every, Sun, Trigger},
};

use crate::{
    Error, Result, Time,
    bindings::{
        exports::roost::device::schedule as wit, roost::device::types,
        with_tasks::exports::roost::device::tasks::TaskDescription,
    },
    host,
};

pub(super) fn job(job: wit::Job, site: &Site) -> Result<Job> {
    let wit::Job { id, label, trigger, action, policy } = job;
    let action = match action {
        wit::Action::Steps(list) => Action::Steps(steps(list)?.into()),
        wit::Action::Task(task) => Action::Task(self::task(task)?.into()),
    };
    let job = Job {
        id: JobId::parse(&id)?,
        label: label.map(Into::into),
        trigger: self::trigger(trigger, site)?,
        action,
        policy: policy.map_or_else(|| Ok(Policy::default()), self::policy)?,
    };
    rules::job(&job)?;
    Ok(job)
}

fn trigger(trigger: wit::Trigger, site: &Site) -> Result<Trigger> {
    Ok(match trigger {
        wit::Trigger::At(at) => Trigger::At(instant(at)?),
        wit::Trigger::Every(wit::Every { period_ms, anchor }) => {
            Trigger::Every(Every { period_ms, anchor: anchor.map_or(Ok(HostInstant::MIN), instant)? })
        }
        wit::Trigger::Cron(cron) => {
            let zone = cron.time_zone.as_deref().map(calendar::parse_zone).transpose()?;
            Trigger::Cron(CronCache::default().cron(&cron.expression, zone)?)
        }
        wit::Trigger::Sun(_) if site.location.is_none() => {
            return Err(Error::new("the device has no location; its settings need `latitude` and `longitude`"));
        }
        wit::Trigger::Sun(wit::Sun { event, offset_ms, not_before, not_after, otherwise }) => {
            let clock = |time: types::Time| host::time_to_chrono(Time::from(time));
            let [not_before, not_after, otherwise] = [not_before, not_after, otherwise].map(|time| time.map(clock));
            let (not_before, not_after) = (not_before.transpose()?, not_after.transpose()?);
            let otherwise = otherwise.transpose()?;
            Sun { event: host::sun_event(event.into()), offset_ms, not_before, not_after, otherwise }.into()
        }
    })
}

fn instant(millis: i64) -> Result<HostInstant> {
    host::instant(crate::Instant::from_millis(millis))
}

fn steps(list: Vec<types::Step>) -> Result<Vec<Step>> {
    let numbered = |(index, proposed)| step(proposed).map_err(|error| error.context(format!("step {}", index + 1)));
    list.into_iter().enumerate().map(numbered).collect()
}

fn step(step: types::Step) -> Result<Step> {
    let types::Step { after_ms, message, once, confirm } = step;
    Ok(Step {
        after_ms,
        message: self::message(message)?,
        once,
        confirm: confirm.map(self::confirm).transpose()?.map(Arc::new),
    })
}

fn message(message: types::Message) -> Result<Message> {
    let types::Message { topic, payload, qos, retain, properties } = message;
    let topic = Topic::parse(&topic)?;
    let no_qos = || Error::new(format!("qos {qos} for `{topic}` is not 0, 1 or 2"));
    let qos = Qos::from_number(qos).ok_or_else(no_qos)?;
    let properties = properties.map(self::properties).transpose()?.map(Arc::new);
    Ok(Message { topic, payload: payload.into(), qos, retain, properties })
}

fn properties(properties: types::MessageProperties) -> Result<MessageProperties> {
    let types::MessageProperties { expiry_ms, content_type, response_topic, user } = properties;
    let response_topic = response_topic.as_deref().map(Topic::parse).transpose()?;
    Ok(MessageProperties { expiry_ms, content_type, response_topic, user: user.unwrap_or_default() })
}

fn confirm(confirm: types::Confirm) -> Result<Confirm> {
    let types::Confirm { topic, matches, within_ms, already } = confirm;
    let matches = match matches {
        types::Matches::Any => Matches::Any,
        types::Matches::Bytes(bytes) => Matches::Bytes(bytes.into()),
        types::Matches::Json(types::JsonValue { pointer, value }) => {
            json(&value).map_err(|error| Error::new(format!("`{value}` is not JSON: {error}")))?;
            Matches::Json { pointer, value }
        }
        types::Matches::JsonRange(types::JsonRange { pointer, min, max }) => Matches::JsonRange { pointer, min, max },
    };
    Ok(Confirm { topic: Topic::parse(&topic)?, matches, within_ms, already })
}

fn json(text: &str) -> serde_json::Result<serde_json::Value> {
    serde_json::from_str(text)
}

fn policy(policy: wit::Policy) -> Result<Policy> {
    let default = Policy::default();
    let wit::Policy { misfire, grace_ms, overlap, jitter_ms, priority, retry, needs } = policy;
    Ok(Policy {
        misfire: match misfire {
            None | Some(wit::Misfire::RunOnce) => Misfire::RunOnce,
            Some(wit::Misfire::RunAll) => Misfire::RunAll,
            Some(wit::Misfire::LatestOfGroup(group)) => Misfire::LatestOfGroup(GroupName::parse(&group)?),
        },
        grace_ms: grace_ms.unwrap_or(default.grace_ms),
        overlap: match overlap {
            None | Some(wit::Overlap::Skip) => Overlap::Skip,
            Some(wit::Overlap::Queue(runs)) => Overlap::Queue(runs),
            Some(wit::Overlap::Allow(runs)) => Overlap::Allow(runs),
            Some(wit::Overlap::Replace) => Overlap::Replace,
        },
        jitter_ms: jitter_ms.unwrap_or(default.jitter_ms),
        priority: priority.unwrap_or(default.priority),
        retry: retry.map_or(default.retry, |retry| Retry {
            attempts: retry.attempts,
            give_up_after_ms: retry.give_up_after_ms.unwrap_or(default.retry.give_up_after_ms),
            backoff_ms: retry.backoff_ms.unwrap_or(default.retry.backoff_ms),
        }),
        needs: needs.as_deref().map(ResourceName::parse).transpose()?,
    })
}

pub(super) fn task(task: types::Task) -> Result<Task> {
    let types::Task { name, args } = task;
    let name = TaskName::parse(&name)?;
    if args.len() > limits::ARGS_BYTES {
        return Err(Error::new(format!("the arguments of the task `{name}` have more than 16 KiB")));
    }
    json(&args).map_err(|error| Error::new(format!("the arguments of the task `{name}` are not JSON: {error}")))?;
    Ok(Task { name, args })
}

pub(super) fn reply(reply: types::Reply) -> Result<Reply> {
    let types::Reply { steps: list, replan, note } = reply;
    let reply = Reply { steps: steps(list)?, replan, note };
    rules::reply(&reply)?;
    Ok(reply)
}

pub(super) fn tasks(list: &[TaskDescription]) -> Result<()> {
    if list.len() > limits::TASKS_PER_PLUGIN {
        return Err(Error::new(format!("there are {} tasks, at most 100 are allowed", list.len())));
    }
    let mut names = HashSet::new();
    for task in list {
        let name = TaskName::parse(&task.name)?;
        if !names.insert(task.name.as_str()) {
            return Err(Error::new(format!("two tasks have the name `{name}`")));
        }
        description(task).map_err(|error| error.context(format!("task `{name}`")))?;
    }
    Ok(())
}

fn description(task: &TaskDescription) -> Result<()> {
    rules::summary(&task.summary)?;
    let Some(schema) = &task.args_schema else { return Ok(()) };
    if schema.len() > limits::SCHEMA_BYTES {
        return Err(Error::new("the schema of its arguments has more than 16 KiB"));
    }
    match json(schema) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Bool(_)) => Ok(()),
        Ok(_) => Err(Error::new("the schema of its arguments is neither an object nor `true` or `false`")),
        Err(error) => Err(Error::new(format!("the schema of its arguments is not JSON: {error}"))),
    }
}
