//! Never returns. `how` in its settings: it spins (the default), fills memory for ever, or calls the host for ever.

use std::hint::black_box;

use roost_plugin_sdk::{Context, Device, Job, Result};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    #[default]
    Spin,
    Fill,
    Call,
}

#[derive(Deserialize)]
struct Loops {
    #[serde(default)]
    how: How,
}

impl Device for Loops {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let mut memory = vec![0_u8; 16 << 20];
        loop {
            match self.how {
                How::Spin => {
                    black_box(());
                }
                How::Fill => black_box(&mut memory).fill(1),
                How::Call => {
                    black_box(ctx.today()?);
                }
            }
        }
    }
}

roost_plugin_sdk::export!(Loops);
