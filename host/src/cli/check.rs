//! `roost check`: what a plugin is and would do, or what is wrong with it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Result;
use roost_scheduler::{
    body::Body,
    model::{Action, Job},
    time::{Instant, Site},
    trigger::{Duration, Search, SunCache},
};
use serde_json::{Value, json};

use super::{
    format::{put_message, treatment},
    output,
};
use crate::{
    clock,
    config::{self, Config, SiteFlags, grant::notes},
    http::GrantRecord,
    plugins::{
        TaskDescription,
        sandbox::{InspectedDevice, Inspection, Sandbox},
    },
    records,
    report::{Report, in_one_line},
};

/// Next runs that are shown of each job.
const NEXT_RUNS: usize = 3;
/// What toolchains import, sometimes unasked, and no plugin gets.
const NEVER_GRANTED: [(&str, &str); 2] = [("files", "wasi:filesystem/"), ("sockets", "wasi:sockets/")];
/// Searches for one next run: a sun trigger looks a month ahead with each, and gives up by itself.
const SEARCHES: usize = 100;

/// Show what a plugin is and would do, or what is wrong with it
///
/// Loads it as `roost run` would, with the settings beside it and the place in `roost.toml`, and asks each device for
/// its jobs. Shows its tasks as well, with the JSON Schema of their arguments. Changes nothing, and needs no running Roost.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost check plugins/coop-door.wasm
  roost check plugins/*.wasm --json")]
pub(super) struct Args {
    /// The plugins
    #[arg(required = true, value_name = "PLUGIN.wasm")]
    plugins: Vec<PathBuf>,
    #[command(flatten)]
    place: SiteFlags,
    /// Write an array of objects, one for each plugin
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Config { site, rules, .. } = config::load(&args.place.into())?;
    let (workbench, now) = (Sandbox::new(site, rules)?, clock::now());
    let inspected: Vec<_> = args.plugins.iter().map(|path| (path, workbench.inspect(path, now))).collect();
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
    match tell_all_but_last(faults) {
        None => Ok(()),
        Some(last) => Err(last.into()),
    }
}

/// The last one is the program's error, which is told where all errors are.
#[allow(clippy::print_stderr, reason = "messages are for people")]
fn tell_all_but_last(mut faults: Vec<Report>) -> Option<Report> {
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
    // WASI is what toolchains import unasked; it says little about the plugin.
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
        writeln!(
            out,
            "  denied   {what}: Roost never grants them, so opening one is an error; the plugin must do without"
        )?;
    }
    for note in notes(grant) {
        writeln!(out, "  {}", in_one_line(&note))?;
    }
    for task in tasks {
        write_task(out, task)?;
    }
    let mut sky = SunCache::default();
    for InspectedDevice { name, site, jobs } in devices {
        let plural = if jobs.len() == 1 { "" } else { "s" };
        writeln!(out, "  device {name} ({}), {} job{plural}", site.zone, jobs.len())?;
        for job in jobs {
            write_job(out, job, site, &mut sky, now)?;
        }
    }
    Ok(())
}

fn write_task(out: &mut impl Write, task: &TaskDescription) -> io::Result<()> {
    writeln!(out, "  task {}: {}", task.name, in_one_line(&task.summary))?;
    match &task.args_schema {
        Some(schema) => writeln!(out, "    arguments  {}", in_one_line(&schema.to_string())),
        None => Ok(()),
    }
}

/// What it imports and will never be granted.
fn denied(imports: &[String]) -> Vec<&'static str> {
    let imported = |start: &str| imports.iter().any(|name| name.starts_with(start));
    NEVER_GRANTED.iter().filter(|(_, start)| imported(start)).map(|(what, _)| *what).collect()
}

fn write_job(out: &mut impl Write, job: &Job, site: &Site, sky: &mut SunCache, now: Instant) -> io::Result<()> {
    let label = job.label.as_ref().map_or_else(String::new, |label| format!("  ({})", in_one_line(label)));
    writeln!(out, "    {}: {}{label}", job.id, job.trigger)?;
    if let Some(note) = job.trigger.note() {
        writeln!(out, "      note: {note}")?;
    }
    let treatment = treatment(&job.policy);
    if !treatment.is_empty() {
        writeln!(out, "      {treatment}")?;
    }
    if let Action::Task(task) = &job.action {
        let args = if task.args == "null" { String::new() } else { format!("  {}", in_one_line(&task.args)) };
        writeln!(out, "      asks the task {}{args}", task.name)?;
    }
    for step in Body::from(job).steps() {
        let mut line = String::new();
        // Writing to a text cannot fail.
        let _ = put_message(&mut line, &step);
        let after = Duration(step.after_ms.into());
        let after = if step.after_ms == 0 { String::new() } else { format!("  after {after}") };
        writeln!(out, "      publishes {line}{after}")?;
    }
    let (runs, why) = next_runs(job, site, sky, now);
    for run in &runs {
        let local = run.to_utc().with_timezone(&site.zone);
        writeln!(out, "      next {}", local.format("%a %Y-%m-%d %H:%M:%S %Z"))?;
    }
    match why {
        Some(why) if runs.is_empty() => writeln!(out, "      no next run: {why}"),
        _ => Ok(()),
    }
}

fn next_runs(job: &Job, site: &Site, sky: &mut SunCache, now: Instant) -> (Vec<Instant>, Option<String>) {
    let mut runs = Vec::new();
    let mut after = now;
    for _ in 0..SEARCHES {
        if runs.len() == NEXT_RUNS {
            break;
        }
        match job.trigger.next(after, site, sky) {
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
    json!({ "name": task.name.as_str(), "summary": task.summary, "args_schema": task.args_schema })
}

/// What the plugin is asked for when the job is due, if it is.
fn asked(job: &Job) -> Option<Value> {
    match &job.action {
        Action::Task(task) => Some(json!({ "name": task.name.as_str(), "args": task.args })),
        Action::Steps(_) => None,
    }
}

fn device_to_json(device: &InspectedDevice, now: Instant) -> Value {
    let InspectedDevice { name, site, jobs } = device;
    let mut sky = SunCache::default();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (runs, why) = next_runs(job, site, &mut sky, now);
            json!({
                "id": job.id.as_str(),
                "label": job.label.as_deref(),
                "trigger": job.trigger.to_string(),
                "task": asked(job),
                "steps": json!(records::steps(&job.into())),
                "policy": json!(records::policy(&job.policy)),
                "next": runs.iter().map(|run| run.in_zone(site.zone)).collect::<Vec<_>>(),
                "no_next": if runs.is_empty() { why } else { None },
            })
        })
        .collect();
    json!({ "name": name.as_str(), "time_zone": site.zone.name(), "jobs": jobs })
}
