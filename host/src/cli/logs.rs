//! `roost logs`: what plugins wrote, and what was said about them.

use std::{io::Write, thread, time::Duration};

use anyhow::Result;
use roost_scheduler::names::PluginName;

use super::{client::Client, output, plugins::line, table::local};
use crate::{
    config::DataFlags,
    http::{GapRecord, HostEventRecord, Logs},
    report::{Report, printable},
};

/// How long to wait before a host is asked again that was there before.
const PAUSE: Duration = Duration::from_secs(1);

/// Show what plugins wrote, and what went wrong with them
///
/// Their lines, versions that were not taken, plans that were refused, runs that failed, were missed or denied: the newest
/// 500 of each plugin since the host started.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost logs
  roost logs coop-door -n 100
  roost logs coop-door -f
  roost logs -f --json")]
pub(super) struct Args {
    /// Only those of this plugin
    #[arg(value_name = "PLUGIN", value_parser = PluginName::parse_owner)]
    plugin: Option<PluginName>,
    /// Go on with what comes, until Ctrl-C: also when the host is started again
    #[arg(short, long)]
    follow: bool,
    /// How many to begin with: the newest
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    lines: u32,
    /// Write an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Args { plugin, follow, lines, json, data } = args;
    let client = Client::new(data)?;
    let of = plugin.as_ref().map_or_else(String::new, |plugin| format!("/plugins/{plugin}"));
    let Logs { items, next, .. } = client.get(&format!("/api/v1{of}/logs?limit={lines}"))?;
    let mut out = output::stdout();
    items.iter().try_for_each(|record| show(&mut out, record, json))?;
    out.flush()?;
    if !follow {
        if items.is_empty() {
            writeln!(output::stderr(), "nothing was written since the host started")?;
        }
        return Ok(());
    }
    go_on(&client, plugin.as_ref(), next, |event| match event {
        LogEntry::HostEvent(record) => {
            show(&mut out, &record, json)?;
            Ok(out.flush()?)
        }
        LogEntry::Note(text) => Ok(writeln!(output::stderr(), "{text}")?),
    })
}

/// What follows.
enum LogEntry {
    HostEvent(Box<HostEventRecord>),
    /// For people.
    Note(String),
}

fn go_on(
    client: &Client,
    plugin: Option<&PluginName>,
    mut last: String,
    mut tell: impl FnMut(LogEntry) -> Result<()>,
) -> Result<()> {
    let mut is_away = false;
    loop {
        let of = plugin.map_or_else(String::new, |plugin| format!("&plugin={plugin}"));
        let path = format!("/api/v1/events?logged=true{of}&after={last}");
        let mut failed = None;
        let ended: Result<(), Report> = client.follow(&path, |event| {
            is_away = false;
            if !event.id.is_empty() {
                last = event.id;
            }
            let told = match event.kind.as_str() {
                _ if event.data.is_empty() => return true,
                "gap" => LogEntry::Note(match serde_json::from_str(&event.data) {
                    Ok(GapRecord { missed: Some(missed) }) => format!("up to {missed} of what happened were missed"),
                    _ => "the host was started again".into(),
                }),
                _ => match serde_json::from_str(&event.data) {
                    Ok(record) => LogEntry::HostEvent(Box::new(record)),
                    Err(_) => return true,
                },
            };
            failed = tell(told).err();
            failed.is_none()
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        if !is_away {
            let why = ended.err().map_or_else(String::new, |report| format!(": {}", report.what));
            tell(LogEntry::Note(format!("waiting for the host{why}")))?;
            is_away = true;
        }
        thread::sleep(PAUSE);
    }
}

fn show(out: &mut impl Write, record: &HostEventRecord, json: bool) -> Result<()> {
    if json {
        return line(out, record);
    }
    let HostEventRecord { time, level, text, hint, plugin, device, .. } = record;
    let of = match (plugin, device) {
        (Some(plugin), Some(device)) => format!("{plugin}/{device}"),
        (Some(plugin), None) => plugin.clone(),
        _ => "-".into(),
    };
    let text = printable(text).replace('\n', "\n    ");
    writeln!(out, "{}  {:5}  {of}  {text}", local(time), level.to_uppercase())?;
    if let Some(hint) = hint {
        writeln!(out, "    hint: {}", printable(hint).replace('\n', "\n      "))?;
    }
    Ok(())
}
