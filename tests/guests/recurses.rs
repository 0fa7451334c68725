//! Calls itself until the stack is full.

use roost_plugin_sdk::{Context, Device, Job, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recurses {}

fn deeper(level: u64) -> u64 {
    std::hint::black_box(if level == 0 { 0 } else { deeper(std::hint::black_box(level + 1)) + level })
}

impl Device for Recurses {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Err(std::io::Error::other(format!("there was an end after {}", deeper(1))).into())
    }
}

roost_plugin_sdk::export!(Recurses);
