//! `roost jobs`: the jobs and their next runs.

use std::{
    io::{self, Write},
    str::FromStr,
};

use anyhow::Result;
use chrono::DateTime;
use roost_scheduler::{
    names::{DeviceName, PluginName},
    time::Instant,
};

use super::{
    client::Client,
    output,
    plugins::line,
    table::{Times, table},
};
use crate::{
    clock,
    config::DataFlags,
    http::JobRecord,
    report::{counted, in_one_line},
    terminal,
};

/// List jobs, ordered by their next run
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost jobs
  roost jobs coop-door
  roost jobs coop-door/north --json")]
pub(super) struct Args {
    /// Only the jobs of this plugin or device
    #[arg(value_name = "PLUGIN[/DEVICE]")]
    of: Option<Of>,
    /// The maximum number of jobs to list
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Include jobs that have no next run
    #[arg(long)]
    all: bool,
    /// Print an object per line for all jobs, in no particular order
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

#[derive(Clone, Debug)]
struct Of {
    plugin: PluginName,
    device: Option<DeviceName>,
}

impl FromStr for Of {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plugin, device) = match text.split_once('/') {
            Some((plugin, device)) => (plugin, Some(device)),
            None => (text, None),
        };
        Ok(Self {
            plugin: PluginName::parse_owner(plugin).map_err(|error| error.to_string())?,
            device: device.map(DeviceName::parse).transpose().map_err(|error| error.to_string())?,
        })
    }
}

pub(super) fn main(args: Args) -> Result<()> {
    let client = Client::new(args.data)?;
    let mut out = io::BufWriter::new(output::stdout());
    let (plugin, device) = match args.of {
        Some(Of { plugin, device }) => (Some(plugin.to_string()), device.map(|device| device.to_string())),
        None => (None, None),
    };
    let query = [("plugin", plugin.clone()), ("device", device.clone())];
    let query: Vec<_> = query.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let (mut jobs, mut count) = (Vec::new(), 0);
    let is_more = client.list("/api/v1/jobs", &query, args.limit as usize, |job: JobRecord| {
        count += 1;
        if args.json {
            return line(&mut out, &job);
        }
        jobs.push(job);
        Ok(())
    })?;
    jobs.sort_by_cached_key(|job| {
        let at = job.due.as_ref().or(job.not_before.as_ref());
        let at = at.and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
        (at.is_none(), at, job.plugin.clone(), job.device.clone(), job.job.clone())
    });
    let is_over = |job: &&JobRecord| job.due.is_none() && job.not_before.is_none();
    let hidden = if args.all { 0 } else { jobs.iter().filter(is_over).count() };
    let times = jobs.iter().flat_map(|job| [&job.due, &job.next_run, &job.not_before]).filter_map(Option::as_deref);
    let now = clock::now();
    let times = Times::new(times, now);
    let shown = jobs.iter().filter(|job| args.all || !is_over(job));
    let rows: Vec<[String; 4]> = shown.map(|job| row(job, &times, now)).collect();
    let head = [&times.heading("NEXT"), "JOB", "TRIGGER", "LABEL"];
    out.write_all(table(head, &rows, terminal::stdout_columns()).as_bytes())?;
    out.flush()?;
    if count == 0 {
        writeln!(output::stderr(), "no jobs found")?;
        client.note_missing(plugin.as_deref(), device.as_deref())?;
    } else if is_more {
        writeln!(output::stderr(), "there are more jobs: raise `--limit` to list them")?;
    }
    if hidden > 0 {
        writeln!(
            output::stderr(),
            "not listed because they have no next run: {}; `--all` lists them",
            counted(hidden as u64, "job")
        )?;
    }
    Ok(())
}

fn row(job: &JobRecord, times: &Times, now: Instant) -> [String; 4] {
    let mut next = match (&job.due, &job.not_before) {
        (Some(due), _) => times.format(due),
        (None, Some(at)) => format!("after {}", times.format(at)),
        (None, None) => "never".into(),
    };
    // Only where it covers that run.
    let due = job.due.as_deref().and_then(|due| DateTime::parse_from_rfc3339(due).ok());
    if let Some(pause) = job.pause.as_ref().filter(|pause| due.is_none_or(|due| pause.covers(due.into()))) {
        next = format!("{next}, {}", pause.in_words(now, |at| times.format(at)).0);
    } else if job.skip.is_some() || job.next_run.is_some() {
        next.push_str(", skipped");
    }
    if let Some(run) = &job.next_run {
        next = format!("{next}, then {}", times.format(run));
    }
    let name = format!("{}/{}/{}", job.plugin, job.device, job.job);
    [next, name, job.trigger.clone(), job.label.as_deref().map(in_one_line).unwrap_or_default()]
}
