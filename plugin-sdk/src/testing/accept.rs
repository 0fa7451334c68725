//! The rules by which the host takes a job or refuses it, as far as the contract has them.

use std::collections::HashSet;

use roost_scheduler::{
    calendar, limits,
    names::{GroupName, JobId, ResourceName, TaskName},
    time::{Instant as HostInstant, Site},
    topic::{Topic, is_forbidden},
    trigger::{Every, Patterns, Sun, Trigger},
};

use crate::{
    Error, Result, Time,
    bindings::{
        exports::roost::device::schedule as wit,
        roost::device::types::{self, Confirm, Matches, Message, Step},
        with_tasks::exports::roost::device::tasks::TaskDescription,
    },
    host,
};

pub(super) fn trigger(trigger: &wit::Trigger, site: &Site) -> Result<Trigger> {
    Ok(match trigger {
        wit::Trigger::At(at) => Trigger::At(instant(*at)?),
        wit::Trigger::Every(wit::Every { period_ms, .. }) if *period_ms < limits::PERIOD_MS => {
            return Err(Error::new("a period has at least a second"));
        }
        wit::Trigger::Every(every) => Trigger::Every(Every {
            period_ms: every.period_ms,
            anchor: every.anchor.map_or(Ok(HostInstant::MIN), instant)?,
        }),
        wit::Trigger::Cron(cron) => {
            let zone = cron.time_zone.as_deref().map(calendar::parse_zone).transpose()?;
            Trigger::Cron(Patterns::default().cron(&cron.expression, zone)?)
        }
        wit::Trigger::Sun(_) if site.location.is_none() => {
            return Err(Error::new("the device has no location; its settings need `latitude` and `longitude`"));
        }
        wit::Trigger::Sun(sun) => self::sun(sun)?.into(),
    })
}

fn instant(millis: i64) -> Result<HostInstant> {
    host::instant(crate::Instant::from_millis(millis))
}

fn sun(sun: &wit::Sun) -> Result<Sun> {
    if sun.offset_ms.unsigned_abs() > limits::SUN_OFFSET_MS.unsigned_abs() {
        return Err(Error::new("an offset has at most 12 hours"));
    }
    let clock = |time: Option<types::Time>| time.map(|time| host::time_to_chrono(Time::from(time))).transpose();
    let (not_before, not_after) = (clock(sun.not_before)?, clock(sun.not_after)?);
    if let (Some(not_before), Some(not_after)) = (not_before, not_after)
        && not_after < not_before
    {
        return Err(Error::new("`not_after` is before `not_before`"));
    }
    Ok(Sun { event: host::sun_event(sun.event.into()), offset_ms: sun.offset_ms, not_before, not_after })
}

/// What a job publishes itself.
pub(super) fn action(job: &wit::Job) -> Result<Vec<Step>> {
    JobId::parse(&job.id)?;
    match &job.action {
        wit::Action::Steps(steps) => self::steps(steps).map(|()| steps.clone()),
        wit::Action::Task(task) => self::task(task).map(|()| Vec::new()),
    }
}

fn steps(steps: &[Step]) -> Result<()> {
    if steps.len() > limits::STEPS_PER_ACTION {
        return Err(Error::new(format!("it has {} messages, at most 100 are allowed", steps.len())));
    }
    for step in steps {
        message(&step.message)?;
        step.confirm.as_ref().map_or(Ok(()), confirm)?;
    }
    Ok(())
}

pub(super) fn task(task: &types::Task) -> Result<()> {
    TaskName::parse(&task.name)?;
    if task.args.len() > limits::ARGS_BYTES {
        return Err(Error::new(format!("the arguments of the task `{}` have more than 16 KiB", task.name)));
    }
    match serde_json::from_str::<serde_json::Value>(&task.args) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(format!("the arguments of the task `{}` are not JSON: {error}", task.name))),
    }
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
    if task.summary.is_empty() || task.summary.len() > limits::SUMMARY_BYTES {
        return Err(Error::new("its summary must have 1 byte to 1 KiB"));
    }
    let Some(schema) = &task.args_schema else { return Ok(()) };
    if schema.len() > limits::SCHEMA_BYTES {
        return Err(Error::new("the schema of its arguments has more than 16 KiB"));
    }
    match serde_json::from_str(schema) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Bool(_)) => Ok(()),
        Ok(_) => Err(Error::new("the schema of its arguments is neither an object nor `true` or `false`")),
        Err(error) => Err(Error::new(format!("the schema of its arguments is not JSON: {error}"))),
    }
}

pub(super) fn reply(reply: &types::Reply) -> Result<()> {
    if reply.note.as_ref().is_some_and(|note| note.len() > limits::NOTE_BYTES) {
        return Err(Error::new("its note has more than 4 KiB"));
    }
    steps(&reply.steps)
}

