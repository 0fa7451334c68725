//! Calendars: the days on which jobs are due, from a file that changes while the host runs.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Listener, Roost, Site, guest,
    http::{get, post, problem, text},
    redact,
};
use serde_json::json;

use crate::{NOON, SECOND, SOON, job};

const SETTINGS: &str = "
[[calendar]]
name = 'holidays'
file = 'holidays.ics'
[[calendar]]
name = 'away'
dates = ['2027-07-03..2027-07-09']
";

/// Replaces the calendar's file at once, as calendar programs do.
fn write_holidays(site: &Site, dates: &[&str]) {
    let events = dates.iter().map(|date| format!("BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{date}\r\nEND:VEVENT\r\n"));
    let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.collect::<String>());
    fs::write(site.path().join("new.ics"), text).unwrap();
    fs::rename(site.path().join("new.ics"), site.path().join("holidays.ics")).unwrap();
}

fn next(host: &Roost, id: &str) -> Option<String> {
    get(&host.address(), &format!("/api/v1/jobs/roost/api/{id}"))["due"].as_str().map(str::to_owned)
}

/// Waits until the next occurrences of the jobs `on` and `except` are as expected.
fn wait_for_next(host: &Roost, on: &str, except: &str) {
    host.until(&format!("{on} and {except}"), || {
        (next(host, "on").as_deref() == Some(on) && next(host, "except").as_deref() == Some(except)).then_some(())
    });
}

