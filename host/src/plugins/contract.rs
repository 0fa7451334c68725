//! The contract, version 1: from WIT to the scheduler's types, with every range checked.

mod imports;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use chrono::NaiveTime;
use roost_scheduler::{
    calendar::parse_zone,
    limits as bounds,
    model::{Action, Confirm, Job, Matches, Message, MessageProperties, Misfire, Overlap, Policy, Qos, Retry, Step},
    names::{GroupName, JobId, PluginName, ResourceName},
    time::{Instant, Site},
    topic::{Grant, Topic, is_forbidden},
    trigger::{Every, Sun, SunEvent, Trigger},
};

use super::program::Almanac;

/// What `wit/` says, in Rust.
#[allow(unreachable_pub, clippy::all, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "device-plugin",
        imports: { default: trappable },
        exports: { default: async },
    });
}

pub(super) mod bindings {
    pub(in super::super) use super::generated::{
        DevicePlugin, DevicePluginPre,
        exports::roost::device::schedule::{Action, Cron, Job, Misfire, Overlap, Policy, Retry, Sun, Trigger},
        roost::device::{
            calendar, log, sun, types,
            types::{
                Confirm, Context, Date, JsonRange, JsonValue, Location, Matches, Message, MessageProperties, Step,
                SunEvent, Time,
            },
        },
    };
}
use bindings as wit;

/// What a plan has to keep to.
pub(super) struct Terms<'a> {
    pub(super) plugin: &'a PluginName,
    pub(super) site: &'a Site,
    pub(super) grant: &'a Grant,
    /// Whether the grant is the operator's, so that only the operator can widen it.
    pub(super) granted_by_operator: bool,
    pub(super) resources: &'a BTreeMap<ResourceName, u32>,
    pub(super) jobs: usize,
    pub(super) almanac: &'a Almanac,
}

