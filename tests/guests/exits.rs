//! Ends the program it is not.
#![allow(clippy::exit, reason = "what it is for")]

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct Exits {}

impl Device for Exits {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        std::process::exit(3);
    }
}

roost_plugin_sdk::export!(Exits);
