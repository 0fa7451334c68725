//! Timers: messages at the times that the settings say, without any code.
//!
//! Each `[[job]]` of the settings has the fields of a job that is made over the host's HTTP API: a trigger as users write
//! it, one message or several steps, and a policy.

mod policy;
mod steps;
#[cfg(test)]
mod tests;

use roost_plugin_sdk::{Context, Device, Error, Instant, Job, JsonValue, Messages, Result, log};
use serde::Deserialize;

use self::{
    policy::Policy,
    steps::{Payload, Step},
};

/// The settings of a device: its jobs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timers {
    /// Each is read by itself, so that an error has its id.
    #[serde(default)]
    job: Vec<JsonValue>,
}

/// The id of a job, which is read before all else.
#[derive(Deserialize)]
struct Id {
    id: String,
}

/// A job: a trigger, and either one message (`topic`, …) or several `steps`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    /// Default: the id.
    label: Option<String>,
    trigger: String,
    topic: Option<String>,
    payload: Option<JsonValue>,
    payload_base64: Option<String>,
    qos: Option<u8>,
    retain: Option<bool>,
    steps: Option<Vec<Step>>,
    #[serde(default)]
    policy: Policy,
}

impl Device for Timers {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        self.job.iter().enumerate().map(|(index, settings)| job(ctx, index, settings)).collect()
    }
}

fn job(ctx: &Context, index: usize, settings: &JsonValue) -> Result<Job> {
    let key = format!("job[{index}]");
    let Id { id } = settings.read(&key)?;
    let job = settings.read(&key).and_then(|entry: Entry| {
        if is_past(ctx, &entry.trigger) {
            log::warn!("job `{id}`: `{}` has passed, it is not due again", entry.trigger);
        }
        entry.into_job(&key)
    });
    job.map_err(|error| Error::new(format!("{error} (job `{id}`)")))
}

/// Returns whether it is a trigger `at` a time that has passed.
fn is_past(ctx: &Context, trigger: &str) -> bool {
    let at = |text: &str| {
        let local = || {
            let (date, time) = text.split_once('T')?;
            ctx.instant(date.parse().ok()?, time.parse().ok()?).ok()
        };
        text.parse().ok().or_else(local)
    };
    trigger.trim().strip_prefix("at ").and_then(|text| at(text.trim())).is_some_and(|at: Instant| at < ctx.now())
}

impl Entry {
    /// Returns the job of the entry with this key.
    fn into_job(self, key: &str) -> Result<Job> {
        let wrong = |field: &str, why: &str| Err(Error::new(format!("config `{key}.{field}`: {why}")));
        let Self { id, label, trigger, topic, payload, payload_base64, qos, retain, steps, policy } = self;
        let of_message = payload.is_some() || payload_base64.is_some() || qos.is_some() || retain.is_some();
        let messages = match (topic, steps) {
            (Some(topic), None) => {
                let payload = Payload { payload, payload_base64 };
                let messages = Messages::new().publish(topic, payload.bytes(key)?).qos(qos.unwrap_or(1));
                if retain == Some(true) { messages.retain() } else { messages }
            }
            (None, Some(steps)) if !of_message => steps::messages(steps, key)?,
            (Some(_), Some(_)) => return wrong("topic", "there are `steps` too; leave one of them out"),
            (None, Some(_)) => {
                return wrong("steps", "a payload, `qos` and `retain` belong to each step, not beside them");
            }
            (None, None) => return wrong("topic", "it is missing; set it for one message, or `steps` for several"),
        };
        let job = policy.apply(Job::when(id, trigger), &format!("{key}.policy"))?.messages(messages);
        Ok(match label {
            Some(label) => job.label(label),
            None => job,
        })
    }
}

roost_plugin_sdk::export!(Timers);