fn message(message: &Message) -> Result<()> {
    let topic = Topic::parse(&message.topic)?;
    if message.payload.len() > limits::PAYLOAD_BYTES {
        return Err(Error::new(format!("the payload for `{topic}` has more than 256 KiB")));
    }
    if message.qos > 2 {
        return Err(Error::new(format!("qos {} for `{topic}` is none of 0, 1 and 2", message.qos)));
    }
    let Some(properties) = &message.properties else { return Ok(()) };
    if let Some(topic) = &properties.response_topic {
        Topic::parse(topic)?;
    }
    if properties.expiry_ms == Some(0) {
        return Err(Error::new(format!("the expiry for `{topic}` is 0")));
    }
    let user = properties.user.as_deref().unwrap_or_default();
    if user.len() > limits::USER_PROPERTIES {
        return Err(Error::new(format!("the message for `{topic}` has more than 16 user properties")));
    }
    let texts = || user.iter().flat_map(|(name, value)| [name, value]).chain(&properties.content_type);
    if texts().map(String::len).sum::<usize>() > limits::PROPERTIES_BYTES {
        return Err(Error::new(format!("the properties of the message for `{topic}` have more than 32 KiB")));
    }
    if texts().any(|text| text.contains(is_forbidden)) {
        return Err(Error::new(format!(
            "a property of the message for `{topic}` has a character that MQTT does not allow"
        )));
    }
    match user.iter().find(|(name, _)| name.starts_with("roost-")) {
        Some((name, _)) => Err(Error::new(format!("user properties like `{name}` belong to the host"))),
        None => Ok(()),
    }
}

fn confirm(confirm: &Confirm) -> Result<()> {
    let topic = Topic::parse(&confirm.topic)?;
    if confirm.within_ms == 0 {
        return Err(Error::new(format!("a report on `{topic}` is waited for no time at all")));
    }
    let short = |bytes: usize| match bytes {
        ..=limits::CONDITION_BYTES => Ok(()),
        _ => Err(Error::new(format!("the condition on `{topic}` has more than 4 KiB"))),
    };
    let pointer = |text: &str| {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(Error::new(format!("the JSON pointer `{text}` does not begin with `/`")));
        }
        short(text.len())
    };
    match &confirm.matches {
        Matches::Any => Ok(()),
        Matches::Bytes(bytes) => short(bytes.len()),
        Matches::Json(json) => {
            pointer(&json.pointer)?;
            let value = serde_json::from_str::<serde_json::Value>(&json.value);
            value.map_err(|error| Error::new(format!("`{}` is not JSON: {error}", json.value)))?;
            short(json.value.len())
        }
        Matches::JsonRange(range) if range.min.is_finite() && range.max.is_finite() && range.min <= range.max => {
            pointer(&range.pointer)
        }
        Matches::JsonRange(range) => Err(Error::new(format!("{} to {} is not a range", range.min, range.max))),
    }
}

pub(super) fn policy(policy: Option<&wit::Policy>, trigger: &Trigger) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    if policy.grace_ms.is_some_and(|grace| grace < limits::GRACE_MS) {
        return Err(Error::new("a grace has at least a second"));
    }
    if let (Trigger::Every(every), Some(jitter_ms)) = (trigger, policy.jitter_ms)
        && jitter_ms >= every.period_ms
    {
        return Err(Error::new("its jitter is not less than its period"));
    }
    if let Some(wit::Misfire::LatestOfGroup(group)) = &policy.misfire {
        GroupName::parse(group)?;
    }
    overlap(policy)?;
    policy.needs.as_deref().map(ResourceName::parse).transpose()?;
    let Some(retry) = &policy.retry else { return Ok(()) };
    if retry.attempts == Some(0) {
        return Err(Error::new("it is tried 0 times"));
    }
    if retry.backoff_ms.is_some_and(|pause| pause < limits::BACKOFF_MS) {
        return Err(Error::new("a backoff has at least 100 ms"));
    }
    Ok(())
}

fn overlap(policy: &wit::Policy) -> Result<()> {
    let most = limits::RUNS_PER_JOB;
    match policy.overlap {
        Some(wit::Overlap::Queue(_) | wit::Overlap::Allow(_))
            if matches!(policy.misfire, Some(wit::Misfire::LatestOfGroup(_))) =>
        {
            Err(Error::new("a run of a group neither waits for older ones nor goes on beside them"))
        }
        Some(wit::Overlap::Queue(runs)) if !(1..=most).contains(&runs) => {
            Err(Error::new(format!("`queue` {runs}: it must be 1 to 1,000")))
        }
        Some(wit::Overlap::Allow(runs)) if !(2..=most).contains(&runs) => {
            Err(Error::new(format!("`allow` {runs}: it must be 2 to 1,000")))
        }
        _ => Ok(()),
    }
}
