//! `roost plugins`: the plugins and their states.

mod detail;

use std::io::{self, Write};

use anyhow::Result;
use roost_scheduler::names::PluginName;

use super::{
    client::Client,
    output,
    table::{local, table},
};
use crate::{
    clock,
    config::DataFlags,
    http::{DeviceRecord, PluginRecord},
    report::in_one_line,
    terminal,
};

/// List plugins, or show one in detail
///
/// STATE is `running`; `outdated` if the newest files were refused and the previous version runs; `refused` if no
/// version runs for that reason; `loading` if no version runs yet; or `removed` if the file is gone. PLAN is the
/// longest time that a plan took, MEMORY the most memory that a call used.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost plugins
  roost plugins coop-door
  roost plugins --json")]
pub(super) struct Args {
    /// The plugin to show in detail
    #[arg(value_name = "NAME", value_parser = PluginName::parse)]
    name: Option<PluginName>,
    /// Print an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let client = Client::new(args.data)?;
    let mut out = io::BufWriter::new(output::stdout());
    let Some(name) = args.name else {
        let mut rows = Vec::new();
        client.list("/api/v1/plugins", &[], usize::MAX, |plugin: PluginRecord| {
            if args.json {
                return line(&mut out, &plugin);
            }
            rows.push(row(&plugin));
            Ok(())
        })?;
        if rows.is_empty() && !args.json {
            writeln!(output::stderr(), "no plugins found")?;
        }
        let head = ["PLUGIN", "STATE", "DEVICES", "JOBS", "PLAN", "MEMORY", "ERROR"];
        return Ok(out
            .write_all(table(head, &rows, terminal::stdout_columns()).as_bytes())
            .and_then(|()| out.flush())?);
    };
    let plugin: PluginRecord = client.get(&format!("/api/v1/plugins/{name}"))?;
    if args.json {
        line(&mut out, &plugin)?;
        return Ok(out.flush()?);
    }
    let mut devices = Vec::new();
    client.list("/api/v1/devices", &[("plugin", name.to_string())], usize::MAX, |device: DeviceRecord| {
        devices.push(device);
        Ok(())
    })?;
    out.write_all(detail::describe(&plugin, &devices, terminal::stdout_columns()).as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a record as a line of JSON.
pub(super) fn line(out: &mut impl Write, record: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, record).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

fn row(plugin: &PluginRecord) -> [String; 7] {
    let usage = plugin.used.as_ref();
    let plan = usage.and_then(|usage| usage.longest_plan_ms).map(|ms| format!("{ms} ms")).unwrap_or_default();
    let memory = usage.filter(|usage| usage.calls > 0).map(|usage| memory(usage.memory_bytes)).unwrap_or_default();
    [
        plugin.plugin.clone(),
        state(plugin),
        plugin.devices.to_string(),
        plugin.jobs.to_string(),
        plan,
        memory,
        fault(plugin),
    ]
}

/// Returns the plugin's error in one line, or an empty string.
fn fault(plugin: &PluginRecord) -> String {
    match (&plugin.error, plugin.faults) {
        // The last cause is the root cause.
        (Some(error), _) => in_one_line(&error.causes.last().unwrap_or(&error.what).replace('\n', "; ")),
        (None, 0) => String::new(),
        (None, faults) => {
            let plans = if faults == 1 {
                "the plan of 1 device was".into()
            } else {
                format!("the plans of {faults} devices were")
            };
            format!("{plans} refused: see `roost plugins {}`", plugin.plugin)
        }
    }
}

fn state(plugin: &PluginRecord) -> String {
    let own = plugin.pause.as_ref().filter(|pause| pause.by == "plugin");
    match own {
        Some(pause) => format!("{}, {}", plugin.state, pause.in_words(clock::now(), local).0),
        None if plugin.paused => format!("{}, paused", plugin.state),
        None => plugin.state.clone(),
    }
}

/// Formats a size, such as `3.1 MiB`.
#[allow(clippy::cast_precision_loss, reason = "it is shown with one digit")]
fn memory(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
