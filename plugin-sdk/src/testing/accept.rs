//! The rules by which the host takes a job or refuses it, as far as the contract has them.

use roost_scheduler::{
    calendar, limits,
    names::JobId,
    time::{Instant as HostInstant, Site},
    topic::{Topic, is_forbidden},
    trigger::{Every, Patterns, Sun, Trigger},
};

use crate::{
    Error, Result, Time,
    bindings::{
        exports::roost::device::schedule as wit,
        roost::device::types::{self, Message, Step},
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

pub(super) fn steps(job: &wit::Job) -> Result<Vec<Step>> {
    JobId::parse(&job.id)?;
    let wit::Action::Steps(steps) = &job.action else {
        return Err(Error::new("it asks for a task, which no host does yet"));
    };
    if steps.len() > limits::STEPS_PER_ACTION {
        return Err(Error::new(format!("it has {} messages, at most 100 are allowed", steps.len())));
    }
    for step in steps {
        message(&step.message)?;
    }
    Ok(steps.clone())
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

pub(super) fn policy(policy: Option<&wit::Policy>) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    if policy.grace_ms.is_some_and(|grace| grace < limits::GRACE_MS) {
        return Err(Error::new("a grace has at least a second"));
    }
    let Some(retry) = &policy.retry else { return Ok(()) };
    if retry.attempts == Some(0) {
        return Err(Error::new("it is tried 0 times"));
    }
    if retry.backoff_ms.is_some_and(|pause| pause < limits::BACKOFF_MS) {
        return Err(Error::new("a backoff has at least 100 ms"));
    }
    Ok(())
}
