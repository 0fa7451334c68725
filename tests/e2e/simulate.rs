//! The output of `roost simulate`.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
};

use expect_test::expect;
use roost_tests::{Ran, Site, guest, redact_in, root, sample};
use serde_json::Value;

use crate::job;

/// Runs `roost simulate …`, at Greenwich, and returns the exit code, standard output and standard error.
fn simulate(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Ran { code, out, errors } = Ran::of(&mut command(site, arguments));
    (code, out, errors)
}

fn command(site: &Site, arguments: &[&str]) -> std::process::Command {
    let mut command = site.command(&["simulate"]);
    let place = ["--time-zone", "Europe/London", "--latitude", "51.4779", "--longitude", "-0.0015"];
    command.args(arguments).args(place);
    command
}

/// Simulates the guest `declared`, or another one, with settings, and returns the output.
fn shown(settings: &str, arguments: &[&str]) -> String {
    let site = Site::new();
    site.drop_in(&guest("declared"), "declared");
    site.settings("declared", settings);
    let (code, out, errors) = simulate(&site, &[&["plugins/declared.wasm"], arguments].concat());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    out
}

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("an array")
}

fn texts<'v>(messages: &'v [Value], key: &str) -> Vec<&'v str> {
    messages.iter().map(|message| message[key].as_str().expect(key)).collect()
}

#[test]
fn equal_days_give_equal_bytes_even_for_a_plugin_that_reads_clocks() {
    let site = Site::new();
    for name in ["coop-door", "sprinkler"] {
        site.drop_in(&sample(name), name);
        fs::copy(root().join(format!("plugins/{name}.toml")), site.plugin(&format!("{name}.toml"))).unwrap();
    }
    site.drop_in(&guest("changes"), "changes");
    let plugins = ["plugins/coop-door.wasm", "plugins/sprinkler.wasm", "plugins/changes.wasm"];
    let fortnight = || simulate(&site, &[&plugins[..], &["--from", "2027-03-20", "--json"]].concat());
    let (code, out, errors) = fortnight();
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(out, fortnight().1);
    let messages = json(&out);
    let of = |plugin: &str| messages.iter().filter(|message| message["plugin"] == plugin).cloned().collect::<Vec<_>>();
    assert_eq!(of("coop-door").len(), 14 * 4);
    // An hour is missing on the 28th.
    assert_eq!(of("sprinkler").iter().filter(|message| message["device"] == "seedlings").count(), (14 * 24 - 1) * 120);
    let changes = of("changes");
    let mut payloads = texts(&changes, "payload");
    let wall: Vec<_> =
        payloads.iter().map(|payload| payload.split(' ').next().unwrap().parse::<i64>().unwrap()).collect();
    assert_eq!(wall[0], 1_805_500_800_000, "the midnight before 2027-03-20");
    assert!(wall.windows(2).all(|days| days[1] - days[0] >= 82_800_000), "each day has a plan of its own: {wall:?}");
    payloads.dedup();
    assert_eq!(payloads.len(), 14);
}

#[test]
fn a_message_is_an_object_and_owed_steps_after_the_last_day_are_shown() {
    let water = "[[config.jobs]]\nid = \"water\"\ntrigger = { cron = \"55 23 * * *\" }\nsteps = [\n\
                 { topic = \"declared/lawn\", payload = \"ON\", qos = 2, retain = true },\n\
                 { topic = \"declared/lawn\", payload = \"OFF\", after_ms = 600_000, content_type = \"text/plain\" } ]\n";
    let messages = json(&shown(water, &["--from", "2027-07-01", "--days", "1", "--json"]));
    assert_eq!(
        messages,
        [
            serde_json::json!({
                "at": "2027-07-01T23:55:00+01:00", "due": "2027-07-01T23:55:00+01:00", "plugin": "declared",
                "device": "declared", "job": "water", "step": 1, "topic": "declared/lawn", "payload": "ON", "qos": 2,
                "retain": true,
            }),
            serde_json::json!({
                "at": "2027-07-02T00:05:00+01:00", "due": "2027-07-02T00:05:00+01:00", "plugin": "declared",
                "device": "declared", "job": "water", "step": 2, "topic": "declared/lawn", "payload": "OFF", "qos": 1,
                "retain": false, "properties": { "content_type": "text/plain" },
            }),
        ]
    );
    let keys: Vec<_> = messages[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 10, "nothing that there is not: {keys:?}");
}

