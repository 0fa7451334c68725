//! One job of each kind, for the soak test, which knows them by their names (`tests/soak/load.rs`).

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{Action, Every, Guest, Job, Misfire, Overlap, Policy, Trigger},
    roost::device::types::{Context, Message, Step},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How much later than a whole second the device's jobs are due.
    offset_ms: i64,
    /// The number of jobs of the simplest kind.
    ticks: u32,
}

/// A grace that is longer than any pause between two hosts.
const GRACE_MS: u32 = 600_000;

struct Soak;

impl Guest for Soak {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let Config { offset_ms, ticks } = serde_json::from_str(&ctx.config).map_err(|error| error.to_string())?;
        let job = |id: &str, period_ms, shift_ms, policy, steps: &[(u32, &str)]| {
            let topic = format!("{}/{}/{id}", ctx.plugin, ctx.device);
            let anchor = Some(offset_ms + shift_ms);
            Job {
                id: id.into(),
                label: None,
                trigger: Trigger::Every(Every { period_ms, anchor }),
                action: Action::Steps(steps.iter().map(|(after_ms, word)| step(&topic, *after_ms, word)).collect()),
                policy: Some(policy),
            }
        };
        let mut jobs: Vec<Job> =
            (0..ticks).map(|number| job(&format!("tick-{number}"), 1_000, 0, all(), &[(0, "tick")])).collect();
        let pump = Policy { needs: Some("pump".into()), ..all() };
        let short_queue = Policy { overlap: Some(Overlap::Queue(2)), ..default() };
        let group = |name: &str| Policy { misfire: Some(Misfire::LatestOfGroup(name.into())), ..default() };
        jobs.extend([
            job("valve", 2_000, 0, all(), &[(0, "on"), (400, "off")]),
            job("feed", 1_000, 0, all(), &[(0, "once")]),
            job("dose", 2_000, 0, all(), &[(0, "ready"), (300, "once")]),
            job("pump", 2_000, 0, pump, &[(0, "on"), (100, "off")]),
            job("queue", 1_000, 0, short_queue, &[(0, "on"), (700, "off")]),
            job("open", 2_000, 0, group("door"), &[(0, "open"), (300, "stop")]),
            job("close", 2_000, 1_000, group("door"), &[(0, "close")]),
            // It is cut short at about the time at which its second step is armed.
            job("raise", 2_000, 0, group("lid"), &[(0, "raise"), (985, "once")]),
            job("lower", 2_000, 1_000, group("lid"), &[(0, "lower")]),
        ]);
        Ok(jobs)
    }
}

/// Makes a step from its payload; the word `once` also marks the step so.
fn step(topic: &str, after_ms: u32, word: &str) -> Step {
    let payload = word.as_bytes().to_vec();
    let message = Message { topic: topic.into(), payload, qos: 1, retain: false, properties: None };
    Step { after_ms, message, once: word == "once", confirm: None }
}

fn default() -> Policy {
    Policy { misfire: None, grace_ms: None, overlap: None, jitter_ms: None, priority: None, retry: None, needs: None }
}

/// Every occurrence runs.
fn all() -> Policy {
    let (misfire, overlap) = (Some(Misfire::RunAll), Some(Overlap::Queue(1_000)));
    Policy { misfire, overlap, grace_ms: Some(GRACE_MS), ..default() }
}

roost_plugin_sdk::bindings::export_component!(Soak with_types_in roost_plugin_sdk::bindings);
