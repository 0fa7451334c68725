//! Allocates memory without end.

use std::hint::black_box;

use roost_plugin_sdk::{Context, Device, Job, Result};

#[derive(serde::Deserialize)]
struct EatsMemory {}

impl Device for EatsMemory {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        let mut eaten = Vec::new();
        loop {
            eaten.push(black_box(vec![1_u8; 1 << 20]));
        }
    }
}

roost_plugin_sdk::export!(EatsMemory);
