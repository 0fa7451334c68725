//! `roost timeline`: past runs and expected messages in the order of time.

use std::io::{self, Write};

use anyhow::Result;
use roost_scheduler::trigger::Duration;
use serde_json::Value;

use super::{
    client::Client,
    output,
    plugins::line,
    table::{Times, table},
};
use crate::{
    clock,
    config::{self, DataFlags},
    http::{CollapsedRecord, TimelineEntry, TimelineRecord},
    report::in_one_line,
    terminal,
    when::When,
};

/// Characters of a payload that are shown.
const PAYLOAD_CHARS: usize = 60;

/// Show the past and expected runs between two times, in order
///
/// Shows the runs that have been decided, and each message that is expected after them with the time at which it will
/// be sent. Times are in the time zones of the devices.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost timeline
  roost timeline --from 2027-03-01 --to 2027-03-02 --plugin coop-door
  roost timeline --collapse 6
  roost timeline --json")]
pub(super) struct Args {
    /// The start, such as `2027-03-01T06:30:00Z`, or `2027-03-01` or `2027-03-01T06:30` in the configured time zone
    /// [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// The end, excluded [default: a day after the start]
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
    /// Only runs of this plugin
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,
    /// Only runs of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Show a job with more than N runs in that period as one entry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    collapse: Option<u32>,
    /// The maximum number of entries to show
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let zone = config::load(&args.data.clone().into())?.site.zone;
    let time = |when: Option<When>| when.map(|when| when.in_zone(zone).to_string());
    let (plugin, device) = (args.plugin, args.device);
    let of = [("plugin", plugin.clone()), ("device", device.clone())];
    let collapse = ("collapse", args.collapse.map(|above| above.to_string()));
    let query = [("from", time(args.from)), ("to", time(args.to)), collapse].into_iter().chain(of);
    let query: Vec<_> = query.filter_map(|(key, value)| Some((key, value?))).collect();
    let mut out = io::BufWriter::new(output::stdout());
    let (mut records, mut count) = (Vec::new(), 0);
    let client = Client::new(args.data)?;
    let is_more = client.list("/api/v1/timeline", &query, args.limit as usize, |record: TimelineEntry| {
        count += 1;
        if args.json {
            return line(&mut out, &record);
        }
        records.push(record);
        Ok(())
    })?;
    let times = Times::new(records.iter().map(TimelineEntry::time), clock::now());
    let rows: Vec<_> = records.iter().map(|record| row(record, &times)).collect();
    let head = [&times.heading("TIME"), "STATE", "JOB", "WHAT"];
    out.write_all(table(head, &rows, terminal::stdout_columns()).as_bytes())?;
    out.flush()?;
    if count == 0 {
        writeln!(output::stderr(), "no runs found in that period")?;
        client.note_missing(plugin.as_deref(), device.as_deref())?;
    } else if is_more {
        writeln!(output::stderr(), "there are more entries: raise `--limit` to show them")?;
    }
    Ok(())
}

fn row(entry: &TimelineEntry, times: &Times) -> [String; 4] {
    match entry {
        TimelineEntry::One(record) => {
            let state = match (&record.paused, record.skipped) {
                (Some(_), _) => "paused".into(),
                (None, true) => "to be skipped".into(),
                (None, false) => record.state.clone(),
            };
            let name = format!("{}/{}/{}", record.plugin, record.device, record.job);
            [times.format(&record.time), state, name, what(record)]
        }
        TimelineEntry::Collapsed(all) => {
            let name = format!("{}/{}/{}", all.plugin, all.device, all.job);
            let more = if all.more { "more than " } else { "" };
            [times.format(&all.first), format!("{more}{} runs", all.count), name, summary(all, times)]
        }
    }
}

/// Returns a text such as `Mist, every 1m until 23:59: 740 expected, 1 failed, 700 succeeded`.
fn summary(all: &CollapsedRecord, times: &Times) -> String {
    let label = all.label.as_ref().map(|label| format!("{label}, ")).unwrap_or_default();
    let every = all.every_ms.map(|ms| format!("every {} ", Duration::rounded(ms))).unwrap_or_default();
    let states: Vec<_> = all.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let paused = all.paused.as_ref().map(|what| format!(", {what} paused")).unwrap_or_default();
    format!("{label}{every}until {}: {}{paused}", times.format(&all.last), states.join(", "))
}

fn what(record: &TimelineRecord) -> String {
    if let Some(message) = &record.message {
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        let payload = match (text("payload"), text("payload_base64")) {
            (Some(text), _) => in_one_line(text),
            (None, Some(base64)) => format!("base64:{}", in_one_line(base64)),
            (None, None) => String::new(),
        };
        return format!("{}  {}", in_one_line(text("topic").unwrap_or_default()), truncate(&payload)).trim_end().into();
    }
    if let Some(task) = &record.task {
        return format!("calls task `{}` with {}", task.task, truncate(&in_one_line(&task.args.to_string())));
    }
    let run = record.run.as_ref();
    let text = run.and_then(|run| run.reason.as_deref().or(run.note.as_deref()));
    text.map(in_one_line).unwrap_or_default()
}

fn truncate(text: &str) -> String {
    let short: String = text.chars().take(PAYLOAD_CHARS).collect();
    if short.len() < text.len() { short + "…" } else { short }
}
