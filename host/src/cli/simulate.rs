//! `roost simulate`: the messages that plugins would publish.

mod ahead;
mod json;
mod text;

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
};

use anyhow::Result;
use chrono::Days;
use roost_scheduler::{
    calendar::{to_instant, to_local},
    event::Loaded,
    time::Instant,
    zone::Zone,
};

use self::{
    ahead::ahead,
    text::{Colours, Timeline},
};
use super::{
    calendars, output,
    progress::{Output, Progress, show_while},
};
use crate::{
    clock,
    config::{self, Config, SiteFlags},
    plugins::sandbox::{LoadedPlugin, Sandbox},
    report::{Report, counted},
    simulation::{
        SimulatedEvent, SimulatedEventKind, Simulation,
        differences::{Differences, Side},
    },
    when::When,
};

/// Ten years at the most: more is likely a typing error.
const DAYS: std::ops::RangeInclusive<i64> = 1..=3_660;
/// Size of the output buffer in bytes: a year may be a million lines.
const BUFFER: usize = 1 << 16;

/// Simulate plugins, and show every message that they would publish
///
/// Loads the plugins as `roost run` would, with the settings files beside them, and runs the real scheduler in virtual
/// time, without a broker and without failures. A new plan of each device is requested each local midnight. Notes about
/// anything else, such as a skipped run, a refused plan, or a day without a sunrise, follow a `!` in the timeline; with
/// `--json` they go to standard error.
///
/// A run is shown if it starts within the given days. All its messages are shown, also later ones, so that a valve that
/// is opened is seen to be closed.
///
/// In JSON, `at` is the time at which a message would be sent, and `due` the same time without jitter: the occurrence
/// of its run plus the step's `after`. Steps count from 1.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost simulate plugins/coop-door.wasm
  roost simulate plugins/coop-door.wasm --from 2027-03-27 --days 3
  roost simulate plugins/*.wasm --days 365 --json
  roost simulate plugins/coop-door.wasm --diff new/coop-door.wasm")]
pub(super) struct Args {
    /// The plugins to simulate
    #[arg(required = true, value_name = "PLUGIN.wasm")]
    plugins: Vec<PathBuf>,
    /// Begin at this time, such as `2027-03-01T06:30:00Z`, or `2027-03-01` or `2027-03-01T06:30` in the configured time
    /// zone [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// The number of calendar days to show, in the configured time zone
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,
    #[command(flatten)]
    site: SiteFlags,
    /// Print a JSON array with an object for each message: at, due, plugin, device, job, step, topic, payload (or
    /// `payload_base64` if it is not text), qos, retain, and properties if there are any
    #[arg(long)]
    json: bool,
    /// Show only what would change if this file replaced the given plugin: `-` marks messages that would no longer be
    /// sent, `+` new ones. Uses the settings file beside OTHER.wasm or, if there is none, that of the plugin. With
    /// `--json`, prints an object of two arrays, `removed` and `added`. The exit code is 0 whether or not there are
    /// differences
    #[arg(long, value_name = "OTHER.wasm")]
    diff: Option<PathBuf>,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Args { plugins, from, days, site, json, diff } = args;
    let config = config::load(&site.into())?;
    let from = from.map_or_else(clock::now, |from| from.in_zone(config.site.zone));
    calendars::read(&config, from)?;
    let Config { site, rules, .. } = config;
    let until = days_later(from, days, site.zone);
    let sandbox = Sandbox::new(site, rules)?;
    let simulate = |plugins: Vec<(LoadedPlugin, Loaded)>| Simulation::new(&sandbox, plugins, from, until);
    let position = Arc::new(AtomicI64::new(from.millis()));
    match diff {
        None => {
            let simulation = simulate(load_all(&sandbox, &plugins, from)?);
            let zone = zone_of(&simulation, site.zone);
            let out = out(json, show_position(&position, from, until, zone));
            thread::scope(|scope| {
                let events = ahead(scope, noting(&position, simulation))?;
                if json { write_json(out, events) } else { write_timeline(out, events, zone) }
            })?;
        }
        Some(other) => {
            let [plugin] = plugins.as_slice() else {
                let report = Report::new("`--diff` compares one plugin, and several are given");
                return Err(report.hint("name one plugin, and with `--diff` the file that would replace it").into());
            };
            let old = simulate(vec![loading(plugin, || sandbox.load(plugin, from))?]);
            let new = simulate(vec![loading(&other, || sandbox.load_as(plugin, &other, from))?]);
            let zone = zone_of(&new, site.zone);
            let out = out(json, show_position(&position, from, until, zone));
            thread::scope(|scope| {
                let (old, new) = (noting(&position, old), noting(&position, new));
                let differences = Differences::new(ahead(scope, old)?, ahead(scope, new)?);
                if json { write_json_differences(out, differences) } else { write_differences(out, differences, zone) }
            })?;
        }
    }
    Ok(())
}

/// Returns standard output, with a progress line until there is some.
fn out(json: bool, progress: Progress) -> impl Write {
    let out: Box<dyn Write> = if json { Box::new(output::stdout()) } else { Box::new(output::unescaped()) };
    io::BufWriter::with_capacity(BUFFER, Output { out, progress: Some(progress) })
}

/// Shows the position in virtual time on the terminal.
fn show_position(position: &Arc<AtomicI64>, from: Instant, until: Instant, zone: Zone) -> Progress {
    let position = position.clone();
    Progress::start(move |_| {
        let at = from.plus_ms(position.load(Ordering::Relaxed) - from.millis());
        let percent = 100 * at.ms_since(from) / until.ms_since(from).max(1);
        format!("simulated up to {}: {} %", to_local(at, zone).0, percent.min(100))
    })
}

/// Notes the time of each event as the position.
fn noting<'s>(
    position: &Arc<AtomicI64>,
    simulation: Simulation<'s>,
) -> impl Iterator<Item = SimulatedEvent> + Send + use<'s> {
    let position = position.clone();
    simulation.inspect(move |event| {
        position.fetch_max(event.at.millis(), Ordering::Relaxed);
    })
}

/// Returns the same time of day in that zone, `days` calendar days later.
fn days_later(from: Instant, days: u32, zone: Zone) -> Instant {
    let (date, time) = to_local(from, zone);
    to_instant(date + Days::new(days.into()), time, zone)
}

/// Loads a file, which is shown on the terminal while it takes long.
fn loading<T>(path: &Path, load: impl FnOnce() -> T) -> T {
    show_while(&format!("loading `{}`", path.display()), load)
}

fn load_all(sandbox: &Sandbox, paths: &[PathBuf], from: Instant) -> Result<Vec<(LoadedPlugin, Loaded)>> {
    let mut names = HashSet::new();
    let load = |path: &PathBuf| {
        let (plugin, loaded) = loading(path, || sandbox.load(path, from))?;
        if !names.insert(loaded.plugin.clone()) {
            return Err(duplicate(path, loaded.plugin.as_str()).into());
        }
        Ok((plugin, loaded))
    };
    paths.iter().map(load).collect()
}

fn duplicate(path: &Path, name: &str) -> Report {
    let report = Report::new(format!("`{}` is a second plugin named `{name}`", path.display()));
    report.hint("plugins are named after their files: rename one of them, or compare them with `--diff`")
}

fn write_timeline(out: impl Write, events: impl Iterator<Item = SimulatedEvent>, zone: Zone) -> io::Result<()> {
    let mut timeline = Timeline::new(out, zone, Colours::of_stdout());
    let (mut messages, mut notes) = (0_u64, 0_u64);
    for event in events {
        *(if is_message(&event) { &mut messages } else { &mut notes }) += 1;
        timeline.write(None, &event)?;
    }
    let notes = if notes == 0 { String::new() } else { format!(", {} (!)", counted(notes, "note")) };
    timeline.end(&format!("{}{notes}", counted(messages, "message")))
}

fn write_differences(
    out: impl Write,
    differences: impl Iterator<Item = (Side, SimulatedEvent)>,
    zone: Zone,
) -> io::Result<()> {
    let mut timeline = Timeline::new(out, zone, Colours::of_stdout());
    let (mut removed, mut added) = (0_u64, 0_u64);
    for (side, event) in differences {
        let count = if side == Side::Old { &mut removed } else { &mut added };
        *count += u64::from(is_message(&event));
        timeline.write(Some(side), &event)?;
    }
    timeline.end(&format!("{} removed, {added} added", counted(removed, "message")))
}

fn write_json(out: impl Write, events: impl Iterator<Item = SimulatedEvent>) -> io::Result<()> {
    let mut array = json::Array::begin(out)?;
    for event in events {
        match is_message(&event) {
            true => array.push(&event)?,
            false => print_note("", &event)?,
        }
    }
    let mut out = array.end()?;
    writeln!(out)?;
    out.flush()
}

fn write_json_differences(
    mut out: impl Write,
    differences: impl Iterator<Item = (Side, SimulatedEvent)>,
) -> io::Result<()> {
    write!(out, "{{\"removed\": ")?;
    let (mut removed, mut added) = (json::Array::begin(out)?, json::Array::begin(Vec::new())?);
    for (side, event) in differences {
        match side {
            Side::Old if is_message(&event) => removed.push(&event)?,
            Side::New if is_message(&event) => added.push(&event)?,
            side => print_note(side.sign(), &event)?,
        }
    }
    let mut out = removed.end()?;
    write!(out, ",\n\"added\": ")?;
    out.write_all(&added.end()?)?;
    writeln!(out, "}}")?;
    out.flush()
}

/// Prints a note to standard error, with `sign` in front. Does nothing for other events.
fn print_note(sign: &str, event: &SimulatedEvent) -> io::Result<()> {
    let SimulatedEvent { at, zone, what: SimulatedEventKind::Note(note), .. } = event else { return Ok(()) };
    let subject: String = event.subject().collect();
    writeln!(output::stderr(), "{sign}{}  {subject}  {note}", at.in_zone(*zone))
}

const fn is_message(event: &SimulatedEvent) -> bool {
    matches!(event.what, SimulatedEventKind::Message(_))
}

/// Returns the time zone to show times in: the devices' own if they share one, or else the host's.
fn zone_of(simulation: &Simulation<'_>, host: Zone) -> Zone {
    let zones = simulation.zones();
    let mut zones = zones.into_iter();
    zones.next().filter(|_| zones.next().is_none()).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    pub(super) use crate::simulation::differences::tests::{message, message_with, note};
    use crate::zones::zone;

    #[test]
    fn days_are_calendar_days() {
        let zone = zone("Europe/London");
        let later =
            |from: &str, days| days_later(from.parse::<When>().unwrap().in_zone(zone), days, zone).in_zone(zone);
        assert_eq!(later("2027-03-27", 1), "2027-03-28T00:00:00Z");
        assert_eq!(later("2027-03-28", 1), "2027-03-29T00:00:00+01:00");
        assert_eq!(later("2027-03-28T12:00", 365), "2028-03-27T12:00:00+01:00");
        assert_eq!(later("9999-12-31", 3_660), "9999-12-31T23:59:59.999Z");
    }
}
