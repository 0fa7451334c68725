//! Parses the texts and numbers of drafts.

use std::sync::Arc;

use chrono::NaiveTime;

use super::{
    days::{calendars, days},
    draft::{ConfirmDraft, PolicyDraft, PropertiesDraft, StepDraft, SunDraft, SunEventDraft, TimeDraft, TriggerDraft},
    fault::{Fault, Permission},
    terms::Terms,
};
use crate::{
    model::{Confirm, Matches, Message, MessageProperties, Policy, Qos, Retry, Step},
    names::{ResourceName, TaskName},
    text::excerpt,
    time::Instant,
    topic::Topic,
    trigger::{Calendars, Context, Cron, Days, Elevation, Every, Sun, SunEvent, Trigger},
};

/// Parses a trigger. One that follows the sun needs the location of the device, and its days the calendars of the host.
pub(super) fn trigger(draft: TriggerDraft, terms: &Terms<'_>) -> Result<Trigger, Fault> {
    let trigger = match draft {
        TriggerDraft::At(at) => Trigger::At(instant("trigger.at", at)?),
        TriggerDraft::Every { period_ms, anchor } => {
            let anchor = anchor.map_or(Ok(Instant::MIN), |anchor| instant("trigger.every.anchor", anchor))?;
            Trigger::Every(Every { period_ms: period_ms.into(), anchor })
        }
        TriggerDraft::Cron { expression, time_zone, days, finish } => {
            let mut cron = cron(&expression, time_zone.as_deref(), self::days(days)?, terms)?;
            cron.finish = finish.then_some(0);
            Trigger::Cron(cron)
        }
        TriggerDraft::Sun(sun) => self::sun(sun)?.into(),
        TriggerDraft::Text(text) => self::text(&text, terms)?,
        TriggerDraft::Parsed(trigger) => trigger,
    };
    if matches!(trigger, Trigger::Sun(_)) && terms.site.location.is_none() {
        return Err(Fault::new("trigger.sun", "", "the device has no location").lacks(Permission::Location));
    }
    trigger.days().map_or(Ok(()), |days| calendars(days, terms))?;
    Ok(trigger)
}

fn text(text: &str, terms: &Terms<'_>) -> Result<Trigger, Fault> {
    let context = Context { now: None, site: Some(terms.site), calendars: Calendars::default() };
    terms.syntax.trigger(text, &context).map_err(|error| {
        let fault = Fault::malformed("trigger.text", &error);
        Fault { hint: Some(error.hint().into()), ..fault }
    })
}

fn cron(expression: &str, zone: Option<&str>, days: Days, terms: &Terms<'_>) -> Result<Cron, Fault> {
    let zone = zone.map(|name| terms.syntax.zone(name)).transpose();
    let zone = zone.map_err(|error| Fault::malformed("trigger.cron.time-zone", &error))?;
    terms.syntax.cron(expression, zone, days).map_err(|error| {
        let fault = Fault::malformed("trigger.cron.expression", &error);
        Fault { hint: error.hint().map(Into::into), ..fault }
    })
}

/// Checks that the value which a report is compared with is JSON; otherwise no report would match.
pub(super) fn condition(step: &Step, terms: &Terms<'_>) -> Result<(), Fault> {
    let Some(Matches::Json { value, .. }) = step.confirm.as_deref().map(|confirm| &confirm.matches) else {
        return Ok(());
    };
    terms.syntax.json(value).map_err(|error| {
        let rule = format!("it is not JSON: {error}; a string must be in quotes, as in `\"open\"`");
        Fault::new("confirm.matches.json.value", format!("`{}`", excerpt(value)), rule)
    })
}

/// Finds a task in the plugin's list.
pub(super) fn task_name(name: &str, terms: &Terms<'_>) -> Result<TaskName, Fault> {
    let Some(tasks) = terms.tasks else {
        return TaskName::parse(name).map_err(|error| Fault::malformed("task.name", &error));
    };
    let found = tasks.iter().find(|task| task.name.as_str() == name);
    found.map(|task| task.name.clone()).ok_or_else(|| {
        let names: Vec<String> = tasks.iter().map(|task| format!("`{}`", task.name)).collect();
        let rule = match names.is_empty() {
            true => "the plugin has no tasks".into(),
            false => format!("the plugin has no such task, only {}", names.join(", ")),
        };
        Fault::new("task.name", format!("`{}`", excerpt(name)), rule)
    })
}

