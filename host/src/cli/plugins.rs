//! `roost plugins`: what is loaded.

use std::io::{self, Write};

use anyhow::Result;
use roost_scheduler::names::PluginName;

use super::{
    client::Client,
    table::{local, table},
};
use crate::{
    config::DataFlags,
    http::{DeviceRecord, PluginRecord},
    report::in_one_line,
};

/// Show the plugins that are loaded, or the devices of one
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost plugins
  roost plugins coop-door
  roost plugins --json")]
pub(super) struct Args {
    /// Show its devices
    #[arg(value_name = "NAME", value_parser = PluginName::parse)]
    name: Option<PluginName>,
    /// Write an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let client = Client::new(args.data)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let Some(name) = args.name else {
        let mut rows = Vec::new();
        client.list("/api/v1/plugins", &[], usize::MAX, |plugin: PluginRecord| {
            if args.json {
                return line(&mut out, &plugin);
            }
            rows.push(of_plugin(&plugin));
            Ok(())
        })?;
        if rows.is_empty() && !args.json {
            writeln!(io::stderr(), "no plugin is loaded")?;
        }
        let head = ["PLUGIN", "DEVICES", "JOBS", "VERSION", "PUBLISHES"];
        return Ok(out.write_all(table(head, &rows).as_bytes()).and_then(|()| out.flush())?);
    };
    let plugin: PluginRecord = client.get(&format!("/api/v1/plugins/{name}"))?;
    if args.json {
        line(&mut out, &plugin)?;
        return Ok(out.flush()?);
    }
    let mut rows = Vec::new();
    client.list("/api/v1/devices", &[("plugin", name.to_string())], usize::MAX, |device: DeviceRecord| {
        rows.push(of_device(&device));
        Ok(())
    })?;
    let head = ["DEVICE", "JOBS", "TIME ZONE", "NEXT PLAN", "FAULT"];
    out.write_all(table(head, &rows).as_bytes())?;
    Ok(out.flush()?)
}

/// For programs.
pub(super) fn line(out: &mut impl Write, record: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, record).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

fn of_plugin(plugin: &PluginRecord) -> [String; 5] {
    let version = plugin.component.as_deref().map_or("?", |digest| digest.get(..12).unwrap_or(digest));
    [
        plugin.plugin.clone(),
        plugin.devices.to_string(),
        plugin.jobs.to_string(),
        version.to_owned(),
        in_one_line(&plugin.grant.publish.join(" ")),
    ]
}

fn of_device(device: &DeviceRecord) -> [String; 5] {
    let plan = match (&device.replan_at, device.planning) {
        (_, true) => "now".into(),
        (Some(at), false) => local(at),
        (None, false) => "none".into(),
    };
    [
        device.device.clone(),
        device.jobs.to_string(),
        device.time_zone.clone(),
        plan,
        device.error.as_deref().map(in_one_line).unwrap_or_default(),
    ]
}