#[test]
fn a_window_includes_its_first_instant_and_not_its_last() {
    let hourly = job("hourly", "every_ms = 3_600_000", "declared/hourly");
    let messages = json(&shown(&hourly, &["--from", "2027-07-01", "--days", "1", "--json"]));
    let at = texts(&messages, "at");
    assert_eq!((at.len(), at[0], at[23]), (24, "2027-07-01T00:00:00+01:00", "2027-07-01T23:00:00+01:00"));
    let messages = json(&shown("[config]\njobs = []\n", &["--from", "2027-07-01", "--json"]));
    assert!(messages.is_empty());
}

#[test]
fn jitter_moves_when_a_message_is_sent_and_not_when_it_is_due() {
    let settings = job("late", "cron = \"0 6 * * *\"", "declared/late") + "policy = { jitter_ms = 600_000 }\n";
    let messages = json(&shown(&settings, &["--from", "2027-07-01", "--days", "5", "--json"]));
    assert!(texts(&messages, "due").iter().all(|due| due.ends_with("T06:00:00+01:00")), "{messages:?}");
    let at = texts(&messages, "at");
    assert!(at.iter().all(|at| &at[11..15] == "06:0" && &at[11..] != "06:00:00+01:00"), "{at:?}");
}

#[test]
fn each_day_has_a_heading_and_a_day_of_a_clock_change_has_two() {
    let settings =
        job("early", "cron = \"30 1 * * *\"", "declared/early") + &job("noon", "cron = \"@daily\"", "declared/x");
    let spring = shown(&settings, &["--from", "2027-03-28", "--days", "1"]);
    assert_eq!(
        spring,
        "Sunday 2027-03-28 +00:00 (Europe/London)\n  \
           00:00:00  declared/declared/noon  declared/x  noon\n\n\
         Sunday 2027-03-28 +01:00 (Europe/London)\n  \
           02:00:00  declared/declared/early  declared/early  early\n\n\
         2 messages\n"
    );
    let hourly = job("hourly", "every_ms = 1_800_000", "declared/hourly");
    let autumn = shown(&hourly, &["--from", "2027-10-31", "--days", "1"]);
    assert_eq!(autumn.matches("Sunday 2027-10-31 +0").count(), 2, "{autumn}");
    assert_eq!(autumn.matches("  01:30:00  ").count(), 2, "{autumn}");
    assert!(autumn.ends_with("\n50 messages\n"), "{autumn}");
}

