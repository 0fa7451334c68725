//! One good job and one that breaks a rule, which `break` in the settings names.

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{
        Action, Cron, Every, Guest, Job, Misfire, Overlap, Policy, Retry, Sun, Trigger,
    },
    roost::device::types::{
        Confirm, Context, JsonRange, JsonValue, Matches, Message, MessageProperties, Step, SunEvent, Task, Time,
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "break")]
    rule: String,
}

struct BadJobs;

impl Guest for BadJobs {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let config: Config = serde_json::from_str(&ctx.config).map_err(|error| error.to_string())?;
        let good = job("good", &ctx);
        let mut bad = job("bad", &ctx);
        break_rule(&mut bad, &config.rule)?;
        Ok(vec![good, bad])
    }
}

fn job(id: &str, ctx: &Context) -> Job {
    let topic = format!("{}/{}/{id}", ctx.plugin, ctx.device);
    let message = Message { topic, payload: b"x".to_vec(), qos: 1, retain: false, properties: None };
    Job {
        id: id.into(),
        label: None,
        trigger: Trigger::Every(Every { period_ms: 60_000, anchor: None }),
        action: Action::Steps(vec![Step { after_ms: 0, message, once: false, confirm: None }]),
        policy: None,
    }
}

fn break_rule(job: &mut Job, rule: &str) -> Result<(), String> {
    let whole = of_the_job(job, rule) || of_the_trigger(job, rule) || of_the_policy(job, rule);
    let Action::Steps(steps) = &mut job.action else { return Ok(()) };
    if rule == "put-off-for-ever" {
        steps.push(Step { after_ms: 120_000, ..steps[0].clone() });
        job.policy = Some(Policy { overlap: Some(Overlap::Replace), ..no_policy() });
        return Ok(());
    }
    if whole || of_the_steps(steps, rule) {
        return Ok(());
    }
    Err(format!("there is no rule `{rule}` to break"))
}

fn of_the_job(job: &mut Job, rule: &str) -> bool {
    match rule {
        "duplicate-id" => job.id = "good".into(),
        "empty-id" => job.id = String::new(),
        "id-with-slash" => job.id = "a/b".into(),
        "long-id" => job.id = "x".repeat(65),
        "task" => job.action = Action::Task(Task { name: "water".into(), args: "null".into() }),
        "no-steps" => job.action = Action::Steps(vec![]),
        _ => return false,
    }
    true
}

fn of_the_trigger(job: &mut Job, rule: &str) -> bool {
    let cron = |expression: &str, zone: Option<&str>| {
        Trigger::Cron(Cron {
            expression: expression.into(),
            time_zone: zone.map(Into::into),
            days: None,
            finish: false,
        })
    };
    let sun = |offset_ms, not_before, not_after| {
        Trigger::Sun(Sun {
            event: SunEvent::Sunrise,
            offset_ms,
            not_before,
            not_after,
            otherwise: None,
            days: None,
            finish: false,
        })
    };
    let time = |hour| Some(Time { hour, minute: 0, second: 0 });
    job.trigger = match rule {
        "at-before-1970" => Trigger::At(-1),
        "at-after-9999" => Trigger::At(i64::MAX),
        "short-period" => Trigger::Every(Every { period_ms: 999, anchor: None }),
        "anchor-before-1970" => Trigger::Every(Every { period_ms: 60_000, anchor: Some(-1) }),
        "bad-cron" => cron("61 * * * *", None),
        "never-cron" => cron("0 0 31 2 *", None),
        "reboot-cron" => cron("@reboot", None),
        "bad-time-zone" => cron("0 6 * * *", Some("Europe/Lundon")),
        "sun" => sun(0, None, None),
        "far-offset" => sun(43_200_001, None, None),
        "bad-time" => sun(0, time(24), None),
        "not-after-before-not-before" => sun(0, time(8), time(7)),
        _ => return false,
    };
    true
}