/// Parses a step.
///
/// # Errors
/// Returns the first text or number that is not what its field requires.
pub fn step(draft: StepDraft) -> Result<Step, Fault> {
    let StepDraft { after_ms, topic, payload, qos, retain, properties, once, confirm } = draft;
    let topic = self::topic("topic", &topic)?;
    let qos = Qos::from_number(qos).ok_or_else(|| out_of_range("qos", qos, "it must be 0, 1 or 2"))?;
    let properties = properties.map(self::properties).transpose()?;
    let properties = properties.filter(|properties| *properties != MessageProperties::default()).map(Arc::new);
    let message = Message { topic, payload, qos, retain, properties };
    let confirm = confirm.map(self::confirm).transpose()?.map(Arc::new);
    Ok(Step { after_ms, message, once, confirm })
}

/// Parses a policy.
///
/// # Errors
/// Returns the first name that is not one.
pub fn policy(draft: PolicyDraft) -> Result<Policy, Fault> {
    let default = Policy::default();
    let misfire = draft.misfire.parse();
    let needs = draft.needs.as_deref().map(ResourceName::parse).transpose();
    Ok(Policy {
        misfire: misfire.map_err(|error| Fault::malformed("policy.misfire.latest-of-group", &error))?,
        grace_ms: draft.grace_ms.unwrap_or(default.grace_ms),
        overlap: draft.overlap,
        jitter_ms: draft.jitter_ms.unwrap_or(default.jitter_ms),
        priority: draft.priority.unwrap_or(default.priority),
        retry: Retry {
            attempts: draft.attempts,
            give_up_after_ms: draft.give_up_after_ms.unwrap_or(default.retry.give_up_after_ms),
            backoff_ms: draft.backoff_ms.unwrap_or(default.retry.backoff_ms),
        },
        needs: needs.map_err(|error| Fault::malformed("policy.needs", &error))?,
    })
}

fn out_of_range(field: &'static str, value: impl std::fmt::Display, rule: &str) -> Fault {
    Fault { value: value.to_string(), ..Fault::malformed(field, &rule) }
}

fn instant(field: &'static str, millis: i64) -> Result<Instant, Fault> {
    let rule = "it must be 0 to 253,402,300,799,999, in milliseconds since 1970";
    Instant::from_millis(millis).ok_or_else(|| out_of_range(field, millis, rule))
}

fn sun(draft: SunDraft) -> Result<Sun, Fault> {
    let event = sun_event(draft.event)?;
    let days = days(draft.days)?;
    let time = |field, time: Option<TimeDraft>| time.map(|time| self::time(field, time)).transpose();
    Ok(Sun {
        event,
        offset_ms: draft.offset_ms,
        not_before: time("trigger.sun.not-before", draft.not_before)?,
        not_after: time("trigger.sun.not-after", draft.not_after)?,
        otherwise: time("trigger.sun.otherwise", draft.otherwise)?,
        days: Some(days).filter(|days| !days.is_every_day()).map(Arc::new),
        finish: draft.finish.then_some(0),
    })
}

/// Parses a sun event.
///
/// # Errors
/// Returns an elevation that is out of range.
pub fn sun_event(draft: SunEventDraft) -> Result<SunEvent, Fault> {
    Ok(match draft {
        SunEventDraft::Named(event) => event,
        SunEventDraft::Rising(degrees) => SunEvent::Rising(elevation(degrees)?),
        SunEventDraft::Setting(degrees) => SunEvent::Setting(elevation(degrees)?),
    })
}

fn elevation(degrees: f64) -> Result<Elevation, Fault> {
    let rule = "it must be -90 to 90 degrees";
    Elevation::from_degrees(degrees).ok_or_else(|| out_of_range("trigger.sun.event", degrees, rule))
}

fn time(field: &'static str, TimeDraft(hour, minute, second): TimeDraft) -> Result<NaiveTime, Fault> {
    NaiveTime::from_hms_opt(hour.into(), minute.into(), second.into())
        .ok_or_else(|| out_of_range(field, format!("{hour}:{minute:02}:{second:02}"), "it must be 0:00:00 to 23:59:59"))
}

fn topic(field: &'static str, text: &str) -> Result<Topic, Fault> {
    Topic::parse(text).map_err(|error| Fault::malformed(field, &error))
}

fn properties(draft: PropertiesDraft) -> Result<MessageProperties, Fault> {
    let PropertiesDraft { expiry_ms, content_type, response_topic, user } = draft;
    let response_topic = response_topic.map(|text| topic("properties.response-topic", &text)).transpose()?;
    Ok(MessageProperties { expiry_ms, content_type, response_topic, user })
}

fn confirm(draft: ConfirmDraft) -> Result<Confirm, Fault> {
    let ConfirmDraft { topic, matches, within_ms, already } = draft;
    Ok(Confirm { topic: self::topic("confirm.topic", &topic)?, matches, within_ms, already })
}
