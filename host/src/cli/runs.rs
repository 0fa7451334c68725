//! `roost runs`: runs under way and their outcomes.

use std::io::{self, Write};

use anyhow::Result;
use chrono::DateTime;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use roost_scheduler::{outcome::RunState, time::Instant};

use super::{
    client::Client,
    output,
    plugins::line,
    table::{Times, table},
};
use crate::{
    clock,
    config::{self, DataFlags},
    http::runs::{NextStepRecord, RunRecord},
    report::{Report, in_one_line},
    store::RunFilter,
    terminal,
    when::{When, distance},
};

/// List runs: first those under way, then those that have ended, newest first
///
/// Queries the running host, here or at `ROOST_URL`; if no host is running, it reads the database. REASON shows the
/// next step of a run under way, in capitals if that is overdue by more than a day.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost runs
  roost runs --failed
  roost runs --plugin coop-door --device north --since 2027-03-01
  roost runs --state failed,missed,denied --limit 100 --json")]
pub(super) struct Args {
    /// Only runs that failed; `roost replay` repeats them
    #[arg(long, conflicts_with = "state")]
    failed: bool,
    /// Only runs in these states, or with these outcomes, separated by commas
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(RunState::WORDS).try_map(|word| RunState::parse(&word).ok_or(word)))]
    state: Vec<RunState>,
    /// Only runs of this plugin
    #[arg(long, value_name = "PLUGIN")]
    plugin: Option<String>,
    /// Only runs of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Only runs of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Of the runs that have ended, only those due at this time or later, such as `2027-03-01T06:30:00Z`, or
    /// `2027-03-01` or `2027-03-01T06:30` in the configured time zone
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// The maximum number of runs to list
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print an object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let is_json = args.json;
    let (plugin, device) = (args.plugin.clone(), args.device.clone());
    let client = Client::new(args.data.clone())?;
    // Only the host knows of runs that have not started for lack of a connection: they are not on disk.
    let has_host = client.has_host();
    let (runs, is_all) = if has_host { query_host(&client, args)? } else { read_database(args)? };
    let mut out = io::BufWriter::new(output::stdout());
    if is_json {
        runs.iter().try_for_each(|run| line(&mut out, run))?;
    } else {
        out.write_all(runs_table(&runs, clock::now(), terminal::stdout_columns()).as_bytes())?;
    }
    out.flush()?;
    if runs.is_empty() {
        writeln!(output::stderr(), "no runs found")?;
        client.note_missing(plugin.as_deref(), device.as_deref())?;
    } else if !is_all {
        writeln!(output::stderr(), "there are more runs: raise `-n` to list them")?;
    }
    let now = clock::now();
    let is_held_up =
        |run: &&RunRecord| run.reason.is_none() && run.next.as_ref().is_some_and(|next| is_held_up(next, now));
    if let Some(RunRecord { plugin, device, job, .. }) = runs.iter().find(is_held_up).filter(|_| has_host) {
        writeln!(output::stderr(), "`roost explain {plugin}/{device}/{job}` explains why its run is waiting")?;
    }
    Ok(())
}

/// Checks whether a run is due and has not begun.
fn is_held_up(next: &NextStepRecord, now: Instant) -> bool {
    let due = DateTime::parse_from_rfc3339(&next.due);
    !next.owed && due.is_ok_and(|due| now.ms_since(due.into()) >= 0)
}

/// Reads the runs from the database. Returns whether they are all.
fn read_database(args: Args) -> Result<(Vec<RunRecord>, bool)> {
    let config = config::load(&args.data.into())?;
    let zone = config.site.zone;
    let limit = args.limit as usize;
    let filter = RunFilter {
        states: if args.failed { vec![RunState::Failed] } else { args.state },
        plugin: args.plugin,
        device: args.device,
        job: args.job,
        since: args.since.map(|since| since.in_zone(zone)),
        until: None,
        after: None,
        limit: limit + 1,
        in_order: false,
    };
    let runs = config.reader().runs(&filter).map_err(|error| Report::from(&error))?;
    let now = clock::now();
    let records = runs.iter().take(limit).map(|run| RunRecord::new(run, zone, now)).collect();
    Ok((records, runs.len() <= limit))
}

/// Lists the runs through the API of the host. Returns whether they are all.
fn query_host(client: &Client, args: Args) -> Result<(Vec<RunRecord>, bool)> {
    let zone = config::load(&args.data.into())?.site.zone;
    let states = if args.failed { vec![RunState::Failed] } else { args.state };
    let states = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
    let state = (!states.is_empty()).then_some(states);
    let since = args.since.map(|since| since.in_zone(zone).to_string());
    let query =
        [("state", state), ("plugin", args.plugin), ("device", args.device), ("job", args.job), ("since", since)];
    let query: Vec<_> = query.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let mut runs = Vec::new();
    let is_more = client.list("/api/v1/runs", &query, args.limit as usize, |run| {
        runs.push(run);
        Ok(())
    })?;
    Ok((runs, !is_more))
}

