//! `roost next`: when a trigger fires.

use std::io::{self, Write};

use anyhow::Result;
use roost_scheduler::{
    time::{Instant, Site},
    trigger::{Context, Never, Trigger, parse},
    zone::Zone,
};

use super::{output, trigger::normalize};
use crate::{
    calendars, clock,
    config::{self, SiteFlags},
    report::Report,
    when::{When, distance},
    zones,
};

/// Show when a trigger fires
///
/// Prints the times to standard output. If there are none, the reason goes to standard error.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  roost next every 15m
  roost next 'cron 30 6 * * MON-FRI' --time-zone Europe/London
  roost next 'cron @daily in Australia/Sydney' --count 3
  roost next 'daily 06:00 on MON-FRI except holidays'
  roost next 'sunset -20m on SAT,SUN,holidays in MAY-SEP' --latitude 51.5 --longitude -0.1
  roost next 'daily 22:00 every 2 weeks from 2027-03-17'
  roost next sunrise not-before 06:30 --latitude 51.5 --longitude -0.1 --time-zone Europe/London
  roost next civil-dusk not-after 22:00 else 22:00 --latitude 65.01 --longitude 25.47 --time-zone Europe/Helsinki
  roost next sunset -20m --latitude 69.65 --longitude 18.96 --json")]
pub(super) struct Args {
    /// `now`, `at TIME`, `every DURATION`, `daily TIME`, `'cron EXPRESSION'`, `sun at DEGREES setting`, or a sun event such
    /// as `sunset -20m`; with `on`, `in`, `every N days from` and `except` for days, and `finish` or `once` before it
    #[arg(required = true, value_name = "TRIGGER", allow_negative_numbers = true)]
    trigger: Vec<String>,
    #[command(flatten)]
    site: SiteFlags,
    /// Show times after this one, such as `2027-03-01T06:30:00Z`, or `2027-03-01` or `2027-03-01T06:30` in the
    /// configured time zone [default: now, included]
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// The number of times to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Print a JSON array of RFC 3339 times
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: Args) -> Result<()> {
    let (config, now) = (config::load(&args.site.into())?, clock::now());
    let site = config.site;
    // Without `--from`, the current millisecond is included.
    let from = args.from.map(|from| from.in_zone(site.zone));
    let after = from.unwrap_or(now.plus_ms(-1));
    let from = from.unwrap_or(now);
    super::calendars::read(&config, from)?;
    let text = normalize(&args.trigger, site.zone);
    let context = Context { now: Some(now), site: Some(&site), calendars: calendars::in_use() };
    let (times, end) = match parse(&text, &context, &mut zones::patterns()) {
        Ok(trigger) => {
            if let Some(unknown) = trigger.days().and_then(|days| config.rules.unknown_calendar(days)) {
                return Err(unknown.into());
            }
            if let Some(note) = trigger.note() {
                writeln!(output::stderr(), "note: {note}")?;
            }
            occurrences(&trigger, after, args.count, &site)
        }
        Err(error) if error.never().is_some() => (Vec::new(), error.never()),
        Err(error) => return Err(Report::new(error.to_string()).hint(error.hint()).into()),
    };
    if end == Some(Never::NoLocation) {
        let report = Report::new(format!("`{text}` depends on the location, and none is configured"));
        return Err(report.hint("set the location, such as `--latitude 51.5 --longitude -0.1`").into());
    }
    write(&times, from, site.zone, args.json)?;
    if let (true, Some(never)) = (times.is_empty(), end) {
        writeln!(output::stderr(), "`{text}` never fires after {}: {never}", from.in_zone(site.zone))?;
    }
    Ok(())
}

/// Returns up to `count` occurrences after an instant and, if there are fewer, the reason.
fn occurrences(trigger: &Trigger, after: Instant, count: u32, site: &Site) -> (Vec<Instant>, Option<Never>) {
    let (mut times, mut sun, mut after) = (Vec::new(), calendars::almanac(), after);
    for _ in 0..count {
        match trigger.find(after, site, &mut sun) {
            Ok(at) => times.push(at),
            Err(never) => return (times, Some(never)),
        }
        after = times.last().copied().unwrap_or(after);
    }
    (times, None)
}

fn write(times: &[Instant], from: Instant, zone: Zone, json: bool) -> Result<()> {
    let mut out = io::BufWriter::new(output::stdout());
    if json {
        let times: Vec<_> = times.iter().map(|at| at.in_zone(zone)).collect();
        serde_json::to_writer_pretty(&mut out, &times).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for at in times {
            writeln!(out, "{}", line(*at, from, zone))?;
        }
    }
    Ok(out.flush()?)
}

/// Formats an occurrence, such as `Mon 2027-03-01 06:30:00 +00:00  in 3 days`.
fn line(at: Instant, from: Instant, zone: Zone) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let milliseconds = if at.millis() % 1_000 == 0 { "" } else { "%.3f" };
    format!("{}  in {}", local.format(&format!("%a %Y-%m-%d %H:%M:%S{milliseconds} %:z")), distance(at.ms_since(from)))
}

#[cfg(test)]
mod tests {
    use crate::zones::zone;
    use roost_scheduler::time::Location;

    use super::*;

    fn at(text: &str) -> Instant {
        text.parse::<When>().expect("a time").in_zone(Zone::UTC)
    }

    fn trigger(text: &str) -> Trigger {
        parse(text, &Context::at(Instant::MIN), &mut zones::patterns()).expect("a trigger")
    }

    fn tromso() -> Site {
        Site { zone: zone("Europe/Oslo"), location: Location::new(69.6492, 18.9553) }
    }

    #[test]
    fn a_line_shows_the_local_time_and_the_time_until_then() {
        let (from, zone) = (at("2027-02-26T06:00:00Z"), zone("Europe/London"));
        assert_eq!(line(at("2027-03-01T06:30:00Z"), from, zone), "Mon 2027-03-01 06:30:00 +00:00  in 3 days");
        assert_eq!(line(at("2027-02-26T06:00:00.5Z"), from, zone), "Fri 2027-02-26 06:00:00.500 +00:00  in 500 ms");
        let distances = [1_000, 1_999, 119_000, 120_000, 7_200_000, 172_799_999].map(distance);
        assert_eq!(distances, ["1 second", "1 second", "119 seconds", "2 minutes", "2 hours", "47 hours"]);
    }

    #[test]
    fn the_sunrise_after_a_polar_night_is_found() {
        let (times, end) = occurrences(&trigger("sunrise"), at("2026-12-01T00:00:00Z"), 2, &tromso());
        let days: Vec<_> = times.iter().map(|at| at.in_zone(zone("Europe/Oslo"))[..10].to_owned()).collect();
        assert_eq!((days, end), (vec!["2027-01-15".into(), "2027-01-16".into()], None));
    }

    #[test]
    fn a_trigger_that_never_fires_has_a_reason() {
        let equator = Site { zone: Zone::UTC, location: Location::new(0.0, 0.0) };
        let never = |text: &str, site: &Site| occurrences(&trigger(text), at("2027-06-01T00:00:00Z"), 3, site);
        assert_eq!(never("at 2027-01-01T00:00:00Z", &equator), (vec![], Some(Never::Over)));
        assert_eq!(never("cron 0 0 0 1 1 * 2027", &equator), (vec![], Some(Never::Over)));
        assert_eq!(never("sunset", &Site { location: None, ..equator }), (vec![], Some(Never::NoLocation)));
    }
}
