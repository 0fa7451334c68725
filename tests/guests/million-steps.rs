//! One job with a million steps.

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{Action, Every, Guest, Job, Trigger},
    roost::device::types::{Context, Message, Step},
};

struct MillionSteps;

impl Guest for MillionSteps {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let topic = format!("{}/x", ctx.plugin);
        let message = Message { topic, payload: Vec::new(), qos: 0, retain: false, properties: None };
        let steps = vec![Step { after_ms: 0, message, once: false, confirm: None }; 1_000_000];
        let trigger = Trigger::Every(Every { period_ms: 60_000, anchor: None });
        Ok(vec![Job { id: "long".into(), label: None, trigger, action: Action::Steps(steps), policy: None }])
    }
}

roost_plugin_sdk::bindings::export_component!(MillionSteps with_types_in roost_plugin_sdk::bindings);
