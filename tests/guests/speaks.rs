//! Writes text from its settings in every way that a plugin has: to the log, to standard output and standard error, as
//! an error, as a label.
//!
//! ```toml
//! [config]
//! log = "x\n2027-01-01T00:00:00Z ERROR roost::store: the disk is full"
//! out = "…"      # standard output
//! err = "…"      # standard error
//! fail = "…"     # instead of a plan
//! label = "…"    # of its one job
//! label_bytes = 5_242_880
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the purpose of this guest")]

use roost_plugin_sdk::bindings::{
    exports::roost::device::schedule::{Action, Every, Guest, Job, Trigger},
    roost::device::{
        log::{Level, write},
        types::{Context, Message, Step},
    },
};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    log: Option<String>,
    out: Option<String>,
    err: Option<String>,
    fail: Option<String>,
    label: Option<String>,
    label_bytes: usize,
}

struct Speaks;

impl Guest for Speaks {
    fn schedule_jobs(ctx: Context) -> Result<Vec<Job>, String> {
        let config: Config = serde_json::from_str(&ctx.config).map_err(|error| format!("config: {error}"))?;
        if let Some(line) = &config.log {
            write(Level::Info, line);
        }
        if let Some(text) = &config.out {
            println!("{text}");
        }
        if let Some(text) = &config.err {
            eprintln!("{text}");
        }
        if let Some(text) = config.fail {
            return Err(text);
        }
        let label = if config.label_bytes > 0 { Some("x".repeat(config.label_bytes)) } else { config.label };
        let message = Message {
            topic: format!("{}/said", ctx.plugin),
            payload: Vec::new(),
            qos: 1,
            retain: false,
            properties: None,
        };
        Ok(vec![Job {
            id: "speak".into(),
            label,
            trigger: Trigger::Every(Every { period_ms: 3_600_000, anchor: None }),
            action: Action::Steps(vec![Step { after_ms: 0, message, once: false, confirm: None }]),
            policy: None,
        }])
    }
}

roost_plugin_sdk::bindings::export_component!(Speaks with_types_in roost_plugin_sdk::bindings);
