//! Commands and their output.

use std::{fs, process::Output};

use roost_tests::{Broker, Site, guest, sample};

use crate::{
    api::{ask, get},
    job,
};

/// Runs `roost …`, at Greenwich by default, and returns the exit code, standard output and standard error.
fn roost(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = site.command(arguments);
    if !arguments.contains(&"--time-zone") {
        command.env("ROOST_TIME_ZONE", "Europe/London");
    }
    command.env("ROOST_LATITUDE", "51.4779").env("ROOST_LONGITUDE", "-0.0015");
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn next(arguments: &[&str]) -> Vec<String> {
    let arguments = [&["next", "--json"], arguments].concat();
    let (code, out, errors) = roost(&Site::new(), &arguments);
    assert_eq!(code, Some(0), "{errors}");
    serde_json::from_str(&out).expect("an array of texts")
}

#[test]
fn next_runs_come_strictly_after_the_given_time_in_the_given_zone() {
    let from = ["--from", "2027-03-01T06:30:00Z", "--count", "2"];
    let at = |trigger: &[&str], more: &[&str]| next(&[trigger, &from, more].concat());
    assert_eq!(at(&["every", "15m"], &[]), ["2027-03-01T06:45:00Z", "2027-03-01T07:00:00Z"]);
    assert_eq!(at(&["cron", "30 6 * * *"], &[]), ["2027-03-02T06:30:00Z", "2027-03-03T06:30:00Z"]);
    assert_eq!(at(&["cron", "30", "6", "*", "*", "MON-FRI"], &[])[0], "2027-03-02T06:30:00Z");
    let sydney = at(&["cron", "@daily"], &["--time-zone", "Australia/Sydney"]);
    assert_eq!(sydney, ["2027-03-02T00:00:00+11:00", "2027-03-03T00:00:00+11:00"]);
    assert_eq!(at(&["at", "2027-03-01T06:30:00Z"], &[]), [""; 0]);
    assert_eq!(at(&["sunset", "-20m", "not-before", "20:00"], &[])[0], "2027-03-01T20:00:00Z");
    // There is no civil dusk at midsummer in Oulu, and at Helsinki it is after midnight.
    let midsummer = ["--from", "2027-06-21", "--time-zone", "Europe/Helsinki", "--longitude", "25", "--latitude"];
    let evening = |trigger: &[&str], latitude: &str| next(&[trigger, &midsummer, &[latitude]].concat())[0].clone();
    assert_eq!(evening(&["civil-dusk", "not-after", "22:00"], "60.17"), "2027-06-21T22:00:00+03:00");
    assert_eq!(evening(&["civil-dusk", "else", "22:30"], "65.01"), "2027-06-21T22:30:00+03:00");
    assert_eq!(next(&["now"]).len(), 1);
    assert_eq!(next(&["at", "now+2s"]).len(), 1);
}

#[test]
fn a_trigger_that_never_fires_or_is_invalid_is_explained() {
    let site = Site::new();
    let (code, out, errors) = roost(&site, &["next", "cron 0 0 31 2 *", "--json"]);
    assert_eq!((code, out.as_str()), (Some(0), "[]\n"));
    assert!(errors.contains("the calendar has no such day"), "{errors}");
    for (trigger, shown) in [("evry 15m", "did you mean `every`?"), ("sunset -20x", "-20x"), ("sunset -20", "-20")] {
        let words: Vec<_> = ["next"].into_iter().chain(trigger.split(' ')).collect();
        let (code, out, errors) = roost(&site, &words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{trigger}: {errors}");
        assert!(errors.replace('−', "-").contains(shown), "{trigger}: {errors}");
    }
}

#[test]
fn a_check_shows_the_jobs_of_a_plugin() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop");
    let (code, out, errors) = roost(&site, &["check", "plugins/coop.wasm"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for part in
        ["roost:device/schedule@1.0.0", "device coop (Europe/London), 2 jobs", "publishes coop/coop/door/set  OPEN"]
    {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(out.matches("      next ").count(), 6, "{out}");
    assert!(!out.contains("denied   "), "{out}");
    for (name, what) in [("wants-files", "files"), ("wants-sockets", "sockets")] {
        site.drop_in(&guest(name), name);
        let (code, out, _) = roost(&site, &["check", &format!("plugins/{name}.wasm")]);
        assert_eq!(code, Some(0));
        assert!(out.contains(&format!("denied   {what}: Roost never grants them")), "{out}");
    }
}

const FIRST_MONDAY: &str = "for the first MON of a month write `cron 0 6 * * MON#1`";

#[test]
fn cron_expressions_of_other_programs_are_explained_wherever_they_occur() {
    let (broker, site) = (Broker::new(), Site::new());
    let both = "cron 0 6 1-7 * 1";
    let (code, _, errors) = roost(&site, &["next", both, "--count", "1"]);
    assert!(code == Some(0) && errors.starts_with("note: ") && errors.contains(FIRST_MONDAY), "{errors}");
    for (trigger, hint) in [
        ("cron CRON_TZ=Europe/Oslo 30 6 * * *", "follows the expression: `cron 30 6 * * * in Europe/Oslo`"),
        ("@every 5m", "a period is a trigger of its own: `every 5m`"),
        ("@reboot", "hint: `now` runs once"),
        ("cron 0 12 ? * MON", "hint: `?` is `*` here: `cron 0 12 * * MON`"),
        ("cron 0 12 L-3 * *", "no expression means 3 days before it"),
        ("every 2w", "hint: a week is `7d`: write `14d`"),
        ("at 2027-02-29T06:00:00Z", "there is no 29 February 2027: February has 28 days that year"),
        ("at 2027-02-29 06:00", "`2027-02-29 06:00`: there is no 29 February 2027"),
    ] {
        let (code, out, errors) = roost(&site, &["next", trigger]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{trigger}");
        assert!(errors.contains(hint), "{trigger}: {errors}");
    }

    site.settings("declared", &job("first", "cron = \"0 6 1-7 * 1\"", "declared/x"));
    site.drop_in(&guest("declared"), "declared");
    let (code, out, _) = roost(&site, &["check", "plugins/declared.wasm"]);
    assert!(code == Some(0) && out.contains("note: ") && out.contains(FIRST_MONDAY), "{out}");

    let host = site.start(&broker);
    host.wait_for_log("1 new");
    let (code, out, errors) = roost(&site, &["schedule", both, "--topic", "a/b", "--id", "by-hand"]);
    assert_eq!((code, out.as_str()), (Some(0), "roost/api/by-hand\n"), "{errors}");
    assert!(errors.contains("note: ") && errors.contains(FIRST_MONDAY), "{errors}");
    let address = host.address();
    for job in ["declared/declared/first", "roost/api/by-hand"] {
        let shown = get(&address, &format!("/api/v1/jobs/{job}"));
        assert!(shown["note"].as_str().is_some_and(|note| note.contains(FIRST_MONDAY)), "{shown}");
    }
    let (status, problem) = ask(
        &address,
        "POST",
        "/api/v1/jobs",
        "content-type: application/json\r\n",
        r#"{"trigger": "at 2027-02-29T06:00:00Z", "topic": "a/b"}"#,
    );
    assert!(status == 400 && problem.to_string().contains("there is no 29 February 2027"), "{status}: {problem}");

    // For a job that never ran, the next due time comes first.
    for job in ["declared/declared/first", "roost/api/by-hand"] {
        let (code, out, errors) = roost(&site, &["explain", job]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(out.starts_with("it has not run yet: it is due ") && out.contains("06:00:00"), "{out}");
    }
}

#[test]
fn settings_in_another_encoding_are_reported_with_it() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop");
    let text = "[config]\n# H\u{fc}hner\n";
    let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let with_mark = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    let latin1: Vec<u8> = text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    for (bytes, expected) in [
        (with_mark(&[0xFF, 0xFE], utf16(u16::to_le_bytes)), "it is UTF-16, and must be UTF-8"),
        (with_mark(&[0xFE, 0xFF], utf16(u16::to_be_bytes)), "it is UTF-16, and must be UTF-8"),
        (utf16(u16::to_le_bytes), "it is UTF-16, and must be UTF-8"),
        (latin1, "looks like Latin-1 or Windows-1252: line 2, column 4"),
    ] {
        fs::write(site.plugin("coop.toml"), &bytes).unwrap();
        fs::write(site.path().join("other.toml"), &bytes).unwrap();
        for arguments in [&["check", "plugins/coop.wasm"][..], &["run", "--config", "other.toml"]] {
            let (code, _, errors) = roost(&site, arguments);
            assert!(code == Some(1) && errors.contains(expected), "{arguments:?}: {errors}");
        }
    }
    // As some editors write UTF-8.
    fs::write(site.plugin("coop.toml"), with_mark(&[0xEF, 0xBB, 0xBF], "# H\u{fc}hner\n".into())).unwrap();
    let (code, _, errors) = roost(&site, &["check", "plugins/coop.wasm"]);
    assert_eq!(code, Some(0), "{errors}");
}
