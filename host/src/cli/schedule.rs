//! `roost schedule` and `roost cancel`: ad-hoc jobs.

use std::io::Write;

use anyhow::Result;
use clap::ArgGroup;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    client::Client,
    control::paused,
    output,
    table::local,
    target::{JobPath, Target},
    trigger::normalize,
};
use crate::{
    config::{self, DataFlags},
    http::{JobRecord, NewJobRecord},
    report::Report,
};

/// Schedule a job that publishes a message or calls a task of a plugin
///
/// The job survives restarts, and no plan of a plugin changes it. Prints its name; `roost cancel` deletes it. Jobs of
/// several messages and with other policies can be made over HTTP: see `/api/v1/openapi.json`.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("what").required(true).args(["topic", "task"])))]
#[command(after_help = "Examples:
  roost schedule at now+10m --topic porch/light/set --payload OFF
  roost schedule once sunset +2h40m --topic porch/light/set --payload OFF
  roost schedule 'cron 30 7 * * MON-FRI' --topic radio/set --payload ON --id radio
  roost schedule now --task sprinkler/garden/water --args '{\"zone\": 2, \"minutes\": 1}'")]
pub(super) struct Schedule {
    /// When to run: `now`, `at TIME`, `every DURATION`, `daily TIME`, `'cron EXPRESSION'`, a sun event, and days of them, as
    /// in `roost next`
    #[arg(required = true, value_name = "TRIGGER")]
    trigger: Vec<String>,
    /// The topic to publish to
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// The payload of the message [default: empty]
    #[arg(long, value_name = "TEXT", conflicts_with = "task")]
    payload: Option<String>,
    /// The quality of service: 0 at most once, 1 at least once, 2 exactly once [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "task", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: Option<u8>,
    /// Publish the message retained: the broker keeps it for later subscribers
    #[arg(long, conflicts_with = "task")]
    retain: bool,
    /// The task to call, as listed by `roost plugins PLUGIN`
    #[arg(long, value_name = "PLUGIN/DEVICE/TASK")]
    task: Option<Target>,
    /// The arguments of the task, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "topic", value_parser = parse_json)]
    args: Option<Value>,
    /// A `[[resource]]` of `roost.toml`, such as `pump`, that each run holds from its first message to its last
    #[arg(long, value_name = "NAME")]
    needs: Option<String>,
    /// The job's name, unique within its device; with `--topic` the job is `roost/api/NAME` [default: generated]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// A description of the job, shown in lists
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Print the job as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// Cancel jobs that were made with `roost schedule` or over HTTP
///
/// Runs that have not started are cancelled. Runs that have started send their owed messages at once.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost cancel radio")]
pub(super) struct Cancel {
    /// The jobs, named as `roost schedule` printed them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobPath>,
    #[command(flatten)]
    data: DataFlags,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

pub(super) fn schedule(args: Schedule) -> Result<()> {
    let zone = config::load(&args.data.clone().into())?.site.zone;
    let client = Client::new(args.data)?;
    let (plugin, device, task) = match args.task {
        None => (None, None, None),
        Some(Target { plugin, device: Some(device), job: Some(task) }) => {
            (Some(plugin.to_string()), Some(device.to_string()), Some(task.to_string()))
        }
        Some(_) => {
            let report = Report::new("`--task` does not name a task");
            return Err(report.hint("write it like `sprinkler/garden/water`: the plugin, the device, the task").into());
        }
    };
    let new = NewJobRecord {
        id: args.id,
        label: args.label,
        trigger: normalize(&args.trigger, zone),
        plugin,
        device,
        topic: args.topic,
        payload: args.payload,
        payload_base64: None,
        qos: args.qos,
        retain: args.retain.then_some(true),
        steps: None,
        task,
        args: args.args,
        policy: args.needs.map(|needs| json!({ "needs": needs })),
    };
    let job: JobRecord = client.post("/api/v1/jobs", &new)?;
    if args.json {
        serde_json::to_writer(output::stdout(), &job)?;
        writeln!(output::stdout())?;
        return Ok(());
    }
    writeln!(output::stdout(), "{}/{}/{}", job.plugin, job.device, job.job)?;
    if let Some(note) = &job.note {
        writeln!(output::stderr(), "note: {note}")?;
    }
    match &job.due {
        Some(due) => writeln!(output::stderr(), "its next run is due {}", local(due))?,
        None => writeln!(output::stderr(), "`roost runs --job {}` shows its run", job.job)?,
    }
    if let Some(paused) = paused(&job) {
        writeln!(output::stderr(), "{paused}")?;
    }
    Ok(())
}

pub(super) fn cancel(args: Cancel) -> Result<()> {
    let client = Client::new(args.data)?;
    for job in &args.jobs {
        client.send::<()>(Method::DELETE, &job.path())?;
        writeln!(output::stderr(), "`{}` is cancelled", job.as_str())?;
    }
    Ok(())
}