/// What is wrong with a plan: where, what it says, and the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Invalid {
    job: Option<String>,
    step: Option<usize>,
    what: String,
    pub(super) hint: Option<String>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = &self.job {
            write!(f, "job {job}")?;
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

    /// A value that is out of range.
    fn value(field: &str, value: impl fmt::Display, rule: &str) -> Self {
        Self::new(format!("`{field}` {value}: {rule}"))
    }

    /// Something the contract has and this version has not.
    fn not_yet(field: &str, value: &str, instead: &str) -> Self {
        Self::new(format!("`{field}`: this version of Roost does not do `{value}` yet")).hint(instead)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A plugin's answer, as the scheduler takes it: all of it, or what is wrong with the first job that is wrong.
pub(super) fn jobs(list: Vec<wit::Job>, terms: &Terms<'_>) -> Result<Vec<Job>, Invalid> {
    if list.len() > terms.jobs {
        let what = format!("the plan has {} jobs, and a device may have {}", list.len(), terms.jobs);
        return Err(Invalid::new(what));
    }
    let mut ids = HashSet::with_capacity(list.len());
    let mut jobs = Vec::with_capacity(list.len());
    for (index, proposed) in list.into_iter().enumerate() {
        let id = JobId::parse(&proposed.id).map_err(|error| Invalid {
            job: Some(format!("number {}", index + 1)),
            ..Invalid::new(format!("`id`: {error}"))
        })?;
        let named = |invalid| Invalid { job: Some(format!("`{id}`")), ..invalid };
        if !ids.insert(id.clone()) {
            return Err(named(Invalid::new("`id`: another job of the device has it already")));
        }
        jobs.push(job(id.clone(), proposed, terms).map_err(named)?);
    }
    Ok(jobs)
}

fn job(id: JobId, job: wit::Job, terms: &Terms<'_>) -> Result<Job, Invalid> {
    let trigger = trigger(job.trigger, terms)?;
    let steps = match job.action {
        wit::Action::Steps(list) => steps(list, terms)?,
        wit::Action::Task(_) => return Err(Invalid::not_yet("action", "task", "list the messages as `steps`")),
    };
    let policy = policy(job.policy, terms)?;
    if let Trigger::Every(every) = &trigger
        && policy.jitter_ms >= every.period_ms
    {
        let value = format!("{}", policy.jitter_ms);
        let rule =
            format!("it must be less than the period, {} ms, or runs would overtake each other", every.period_ms);
        return Err(Invalid::value("policy.jitter-ms", value, &rule));
    }
    Ok(Job { id, label: job.label.map(Into::into), trigger, action: Action::Steps(steps), policy })
}

fn trigger(trigger: wit::Trigger, terms: &Terms<'_>) -> Result<Trigger, Invalid> {
    Ok(match trigger {
        wit::Trigger::At(at) => Trigger::At(instant("trigger.at", at)?),
        wit::Trigger::Every(every) => {
            if every.period_ms < bounds::PERIOD_MS {
                return Err(Invalid::value("trigger.every.period-ms", every.period_ms, "it must be 1,000 or more"));
            }
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
    let zone = cron.time_zone.as_deref().map(parse_zone).transpose();
    let zone = zone.map_err(|error| Invalid::new(format!("`trigger.cron.time-zone`: {error}")))?;
    let cron = terms.almanac.patterns().cron(&cron.expression, zone);
    cron.map(Trigger::Cron).map_err(|error| Invalid::new(format!("`trigger.cron.expression`: {error}")))
}

fn sun(sun: &wit::Sun, terms: &Terms<'_>) -> Result<Sun, Invalid> {
    if terms.site.location.is_none() {
        return Err(Invalid::new("`trigger.sun`: the device has no location").hint(format!(
            "say where it is, below its `[[device]]` in `plugins/{}.toml`, or for all devices at the top of `roost.toml`:\n\
             latitude = 51.5\nlongitude = -0.1",
            terms.plugin
        )));
    }
    if sun.offset_ms.unsigned_abs() > bounds::SUN_OFFSET_MS.unsigned_abs() {
        let rule = "it must be -43,200,000 to 43,200,000 (12 hours)";
        return Err(Invalid::value("trigger.sun.offset-ms", sun.offset_ms, rule));
    }
    let not_before = sun.not_before.map(|time| self::time("trigger.sun.not-before", time)).transpose()?;
    let not_after = sun.not_after.map(|time| self::time("trigger.sun.not-after", time)).transpose()?;
    if let (Some(before), Some(after)) = (not_before, not_after)
        && after < before
    {
        return Err(Invalid::value(
            "trigger.sun.not-after",
            after,
            &format!("it is earlier than `not-before`, {before}"),
        ));
    }
    Ok(Sun { event: event(sun.event), offset_ms: sun.offset_ms, not_before, not_after })
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

fn steps(list: Vec<wit::Step>, terms: &Terms<'_>) -> Result<Arc<[Step]>, Invalid> {
    if list.is_empty() || list.len() > bounds::STEPS_PER_ACTION {
        return Err(Invalid::value("action.steps", list.len(), "there must be 1 to 100"));
    }
    let mut earlier = 0;
    let mut steps = Vec::with_capacity(list.len());
    for (index, proposed) in list.into_iter().enumerate() {
        let numbered = |invalid| Invalid { step: Some(index + 1), ..invalid };
        let after_ms = proposed.after_ms;
        if after_ms < earlier {
            let rule = format!("it must not be less than the step before, {earlier}");
            return Err(numbered(Invalid::value("after-ms", after_ms, &rule)));
        }
        earlier = after_ms;
        steps.push(step(proposed, terms).map_err(numbered)?);
    }
    Ok(steps.into())
}

fn step(step: wit::Step, terms: &Terms<'_>) -> Result<Step, Invalid> {
    Ok(Step {
        after_ms: step.after_ms,
        message: message(step.message, terms)?,
        once: step.once,
        confirm: step.confirm.map(|confirm| self::confirm(confirm, terms)).transpose()?.map(Arc::new),
    })
}

fn confirm(confirm: wit::Confirm, terms: &Terms<'_>) -> Result<Confirm, Invalid> {
    let topic = topic("confirm.topic", &confirm.topic)?;
    if !terms.grant.allows_subscribe(topic.as_str()) {
        return Err(outside_grant("confirm.topic", &topic, terms));
    }
    if confirm.within_ms == 0 {
        return Err(Invalid::value("confirm.within-ms", 0, "it must be 1 or more"));
    }
    let matches = matches(confirm.matches)?;
    Ok(Confirm { topic, matches, within_ms: confirm.within_ms, already: confirm.already })
}

fn matches(matches: wit::Matches) -> Result<Matches, Invalid> {
    let short = |field: &str, length: usize| {
        let value = format!("of {length} bytes");
        let rule = "it may have 4,096 (4 KiB)";
        if length > bounds::CONDITION_BYTES { Err(Invalid::value(field, value, rule)) } else { Ok(()) }
    };
    let pointer = |field: &str, text: String| {
        short(field, text.len())?;
        if text.is_empty() || text.starts_with('/') {
            return Ok(text);
        }
        Err(Invalid::value(field, format!("`{text}`"), "it must be empty or begin with `/` (RFC 6901)"))
    };
    Ok(match matches {
        wit::Matches::Any => Matches::Any,
        wit::Matches::Bytes(bytes) => {
            short("confirm.matches.bytes", bytes.len())?;
            Matches::Bytes(bytes.into())
        }
        wit::Matches::Json(wit::JsonValue { pointer: place, value }) => {
            let field = "confirm.matches.json.value";
            short(field, value.len())?;
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&value) {
                let rule = format!("it is not JSON: {error}; a text needs its quotes, as in `\"open\"`");
                return Err(Invalid::value(field, format!("`{value}`"), &rule));
            }
            Matches::Json { pointer: pointer("confirm.matches.json.pointer", place)?, value }
        }
        wit::Matches::JsonRange(wit::JsonRange { pointer: place, min, max }) => {
            if !(min.is_finite() && max.is_finite() && min <= max) {
                let rule = "both must be finite, and `min` at most `max`";
                return Err(Invalid::value("confirm.matches.json-range", format!("{min} to {max}"), rule));
            }
            Matches::JsonRange { pointer: pointer("confirm.matches.json-range.pointer", place)?, min, max }
        }
    })
}

fn message(message: wit::Message, terms: &Terms<'_>) -> Result<Message, Invalid> {
    let topic = topic("topic", &message.topic)?;
    if !terms.grant.allows_publish(topic.as_str()) {
        return Err(outside_grant("topic", &topic, terms));
    }
    if message.payload.len() > bounds::PAYLOAD_BYTES {
        let value = format!("of {} bytes", message.payload.len());
        return Err(Invalid::value("payload", value, "it may have 262,144 (256 KiB)"));
    }
    let qos =
        Qos::from_number(message.qos).ok_or_else(|| Invalid::value("qos", message.qos, "it must be 0, 1 or 2"))?;
    let properties = message.properties.map(properties).transpose()?;
    let properties = properties.filter(|properties| *properties != MessageProperties::default()).map(Arc::new);
    Ok(Message { topic, payload: message.payload.into(), qos, retain: message.retain, properties })
}

fn topic(field: &str, text: &str) -> Result<Topic, Invalid> {
    Topic::parse(text).map_err(|error| Invalid::new(format!("`{field}`: {error}")))
}

/// I8. The hint is the text that would allow it.
fn outside_grant(field: &str, topic: &Topic, terms: &Terms<'_>) -> Invalid {
    let plugin = terms.plugin;
    let (verb, key, granted) = match field {
        "topic" => ("publish to", "publish", &terms.grant.publish),
        _ => ("read", "subscribe", &terms.grant.subscribe),
    };
    let mut filters: Vec<_> = granted.iter().map(|filter| format!("{:?}", filter.as_str())).collect();
    // All that a plugin has by default, or each of its topics would have to be added one by one.
    let own = topic.as_str().strip_prefix(plugin.as_str()).is_some_and(|rest| rest.starts_with('/'));
    filters.push(if own { format!("\"{plugin}/#\"") } else { format!("{:?}", topic.as_str()) });
    let (file, table) = if terms.granted_by_operator {
        ("roost.toml".into(), format!("[grants.{plugin}]"))
    } else {
        (format!("plugins/{plugin}.toml"), "[grants]".into())
    };
    Invalid::new(format!("`{field}` `{topic}` is outside what `{plugin}` may {verb}"))
        .hint(format!("to allow it, put this into `{file}`:\n{table}\n{key} = [{}]", filters.join(", ")))
}

fn properties(properties: wit::MessageProperties) -> Result<MessageProperties, Invalid> {
    if properties.expiry_ms == Some(0) {
        return Err(Invalid::value("properties.expiry-ms", 0, "it must be 1 or more"));
    }
    let response_topic = properties.response_topic.map(|text| topic("properties.response-topic", &text)).transpose()?;
    let user = properties.user.unwrap_or_default();
    if user.len() > bounds::USER_PROPERTIES {
        return Err(Invalid::value("properties.user", user.len(), "there may be 16"));
    }
    if let Some((name, _)) = user.iter().find(|(name, _)| name.starts_with("roost-")) {
        let rule = "names that start with `roost-` are the host's";
        return Err(Invalid::value("properties.user", format!("`{name}`"), rule));
    }
    let texts = || user.iter().flat_map(|(name, value)| [name, value]).chain(&properties.content_type);
    let bytes: usize = texts().map(String::len).sum();
    if bytes > bounds::PROPERTIES_BYTES {
        let rule = "the content type and the user properties may have 32,768 (32 KiB) together";
        return Err(Invalid::value("properties", format!("of {bytes} bytes"), rule));
    }
    if let Some(char) = texts().flat_map(|text| text.chars()).find(|char| is_forbidden(*char)) {
        let value = format!("with the character U+{:04X}", u32::from(char));
        return Err(Invalid::value("properties", value, "MQTT does not allow it"));
    }
    Ok(MessageProperties {
        expiry_ms: properties.expiry_ms,
        content_type: properties.content_type,
        response_topic,
        user,
    })
}

fn policy(policy: Option<wit::Policy>, terms: &Terms<'_>) -> Result<Policy, Invalid> {
    let Some(policy) = policy else { return Ok(Policy::default()) };
    let default = Policy::default();
    let misfire = match policy.misfire {
        None | Some(wit::Misfire::RunOnce) => Misfire::RunOnce,
        Some(wit::Misfire::RunAll) => Misfire::RunAll,
        Some(wit::Misfire::LatestOfGroup(name)) => {
            let group = GroupName::parse(&name);
            let wrong = |error| Invalid::new(format!("`policy.misfire.latest-of-group`: {error}"));
            Misfire::LatestOfGroup(group.map_err(wrong)?)
        }
    };
    let overlap = overlap(policy.overlap.as_ref(), &misfire)?;
    let grace_ms = policy.grace_ms.unwrap_or(default.grace_ms);
    if grace_ms < bounds::GRACE_MS {
        return Err(Invalid::value("policy.grace-ms", grace_ms, "it must be 1,000 or more"));
    }
    Ok(Policy {
        misfire,
        grace_ms,
        overlap,
        jitter_ms: policy.jitter_ms.unwrap_or(default.jitter_ms),
        priority: policy.priority.unwrap_or(default.priority),
        retry: retry(policy.retry)?,
        needs: policy.needs.map(|name| needs(&name, terms)).transpose()?,
    })
}

fn overlap(overlap: Option<&wit::Overlap>, misfire: &Misfire) -> Result<Overlap, Invalid> {
    let most = bounds::RUNS_PER_JOB;
    let overlap = match overlap {
        None | Some(wit::Overlap::Skip) => Overlap::Skip,
        Some(wit::Overlap::Queue(count)) if (1..=most).contains(count) => Overlap::Queue(*count),
        Some(wit::Overlap::Queue(count)) => {
            return Err(Invalid::value("policy.overlap.queue", count, "it must be 1 to 1,000"));
        }
        Some(wit::Overlap::Allow(count)) if (2..=most).contains(count) => Overlap::Allow(*count),
        Some(wit::Overlap::Allow(count)) => {
            return Err(Invalid::value("policy.overlap.allow", count, "it must be 2 to 1,000"));
        }
        Some(wit::Overlap::Replace) => Overlap::Replace,
    };
    if matches!((misfire, overlap), (Misfire::LatestOfGroup(_), Overlap::Queue(_) | Overlap::Allow(_))) {
        let rule = "a newer run of a group takes the place of older ones, so that there is nothing to wait or to go on \
                    beside it";
        return Err(Invalid::value("policy.overlap", "with `latest-of-group`", rule).hint("leave `overlap` out"));
    }
    Ok(overlap)
}

/// What the operator has so many of.
fn needs(name: &str, terms: &Terms<'_>) -> Result<ResourceName, Invalid> {
    let name = ResourceName::parse(name).map_err(|error| Invalid::new(format!("`policy.needs`: {error}")))?;
    if terms.resources.contains_key(&name) {
        return Ok(name);
    }
    Err(Invalid::new(format!("`policy.needs`: there is no resource `{name}`")).hint(format!(
        "if there is one, put this into `roost.toml` and start Roost again:\n[[resource]]\nname = \"{name}\"\ncapacity = 1"
    )))
}

fn retry(retry: Option<wit::Retry>) -> Result<Retry, Invalid> {
    let default = Retry::default();
    let Some(retry) = retry else { return Ok(default) };
    if retry.attempts == Some(0) {
        return Err(Invalid::value("policy.retry.attempts", 0, "it must be 1 or more"));
    }
    let backoff_ms = retry.backoff_ms.unwrap_or(default.backoff_ms);
    if backoff_ms < bounds::BACKOFF_MS {
        return Err(Invalid::value("policy.retry.backoff-ms", backoff_ms, "it must be 100 or more"));
    }
    let give_up_after_ms = retry.give_up_after_ms.unwrap_or(default.give_up_after_ms);
    Ok(Retry { attempts: retry.attempts, give_up_after_ms, backoff_ms })
}
