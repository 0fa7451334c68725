//! Tries to exit its process.
#![allow(clippy::exit, reason = "the purpose of this guest")]

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct Exits {}

impl Device for Exits {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        std::process::exit(3);
    }
}

roost_plugin_sdk::export!(Exits);
