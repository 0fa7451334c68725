//! A job that is due at the moment of the call, for benchmarks.

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct AtOnce {}

impl Device for AtOnce {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let now = ctx.now();
        Ok(vec![Job::at("now", now).publish(ctx.topic("now"), format!("{}:0", now.millis() * 1_000_000))])
    }
}

roost_plugin_sdk::export!(AtOnce);
