//! Commands and their output.

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use expect_test::expect;
use roost_tests::{
    Broker, Ran, Site, binary, guest,
    http::{get, text},
    sample,
};

use crate::job;

/// Runs `roost …`, at Greenwich by default.
fn roost(site: &Site, arguments: &[&str]) -> Ran {
    let mut command = site.command(arguments);
    if !arguments.contains(&"--time-zone") {
        command.env("ROOST_TIME_ZONE", "Europe/London");
    }
    command.env("ROOST_LATITUDE", "51.4779").env("ROOST_LONGITUDE", "-0.0015");
    Ran::of(&mut command)
}

/// Runs commands at Greenwich, and returns them with all that they print.
fn transcript<'a>(site: &Site, commands: impl IntoIterator<Item = &'a [&'a str]>) -> String {
    let shown = commands.into_iter().map(|arguments| site.shown(arguments, &roost(site, arguments)));
    shown.collect::<Vec<_>>().join("\n")
}

fn next(arguments: &[&str]) -> Vec<String> {
    let arguments = [&["next", "--json"], arguments].concat();
    let ran = roost(&Site::new(), &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.errors);
    serde_json::from_str(&ran.out).expect("an array of texts")
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
    let commands: [&[&str]; 4] = [
        &["next", "cron 0 0 31 2 *", "--json"],
        &["next", "evry", "15m"],
        &["next", "sunset", "-20x"],
        &["next", "sunset", "-20"],
    ];
    expect![[r#"
        $ roost next 'cron 0 0 31 2 *' --json
        []
        `cron 0 0 31 2 *` never fires after [TIME]: the calendar has no such day

        $ roost next evry 15m
        error: `evry 15m` is not a trigger: it begins with `evry`; did you mean `every`?
        hint: write `now`, `at 2027-03-01T06:30:00Z`, `every 15m`, `cron 30 6 * * MON-FRI` (in quotes where a shell reads it), or a sun event as in `sunset -20m`
        (exit 1)

        $ roost next sunset -20x
        error: `sunset -20x` is not a trigger: the duration `20x` has `x` where a unit should be
        hint: durations are written `500ms`, `2s`, `15m`, `1h30m`, `1d` or `2w`
        (exit 1)

        $ roost next sunset -20
        error: `sunset -20` is not a trigger: the duration `20` has no unit
        hint: durations are written `500ms`, `2s`, `15m`, `1h30m`, `1d` or `2w`
        (exit 1)
    "#]].assert_eq(&transcript(&Site::new(), commands));
}

#[test]
fn a_check_shows_the_jobs_of_a_plugin() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop");
    expect![[r#"
        $ roost check plugins/coop.wasm
        coop
          exports  roost:device/schedule@1.0.0, roost:device/tasks@1.0.0
          imports  roost:device/calendar@1.0.0, 13 of WASI 0.2
          it may publish to coop/#, and read coop/#
          task open: Open the door
          task close: Close the door
          device coop (Europe/London), 2 jobs
            open: sunrise not-before 06:30 else 06:30  (Open the door)
              only the latest missed run of group `door` is caught up
              publishes coop/coop/door/set  OPEN
              next [TIME]
              next [TIME]
              next [TIME]
            close: civil-dusk +10m else 23:00  (Close the door)
              only the latest missed run of group `door` is caught up
              publishes coop/coop/door/set  CLOSE
              next [TIME]
              next [TIME]
              next [TIME]
    "#]]
    .assert_eq(&transcript(&site, [&["check", "plugins/coop.wasm"][..]]));
}

#[test]
fn cron_expressions_of_other_programs_are_explained_wherever_they_occur() {
    let (broker, site) = (Broker::new(), Site::new());
    let both = "cron 0 6 1-7 * 1";
    let commands: [&[&str]; 7] = [
        &["next", both, "--count", "1"],
        &["next", "cron CRON_TZ=Europe/Oslo 30 6 * * *"],
        &["next", "@every 5m"],
        &["next", "@reboot"],
        &["next", "cron 0 12 ? * MON"],
        &["next", "at 2027-02-29T06:00:00Z"],
        &["next", "at 2027-02-29 06:00"],
    ];
    expect![[r#"
        $ roost next 'cron 0 6 1-7 * 1' --count 1
        [TIME]  in [SPAN]
        note: it is due on each day that matches the day of the month (`1-7`) or the day of the week (`1`), as in cron(8), not only on days that match both; for the first MON of a month write `cron 0 6 * * MON#1`

        $ roost next 'cron CRON_TZ=Europe/Oslo 30 6 * * *'
        error: `cron CRON_TZ=Europe/Oslo 30 6 * * *` is not a trigger: `CRON_TZ=Europe/Oslo 30 6 * * *` is not a cron expression: second `CRON_TZ=EUROPE/OSLO`: a step needs a range, as in `CRON_TZ=EUROPE-59/2` or `*/2`
        hint: the time zone follows the expression: `cron 30 6 * * * in Europe/Oslo`; in a plugin's plan it is `time-zone`
        (exit 1)

        $ roost next '@every 5m'
        error: `@every 5m` is not a trigger: other kinds of cron accept that, Roost does not
        hint: a period is a trigger of its own: `every 5m`
        (exit 1)

        $ roost next @reboot
        error: `@reboot` is not a trigger: other kinds of cron accept that, Roost does not
        hint: `now` runs once, immediately; for a state that must also hold after a start, use a job of a group (`latest-of-group`): its newest run is caught up
        (exit 1)

        $ roost next 'cron 0 12 ? * MON'
        error: `cron 0 12 ? * MON` is not a trigger: `0 12 ? * MON` is not a cron expression: day of month `?`: write `*`
        hint: `?` is `*` here: `cron 0 12 * * MON`
        (exit 1)

        $ roost next 'at [TIME]'
        error: `at [TIME]` is not a trigger: `[TIME]`: there is no 29 February 2027: February has 28 days that year
        hint: write `at now+2s`, or `at 2027-03-01T06:30:00Z` with `Z` or an offset such as `+01:00`
        (exit 1)

        $ roost next 'at [TIME]'
        error: `at [TIME]` is not a trigger: `[TIME]`: there is no 29 February 2027: February has 28 days that year
        hint: write `at now+2s`, or `at 2027-03-01T06:30:00Z` with `Z` or an offset such as `+01:00`
        (exit 1)
    "#]].assert_eq(&transcript(&site, commands));

    site.settings("declared", &job("first", "cron = \"0 6 1-7 * 1\"", "declared/x"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("1 new");
    // For a job that never ran, the next due time comes first.
    let commands: [&[&str]; 4] = [
        &["check", "plugins/declared.wasm"],
        &["schedule", both, "--topic", "a/b", "--id", "by-hand"],
        &["explain", "declared/declared/first"],
        &["explain", "roost/api/by-hand"],
    ];
    expect![[r#"
        $ roost check plugins/declared.wasm
        declared
          exports  roost:device/schedule@1.0.0, roost:device/tasks@1.0.0
          imports  13 of WASI 0.2
          it may publish to declared/#, and read declared/#
          task reply: Publish what the arguments say
            arguments  { "type": "object" }
          device declared (Europe/London), 1 job
            first: cron 0 6 1-7 * 1
              note: it is due on each day that matches the day of the month (`1-7`) or the day of the week (`1`), as in cron(8), not only on days that match both; for the first MON of a month write `cron 0 6 * * MON#1`
              publishes declared/x  first
              next [TIME]
              next [TIME]
              next [TIME]

        $ roost schedule 'cron 0 6 1-7 * 1' --topic a/b --id by-hand
        roost/api/by-hand
        note: it is due on each day that matches the day of the month (`1-7`) or the day of the week (`1`), as in cron(8), not only on days that match both; for the first MON of a month write `cron 0 6 * * MON#1`
        its next run is due [TIME]

        $ roost explain declared/declared/first
        it has not run yet: it is due [TIME] (by the calendar, `cron 0 6 1-7 * 1`); it was last due [TIME], and there is no record of that run: no run has been recorded yet

        $ roost explain roost/api/by-hand
        it has not run yet: it is due [TIME] (by the calendar, `cron 0 6 1-7 * 1`); it was last due [TIME], and there is no record of that run: no run has been recorded yet
    "#]].assert_eq(&transcript(&site, commands));
    let address = host.address();
    let note = |job: &str| text(&get(&address, &format!("/api/v1/jobs/{job}")), "note").to_owned();
    assert_eq!(note("declared/declared/first"), note("roost/api/by-hand"));
    expect!["it is due on each day that matches the day of the month (`1-7`) or the day of the week (`1`), as in cron(8), not only on days that match both; for the first MON of a month write `cron 0 6 * * MON#1`"].assert_eq(&note("roost/api/by-hand"));
}

#[test]
fn settings_in_another_encoding_are_reported_with_it() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop");
    let text = "[config]\n# H\u{fc}hner\n";
    let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let with_mark = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
    let latin1: Vec<u8> = text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect();
    let little = with_mark(&[0xFF, 0xFE], utf16(u16::to_le_bytes));
    let big = with_mark(&[0xFE, 0xFF], utf16(u16::to_be_bytes));
    let refused = |bytes: &[u8]| {
        fs::write(site.plugin("coop.toml"), bytes).unwrap();
        fs::write(site.path().join("other.toml"), bytes).unwrap();
        transcript(&site, [&["check", "plugins/coop.wasm"][..], &["run", "--config", "other.toml"]])
    };
    expect![[r#"
        $ roost check plugins/coop.wasm
        error: `plugins/coop.wasm` cannot be loaded
          caused by: `plugins/coop.toml` cannot be read: it is UTF-16, and must be UTF-8: save it as UTF-8
        (exit 1)

        $ roost run --config other.toml
        error: the settings `other.toml` cannot be read
          caused by: it is UTF-16, and must be UTF-8: save it as UTF-8
        (exit 1)
    "#]]
    .assert_eq(&refused(&little));
    assert_eq!([refused(&big), refused(&utf16(u16::to_le_bytes))], [refused(&little), refused(&little)]);
    expect![[r#"
        $ roost check plugins/coop.wasm
        error: `plugins/coop.wasm` cannot be loaded
          caused by: `plugins/coop.toml` cannot be read: it is not UTF-8, and looks like Latin-1 or Windows-1252: line 2, column 4; save it as UTF-8
        (exit 1)

        $ roost run --config other.toml
        error: the settings `other.toml` cannot be read
          caused by: it is not UTF-8, and looks like Latin-1 or Windows-1252: line 2, column 4; save it as UTF-8
        (exit 1)
    "#]].assert_eq(&refused(&latin1));
    // As some editors write UTF-8.
    fs::write(site.plugin("coop.toml"), with_mark(&[0xEF, 0xBB, 0xBF], "# H\u{fc}hner\n".into())).unwrap();
    assert_eq!(roost(&site, &["check", "plugins/coop.wasm"]).code, Some(0));
}

/// Returns a command that runs `roost …` on a terminal of this kind and width.
fn on_terminal(site: &Site, kind: &str, columns: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("script");
    let line = format!("stty cols {columns}; exec {} {}", binary().display(), arguments.join(" "));
    command.args(["-qec", &line, "/dev/null"]).current_dir(site.path()).stdin(Stdio::null());
    command.env("TERM", kind).env_remove("NO_COLOR").env_remove("ROOST_URL");
    // With it, colours are written to every terminal.
    command.env_remove("CI");
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
    let piped = roost(&site, &jobs);
    assert!(piped.code == Some(0) && piped.out.lines().count() == 3, "{piped:?}");
    let simulate = ["simulate", "plugins/coop-door.wasm", "--days", "1"];
    let coloured = text_of(&mut on_terminal(&site, "xterm", 80, &simulate));
    assert!(coloured.contains("\u{1b}[1m"), "{coloured:?}");
    let plain = text_of(on_terminal(&site, "xterm", 80, &simulate).env("NO_COLOR", "1"));
    let dumb = text_of(&mut on_terminal(&site, "dumb", 80, &simulate));
    for text in [plain, dumb, roost(&site, &simulate).out] {
        assert!(text.contains("coop-door/door/set") && !text.contains('\u{1b}'), "{text:?}");
    }
    // On the terminal a day is a heading; in a pipe each line has its date.
    fs::write(site.plugin("coop-door.wasm"), "no component").expect("a file");
    host.wait_for_log("was not loaded");
    let entry = text_of(&mut on_terminal(&site, "xterm", 80, &["logs", "coop-door"]));
    assert!(entry.contains("day 20"), "{entry}");
    let piped = roost(&site, &["logs", "coop-door"]).out;
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
