//! Declares one job more than a plan may have, or the number `jobs` in its settings.

use roost_plugin_sdk::{Context, Device, Job, Result, minutes};
use serde::Deserialize;

#[derive(Deserialize)]
struct TooManyJobs {
    #[serde(default = "one_too_many")]
    jobs: u32,
}

fn one_too_many() -> u32 {
    10_001
}

impl Device for TooManyJobs {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let job = |number| Job::every(format!("job-{number}"), minutes(1)).publish(ctx.topic("x"), "");
        Ok((0..self.jobs).map(job).collect())
    }
}

roost_plugin_sdk::export!(TooManyJobs);
