//! `roost remove`, `roost rollback` and `roost replan`: commands for an installed plugin.

use std::io::Write;

use anyhow::Result;
use hyper::Method;
use roost_scheduler::names::PluginName;
use serde_json::json;

use super::{client::Client, output, plugins::line};
use crate::{
    config::DataFlags,
    http::{RemovedRecord, RolledBackRecord},
};

/// Remove a plugin
///
/// Deletes the component from the plugin folder; its settings file stays, if it has one. Its jobs are removed 3 seconds later, and the
/// owed messages of its runs are sent.
#[derive(clap::Args)]
pub(super) struct Remove {
    #[command(flatten)]
    target: Target,
}

/// Roll a plugin back to its previous version
///
/// Running it a second time undoes the rollback. If the file in the folder was refused, it is replaced by the version
/// that runs. The settings file is not changed.
#[derive(clap::Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    target: Target,
}

/// Request new plans for all devices of a plugin now, as at midnight
#[derive(clap::Args)]
pub(super) struct Replan {
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
struct Target {
    /// The plugin
    #[arg(value_name = "NAME", value_parser = PluginName::parse)]
    name: PluginName,
    /// Print an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn remove(Remove { target: Target { name, json, data } }: Remove) -> Result<()> {
    let removed: RemovedRecord = Client::new(data)?.send(Method::DELETE, &format!("/api/v1/plugins/{name}"))?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &removed);
    }
    let rest = if removed.settings { ", its settings file stays in the folder" } else { "" };
    Ok(writeln!(out, "{name} is removed: its jobs end in 3 s{rest}")?)
}

pub(super) fn rollback(Rollback { target: Target { name, json, data } }: Rollback) -> Result<()> {
    let path = format!("/api/v1/plugins/{name}/rollback");
    let rolled_back: RolledBackRecord = Client::new(data)?.send(Method::POST, &path)?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &rolled_back);
    }
    let version = rolled_back.component.get(..12).unwrap_or(&rolled_back.component);
    Ok(writeln!(out, "{name} is rolled back to {version}: `roost plugins {name}` shows when it runs")?)
}

pub(super) fn replan(Replan { target: Target { name, json, data } }: Replan) -> Result<()> {
    let (): () = Client::new(data)?.send(Method::POST, &format!("/api/v1/plugins/{name}/replan"))?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &json!({ "plugin": name.as_str() }));
    }
    Ok(writeln!(out, "new plans of {name} are requested")?)
}
