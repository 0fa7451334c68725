//! As many jobs as a plan may have, all due every second.

use roost_plugin_sdk::{Context, Device, Job, Result, seconds};
use serde::Deserialize;

#[derive(Deserialize)]
struct EachSecond {}

impl Device for EachSecond {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let job = |number| Job::every(format!("job-{number}"), seconds(1)).publish(ctx.topic("x"), "");
        Ok((0..10_000).map(job).collect())
    }
}

roost_plugin_sdk::export!(EachSecond);
