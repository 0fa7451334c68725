//! `roost logs`: the log lines of plugins and the host's messages about them.

use std::{
    io::{self, Write},
    thread,
};

use anyhow::Result;
use chrono::{DateTime, FixedOffset, NaiveDate};
use roost_scheduler::names::PluginName;

use super::{client::Client, limits, output, plugins::line, table::local};
use crate::{
    config::DataFlags,
    http::{GapRecord, HostEventRecord, Logs},
    report::{Report, printable},
    terminal,
};

/// Show the logs of plugins
///
/// Shows what plugins have logged, and the host's messages about them: refused versions and plans, and runs that
/// failed, were missed or were denied. The host keeps the newest 500 entries of each plugin since it started.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost logs
  roost logs coop-door -n 100
  roost logs coop-door -f
  roost logs -f --json")]
pub(super) struct Args {
    /// Only the logs of this plugin
    #[arg(value_name = "PLUGIN", value_parser = PluginName::parse_owner)]
    plugin: Option<PluginName>,
    /// Follow the logs until Ctrl-C, also across restarts of the host
    #[arg(short, long)]
    follow: bool,
    /// The number of entries to begin with, the newest
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    lines: u32,
    /// Print an object per line
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
    let mut days = terminal::stdout_is_terminal().then(Days::default);
    items.iter().try_for_each(|record| show(&mut out, record, json, days.as_mut()))?;
    out.flush()?;
    if !follow {
        if items.is_empty() {
            writeln!(output::stderr(), "there are no log entries since the host started")?;
        }
        return Ok(());
    }
    follow_logs(&client, plugin.as_ref(), next, |event| match event {
        LogEntry::HostEvent(record) => {
            show(&mut out, &record, json, days.as_mut())?;
            Ok(out.flush()?)
        }
        LogEntry::Note(text) => Ok(writeln!(output::stderr(), "{text}")?),
    })
}

/// An entry of the log that is followed.
enum LogEntry {
    HostEvent(Box<HostEventRecord>),
    /// A note about the stream itself, for standard error.
    Note(String),
}

/// Passes log entries after the event `last` to `show`, and reconnects when the stream ends. Returns when `show` fails.
fn follow_logs(
    client: &Client,
    plugin: Option<&PluginName>,
    mut last: String,
    mut show: impl FnMut(LogEntry) -> Result<()>,
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
            let entry = match event.kind.as_str() {
                _ if event.data.is_empty() => return true,
                "gap" => LogEntry::Note(match serde_json::from_str(&event.data) {
                    Ok(GapRecord { missed: Some(missed) }) => format!("up to {missed} events are missing"),
                    _ => "the host has restarted".into(),
                }),
                _ => match serde_json::from_str(&event.data) {
                    Ok(record) => LogEntry::HostEvent(Box::new(record)),
                    Err(_) => return true,
                },
            };
            failed = show(entry).err();
            failed.is_none()
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        if !is_away {
            let why = ended.err().map_or_else(String::new, |report| format!(": {}", report.what));
            show(LogEntry::Note(format!("waiting for the host{why}")))?;
            is_away = true;
        }
        thread::sleep(limits::RECONNECT_DELAY);
    }
}

/// The headings of days, which save the lines of a terminal their dates. Elsewhere each line has its own, because lines
/// are searched for and taken out.
#[derive(Default)]
struct Days {
    /// The day and the offset of the last heading.
    last: Option<(NaiveDate, FixedOffset)>,
}

impl Days {
    /// Formats a time of day, such as `06:30:00`, below the heading of its day, which is written first where it is new.
    fn format(&mut self, out: &mut impl Write, at: DateTime<FixedOffset>) -> io::Result<String> {
        let day = (at.date_naive(), *at.offset());
        if self.last.replace(day) != Some(day) {
            writeln!(out, "{}", at.format("%A %Y-%m-%d %:z"))?;
        }
        Ok(at.format("%H:%M:%S").to_string())
    }
}

fn show(out: &mut impl Write, record: &HostEventRecord, json: bool, days: Option<&mut Days>) -> Result<()> {
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
    let at = match (DateTime::parse_from_rfc3339(time), days) {
        (Ok(at), Some(days)) => days.format(out, at)?,
        _ => local(time),
    };
    writeln!(out, "{at}  {:5}  {of}  {text}", level.to_uppercase())?;
    if let Some(hint) = hint {
        writeln!(out, "    hint: {}", printable(hint).replace('\n', "\n      "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_and_each_offset_has_a_heading() {
        let (mut days, mut out) = (Days::default(), Vec::new());
        for at in ["2027-10-31T00:30:00+01:00", "2027-10-31T01:10:00+01:00", "2027-10-31T01:10:05+00:00"] {
            let at = days.format(&mut out, DateTime::parse_from_rfc3339(at).unwrap()).unwrap();
            writeln!(out, "{at}").unwrap();
        }
        let expected = "Sunday 2027-10-31 +01:00\n00:30:00\n01:10:00\nSunday 2027-10-31 +00:00\n01:10:05\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
