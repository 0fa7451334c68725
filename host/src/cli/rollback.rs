//! `roost remove`, `roost rollback` and `roost replan`: what is done with a plugin that is there.

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

/// Take a plugin out of the folder
///
/// Its jobs are gone 3 seconds later; what its runs owe is sent. Its settings stay in the folder.
#[derive(clap::Args)]
pub(super) struct Remove {
    #[command(flatten)]
    which: Which,
}

/// Undo the last change of a plugin's file
///
/// What ran before runs again; once more, and it goes forward again. Where the file in the folder is not what runs, for it was
/// refused, what runs takes its place. Settings stay as they are.
#[derive(clap::Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    which: Which,
}

/// Ask all devices of a plugin for their plans now, as at midnight
#[derive(clap::Args)]
pub(super) struct Replan {
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
struct Which {
    /// The plugin
    #[arg(value_name = "NAME", value_parser = PluginName::parse)]
    name: PluginName,
    /// Write an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn remove(Remove { which: Which { name, json, data } }: Remove) -> Result<()> {
    let removed: RemovedRecord = Client::new(data)?.order(Method::DELETE, &format!("/api/v1/plugins/{name}"))?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &removed);
    }
    Ok(writeln!(out, "{name} removed: its jobs are gone in 3 s, its settings stay in the folder")?)
}

pub(super) fn rollback(Rollback { which: Which { name, json, data } }: Rollback) -> Result<()> {
    let path = format!("/api/v1/plugins/{name}/rollback");
    let back: RolledBackRecord = Client::new(data)?.order(Method::POST, &path)?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &back);
    }
    let version = back.component.get(..12).unwrap_or(&back.component);
    Ok(writeln!(out, "{name} goes back to {version}: `roost plugins {name}` shows when that runs")?)
}

pub(super) fn replan(Replan { which: Which { name, json, data } }: Replan) -> Result<()> {
    let (): () = Client::new(data)?.order(Method::POST, &format!("/api/v1/plugins/{name}/replan"))?;
    let mut out = output::stdout();
    if json {
        return line(&mut out, &json!({ "plugin": name.as_str() }));
    }
    Ok(writeln!(out, "{name} is being asked for its plans")?)
}
