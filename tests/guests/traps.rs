//! Panics, with a message on standard error.

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct Traps {}

impl Device for Traps {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        panic!("the door is jammed");
    }
}

roost_plugin_sdk::export!(Traps);
