//! `roost check`: loads plugins without running them, and shows their plans or their errors.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use roost_scheduler::{
    body::Body,
    model::{Action, Job},
    time::{Instant, Site},
    trigger::{Almanac, Duration, Search},
};
use serde_json::{Value, json};

use super::{format::put_message, limits, output, progress::show_while};
use crate::{
    calendars, clock,
    config::{self, Config, SiteFlags, grant::notes},
    describe,
    http::GrantRecord,
    job_json,
    plugins::{
        TaskDescription,
        sandbox::{InspectedDevice, Inspection, Sandbox},
    },
    report::{Report, in_one_line},
};

/// Next occurrences that are shown of each job.
const NEXT_RUNS: usize = 3;
/// WASI interfaces that toolchains may import by default and that no plugin is granted.
const NEVER_GRANTED: [(&str, &str); 2] = [("files", "wasi:filesystem/"), ("sockets", "wasi:sockets/")];

/// Check plugins, and show what they would do
///
/// Loads each plugin as `roost run` would, with the settings file beside it and the location in `roost.toml`, and
/// requests the plan of each device. Shows the grant, the tasks with the JSON Schema of their arguments, and the jobs
/// with their next runs. Changes nothing, and does not need a running host.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost check plugins/coop-door.wasm
  roost check plugins/*.wasm --json")]
pub(super) struct Args {
    /// The plugins to check
    #[arg(required = true, value_name = "PLUGIN.wasm")]
    plugins: Vec<PathBuf>,
    #[command(flatten)]
    site: SiteFlags,
    /// Print a JSON array with an object for each plugin
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: Args) -> Result<()> {
    let (config, now) = (config::load(&args.site.into())?, clock::now());
    super::calendars::read(&config, now)?;
    let Config { site, rules, .. } = config;
    let sandbox = Sandbox::new(site, rules)?;
    let inspect = |path: &Path| show_while(&format!("checking `{}`", path.display()), || sandbox.inspect(path, now));
    let inspected: Vec<_> = args.plugins.iter().map(|path| (path, inspect(path))).collect();
    let mut out = output::stdout();
    if args.json {
        let all: Vec<_> = inspected.iter().map(|(path, result)| to_json(path, result, now)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    }
    let mut faults = Vec::new();
    for (_, result) in inspected {
        match result {
            Ok(inspection) if !args.json => write_one(&mut out, &inspection, now)?,
            Ok(_) => {}
            Err(report) => faults.push(report),
        }
    }
    match print_all_but_last(faults) {
        None => Ok(()),
        Some(last) => Err(last.into()),
    }
}

/// Prints all reports but the last, which it returns as the error of the command.
#[allow(clippy::print_stderr, reason = "errors go to standard error")]
fn print_all_but_last(mut faults: Vec<Report>) -> Option<Report> {
    let last = faults.pop();
    for fault in faults {
        eprintln!("error: {fault}");
    }
    last
}

fn write_one(out: &mut impl Write, inspection: &Inspection, now: Instant) -> io::Result<()> {
    let Inspection { plugin, imports, exports, grant, tasks, devices } = inspection;
    writeln!(out, "{plugin}")?;
    writeln!(out, "  exports  {}", exports.join(", "))?;
    // Toolchains import WASI by default, so its interfaces are only counted.
    let (wasi, own): (Vec<_>, Vec<_>) = imports.iter().partition(|name| name.starts_with("wasi:"));
    let own = own.into_iter().filter(|name| !name.contains("/types@")).map(String::as_str);
    let mut imported: Vec<_> = own.map(ToOwned::to_owned).collect();
    if !wasi.is_empty() {
        imported.push(format!("{} of WASI 0.2", wasi.len()));
    }
    writeln!(out, "  imports  {}", if imported.is_empty() { "nothing".into() } else { imported.join(", ") })?;
    let denied = denied(imports);
    if !denied.is_empty() {
        let what = denied.join(" and ");
        writeln!(out, "  denied   {what}: Roost never grants them; opening one in the plugin returns an error")?;
    }
    for note in notes(grant) {
        writeln!(out, "  {}", in_one_line(&note))?;
    }
    for task in tasks {
        write_task(out, task)?;
    }
    let mut sun = calendars::almanac();
    for InspectedDevice { name, site, jobs } in devices {
        let plural = if jobs.len() == 1 { "" } else { "s" };
        writeln!(out, "  device {name} ({}), {} job{plural}", site.zone, jobs.len())?;
        for job in jobs {
            write_job(out, job, site, &mut sun, now)?;
        }
    }
    Ok(())
}

fn write_task(out: &mut impl Write, task: &TaskDescription) -> io::Result<()> {
    writeln!(out, "  task {}: {}", task.name, in_one_line(&task.summary))?;
    match &task.args_schema {
        Some(schema) => writeln!(out, "    arguments  {}", json_in_one_line(schema)),
        None => Ok(()),
    }
}

/// Joins the lines of a JSON text, in which no string has a line break.
fn json_in_one_line(text: &str) -> String {
    in_one_line(&text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Returns the kinds of WASI resources that the plugin imports and is never granted.
fn denied(imports: &[String]) -> Vec<&'static str> {
    let imported = |start: &str| imports.iter().any(|name| name.starts_with(start));
    NEVER_GRANTED.iter().filter(|(_, start)| imported(start)).map(|(what, _)| *what).collect()
}

fn write_job(out: &mut impl Write, job: &Job, site: &Site, sun: &mut Almanac, now: Instant) -> io::Result<()> {
    let label = job.label.as_ref().map_or_else(String::new, |label| format!("  ({})", in_one_line(label)));
    writeln!(out, "    {}: {}{label}", job.id, job.trigger)?;
    if let Some(note) = job.trigger.note() {
        writeln!(out, "      note: {note}")?;
    }
    let policy = describe::policy(&job.policy);
    if !policy.is_empty() {
        writeln!(out, "      {policy}")?;
    }
    if let Action::Task(task) = &job.action {
        let args = if task.args == "null" { String::new() } else { format!("  {}", json_in_one_line(&task.args)) };
        writeln!(out, "      calls task {}{args}", task.name)?;
    }
    for step in Body::from(job).steps() {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = put_message(&mut line, &step);
        let after = Duration(step.after_ms.into());
        let after = if step.after_ms == 0 { String::new() } else { format!("  after {after}") };
        writeln!(out, "      publishes {line}{after}")?;
    }
    let (runs, why) = next_runs(job, site, sun, now);
    for run in &runs {
        let local = run.to_utc().with_timezone(&site.zone);
        writeln!(out, "      next {}", local.format("%a %Y-%m-%d %H:%M:%S %Z"))?;
    }
    match why {
        Some(why) if runs.is_empty() => writeln!(out, "      no next run: {why}"),
        _ => Ok(()),
    }
}

/// Returns the next occurrences and, if there are fewer than [`NEXT_RUNS`], the reason.
fn next_runs(job: &Job, site: &Site, sun: &mut Almanac, now: Instant) -> (Vec<Instant>, Option<String>) {
    let mut runs = Vec::new();
    let mut after = now;
    for _ in 0..limits::SEARCHES {
        if runs.len() == NEXT_RUNS {
            break;
        }
        match job.trigger.next(after, site, sun) {
            Search::Found(at) => {
                runs.push(at);
                after = at;
            }
            Search::NotUntil(until) => after = until,
            Search::Never(never) => return (runs, Some(never.to_string())),
        }
    }
    (runs, None)
}

fn to_json(path: &Path, result: &Result<Inspection, Report>, now: Instant) -> Value {
    match result {
        Err(report) => json!({
            "file": path.display().to_string(),
            "error": { "what": report.what, "causes": report.causes, "hint": report.hint },
        }),
        Ok(Inspection { plugin, imports, exports, grant, tasks, devices }) => json!({
            "file": path.display().to_string(),
            "plugin": plugin.as_str(),
            "imports": imports,
            "exports": exports,
            "denied": denied(imports),
            "grant": GrantRecord::from(grant),
            "tasks": tasks.iter().map(task_to_json).collect::<Vec<_>>(),
            "devices": devices.iter().map(|device| device_to_json(device, now)).collect::<Vec<_>>(),
        }),
    }
}

fn task_to_json(task: &TaskDescription) -> Value {
    let args_schema: Option<Value> = task.args_schema.as_deref().and_then(|schema| serde_json::from_str(schema).ok());
    json!({ "name": task.name.as_str(), "summary": task.summary, "args_schema": args_schema })
}

/// Returns the task that the job calls when it is due, if it is not a job of steps.
fn task_call(job: &Job) -> Option<Value> {
    match &job.action {
        Action::Task(task) => Some(json!({ "name": task.name.as_str(), "args": task.args })),
        Action::Steps(_) => None,
    }
}

fn device_to_json(device: &InspectedDevice, now: Instant) -> Value {
    let InspectedDevice { name, site, jobs } = device;
    let mut sun = calendars::almanac();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (runs, why) = next_runs(job, site, &mut sun, now);
            json!({
                "id": job.id.as_str(),
                "label": job.label.as_deref(),
                "trigger": job.trigger.to_string(),
                "task": task_call(job),
                "steps": json!(job_json::steps(&job.into())),
                "policy": json!(job_json::policy(&job.policy)),
                "next": runs.iter().map(|run| run.in_zone(site.zone)).collect::<Vec<_>>(),
                "no_next": if runs.is_empty() { why } else { None },
            })
        })
        .collect();
    json!({ "name": name.as_str(), "time_zone": site.zone.name(), "jobs": jobs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_in_one_line() {
        let schema = "{\n    \"type\": \"object\",\r\n    \"title\": \"a\\n  b\"\n}";
        assert_eq!(json_in_one_line(schema), r#"{ "type": "object", "title": "a\n  b" }"#);
        assert_eq!(json_in_one_line("{\"a\":\u{202e}1}"), "{\"a\":\\u{202e}1}");
    }
}
