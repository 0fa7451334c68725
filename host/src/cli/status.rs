//! `roost status`: the state of a running host.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use anyhow::Result;
use chrono::DateTime;

use super::{
    client::Client,
    output,
    table::{Times, local},
};
use crate::{
    clock,
    config::DataFlags,
    http::{AnsweringHost, CalendarStatus, HomeAssistantStatus, LinkStatus, Paused, Role, Status, pauses::PauseRecord},
    report::counted,
    when::distance,
};

/// Show the status of a running host
///
/// Queries the host of the data folder, or the one at `ROOST_URL`, with the token in `ROOST_TOKEN` if it requires one.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Print an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn main(args: Args) -> Result<()> {
    let status: Status = Client::new(args.data)?.get("/api/v1/status")?;
    let mut out = output::stdout();
    if args.json {
        serde_json::to_writer(&mut out, &status).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    Ok(out.write_all(describe(&status).as_bytes())?)
}

fn describe(status: &Status) -> String {
    let Status {
        version,
        host: answering,
        started,
        uptime_ms,
        clock,
        time_zones,
        calendars,
        link,
        home_assistant,
        store,
        counts,
        faults,
        paused,
        will_be_paused,
        pause,
        stopping,
        not_ready,
        loading: _,
    } = status;
    let up = distance(i64::try_from(*uptime_ms).unwrap_or(i64::MAX));
    let host = if *stopping { "stopping" } else { "running" };
    // The line of the clock shows the offset.
    let now = DateTime::parse_from_rfc3339(&clock.now).map_or_else(|_| clock::now(), Into::into);
    let times = Times::new([started, &clock.now].into_iter().chain(&link.since).map(String::as_str), now);
    let broker = broker(link, &times);
    let store = if store.writes { "writable" } else { "cannot be written: see the host's log" };
    let release = time_zones.release.as_deref().unwrap_or("unknown release");
    let rules = time_zones.folder.as_ref().map_or("built in".into(), |folder| format!("from `{folder}`"));
    let mut text = format!(
        "roost {version}  {host} for {up}, since {}\nclock     {}, {}\nzones     {release}, {rules}\nbroker    {broker}, {} messages under way\n\
         database  {store}\nplugins   {}, with {} and {}\nruns      {} under way\n",
        times.format(started),
        local(&clock.now),
        clock.zone,
        counts.attempts,
        counts.plugins,
        counted(counts.devices as u64, "device"),
        counted(counts.jobs as u64, "job"),
        counts.runs
    );
    // Writing to a string cannot fail.
    answering.iter().for_each(|host| put_host(&mut text, host));
    if let Some(reason) = not_ready {
        let _ = writeln!(text, "not ready {reason}");
    }
    for fault in &time_zones.faults {
        let _ = writeln!(text, "zones     {fault}");
    }
    calendars.iter().for_each(|calendar| put_calendar(&mut text, calendar));
    if faults.plugins > 0 || faults.devices > 0 {
        let all = [(faults.plugins, "plugin"), (faults.devices, "device")].into_iter().filter(|(count, _)| *count > 0);
        let all: Vec<String> = all.map(number).collect();
        let _ = writeln!(text, "faults    {}: see `roost plugins`", all.join(", "));
    }
    if link.protocol.as_deref() == Some("3.1.1") {
        text.push_str("missing   run ids, expiry and refusals of messages: the broker supports MQTT 3.1.1, not 5\n");
    }
    if link.held_back.count > 0 {
        let all = named(link.held_back.count, &link.held_back.first);
        let _ = writeln!(
            text,
            "held back {all}: the broker closes the connection at messages on these topics; see the host's log"
        );
    }
    if let Some(status) = home_assistant {
        put_home_assistant(&mut text, status);
    }
    let words = |pause: &PauseRecord| pause.in_words(now, |at| times.format(at)).0;
    put_pauses(&mut text, pause.as_ref(), [paused, will_be_paused], words);
    text
}

/// Adds what is paused: a line for everything, one for the rest, and one for what will be, which has its beginning.
fn put_pauses(
    text: &mut String,
    all: Option<&PauseRecord>,
    pauses: [&Paused; 2],
    words: impl Fn(&PauseRecord) -> String,
) {
    if let Some(pause) = all {
        let _ = writeln!(text, "paused    everything: {}", words(pause));
    }
    for paused in pauses.into_iter().filter(|paused| paused.count > 0) {
        let _ = writeln!(text, "paused    {}", named(paused.count, &paused_names(paused, &words)));
    }
}

/// Names what is paused, each with the end and the reason of its pause.
fn paused_names(paused: &Paused, words: impl Fn(&PauseRecord) -> String) -> Vec<String> {
    let names = paused.first.iter().enumerate().map(|(index, name)| {
        // An older host returns no pauses.
        let words = paused.pauses.get(index).map(&words);
        format!("{name}{}", words.as_deref().and_then(|words| words.strip_prefix("paused")).unwrap_or_default())
    });
    names.collect()
}

/// Describes the connection to the broker.
fn broker(link: &LinkStatus, times: &Times) -> String {
    match (&link.since, &link.broker, &link.protocol) {
        (Some(since), Some(broker), Some(protocol)) => {
            format!("connected to {broker}, MQTT {protocol}, since {}", times.format(since))
        }
        (Some(since), ..) => format!("connected since {}", times.format(since)),
        (None, ..) => "not connected".into(),
    }
}

