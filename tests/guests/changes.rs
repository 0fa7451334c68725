//! Plans a different message each day, from the clocks and the random numbers of WASI. On the days in its settings it
//! returns an error.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use roost_plugin_sdk::{Context, Device, Error, Job, Result};

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    /// As in `2027-03-01`.
    not_on: Vec<String>,
}

impl Device for Changes {
    #[allow(clippy::disallowed_methods, reason = "what the host makes of them is the point")]
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let today = ctx.today()?;
        if self.not_on.contains(&today.to_string()) {
            return Err(Error::new(format!("no plan for {today}")));
        }
        let started = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let random = RandomState::new().hash_one("roost");
        let payload = format!("{now} {:?} {random:016x}", started.elapsed());
        Ok(vec![Job::daily("report", "12:00").publish(ctx.topic("report"), payload)])
    }
}

roost_plugin_sdk::export!(Changes);
