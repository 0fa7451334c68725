//! `roost schedule` and `roost cancel`: jobs that a person makes.

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
    target::{JobPath, PartName},
    trigger::typed,
};
use crate::{
    config::{self, DataFlags},
    http::{JobRecord, NewJobRecord},
    report::Report,
};

/// Make a job: a message, or a task of a plugin, once or again and again
///
/// It is kept over restarts, and no plan of a plugin touches it. Its name is written to standard output; `roost cancel` takes
/// it away. More than one message, and more of how runs are treated, can be said over HTTP: see `/api/v1/openapi.json`.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("what").required(true).args(["topic", "task"])))]
#[command(after_help = "Examples:
  roost schedule at now+10m --topic porch/light/set --payload OFF
  roost schedule 'cron 30 7 * * MON-FRI' --topic radio/set --payload ON --id radio
  roost schedule now --task sprinkler/garden/water --args '{\"zone\": 2, \"minutes\": 1}'")]
pub(super) struct Schedule {
    /// When, as `roost next` takes it: `now`, `at TIME`, `every DURATION`, `'cron EXPRESSION'`, or a sun event
    #[arg(required = true, value_name = "TRIGGER")]
    trigger: Vec<String>,
    /// Where to send a message
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// What to send
    #[arg(long, value_name = "TEXT", conflicts_with = "task")]
    payload: Option<String>,
    /// 0: sent once; 1: acknowledged; 2: exactly once
    #[arg(long, value_name = "N", conflicts_with = "task", value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: Option<u8>,
    /// The broker is to keep it for those who subscribe later
    #[arg(long, conflicts_with = "task")]
    retain: bool,
    /// What a plugin is to do, as `roost plugins PLUGIN` shows it
    #[arg(long, value_name = "PLUGIN/DEVICE/TASK")]
    task: Option<PartName>,
    /// The task's arguments, as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "topic", value_parser = parsed)]
    args: Option<Value>,
    /// A `[[resource]]` of `roost.toml` that its runs hold from their first message to their last, such as `pump`
    #[arg(long, value_name = "NAME")]
    needs: Option<String>,
    /// The job's name, unique among those of its device: with `--topic` it is called `roost/api/NAME`
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Write the job as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// Take jobs away that were made with `roost schedule`, or over HTTP
///
/// Their runs that have not started are cancelled; those that have send what they owe at once.
#[derive(clap::Args)]
#[command(after_help = "Example:
  roost cancel radio")]
pub(super) struct Cancel {
    /// As `roost schedule` has written them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobPath>,
    #[command(flatten)]
    data: DataFlags,
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))
}

pub(super) fn schedule(args: Schedule) -> Result<()> {
    let zone = config::load(&args.data.clone().into())?.site.zone;
    let client = Client::new(args.data)?;
    let (plugin, device, task) = match args.task {
        None => (None, None, None),
        Some(PartName { plugin, device: Some(device), job: Some(task) }) => {
            (Some(plugin.to_string()), Some(device.to_string()), Some(task.to_string()))
        }
        Some(_) => {
            let report = Report::new("`--task` names no task");
            return Err(report.hint("write it like `sprinkler/garden/water`: the plugin, the device, the task").into());
        }
    };
    let new = NewJobRecord {
        id: args.id,
        label: args.label,
        trigger: typed(&args.trigger, zone),
        plugin,
        device,
        topic: args.topic,
        payload: args.payload,
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
        None => writeln!(output::stderr(), "`roost runs --job {}` shows what becomes of it", job.job)?,
    }
    if let Some(paused) = paused(&job) {
        writeln!(output::stderr(), "{paused}")?;
    }
    Ok(())
}

pub(super) fn cancel(args: Cancel) -> Result<()> {
    let client = Client::new(args.data)?;
    for job in &args.jobs {
        client.order::<()>(Method::DELETE, &job.path())?;
        writeln!(output::stderr(), "`{}` is cancelled", job.as_str())?;
    }
    Ok(())
}
