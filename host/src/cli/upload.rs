//! `roost upload`: a plugin's file into the folder of a host that runs, wherever that is.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;
use hyper::Method;

use super::{client::Client, output, plugins::line};
use crate::{
    config::DataFlags,
    http::{DifferencesRecord, InstalledRecord, TrialRecord},
    report::{Report, in_one_line, printable},
};

/// Install a plugin, or replace it, in a Roost that runs
///
/// It is tried there first, with the settings that lie beside it there: if it would be refused, nothing changes. With
/// `ROOST_URL` it goes to a Roost elsewhere.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost upload coop-door.wasm
  roost upload target/wasm32-wasip2/release/coop_door.wasm --as coop-door
  roost upload coop-door.wasm --check")]
pub(super) struct Args {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// What it is called there, instead of what the file is called
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Only try it, and say what it would change
    #[arg(long)]
    check: bool,
    /// Write an object
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
    if let Err(error) = roost_scheduler::names::PluginName::parse(&name) {
        let report = Report::new(format!("`{}` is not uploaded", args.file.display())).cause(error);
        return Err(match crate::plugins::plugin_like(&name) {
            Some(name) => report.hint(format!("call it `{name}` with `--as {name}`")),
            None => report.hint("say what it is to be called with `--as NAME`"),
        }
        .into());
    }
    let component = fs::read(&args.file)
        .map_err(|error| Report::new(format!("`{}` cannot be read", args.file.display())).cause(error))?;
    let client = Client::new(args.data)?;
    let mut out = output::stdout();
    if args.check {
        let trial: TrialRecord = client.upload(Method::POST, &format!("/api/v1/check?plugin={name}"), component)?;
        if args.json {
            return line(&mut out, &trial);
        }
        writeln!(out, "{name} would be taken: {}", counted(&trial.jobs))?;
        write_notes(&mut out, &trial)?;
        return Ok(out.write_all(told(&trial.jobs).as_bytes())?);
    }
    let done: InstalledRecord = client.upload(Method::PUT, &format!("/api/v1/plugins/{name}"), component)?;
    if args.json {
        return line(&mut out, &done);
    }
    let how = if done.new { "is installed" } else { "is replaced" };
    writeln!(out, "{name} {how}: {}", counted(&done.trial.jobs))?;
    write_notes(&mut out, &done.trial)?;
    out.write_all(told(&done.trial.jobs).as_bytes())?;
    Ok(writeln!(output::stderr(), "it runs in a moment: `roost plugins {name}` shows it")?)
}

/// What it may publish and read.
fn write_notes(out: &mut impl Write, trial: &TrialRecord) -> io::Result<()> {
    trial.notes.iter().try_for_each(|note| writeln!(out, "  {}", in_one_line(note)))
}

fn counted(jobs: &DifferencesRecord) -> String {
    let DifferencesRecord { new, changed, gone, unchanged, .. } = jobs;
    format!("{new} new, {changed} changed, {gone} gone, {unchanged} unchanged")
}

/// What changes, a job per line.
fn told(jobs: &DifferencesRecord) -> String {
    let mut text = String::new();
    for device in &jobs.devices {
        for (sign, some) in [("+", &device.new), ("~", &device.changed), ("-", &device.gone)] {
            for id in &some.ids {
                text.push_str(&format!("  {sign} {}/{id}\n", device.device));
            }
            if some.count > some.ids.len() {
                text.push_str(&format!("  {sign} {} more of {}\n", some.count - some.ids.len(), device.device));
            }
        }
        if let Some(error) = &device.error {
            text.push_str(&format!(
                "  ! {} keeps its plan: {}\n",
                device.device,
                printable(error).replace('\n', "\n    ")
            ));
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
    fn what_changes_is_told_a_job_per_line() {
        let jobs = serde_json::from_value(json!({
            "new": 3, "changed": 0, "gone": 1, "unchanged": 1, "left_out": 2,
            "devices": [{
                "device": "north",
                "new": { "count": 3, "ids": ["a", "b"] },
                "changed": { "count": 0, "ids": [] },
                "gone": { "count": 1, "ids": ["c"] },
                "unchanged": { "count": 1, "ids": ["d"] },
                "error": "no\nplan",
            }],
        }));
        let expected = "  + north/a\n  + north/b\n  + 1 more of north\n  - north/c\n  ! north keeps its plan: no\n    plan\n  2 \
                        more devices\n";
        assert_eq!(told(&jobs.unwrap()), expected);
    }
}