/// Writes a line about the host of several that answers.
fn put_host(text: &mut String, AnsweringHost { name, role, owner }: &AnsweringHost) {
    let role = if *role == Role::Owner { "the owner".to_owned() } else { format!("a standby of `{owner}`") };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "host      {name}, {role}: see `roost hosts`");
}

/// Writes a line about the devices in Home Assistant, and one about what the broker refuses.
fn put_home_assistant(text: &mut String, HomeAssistantStatus { up, devices, refused }: &HomeAssistantStatus) {
    let up = if *up { "connected" } else { "not connected" };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "home      Home Assistant is {up}, with {}", counted(*devices as u64, "device"));
    if let Some(refused) = refused {
        let _ = writeln!(text, "home      the broker refused {refused}");
    }
}

/// Writes a line about a calendar, and one for each thing that is wrong with it.
fn put_calendar(text: &mut String, CalendarStatus { name, days, next, error, hint, notes, .. }: &CalendarStatus) {
    let next = if next.is_empty() { "none to come".to_owned() } else { format!("next {}", next.join(", ")) };
    let days = days.map_or_else(|| "no days yet".to_owned(), |days| format!("{}, {next}", counted(days as u64, "day")));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "calendar  {name}: {days}");
    if let Some(error) = error {
        let hint = hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        let _ = writeln!(text, "calendar  {error}{hint}");
    }
    for note in notes {
        let _ = writeln!(text, "calendar  {name}, {note}");
    }
}

/// Formats names and the number of those that are not in `first`, such as `porch, sprinkler/garden, and 10 more`.
fn named(count: usize, first: &[String]) -> String {
    let more = count.saturating_sub(first.len());
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// Formats a count, such as `2 devices`.
fn number((count, what): (usize, &str)) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn faults_and_pauses_have_lines_of_their_own() {
        let status = |faults: &str, paused: &str| {
            let text = format!(
                r#"{{"version": "1", "started": "2027-03-01T06:30:00Z", "uptime_ms": 1, "stopping": false,
                    "clock": {{"now": "2027-03-01T06:30:00Z", "zone": "UTC"}}, "time_zones": {{"release": "2027a"}}, "link": {{"up": false}}, "store": {{"writes": true}},
                    "counts": {{"plugins": 1, "devices": 1, "jobs": 1, "runs": 0, "attempts": 0}},
                    "faults": {faults}, "paused": {paused}}}"#
            );
            describe(&serde_json::from_str(&text).expect("it is a status"))
        };
        let healthy = status(r#"{"plugins": 0, "devices": 0}"#, r#"{"count": 0, "first": []}"#);
        expect![[r#"
            roost 1  running for 1 ms, since 06:30
            clock     2027-03-01 06:30:00 +00:00, UTC
            zones     2027a, built in
            broker    not connected, 0 messages under way
            database  writable
            plugins   1, with 1 device and 1 job
            runs      0 under way
        "#]]
        .assert_eq(&healthy);
        let faulty =
            status(r#"{"plugins": 0, "devices": 1}"#, r#"{"count": 12, "first": ["porch", "sprinkler/garden"]}"#);
        let expected = "faults    1 device: see `roost plugins`\npaused    porch, sprinkler/garden, and 10 more\n";
        assert_eq!(faulty.strip_prefix(&healthy), Some(expected));
        let to_come = status(
            r#"{"plugins": 0, "devices": 0}"#,
            r#"{"count": 0, "first": []}, "will_be_paused": {"count": 1, "first": ["porch"],
                "pauses": [{"by": "plugin", "from": "2027-03-01T08:00:00Z", "until": "2027-03-01T09:00:00Z", "reason": "rain"}]}"#,
        );
        let expected = "paused    porch from 08:00 until 09:00 (rain)\n";
        assert_eq!(to_come.strip_prefix(&healthy), Some(expected));
    }

    #[test]
    fn home_assistant_has_its_devices_and_what_is_refused() {
        let mut text = String::new();
        let refused = "a message to `roost/state`: the user is not authorized (0x87)".to_owned();
        for (up, devices, refused) in [(true, 6, None), (false, 1, Some(refused))] {
            put_home_assistant(&mut text, &HomeAssistantStatus { up, devices, refused });
        }
        expect![[r#"
            home      Home Assistant is connected, with 6 devices
            home      Home Assistant is not connected, with 1 device
            home      the broker refused a message to `roost/state`: the user is not authorized (0x87)
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn calendars_have_their_next_days_and_what_is_wrong() {
        let calendars: Vec<CalendarStatus> = serde_json::from_str(
            r#"[{"name": "away", "days": 1, "next": []},
                {"name": "holidays", "file": "h.ics", "days": 1234, "next": ["2026-12-25", "2027-03-26..2027-03-29"],
                 "notes": ["line 3, event `x`: it has no `DTSTART`; it is left out"]},
                {"name": "school", "file": "s.ics", "next": [], "error": "the calendar `school` cannot be read: s.ics:3: no", "hint": "correct the file"}]"#,
        )
        .expect("they are calendars");
        let mut text = String::new();
        calendars.iter().for_each(|calendar| put_calendar(&mut text, calendar));
        expect![[r#"
            calendar  away: 1 day, none to come
            calendar  holidays: 1234 days, next 2026-12-25, 2027-03-26..2027-03-29
            calendar  holidays, line 3, event `x`: it has no `DTSTART`; it is left out
            calendar  school: no days yet
            calendar  the calendar `school` cannot be read: s.ics:3: no; correct the file
        "#]]
        .assert_eq(&text);
    }
}