#[test]
fn jobs_follow_their_calendar_and_keep_it_without_the_file() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    fs::write(site.path().join("roost.toml"), SETTINGS).unwrap();
    write_holidays(&site, &["20270701"]);
    let host = site.start_at(&broker, NOON - SOON);
    host.wait_for_log("listening");
    for clause in ["on", "except"] {
        site.roost(&["schedule", &format!("daily 13:00 {clause} holidays,away"), "--topic", clause, "--id", clause]);
    }
    wait_for_next(&host, "2027-07-01T13:00:00+01:00", "2027-07-02T13:00:00+01:00");
    write_holidays(&site, &["20270702"]);
    wait_for_next(&host, "2027-07-02T13:00:00+01:00", "2027-07-01T13:00:00+01:00");
    site.set_clock(NOON - SECOND);
    listener.wait_for("except");
    assert_eq!(listener.count("on"), 0);
    let explained = site.json(&["explain", "roost/api/on", "--at", "2027-07-01T13:00"]);
    assert_eq!(explained["left_out"], json!({ "date": "2027-07-01", "by": "on holidays,away" }), "{explained}");
    // Half a file.
    let whole = fs::read_to_string(site.path().join("holidays.ics")).unwrap();
    fs::write(site.path().join("holidays.ics"), &whole[..60]).unwrap();
    host.wait_for_log("the calendar `holidays` cannot be read");
    host.kill();
    let host = site.start_later(&broker, 5 * SECOND);
    assert_eq!(next(&host, "on").as_deref(), Some("2027-07-02T13:00:00+01:00"));
    let status = site.roost(&["status"]);
    let lines: Vec<&str> = status.lines().filter(|line| line.starts_with("calendar ")).collect();
    expect![[r#"
        calendar  away: 7 days, next [DATE]..[DATE]
        calendar  holidays: 1 day, next [DATE]
        calendar  the calendar `holidays` cannot be read: holidays.ics:4: `DTSTART;VALUE=DA` is not a line of an iCalendar file; correct the file; until then its days as of [TIME] stay in use (1 day)"#]].assert_eq(&redact(&lines.join("\n")));
    assert_eq!(get(&host.address(), "/readyz"), json!({ "status": "ok" }));
    let calendar = &get(&host.address(), "/api/v1/status")["calendars"][1];
    assert_eq!((text(calendar, "name"), &calendar["next"]), ("holidays", &json!(["2027-07-02"])));
    let note = site.roost(&["explain", "roost/api/on"]);
    assert!(note.contains("the calendar `holidays` cannot be read"), "{note}");
    write_holidays(&site, &["20270702", "20271224"]);
    host.wait_for_log("the calendar `holidays` has 2 days");
    host.until("a status without a fault", || {
        get(&host.address(), "/api/v1/status")["calendars"][1].get("error").is_none().then_some(())
    });
}

#[test]
fn a_job_of_a_calendar_that_is_unknown_or_was_never_read_is_refused() {
    let (broker, site) = (Broker::new(), Site::new());
    fs::write(site.path().join("roost.toml"), SETTINGS).unwrap();
    site.settings("declared", &job("lesson", "when = 'daily 08:00 except school'", "declared/lesson"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start_at(&broker, NOON - SOON);
    host.wait_for_log("listening");
    let refused = |calendar: &str| {
        let job = json!({ "trigger": format!("daily 08:00 except {calendar}"), "topic": "a" });
        problem(&post(&host.address(), "/api/v1/jobs", &job))
    };
    host.wait_for_log("`school`: the host has no calendar of that name");
    let of_plugin = get(&host.address(), "/api/v1/plugins/declared")["error"].clone();
    expect![[r#"
        422 Unprocessable Entity: `trigger.days.calendar` `school`: the host has no calendar of that name
          hint: the calendars are `away`, `holidays`; to add this one, put it into `roost.toml`, and start Roost again:
          [[calendar]]
          name = "school"
          file = "school.ics"
        422 Unprocessable Entity: `trigger.days.calendar` `holidays`: the host has no calendar of that name
          hint: correct the calendar's file, which has never been read; then try again, or start Roost again: holidays.ics: No such file or directory (os error 2)
        {
          "at": "[TIME]",
          "causes": [
            "declared.toml:2:6: device `declared` has no plan",
            "job `lesson`: `trigger.days.calendar` `school`: the host has no calendar of that name"
          ],
          "hint": "the calendars are `away`, `holidays`; to add this one, put it into `roost.toml`, and start Roost again:\n[[calendar]]\nname = \"school\"\nfile = \"school.ics\"",
          "what": "plugin `declared` was not loaded"
        }"#]].assert_eq(&redact(&format!(
        "{}\n{}\n{of_plugin:#}",
        refused("school"),
        refused("holidays")
    )));
    write_holidays(&site, &["20270702"]);
    host.until("an accepted job", || {
        let job = json!({ "trigger": "daily 08:00 except holidays", "topic": "a" });
        (post(&host.address(), "/api/v1/jobs", &job).0 == 201).then_some(())
    });
}

#[test]
fn commands_without_a_host_read_the_calendars() {
    let site = Site::new();
    fs::write(site.path().join("roost.toml"), SETTINGS).unwrap();
    let next = ["next", "daily 06:00 on holidays,away", "--from", "2027-07-01", "--count", "2"];
    let missing = site.notes(&next);
    assert!(missing.contains("warning: the calendar `holidays` cannot be read"), "{missing}");
    write_holidays(&site, &["20270705", "20270720"]);
    let place = ["--time-zone", "Europe/London", "--count", "8"];
    let listed = site.roost(&[&next[..4], &place].concat());
    let days: Vec<&str> = listed.lines().filter_map(|line| line.get(..14)).collect();
    expect![[r#"
        Sat 2027-07-03
        Sun 2027-07-04
        Mon 2027-07-05
        Tue 2027-07-06
        Wed 2027-07-07
        Thu 2027-07-08
        Fri 2027-07-09
        Tue 2027-07-20"#]]
    .assert_eq(&days.join("\n"));
    expect![[r#"
        $ roost next 'daily 05:30 except holydays'
        error: there is no calendar `holydays`
        hint: did you mean `holidays`? To add this one, put it into `roost.toml`, and start Roost again:
          [[calendar]]
          name = "holydays"
          file = "holydays.ics"
        (exit 1)

        $ roost next 'daily 05:30 on weekend'
        error: there is no calendar `weekend`
        hint: did you mean `SAT,SUN`?
        (exit 1)

        $ roost next 'cron */90 * * * *' --count 1
        [TIME]  in [SPAN]
        note: `*/90` counts within each hour: it matches minute 0; for equal distances write `every 90m`
    "#]]
    .assert_eq(&site.transcript(&[
        &["next", "daily 05:30 except holydays"],
        &["next", "daily 05:30 on weekend"],
        &["next", "cron */90 * * * *", "--count", "1"],
    ]));
    site.settings("declared", &job("rest", "when = 'daily 08:00 on holidays'", "declared/rest"));
    site.drop_in(&guest("declared"), "declared");
    let checked = site.roost(&["check", "plugins/declared.wasm"]);
    assert!(checked.contains("next Mon 2027-07-05 08:00:00"), "{checked}");
    let simulated = site.roost(&["simulate", "plugins/declared.wasm", "--from", "2027-07-01", "--days", "30"]);
    assert!(simulated.ends_with("2 messages\n"), "{simulated}");
    assert!(!site.path().join("data").exists(), "they change nothing");
}
