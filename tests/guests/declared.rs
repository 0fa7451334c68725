//! Declares the jobs in its settings, in the contract's own terms, valid or not, so that a test can have any job.
//!
//! ```toml
//! [[device.config.jobs]]
//! id = "water"
//! trigger = { every_ms = 60_000 }   # or at_ms, in_ms (after the call), cron (with time_zone), sun (with offset_ms, …)
//! steps = [
//!     { topic = "declared/lawn/valve/set", payload = "ON" },
//!     { topic = "declared/lawn/valve/set", payload = "OFF", after_ms = 600_000, qos = 2, retain = true },
//!     { topic = "declared/lawn/valve/set", confirm = { topic = "declared/lawn/state", bytes = "off", within_ms = 500 } },
//! ]
//! # instead of steps, the result of the task `reply` when the job is due; with `error`, or `replan` and `note`
//! # reply = { steps = [{ topic = "declared/lawn/valve/set" }], note = "it is dry" }
//! # or any task: task = "no-such-task"
//! policy = { grace_ms = 60_000, overlap = "replace", misfire = { latest-of-group = "lawn" } }
//! ```

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{
        Action, Cron, Every, Guest, Job, Misfire, Overlap, Policy, Retry, Sun, Trigger,
    },
    roost::device::types::{
        Confirm, Context, JsonRange, JsonValue, Matches, Message, MessageProperties, Reply, Step, SunEvent, Task, Time,
    },
    with_tasks::exports::roost::device::tasks::{self, TaskDescription},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    jobs: Vec<JobConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobConfig {
    id: String,
    label: Option<String>,
    trigger: TriggerConfig,
    #[serde(default)]
    steps: Vec<StepConfig>,
    /// Instead of steps: the arguments of the task `reply`.
    reply: Option<serde_json::Value>,
    /// Instead of steps.
    task: Option<String>,
    policy: Option<PolicyConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TriggerConfig {
    at_ms: Option<i64>,
    in_ms: Option<i64>,
    every_ms: Option<u32>,
    anchor_ms: Option<i64>,
    cron: Option<String>,
    time_zone: Option<String>,
    sun: Option<roost_plugin_sdk::SunEvent>,
    /// As users write it.
    when: Option<String>,
    offset_ms: i32,
    not_before: Option<roost_plugin_sdk::Time>,
    not_after: Option<roost_plugin_sdk::Time>,
    otherwise: Option<roost_plugin_sdk::Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepConfig {
    topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    after_ms: u32,
    #[serde(default = "at_least_once")]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    once: bool,
    confirm: Option<ConfirmConfig>,
    expiry_ms: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    user: Option<Vec<(String, String)>>,
}

/// The condition on a report; without one, every report counts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmConfig {
    topic: String,
    bytes: Option<String>,
    /// A JSON pointer; it goes with `value` (JSON text), or with `min` and `max`.
    pointer: Option<String>,
    value: Option<String>,
    #[serde(default)]
    min: f64,
    #[serde(default)]
    max: f64,
    within_ms: u32,
    #[serde(default)]
    already: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyConfig {
    misfire: Option<MisfireConfig>,
    grace_ms: Option<u32>,
    overlap: Option<OverlapConfig>,
    jitter_ms: Option<u32>,
    priority: Option<i8>,
    attempts: Option<u32>,
    give_up_after_ms: Option<u32>,
    backoff_ms: Option<u32>,
    needs: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MisfireConfig {
    RunOnce,
    RunAll,
    LatestOfGroup(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OverlapConfig {
    Skip,
    Queue(u32),
    Allow(u32),
    Replace,
}

fn at_least_once() -> u8 {
    1
}

/// The result of a task.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReplyConfig {
    error: Option<String>,
    steps: Vec<StepConfig>,
    replan: bool,
    note: Option<String>,
}

struct Declared;

impl tasks::Guest for Declared {
    fn list_tasks() -> Vec<TaskDescription> {
        let summary = "Publish what the arguments say".into();
        vec![TaskDescription { name: "reply".into(), summary, args_schema: Some(r#"{ "type": "object" }"#.into()) }]
    }

    fn run_task(_: Context, task: Task, _: i64) -> Result<Reply, String> {
        let reply: ReplyConfig = serde_json::from_str(&task.args).map_err(|error| error.to_string())?;
        let ReplyConfig { error, steps, replan, note } = reply;
        let steps = steps.into_iter().map(StepConfig::declare).collect();
        error.map_or(Ok(Reply { steps, replan, note }), Err)
    }
}

impl Guest for Declared {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let config: Config = serde_json::from_str(&ctx.config).map_err(|error| error.to_string())?;
        config.jobs.into_iter().map(|job| job.declare(ctx.now)).collect()
    }
}

impl JobConfig {
    fn declare(self, now: i64) -> Result<Job, String> {
        let trigger = self.trigger.declare(now).ok_or(format!("job `{}` has no trigger", self.id))?;
        let steps = self.steps.into_iter().map(StepConfig::declare).collect();
        let action = match (self.reply, self.task) {
            (Some(reply), _) => Action::Task(Task { name: "reply".into(), args: reply.to_string() }),
            (None, Some(name)) => Action::Task(Task { name, args: "null".into() }),
            (None, None) => Action::Steps(steps),
        };
        Ok(Job { id: self.id, label: self.label, trigger, action, policy: self.policy.map(PolicyConfig::declare) })
    }
}

impl TriggerConfig {
    fn declare(self, now: i64) -> Option<Trigger> {
        let at = self.at_ms.or(self.in_ms.map(|wait| now + wait)).map(Trigger::At);
        let every = self.every_ms.map(|period_ms| Trigger::Every(Every { period_ms, anchor: self.anchor_ms }));
        let cron = self
            .cron
            .map(|expression| Trigger::Cron(Cron { expression, time_zone: self.time_zone, days: None, finish: false }));
        let sun = self.sun.map(|event| {
            Trigger::Sun(Sun {
                event: SunEvent::from(event),
                offset_ms: self.offset_ms,
                not_before: self.not_before.map(Time::from),
                not_after: self.not_after.map(Time::from),
                otherwise: self.otherwise.map(Time::from),
                days: None,
                finish: false,
            })
        });
        at.or(every).or(cron).or(sun).or(self.when.map(Trigger::Text))
    }
}

impl StepConfig {
    fn declare(self) -> Step {
        let properties = MessageProperties {
            expiry_ms: self.expiry_ms,
            content_type: self.content_type,
            response_topic: self.response_topic,
            user: self.user,
        };
        let message = Message {
            topic: self.topic,
            payload: self.payload.into(),
            qos: self.qos,
            retain: self.retain,
            properties: Some(properties),
        };
        let confirm = self.confirm.map(ConfirmConfig::declare);
        Step { after_ms: self.after_ms, message, once: self.once, confirm }
    }
}

impl ConfirmConfig {
    fn declare(self) -> Confirm {
        let matches = match (self.bytes, self.pointer, self.value) {
            (Some(bytes), ..) => Matches::Bytes(bytes.into()),
            (None, Some(pointer), Some(value)) => Matches::Json(JsonValue { pointer, value }),
            (None, Some(pointer), None) => Matches::JsonRange(JsonRange { pointer, min: self.min, max: self.max }),
            (None, None, _) => Matches::Any,
        };
        Confirm { topic: self.topic, matches, within_ms: self.within_ms, already: self.already }
    }
}

impl PolicyConfig {
    fn declare(self) -> Policy {
        let retry =
            Retry { attempts: self.attempts, give_up_after_ms: self.give_up_after_ms, backoff_ms: self.backoff_ms };
        Policy {
            misfire: self.misfire.map(|misfire| match misfire {
                MisfireConfig::RunOnce => Misfire::RunOnce,
                MisfireConfig::RunAll => Misfire::RunAll,
                MisfireConfig::LatestOfGroup(group) => Misfire::LatestOfGroup(group),
            }),
            grace_ms: self.grace_ms,
            overlap: self.overlap.map(|overlap| match overlap {
                OverlapConfig::Skip => Overlap::Skip,
                OverlapConfig::Queue(runs) => Overlap::Queue(runs),
                OverlapConfig::Allow(runs) => Overlap::Allow(runs),
                OverlapConfig::Replace => Overlap::Replace,
            }),
            jitter_ms: self.jitter_ms,
            priority: self.priority,
            retry: Some(retry),
            needs: self.needs,
        }
    }
}

roost_plugin_sdk::bindings::export_component!(Declared with_types_in roost_plugin_sdk::bindings);
roost_plugin_sdk::bindings::with_tasks::export_tasks!(Declared with_types_in roost_plugin_sdk::bindings::with_tasks);
