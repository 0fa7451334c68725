//! `roost runs`: what happened, and why something did not.

use std::io::{self, Write};

use anyhow::Result;
use chrono_tz::Tz;
use roost_scheduler::time::Instant;
use serde::Serialize;

use super::when::{When, distance};
use crate::{
    clock,
    config::{self, DataFlags},
    report::{Report, in_one_line},
    store::{self, Owed, RunView, Wanted},
};

/// Show what became of runs: first those under way, then those that have ended, the newest first
///
/// It reads what a Roost has written down, whether it runs or not: up to a tenth of a second ago. Of a run under way it
/// shows the next step; what is overdue by more than a day is in capitals.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost runs
  roost runs --failed
  roost runs --plugin coop-door --device north --since 2027-03-01
  roost runs --state missed --limit 100 --json")]
pub(super) struct Args {
    /// Only those that failed: `roost replay` does them again
    #[arg(long, conflicts_with = "state")]
    failed: bool,
    /// Only those that are, or ended, like this
    #[arg(long, value_name = "STATE")]
    #[arg(value_parser = ["running", "succeeded", "failed", "missed", "skipped", "cancelled", "denied"])]
    state: Option<String>,
    /// Only those of this plugin
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,
    /// Only those of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Only those of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Of those that have ended, only those of this time or later, such as `2027-03-01T06:30:00Z`, or where you are
    /// `2027-03-01` or `2027-03-01T06:30`
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// How many to show at the most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Write an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// A step that is later than this cannot be missed by the reader.
const OVERDUE_MS: i64 = 24 * 60 * 60 * 1_000;

pub(super) fn main(args: Args) -> Result<()> {
    let config = config::load(&args.data.into())?;
    let zone = config.site.zone;
    let limit = args.limit as usize;
    let wanted = Wanted {
        state: if args.failed { Some("failed".into()) } else { args.state },
        plugin: args.plugin,
        device: args.device,
        job: args.job,
        since: args.since.map(|since| since.in_zone(zone)),
        limit: limit + 1,
    };
    let mut runs = store::runs(&config.data, &wanted).map_err(|error| Report::from(&error))?;
    let is_all = runs.len() <= limit;
    runs.truncate(limit);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        for run in &runs {
            serde_json::to_writer(&mut out, &Line::new(run, zone, clock::now())).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else {
        out.write_all(table(&runs, zone, clock::now()).as_bytes())?;
    }
    out.flush()?;
    if runs.is_empty() {
        writeln!(io::stderr(), "there are no such runs")?;
    } else if !is_all {
        writeln!(io::stderr(), "there are more: `--limit` says how many to show")?;
    }
    Ok(())
}

/// Columns as wide as what is in them; the last one as long as it is.
fn table(runs: &[RunView], zone: Tz, now: Instant) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let head = ["TIME", "STATE", "ATTEMPTS", "RUN", "REASON"].map(str::to_owned);
    let rows: Vec<[String; 5]> = [head].into_iter().chain(runs.iter().map(|run| row(run, zone, now))).collect();
    let widths: [usize; 5] = std::array::from_fn(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or_default());
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

fn row(run: &RunView, host: Tz, now: Instant) -> [String; 5] {
    let zone = run.zone.unwrap_or(host);
    let reason = run.reason.as_deref().map(in_one_line);
    let told = match (&run.owed, reason) {
        (Some(owed), None) => next_step(owed, zone, now),
        (Some(owed), Some(reason)) => format!("{}; {reason}", next_step(owed, zone, now)),
        (None, reason) => reason.unwrap_or_default(),
    };
    let attempts = run.attempts.map_or_else(String::new, |attempts| attempts.to_string());
    [local(run.id.occurrence, zone), run.state.clone(), attempts, run.id.to_string(), told]
}

/// `step 2 of 2 is due 2027-03-01 06:40:00 +00:00`
fn next_step(Owed { step, of, due, has_started }: &Owed, zone: Tz, now: Instant) -> String {
    let what = if *has_started && *step > 1 { "is owed since" } else { "waits since" };
    let late_ms = now.ms_since(*due);
    let due = local(*due, zone);
    if late_ms > OVERDUE_MS {
        format!("step {step} of {of} {what} {due}, OVERDUE BY {}", distance(late_ms).to_uppercase())
    } else if late_ms >= 0 {
        format!("step {step} of {of} {what} {due}")
    } else {
        format!("step {step} of {of} is due {due}")
    }
}

/// `2027-03-01 06:30:00 +00:00`
fn local(at: Instant, zone: Tz) -> String {
    at.to_utc().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// A run for programs. Times are RFC 3339 in the device's zone.
#[derive(Serialize)]
struct Line<'a> {
    run: String,
    plugin: &'a str,
    device: &'a str,
    job: &'a str,
    occurrence: String,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<NextStep>,
}

/// What a run under way does next.
#[derive(Serialize)]
struct NextStep {
    /// Counted from 1.
    step: usize,
    of: usize,
    due: String,
    /// Whether it is sent whatever happens.
    owed: bool,
    /// By more than a day.
    overdue: bool,
}

impl<'a> Line<'a> {
    fn new(run: &'a RunView, host: Tz, now: Instant) -> Self {
        let zone = run.zone.unwrap_or(host);
        let text = |at: Instant| at.in_zone(zone);
        Self {
            run: run.id.to_string(),
            plugin: run.id.plugin.as_str(),
            device: run.id.device.as_str(),
            job: run.id.job.as_str(),
            occurrence: text(run.id.occurrence),
            state: &run.state,
            reason: run.reason.as_deref(),
            started: run.started.map(text),
            ended: run.ended.map(text),
            attempts: run.attempts,
            next: run.owed.as_ref().map(|&Owed { step, of, due, has_started }| NextStep {
                step,
                of,
                due: text(due),
                owed: has_started && step > 1,
                overdue: now.ms_since(due) > OVERDUE_MS,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse::<When>().unwrap().in_zone(Tz::UTC)
    }

    fn run(id: &str, state: &str) -> RunView {
        RunView {
            id: id.parse().unwrap(),
            state: state.into(),
            reason: None,
            started: None,
            ended: None,
            attempts: None,
            zone: None,
            owed: None,
            note: None,
            why: None,
        }
    }

    fn some() -> Vec<RunView> {
        let owed = |step, due| Some(Owed { step, of: 2, due: at(due), has_started: step > 1 });
        let started = Some(at("2027-07-01T04:00:00.250Z"));
        vec![
            RunView {
                owed: owed(2, "2027-07-01T04:10:00.250Z"),
                started,
                zone: Some(Tz::Europe__London),
                ..run("sprinkler/lawn/water/2027-07-01T04:00:00Z", "running")
            },
            RunView {
                owed: owed(1, "2027-07-04T06:00:00Z"),
                reason: Some("the broker refused the message: \u{1b}no".into()),
                ..run("coop/north/open/2027-07-04T06:00:00Z/series-2", "running")
            },
            RunView { attempts: Some(1), started, ..run("coop/north/open/2027-07-03T06:00:00Z", "succeeded") },
        ]
    }

    #[test]
    fn a_table_is_for_people() {
        assert_eq!(table(&[], Tz::UTC, at("2027-07-04")), "");
        let expected = "\
TIME                        STATE      ATTEMPTS  RUN                                            REASON
2027-07-01 05:00:00 +01:00  running              sprinkler/lawn/water/2027-07-01T04:00:00Z      step 2 of 2 is owed since \
2027-07-01 05:10:00 +01:00, OVERDUE BY 3 DAYS
2027-07-04 06:00:00 +00:00  running              coop/north/open/2027-07-04T06:00:00Z/series-2  step 1 of 2 is due \
2027-07-04 06:00:00 +00:00; the broker refused the message: \\u{1b}no
2027-07-03 06:00:00 +00:00  succeeded  1         coop/north/open/2027-07-03T06:00:00Z
";
        assert_eq!(table(&some(), Tz::UTC, at("2027-07-04T05:00")), expected);
    }

    #[test]
    fn lines_are_for_programs() {
        let lines: Vec<_> = some()
            .iter()
            .map(|run| serde_json::to_string(&Line::new(run, Tz::UTC, at("2027-07-04T05:00"))).unwrap())
            .collect();
        assert_eq!(
            lines[0],
            r#"{"run":"sprinkler/lawn/water/2027-07-01T04:00:00Z","plugin":"sprinkler","device":"lawn","job":"water","#
                .to_owned()
                + r#""occurrence":"2027-07-01T05:00:00+01:00","state":"running","started":"2027-07-01T05:00:00.250+01:00","#
                + r#""next":{"step":2,"of":2,"due":"2027-07-01T05:10:00.250+01:00","owed":true,"overdue":true}}"#
        );
        assert!(lines[2].ends_with(r#""started":"2027-07-01T04:00:00.250Z","attempts":1}"#), "{}", lines[2]);
    }
}
