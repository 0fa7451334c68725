//! The policies of jobs.

use roost_plugin_sdk::{Job, JsonValue, Result, Span};
use serde::Deserialize;

use crate::steps::{either, number, text};

/// How a job's runs are treated.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(deserialize_with = "text")]
    grace: Option<Span>,
    #[serde(deserialize_with = "number")]
    grace_ms: Option<Span>,
    #[serde(deserialize_with = "text")]
    jitter: Option<Span>,
    #[serde(deserialize_with = "number")]
    jitter_ms: Option<Span>,
    priority: Option<i8>,
    attempts: Option<u32>,
    #[serde(deserialize_with = "text")]
    give_up_after: Option<Span>,
    #[serde(deserialize_with = "number")]
    give_up_after_ms: Option<Span>,
    #[serde(deserialize_with = "text")]
    backoff: Option<Span>,
    #[serde(deserialize_with = "number")]
    backoff_ms: Option<Span>,
    run_all: bool,
    latest_of_group: Option<String>,
    overlap: Option<Overlap>,
    needs: Option<String>,
}

/// What happens to a run that is due before the previous one has ended; without it, it is skipped.
#[derive(Deserialize)]
#[serde(try_from = "JsonValue")]
enum Overlap {
    Queue(u32),
    Allow(u32),
    Replace,
}

impl TryFrom<JsonValue> for Overlap {
    type Error = String;

    fn try_from(value: JsonValue) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Runs {
            Queue(u32),
            Allow(u32),
        }
        match value.read("overlap") {
            Ok(Runs::Queue(runs)) => Ok(Self::Queue(runs)),
            Ok(Runs::Allow(runs)) => Ok(Self::Allow(runs)),
            Err(_) if value.into_payload() == "replace" => Ok(Self::Replace),
            Err(_) => Err("it is `\"replace\"`, `{ queue = 3 }` or `{ allow = 2 }`, with a number of runs".into()),
        }
    }
}

impl Policy {
    /// Returns the job with this policy, which has the key in the settings.
    pub(crate) fn apply(self, job: Job, key: &str) -> Result<Job> {
        fn with<T>(job: Job, value: Option<T>, set: fn(Job, T) -> Job) -> Job {
            match value {
                Some(value) => set(job, value),
                None => job,
            }
        }
        let mut job = with(job, either(key, "grace", self.grace, self.grace_ms)?, Job::grace);
        job = with(job, either(key, "jitter", self.jitter, self.jitter_ms)?, Job::jitter);
        job = with(job, self.priority, Job::priority);
        job = with(job, self.attempts, Job::attempts);
        job = with(job, either(key, "give_up_after", self.give_up_after, self.give_up_after_ms)?, Job::give_up_after);
        job = with(job, either(key, "backoff", self.backoff, self.backoff_ms)?, Job::backoff);
        job = with(job, self.run_all.then_some(()), |job, ()| job.run_all());
        job = with(job, self.latest_of_group, |job, group| job.latest_of_group(group));
        job = with(job, self.needs, |job, resource| job.needs(resource));
        Ok(with(job, self.overlap, |job, overlap| match overlap {
            Overlap::Queue(runs) => job.queue(runs),
            Overlap::Allow(runs) => job.allow(runs),
            Overlap::Replace => job.replace(),
        }))
    }
}