#[test]
fn a_device_in_another_zone_has_its_own_time() {
    let noon = job("noon", "cron = \"0 12 * * *\"", "declared/noon").replace("config.", "device.config.");
    let settings = format!(
        "[[device]]\nname = \"here\"\n{noon}\n[[device]]\nname = \"there\"\ntime_zone = \"Australia/Sydney\"\n{noon}"
    );
    let out = shown(&settings, &["--from", "2027-07-01", "--days", "1"]);
    expect![[r#"
        Thursday 2027-07-01 +01:00 (Europe/London)
          03:00:00  declared/there/noon  declared/noon  noon  (there Thu 12:00:00 +10:00, Australia/Sydney)
          12:00:00  declared/here/noon   declared/noon  noon

        2 messages
    "#]]
    .assert_eq(&out);
    let messages = json(&shown(&settings, &["--from", "2027-07-01", "--days", "1", "--json"]));
    assert_eq!(texts(&messages, "at"), ["2027-07-01T12:00:00+10:00", "2027-07-01T12:00:00+01:00"]);
}

#[test]
fn a_plan_that_fails_on_a_later_day_is_noted_and_the_previous_one_continues() {
    let site = Site::new();
    site.drop_in(&guest("changes"), "changes");
    site.settings("changes", "[config]\nnot_on = [\"2027-07-03\"]\n");
    let arguments = ["plugins/changes.wasm", "--from", "2027-07-01", "--days", "4"];
    let (code, out, errors) = simulate(&site, &arguments);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    // The payload tells the guest's clock and its random numbers, of which the latter are another test's.
    let notes: Vec<&str> = out.lines().filter(|line| line.contains('!') || line.ends_with("(!)")).collect();
    expect![[r#"
          00:00:00  changes/changes         ! keeps the plan it has: `schedule-jobs` returned an error: no plan for 2027-07-03
          00:03:00  changes/changes         ! has a new plan again
        4 messages, 2 notes (!)"#]].assert_eq(&notes.join("\n"));
    let (code, json_out, errors) = simulate(&site, &[&arguments[..], &["--json"]].concat());
    assert_eq!((code, json(&json_out).len()), (Some(0), 4));
    expect![[r#"
        2027-07-03T00:00:00+01:00  changes/changes  keeps the plan it has: `schedule-jobs` returned an error: no plan for 2027-07-03
        2027-07-04T00:03:00+01:00  changes/changes  has a new plan again
    "#]].assert_eq(&errors);
    // The plan of the first day already fails.
    let (code, out, errors) = simulate(&site, &["plugins/changes.wasm", "--from", "2027-07-03"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    expect![[r#"
        error: plugin `changes` was not loaded
          caused by: device `changes` has no plan
          caused by: `schedule-jobs` returned an error: no plan for 2027-07-03
        hint: the error is the plugin's own: see the documentation of its settings
    "#]]
    .assert_eq(&errors);
}

#[test]
fn runs_without_a_message_are_noted() {
    let long = "[[config.jobs]]\nid = \"long\"\ntrigger = { every_ms = 3_600_000 }\nsteps = [\n\
                { topic = \"declared/a\" }, { topic = \"declared/a\", after_ms = 5_400_000 } ]\n";
    let out = shown(long, &["--from", "2027-07-01", "--days", "1"]);
    let noted =
        out.lines().skip_while(|line| !line.contains('!')).take(4).map(|line| format!("{}\n", line.trim_start()));
    expect![[r#"
          01:00:00  declared/declared/long  ! skipped (due 2027-07-01T00:00:00Z): the run of 2027-06-30T23:00:00Z had not ended
          01:30:00  declared/declared/long  declared/a  
          02:00:00  declared/declared/long  declared/a  
          03:00:00  declared/declared/long  ! skipped (due 2027-07-01T02:00:00Z): the run of 2027-07-01T01:00:00Z had not ended
    "#]].assert_eq(&noted.collect::<String>());

    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop-door");
    let far_north = "[[device]]\nname = \"north\"\nlatitude = 69.65\nlongitude = 18.96\ntime_zone = \"Europe/Oslo\"\n";
    site.settings("coop-door", far_north);
    let from = "2026-12-21T00:00:00+01:00";
    let (_, out, _) = simulate(&site, &["plugins/coop-door.wasm", "--from", from, "--days", "2"]);
    expect![[r#"
        Monday 2026-12-21 +01:00 (Europe/Oslo)
          00:00:00  coop-door/north/open  ! no sunrise on this day, so it is due at 06:30
          06:30:00  coop-door/north/open  coop-door/north/door/set  OPEN
          14:03:08  coop-door/north/close  coop-door/north/door/set  CLOSE

        Tuesday 2026-12-22 +01:00 (Europe/Oslo)
          00:00:00  coop-door/north/open   ! no sunrise on this day, so it is due at 06:30
          06:30:00  coop-door/north/open   coop-door/north/door/set  OPEN
          14:03:39  coop-door/north/close  coop-door/north/door/set  CLOSE

        4 messages, 2 notes (!)
    "#]]
    .assert_eq(&out);
}

#[test]
fn a_candidate_is_compared_with_the_installed_version() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop-door");
    site.settings("coop-door", "[[device]]\nname = \"north\"\n");
    // The door opens at sunrise, but not before a time that is a text in the component.
    let mut candidate = fs::read(sample("coop-door")).unwrap();
    let is_time = |at: &usize| candidate[*at..].starts_with(b"06:30");
    for at in (0..candidate.len()).filter(is_time).collect::<Vec<_>>() {
        candidate[at..at + 5].copy_from_slice(b"06:45");
    }
    fs::write(site.path().join("Candidate_2.wasm"), candidate).unwrap();
    let diff = |from: &str, more: &[&str]| {
        let arguments = ["plugins/coop-door.wasm", "--diff", "Candidate_2.wasm", "--days", "2", "--from", from];
        let (code, out, errors) = simulate(&site, &[&arguments[..], more].concat());
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        out
    };
    assert_eq!(
        diff("2027-06-01", &[]),
        "Tuesday 2027-06-01 +01:00 (Europe/London)\n\
         - 06:30:00  coop-door/north/open  coop-door/north/door/set  OPEN\n\
         + 06:45:00  coop-door/north/open  coop-door/north/door/set  OPEN\n\n\
         Wednesday 2027-06-02 +01:00 (Europe/London)\n\
         - 06:30:00  coop-door/north/open  coop-door/north/door/set  OPEN\n\
         + 06:45:00  coop-door/north/open  coop-door/north/door/set  OPEN\n\n\
         2 messages removed, 2 added\n"
    );
    // Sunrise is later than both.
    assert_eq!(diff("2027-12-01", &[]), "0 messages removed, 0 added\n");
    let both: Value = serde_json::from_str(&diff("2027-06-01", &["--json"])).unwrap();
    let at = |side: &str| {
        texts(both[side].as_array().unwrap(), "at").iter().map(|at| at[11..16].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((at("removed"), at("added")), (vec!["06:30".into(); 2], vec!["06:45".into(); 2]));
    // A candidate with settings of its own is compared with these.
    fs::write(site.path().join("Candidate_2.toml"), "[[device]]\nname = \"south\"\n").unwrap();
    let out = diff("2027-12-01", &[]);
    expect![[r#"
        Wednesday 2027-12-01 +00:00 (Europe/London)
        - 07:42:46  coop-door/north/open  coop-door/north/door/set  OPEN
        + 07:42:46  coop-door/south/open  coop-door/south/door/set  OPEN
        - 16:43:43  coop-door/north/close  coop-door/north/door/set  CLOSE
        + 16:43:43  coop-door/south/close  coop-door/south/door/set  CLOSE

        Thursday 2027-12-02 +00:00 (Europe/London)
        - 07:44:10  coop-door/north/open   coop-door/north/door/set  OPEN
        + 07:44:10  coop-door/south/open   coop-door/south/door/set  OPEN
        - 16:43:13  coop-door/north/close  coop-door/north/door/set  CLOSE
        + 16:43:13  coop-door/south/close  coop-door/south/door/set  CLOSE

        4 messages removed, 4 added
    "#]]
    .assert_eq(&out);
    let (code, _, errors) =
        simulate(&site, &["plugins/coop-door.wasm", "plugins/x.wasm", "--diff", "Candidate_2.wasm"]);
    assert_eq!(code, Some(1));
    expect![[r#"
        error: `--diff` compares one plugin, and several are given
        hint: name one plugin, and with `--diff` the file that would replace it
    "#]]
    .assert_eq(&errors);
}

#[test]
fn a_plugin_that_cannot_be_loaded_is_refused_as_by_a_check() {
    let site = Site::new();
    fs::write(site.plugin("garbage.wasm"), "not a plugin").unwrap();
    let (code, out, errors) = simulate(&site, &["plugins/garbage.wasm"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(errors, site.tried(&["check", "plugins/garbage.wasm"]).errors);
    expect![[r#"
        error: plugin `garbage` was not loaded
          caused by: it is not a WebAssembly component
        hint: a plugin is a WebAssembly component; build it with `cargo build --release --target wasm32-wasip2`
    "#]]
    .assert_eq(&errors);
    fs::create_dir(site.path().join("other")).unwrap();
    for folder in ["plugins", "other"] {
        fs::copy(guest("changes"), site.path().join(folder).join("changes.wasm")).unwrap();
    }
    let (code, _, errors) = simulate(&site, &["plugins/changes.wasm", "other/changes.wasm"]);
    assert_eq!(code, Some(1));
    expect![[r#"
        error: `other/changes.wasm` is a second plugin named `changes`
        hint: plugins are named after their files: rename one of them, or compare them with `--diff`
    "#]]
    .assert_eq(&redact_in(site.path(), &errors));
}

#[test]
fn a_reader_may_close_the_output_early() {
    let site = Site::new();
    site.drop_in(&guest("declared"), "declared");
    site.settings("declared", &job("tick", "every_ms = 1000", "declared/tick"));
    let mut command = command(&site, &["plugins/declared.wasm", "--days", "365"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with(" (Europe/London)\n"), "{line}");
    let Output { status, stderr, .. } = process.wait_with_output().unwrap();
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
}
