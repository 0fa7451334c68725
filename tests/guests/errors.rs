//! Returns an error instead of a plan.

use roost_plugin_sdk::{Context, Device, Error, Job, Result};

#[derive(serde::Deserialize)]
struct Errors {}

impl Device for Errors {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        Err(Error::new(format!("no tide table for {}, put one into `tides`", ctx.today()?)))
    }
}

roost_plugin_sdk::export!(Errors);
