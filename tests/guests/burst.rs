//! Many jobs that are due at once, or evenly spread, for benchmarks.

use roost_plugin_sdk::{Context, Device, Instant, Job, Result, hours, milliseconds};
use serde::Deserialize;

/// Jobs `first` to `first + jobs` of `total`, which all devices share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Burst {
    first: i64,
    jobs: i64,
    total: i64,
    t0_ms: i64,
    spread_ms: i64,
    topic: String,
    /// The offset of the second step, if runs have one.
    then_ms: Option<i64>,
}

impl Device for Burst {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Ok((self.first..self.first + self.jobs).map(|number| self.job(number)).collect())
    }
}

impl Burst {
    fn job(&self, number: i64) -> Job {
        let due_ms = self.t0_ms + self.spread_ms * number / self.total;
        let topic = format!("{}/{}", self.topic, number % 1_000);
        let payload = |due_ms: i64, number: i64| format!("{}:{number}", due_ms * 1_000_000);
        // Late runs are measured, not missed.
        let job = Job::at(format!("job-{number}"), Instant::from_millis(due_ms)).grace(hours(24));
        let job = job.publish(&topic, payload(due_ms, number));
        match self.then_ms {
            Some(then) => job.then(milliseconds(then), topic, payload(due_ms + then, self.total + number)),
            None => job,
        }
    }
}

roost_plugin_sdk::export!(Burst);
