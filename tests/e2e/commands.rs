//! Commands and their output.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use roost_tests::{Broker, Site, binary, guest, sample};

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

/// Returns a command that runs `roost …` on a terminal of this kind and width.
fn on_terminal(site: &Site, kind: &str, columns: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("script");
    let line = format!("stty cols {columns}; exec {} {}", binary().display(), arguments.join(" "));
    command.args(["-qec", &line, "/dev/null"]).current_dir(site.path()).stdin(Stdio::null());
    command.env("TERM", kind).env_remove("NO_COLOR").env_remove("ROOST_URL");
    command.env("ROOST_TIME_ZONE", "Europe/London").env("ROOST_LATITUDE", "51.4779").env("ROOST_LONGITUDE", "-0.0015");
    command
}

fn text_of(command: &mut Command) -> String {
    let output = command.output().expect("Debian has `script`");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_table_fits_the_terminal_and_a_simulation_is_coloured_there() {
    let (broker, site) = (Broker::new(), Site::new());
    site.drop_in(&sample("coop-door"), "coop-door");
    let host = site.start(&broker);
    host.wait_for_log("2 new");
    let jobs = ["jobs", "coop-door"];
    let wide = text_of(&mut on_terminal(&site, "xterm", 200, &jobs));
    assert!(wide.starts_with("NEXT") && wide.lines().count() == 3, "{wide:?}");
    let narrow = text_of(&mut on_terminal(&site, "xterm", 50, &jobs));
    assert!(narrow.lines().count() > 3 && narrow.lines().all(|line| line.chars().count() <= 50), "{narrow}");
    for job in ["coop-door/coop-door/open", "coop-door/coop-door/close"] {
        assert!(narrow.contains(job), "{narrow}");
    }
    let (code, piped, _) = roost(&site, &jobs);
    assert!(code == Some(0) && piped.lines().count() == 3, "{piped:?}");
    let simulate = ["simulate", "plugins/coop-door.wasm", "--days", "1"];
    let coloured = text_of(&mut on_terminal(&site, "xterm", 80, &simulate));
    assert!(coloured.contains("\u{1b}[1m"), "{coloured:?}");
    let plain = text_of(on_terminal(&site, "xterm", 80, &simulate).env("NO_COLOR", "1"));
    let dumb = text_of(&mut on_terminal(&site, "dumb", 80, &simulate));
    let (_, piped, _) = roost(&site, &simulate);
    for text in [plain, dumb, piped] {
        assert!(text.contains("coop-door/door/set") && !text.contains('\u{1b}'), "{text:?}");
    }
    // On the terminal a day is a heading; in a pipe each line has its date.
    fs::write(site.plugin("coop-door.wasm"), "no component").expect("a file");
    host.wait_for_log("was not loaded");
    let entry = text_of(&mut on_terminal(&site, "xterm", 80, &["logs", "coop-door"]));
    assert!(entry.contains("day 20"), "{entry}");
    let (_, piped, _) = roost(&site, &["logs", "coop-door"]);
    assert!(piped.starts_with("20") && !piped.contains("day 20"), "{piped}");
}

#[test]
fn what_takes_long_shows_its_progress_on_a_terminal_and_not_in_a_pipe() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop-door");
    // A host that does not answer.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let arguments = ["upload", "plugins/coop-door.wasm"];
    let mut piped = site.command(&arguments);
    let piped = piped.env("ROOST_URL", &url).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let first = listener.accept().expect("a connection");
    let mut shown = on_terminal(&site, "xterm", 80, &arguments);
    let mut shown = shown.env("ROOST_URL", &url).stdout(Stdio::piped()).spawn().expect("Debian has `script`");
    let (mut output, mut read) = (shown.stdout.take().expect("it is piped"), String::new());
    while !read.contains("waiting for the host, which tries the plugin: 1 s") {
        let mut buffer = [0; 256];
        let count = output.read(&mut buffer).expect("a terminal");
        assert!(count > 0, "{read}");
        read += &String::from_utf8_lossy(&buffer[..count]);
    }
    drop((first, listener));
    let Output { stderr, .. } = piped.wait_with_output().expect("it ran");
    let errors = String::from_utf8(stderr).expect("UTF-8");
    assert!(errors.starts_with("error: ") && !errors.contains("waiting"), "{errors}");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("a terminal");
    shown.wait().expect("it ran");
    assert!(rest.contains("  \rerror: "), "the line is not erased: {rest:?}");
}
