//! `roost adopt`: puts the plugins of a folder into a running host, or into several that share a database.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use hyper::Method;
use roost_scheduler::names::PluginName;

use super::{client::Client, output, progress::show_while};
use crate::{config::DataFlags, http::InstalledRecord, report::Report};

/// Install the plugins of a folder, with their settings
///
/// Each plugin is checked by the host first, as by `roost upload`. A plugin that is refused changes nothing, and the
/// others are installed; plugins of the host that the folder does not have stay. Hosts that share a database have their
/// plugins in it: this puts them there.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost adopt plugins
  ROOST_URL=http://pump-1.example:8080 roost adopt plugins")]
pub(super) struct Args {
    /// The folder with components and settings files
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Args { folder, data } = args;
    let plugins = list(&folder)?;
    let client = Client::new(data)?;
    // Reported once, and not for each plugin.
    client.exists("/healthz")?;
    let (mut out, mut refused) = (output::stdout(), 0);
    for plugin in &plugins {
        match show_while(&format!("waiting for the host, which tries `{plugin}`"), || adopt(&client, &folder, plugin)) {
            Ok(installed) => {
                let change = if installed.new { "is installed" } else { "is replaced" };
                writeln!(out, "{plugin} {change}: {} jobs", installed.trial.jobs.new + installed.trial.jobs.unchanged)?;
            }
            Err(report) => {
                refused += 1;
                writeln!(output::stderr(), "error: {report}")?;
            }
        }
    }
    if refused > 0 {
        let report = Report::new(format!("{refused} of {} plugins are not installed", plugins.len()));
        return Err(report.hint("mend them, and repeat the command: what is installed already stays").into());
    }
    Ok(())
}

/// Lists the plugins of a folder.
fn list(folder: &Path) -> Result<BTreeSet<PluginName>, Report> {
    let unreadable = |error| {
        let report = Report::new(format!("the folder `{}` cannot be read", folder.display())).cause(error);
        report.hint("name a folder with the files `NAME.wasm`, and `NAME.toml` beside them")
    };
    let mut plugins = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = PluginName::parse(&stem).map_err(|error| {
                Report::new(format!("`{}` is no plugin", path.display())).cause(error).hint("rename the file")
            })?;
            plugins.insert(name);
        }
    }
    if plugins.is_empty() {
        let report = Report::new(format!("the folder `{}` has no plugin", folder.display()));
        return Err(report.hint("name the folder with the files `NAME.wasm`, and `NAME.toml` beside them"));
    }
    Ok(plugins)
}

/// Installs a plugin: its settings first, because the component is tried with them.
fn adopt(client: &Client, folder: &Path, plugin: &PluginName) -> Result<InstalledRecord, Report> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| Report::new(format!("`{}` cannot be read", path.display())).cause(error))
    };
    let (component, settings) = (folder.join(format!("{plugin}.wasm")), folder.join(format!("{plugin}.toml")));
    let component = read(&component)?;
    if settings.exists() {
        let path = format!("/api/v1/plugins/{plugin}/settings");
        client.put_settings(&path, read(&settings)?, client.exists(&path)?)?;
    }
    client.upload(Method::PUT, &format!("/api/v1/plugins/{plugin}"), component)
}