fn no_policy() -> Policy {
    Policy { misfire: None, grace_ms: None, overlap: None, jitter_ms: None, priority: None, retry: None, needs: None }
}

fn of_the_policy(job: &mut Job, rule: &str) -> bool {
    let retry = Retry { attempts: None, give_up_after_ms: None, backoff_ms: None };
    let mut policy = no_policy();
    match rule {
        "bad-group" => policy.misfire = Some(Misfire::LatestOfGroup("a door".into())),
        "group-in-a-queue" => {
            policy.misfire = Some(Misfire::LatestOfGroup("door".into()));
            policy.overlap = Some(Overlap::Queue(1));
        }
        "queue-of-none" => policy.overlap = Some(Overlap::Queue(0)),
        "allow-one" => policy.overlap = Some(Overlap::Allow(1)),
        "unknown-resource" => policy.needs = Some("no-such-pump".into()),
        "short-grace" => policy.grace_ms = Some(999),
        "jitter-over-period" => policy.jitter_ms = Some(60_000),
        "no-attempts" => policy.retry = Some(Retry { attempts: Some(0), ..retry }),
        "short-backoff" => policy.retry = Some(Retry { backoff_ms: Some(99), ..retry }),
        _ => return false,
    }
    job.policy = Some(policy);
    true
}

fn of_the_steps(steps: &mut Vec<Step>, rule: &str) -> bool {
    let Some(step) = steps.first_mut() else { return false };
    let message = &mut step.message;
    let properties = MessageProperties { expiry_ms: None, content_type: None, response_topic: None, user: None };
    let (own, pointer) = (message.topic.clone(), "/state".to_owned());
    match rule {
        "ungranted-topic" => message.topic = "neighbour/door".into(),
        "wildcard-topic" => message.topic.push_str("/#"),
        "empty-topic" => message.topic = String::new(),
        "dollar-topic" => message.topic = "$SYS/broker".into(),
        "long-topic" => message.topic.push_str(&"x".repeat(1_024)),
        "big-payload" => message.payload = vec![b'x'; 256 * 1024 + 1],
        "bad-qos" => message.qos = 3,
        "zero-expiry" => message.properties = Some(MessageProperties { expiry_ms: Some(0), ..properties }),
        "bad-response-topic" => {
            message.properties = Some(MessageProperties { response_topic: Some("a/+".into()), ..properties });
        }
        "roost-property" => {
            let user = Some(vec![("roost-run".into(), "1".into())]);
            message.properties = Some(MessageProperties { user, ..properties });
        }
        "many-properties" => {
            let user = Some(vec![("a".into(), "1".into()); 17]);
            message.properties = Some(MessageProperties { user, ..properties });
        }
        "ungranted-report" => confirm(step, "neighbour/door", Matches::Any, 1_000),
        "impatient" => confirm(step, &own, Matches::Any, 0),
        "bad-json" => confirm(step, &own, Matches::Json(JsonValue { pointer, value: "open".into() }), 1_000),
        "bad-range" => confirm(step, &own, Matches::JsonRange(JsonRange { pointer, min: 2.0, max: 1.0 }), 1_000),
        "nan-range" => {
            confirm(step, &own, Matches::JsonRange(JsonRange { pointer, min: f64::NAN, max: f64::NAN }), 1_000);
        }
        "many-steps" => *steps = vec![step.clone(); 101],
        "backward-steps" => {
            let mut earlier = step.clone();
            earlier.after_ms = 1_000;
            steps.insert(0, earlier);
        }
        _ => return false,
    }
    true
}

fn confirm(step: &mut Step, topic: &str, matches: Matches, within_ms: u32) {
    step.confirm = Some(Confirm { topic: topic.into(), matches, within_ms, already: false });
}

roost_plugin_sdk::bindings::export_component!(BadJobs with_types_in roost_plugin_sdk::bindings);