fn runs_table(runs: &[RunRecord], now: Instant, width: Option<usize>) -> String {
    let next = runs.iter().filter_map(|run| run.next.as_ref()).map(|next| next.due.as_str());
    let times = Times::new(runs.iter().map(|run| run.occurrence.as_str()).chain(next), now);
    let rows: Vec<[String; 5]> = runs.iter().map(|run| row(run, &times, now)).collect();
    table([&times.heading("TIME"), "STATE", "ATTEMPTS", "RUN", "REASON"], &rows, width)
}

fn row(run: &RunRecord, times: &Times, now: Instant) -> [String; 5] {
    let reason = run.reason.as_deref().or(run.note.as_deref()).map(in_one_line);
    let text = match (&run.next, reason) {
        (Some(next), None) => next_step(next, times, now),
        (Some(next), Some(reason)) => format!("{}; {reason}", next_step(next, times, now)),
        (None, reason) => reason.unwrap_or_default(),
    };
    let attempts = run.attempts.map_or_else(String::new, |attempts| attempts.to_string());
    [times.format(&run.occurrence), run.state.clone(), attempts, run.run.clone(), text]
}

/// Formats the next step, such as `step 2 of 2 is due 2027-03-01 06:40:00`.
fn next_step(NextStepRecord { step, of, due, owed, overdue }: &NextStepRecord, times: &Times, now: Instant) -> String {
    let state = if *owed { "has been owed since" } else { "has been waiting since" };
    let late_ms = DateTime::parse_from_rfc3339(due).map_or(0, |due| now.ms_since(due.into()));
    let due = times.format(due);
    if *overdue {
        format!("step {step} of {of} {state} {due}, OVERDUE BY {}", distance(late_ms).to_uppercase())
    } else if late_ms >= 0 {
        format!("step {step} of {of} {state} {due}")
    } else {
        format!("step {step} of {of} is due {due}")
    }
}

#[cfg(test)]
mod tests {
    use crate::zones::zone;
    use roost_scheduler::{scheduler::NextStep, zone::Zone};

    use super::*;
    use crate::store::RunView;

    fn at(text: &str) -> Instant {
        text.parse::<When>().unwrap().in_zone(Zone::UTC)
    }

    fn run(id: &str, state: RunState) -> RunView {
        RunView {
            id: id.parse().unwrap(),
            state,
            reason: None,
            started: None,
            ended: None,
            attempts: None,
            zone: None,
            next: None,
            note: None,
            why: None,
            label: None,
            messages: None,
        }
    }

    fn sample_runs() -> Vec<RunView> {
        let next = |step, due| Some(NextStep { step, of: 2, due: at(due) });
        let started = Some(at("2027-07-01T04:00:00.250Z"));
        vec![
            RunView {
                next: next(2, "2027-07-01T04:10:00.250Z"),
                started,
                zone: Some(zone("Europe/London")),
                ..run("sprinkler/lawn/water/2027-07-01T04:00:00Z", RunState::Running)
            },
            RunView {
                next: next(1, "2027-07-04T06:00:00Z"),
                reason: Some("the broker refused the message: \u{1b}no".into()),
                ..run("coop/north/open/2027-07-04T06:00:00Z/series-2", RunState::Running)
            },
            RunView { attempts: Some(1), started, ..run("coop/north/open/2027-07-03T06:00:00Z", RunState::Succeeded) },
        ]
    }

    #[test]
    fn the_table_shows_the_next_step_or_the_reason() {
        assert_eq!(runs_table(&[], at("2027-07-04"), None), "");
        let expected = "\
TIME (+01:00)            STATE      ATTEMPTS  RUN                                            REASON
2027-07-01 05:00         running              sprinkler/lawn/water/2027-07-01T04:00:00Z      step 2 of 2 has been owed since \
2027-07-01 05:10, OVERDUE BY 3 DAYS
2027-07-04 06:00 +00:00  running              coop/north/open/2027-07-04T06:00:00Z/series-2  step 1 of 2 is due \
2027-07-04 06:00 +00:00; the broker refused the message: \\u{1b}no
2027-07-03 06:00 +00:00  succeeded  1         coop/north/open/2027-07-03T06:00:00Z
";
        assert_eq!(runs_table(&records(), at("2027-07-04T05:00"), None), expected);
    }

    fn records() -> Vec<RunRecord> {
        sample_runs().iter().map(|run| RunRecord::new(run, Zone::UTC, at("2027-07-04T05:00"))).collect()
    }

    #[test]
    fn a_line_of_json_has_the_fields_that_are_known() {
        let lines: Vec<_> = records().iter().map(|run| serde_json::to_string(run).unwrap()).collect();
        assert_eq!(
            lines[0],
            r#"{"run":"sprinkler/lawn/water/2027-07-01T04:00:00Z","plugin":"sprinkler","device":"lawn","job":"water","#
                .to_owned()
                + r#""time_zone":"Europe/London","occurrence":"2027-07-01T05:00:00+01:00","state":"running","started":"2027-07-01T05:00:00.250+01:00","#
                + r#""next":{"step":2,"of":2,"due":"2027-07-01T05:10:00.250+01:00","owed":true,"overdue":true}}"#
        );
        assert!(lines[2].ends_with(r#""started":"2027-07-01T04:00:00.250Z","attempts":1}"#), "{}", lines[2]);
    }
}
