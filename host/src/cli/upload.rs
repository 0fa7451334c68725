//! `roost upload`: installs a plugin on a running host, local or remote.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;
use hyper::Method;
use roost_scheduler::{names::PluginName, suggest};

use super::{client::Client, output, plugins::line, progress::show_while};
use crate::{
    config::DataFlags,
    http::{DifferencesRecord, InstalledRecord, TrialRecord},
    report::{Report, in_one_line, printable},
};

const WAIT: &str = "waiting for the host, which tries the plugin";

/// Install or replace a plugin on a running host
///
/// The host first checks the plugin with its settings file there; if it is refused, nothing changes. Set `ROOST_URL` to
/// upload to a remote host.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost upload coop-door.wasm
  roost upload target/wasm32-wasip2/release/coop_door.wasm --as coop-door
  roost upload coop-door.wasm --check")]
pub(super) struct Args {
    /// The component to upload
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The plugin's name on the host [default: the name of the file]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Only check the plugin and show what would change
    #[arg(long)]
    check: bool,
    /// Print an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let name = match args.name {
        Some(name) => name,
        None => args.file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    if let Err(error) = PluginName::parse(&name) {
        let report = Report::new(format!("`{}` is not uploaded", args.file.display())).cause(error);
        return Err(match suggest::plugin_name(&name) {
            Some(name) => report.hint(format!("name it `{name}` with `--as {name}`")),
            None => report.hint("set its name with `--as NAME`"),
        }
        .into());
    }
    let component = fs::read(&args.file)
        .map_err(|error| Report::new(format!("`{}` cannot be read", args.file.display())).cause(error))?;
    let client = Client::new(args.data)?;
    let mut out = output::stdout();
    if args.check {
        let path = format!("/api/v1/check?plugin={name}");
        let trial: TrialRecord = show_while(WAIT, || client.upload(Method::POST, &path, component))?;
        if args.json {
            return line(&mut out, &trial);
        }
        writeln!(out, "{name} can be installed: {}", summary(&trial.jobs))?;
        write_notes(&mut out, &trial)?;
        return Ok(out.write_all(job_changes(&trial.jobs).as_bytes())?);
    }
    let path = format!("/api/v1/plugins/{name}");
    let installed: InstalledRecord = show_while(WAIT, || client.upload(Method::PUT, &path, component))?;
    if args.json {
        return line(&mut out, &installed);
    }
    let change = if installed.new { "is installed" } else { "is replaced" };
    writeln!(out, "{name} {change}: {}", summary(&installed.trial.jobs))?;
    write_notes(&mut out, &installed.trial)?;
    out.write_all(job_changes(&installed.trial.jobs).as_bytes())?;
    Ok(writeln!(output::stderr(), "it starts within seconds: `roost plugins {name}` shows its state")?)
}

/// Writes the notes of the check: what the plugin may publish and read.
fn write_notes(out: &mut impl Write, trial: &TrialRecord) -> io::Result<()> {
    trial.notes.iter().try_for_each(|note| writeln!(out, "  {}", in_one_line(note)))
}

fn summary(jobs: &DifferencesRecord) -> String {
    let DifferencesRecord { new, changed, gone, unchanged, .. } = jobs;
    format!("{new} new, {changed} changed, {gone} gone, {unchanged} unchanged")
}

/// Formats the jobs that are added, changed and removed, one per line.
fn job_changes(jobs: &DifferencesRecord) -> String {
    let mut text = String::new();
    for device in &jobs.devices {
        for (sign, jobs) in [("+", &device.new), ("~", &device.changed), ("-", &device.gone)] {
            for id in &jobs.ids {
                text.push_str(&format!("  {sign} {}/{id}\n", device.device));
            }
            if jobs.count > jobs.ids.len() {
                text.push_str(&format!("  {sign} {} more of {}\n", jobs.count - jobs.ids.len(), device.device));
            }
        }
        if let Some(error) = &device.error {
            let keeps = if device.unchanged.count > 0 { "keeps its plan" } else { "has no plan" };
            text.push_str(&format!("  ! {} {keeps}: {}\n", device.device, printable(error).replace('\n', "\n    ")));
        }
    }
    if jobs.left_out > 0 {
        text.push_str(&format!("  {} more devices\n", jobs.left_out));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_listed_a_job_per_line() {
        let jobs = serde_json::from_value(json!({
            "new": 3, "changed": 0, "gone": 1, "unchanged": 1, "left_out": 2,
            "devices": [{
                "device": "north",
                "new": { "count": 3, "ids": ["a", "b"] },
                "changed": { "count": 0, "ids": [] },
                "gone": { "count": 1, "ids": ["c"] },
                "unchanged": { "count": 1, "ids": ["d"] },
                "error": "no\nplan",
            }, {
                "device": "south",
                "new": { "count": 0, "ids": [] },
                "changed": { "count": 0, "ids": [] },
                "gone": { "count": 0, "ids": [] },
                "unchanged": { "count": 0, "ids": [] },
                "error": "no",
            }],
        }));
        let expected = "  + north/a\n  + north/b\n  + 1 more of north\n  - north/c\n  ! north keeps its plan: no\n    plan\n  ! \
                        south has no plan: no\n  2 more devices\n";
        assert_eq!(job_changes(&jobs.unwrap()), expected);
    }
}
