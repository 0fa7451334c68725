//! Writes lines for ever, or `lines` of them; `to` in its settings selects the host's `log` (the default), `stdout` or
//! `stderr`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the purpose of this guest")]

use roost_plugin_sdk::{Context, Device, Job, Result, log};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    #[default]
    Log,
    Stdout,
    Stderr,
}

#[derive(Deserialize)]
struct LogSpam {
    #[serde(default)]
    to: To,
    lines: Option<u64>,
}

impl Device for LogSpam {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let line = "spam ".repeat(2_000);
        for number in 0..self.lines.unwrap_or(u64::MAX) {
            match self.to {
                To::Log => log::info!("{number} {line}"),
                To::Stdout => println!("{number} {line}"),
                To::Stderr => eprintln!("{number} {line}"),
            }
        }
        Ok(vec![Job::daily("done", "12:00").publish(ctx.topic("done"), "")])
    }
}

roost_plugin_sdk::export!(LogSpam);
