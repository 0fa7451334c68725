//! `roost simulate`: what plugins would do, before they do it.

mod ahead;
mod differences;
mod json;
mod timeline;

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
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
    differences::{Differences, Side},
    timeline::{Colours, Timeline},
};
use super::output;
use crate::{
    clock,
    config::{self, Config, SiteFlags},
    plugins::sandbox::{LoadedPlugin, Sandbox},
    report::{Report, counted},
    simulation::{SimulatedEvent, SimulatedEventKind, Simulation},
    when::When,
};

/// Ten years: more is a slip of the finger.
const DAYS: std::ops::RangeInclusive<i64> = 1..=3_660;
/// Bytes that are written at once: a year may be a million lines.
const BUFFER: usize = 1 << 16;

/// Show every message that plugins would publish
///
/// Loads them as `roost run` would, with the settings beside them, and lets the time pass: the real scheduler, no broker,
/// and nothing goes wrong. Each local midnight every device is asked for its plan anew. What becomes no message, such as
/// a run that is left out, a plan that is refused, a sun event that does not come, is shown as well: in the timeline after
/// a `!`, with `--json` on standard error.
///
/// A run counts if it starts within the days that are shown; what it owes after that is shown too, so that a valve that
/// is opened is seen to be closed.
///
/// A message's `at` is when it would be sent, `due` is the same without the jitter: the occurrence of its run, and the
/// step's `after`. Steps count from 1.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost simulate plugins/coop-door.wasm
  roost simulate plugins/coop-door.wasm --from 2027-03-27 --days 3
  roost simulate plugins/*.wasm --days 365 --json
  roost simulate plugins/coop-door.wasm --diff new/coop-door.wasm")]
pub(super) struct Args {
    /// The plugins
    #[arg(required = true, value_name = "PLUGIN.wasm")]
    plugins: Vec<PathBuf>,
    /// Begin at this time, such as `2027-03-01T06:30:00Z`, or where you are `2027-03-01` or `2027-03-01T06:30` [default:
    /// now]
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// How many days to show, from midnight to midnight where you are if that is how it begins
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(DAYS))]
    days: u32,
    #[command(flatten)]
    place: SiteFlags,
    /// Write an array of objects, one for each message: at, due, plugin, device, job, step, topic, payload (or
    /// `payload_base64`, where it is no text), qos, retain, and properties, where there are any
    #[arg(long)]
    json: bool,
    /// Show only what would change if this file took the place of the one plugin that is named, with the settings beside it
    /// or, where there are none, those of that plugin: `-` what would be sent no more, `+` what would be sent anew; with `--json` an object of two arrays, `removed` and `added`. The exit code is
    /// 0 whether or not there are differences
    #[arg(long, value_name = "OTHER.wasm")]
    diff: Option<PathBuf>,
}

pub(super) fn main(args: Args) -> Result<()> {
    let Args { plugins, from, days, place, json, diff } = args;
    let Config { site, rules, .. } = config::load(&place.into())?;
    let from = from.map_or_else(clock::now, |from| from.in_zone(site.zone));
    let until = days_later(from, days, site.zone);
    let workbench = Sandbox::new(site, rules)?;
    let rehearse = |plugins: Vec<(LoadedPlugin, Loaded)>| Simulation::new(&workbench, plugins, from, until);
    let out: Box<dyn Write> = if json { Box::new(output::stdout()) } else { Box::new(output::unescaped()) };
    let out = io::BufWriter::with_capacity(BUFFER, out);
    match diff {
        None => {
            let rehearsal = rehearse(load_all(&workbench, &plugins, from)?);
            let zone = zone_of(&rehearsal, site.zone);
            thread::scope(|scope| {
                let happenings = ahead(scope, rehearsal)?;
                if json { write_json(out, happenings) } else { write_timeline(out, happenings, zone) }
            })?;
        }
        Some(other) => {
            let [plugin] = plugins.as_slice() else {
                let report = Report::new("more than one plugin is to be compared");
                return Err(report
                    .hint("with `--diff`, name one plugin and the file that would take its place")
                    .into());
            };
            let old = rehearse(vec![workbench.load(plugin, from)?]);
            let new = rehearse(vec![workbench.load_as(plugin, &other, from)?]);
            let zone = zone_of(&new, site.zone);
            thread::scope(|scope| {
                let differences = Differences::new(ahead(scope, old)?, ahead(scope, new)?);
                if json { write_json_differences(out, differences) } else { write_differences(out, differences, zone) }
            })?;
        }
    }
    Ok(())
}

/// The same time of day, so many days later.
fn days_later(from: Instant, days: u32, zone: Zone) -> Instant {
    let (date, time) = to_local(from, zone);
    to_instant(date + Days::new(days.into()), time, zone)
}

fn load_all(workbench: &Sandbox, paths: &[PathBuf], from: Instant) -> Result<Vec<(LoadedPlugin, Loaded)>> {
    let mut names = HashSet::new();
    let load = |path: &PathBuf| {
        let (specimen, loaded) = workbench.load(path, from)?;
        if !names.insert(loaded.plugin.clone()) {
            return Err(twice(path, loaded.plugin.as_str()).into());
        }
        Ok((specimen, loaded))
    };
    paths.iter().map(load).collect()
}

fn twice(path: &Path, name: &str) -> Report {
    let report = Report::new(format!("`{}` is a second plugin `{name}`", path.display()));
    report.hint("plugins are named like their files: give one of them another name, or compare them with `--diff`")
}

fn write_timeline(out: impl Write, happenings: impl Iterator<Item = SimulatedEvent>, zone: Zone) -> io::Result<()> {
    let mut timeline = Timeline::new(out, zone, Colours::of_stdout());
    let (mut messages, mut notes) = (0_u64, 0_u64);
    for happening in happenings {
        *(if is_message(&happening) { &mut messages } else { &mut notes }) += 1;
        timeline.write(None, &happening)?;
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
    for (side, happening) in differences {
        let count = if side == Side::Old { &mut removed } else { &mut added };
        *count += u64::from(is_message(&happening));
        timeline.write(Some(side), &happening)?;
    }
    timeline.end(&format!("{} removed, {added} added", counted(removed, "message")))
}

fn write_json(out: impl Write, happenings: impl Iterator<Item = SimulatedEvent>) -> io::Result<()> {
    let mut array = json::Array::begin(out)?;
    for happening in happenings {
        match is_message(&happening) {
            true => array.push(&happening)?,
            false => tell("", &happening)?,
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
    for (side, happening) in differences {
        match side {
            Side::Old if is_message(&happening) => removed.push(&happening)?,
            Side::New if is_message(&happening) => added.push(&happening)?,
            side => tell(side.sign(), &happening)?,
        }
    }
    let mut out = removed.end()?;
    write!(out, ",\n\"added\": ")?;
    out.write_all(&added.end()?)?;
    writeln!(out, "}}")?;
    out.flush()
}

/// What standard output has no place for.
fn tell(sign: &str, happening: &SimulatedEvent) -> io::Result<()> {
    let SimulatedEvent { at, zone, what: SimulatedEventKind::Note(note), .. } = happening else { return Ok(()) };
    let subject: String = happening.subject().collect();
    writeln!(output::stderr(), "{sign}{}  {subject}  {note}", at.in_zone(*zone))
}

const fn is_message(happening: &SimulatedEvent) -> bool {
    matches!(happening.what, SimulatedEventKind::Message(_))
}

/// In which zone times are shown: that of all devices if they share one, else the host's.
fn zone_of(rehearsal: &Simulation<'_>, host: Zone) -> Zone {
    let zones = rehearsal.zones();
    let mut zones = zones.into_iter();
    zones.next().filter(|_| zones.next().is_none()).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use roost_scheduler::{
        body::Body,
        model::{Message, Policy, Qos, Step},
        names::{DeviceName, JobId, PluginName},
        topic::Topic,
    };

    use super::*;
    use crate::{simulation::Sent, zones::zone};

    /// On the topic `coop/<job>`, of the device `coop/north` in London.
    pub(super) fn message(at: &str, job: &str, payload: &[u8]) -> SimulatedEvent {
        sending(at, job, |message| Message { payload: payload.into(), ..message })
    }

    /// The same of a message that is made of an empty one.
    pub(super) fn sending(at: &str, job: &str, make: impl FnOnce(Message) -> Message) -> SimulatedEvent {
        let topic = Topic::parse(&format!("coop/{job}")).unwrap();
        let empty = Message { topic, payload: [].into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
        let (occurrence, job) = (at.parse::<When>().unwrap().in_zone(Zone::UTC), JobId::parse(job).unwrap());
        let body = Body::new(
            &job,
            None,
            &Policy::default(),
            &[Step { after_ms: 0, message: make(empty), once: false, confirm: None }],
        );
        SimulatedEvent {
            job: Some(job),
            what: SimulatedEventKind::Message(Sent { occurrence, step: 0, body }),
            ..note(at, "")
        }
    }

    pub(super) fn note(at: &str, text: &str) -> SimulatedEvent {
        SimulatedEvent {
            at: at.parse::<When>().unwrap().in_zone(Zone::UTC),
            zone: zone("Europe/London"),
            plugin: PluginName::parse("coop").unwrap(),
            device: DeviceName::parse("north").unwrap(),
            job: None,
            what: SimulatedEventKind::Note(text.into()),
        }
    }

    #[test]
    fn days_are_days_of_the_calendar() {
        let zone = zone("Europe/London");
        let later =
            |from: &str, days| days_later(from.parse::<When>().unwrap().in_zone(zone), days, zone).in_zone(zone);
        assert_eq!(later("2027-03-27", 1), "2027-03-28T00:00:00Z");
        assert_eq!(later("2027-03-28", 1), "2027-03-29T00:00:00+01:00");
        assert_eq!(later("2027-03-28T12:00", 365), "2028-03-27T12:00:00+01:00");
        assert_eq!(later("9999-12-31", 3_660), "9999-12-31T23:59:59.999Z");
    }
}
