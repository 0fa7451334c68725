//! Reads and writes files. The results are the payload of its only job.

use std::fs;

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct WantsFiles {}

impl Device for WantsFiles {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let read = fs::read("/etc/hostname");
        let written = fs::write("/tmp/roost-guest-was-here", "x");
        let listed = fs::read_dir("/").map(Iterator::count);
        let outcome = format!("read {read:?}, written {written:?}, listed {listed:?}");
        Ok(vec![Job::daily("report", "12:00").publish(ctx.topic("report"), outcome)])
    }
}

roost_plugin_sdk::export!(WantsFiles);
