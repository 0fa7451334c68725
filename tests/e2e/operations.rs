//! Runs: listing, replaying and abandoning them; backups.

use std::{collections::HashSet, fs, process::Output, thread, time::Duration};

use roost_tests::{Broker, Listener, Message, Roost, Site, guest, now_ms};

use crate::{job, more, ticking};

/// Runs a command that succeeds, and returns its standard output and standard error.
pub(crate) fn roost(site: &Site, arguments: &[&str]) -> (String, String) {
    let (code, out, errors) = tried(site, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    (out, errors)
}

pub(crate) fn tried(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = site.command(arguments);
    let Output { status, stdout, stderr } = command.env("ROOST_TIME_ZONE", "UTC").output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// Returns the runs that `roost runs --json` shows.
pub(crate) fn runs(site: &Site, arguments: &[&str]) -> Vec<serde_json::Value> {
    let (out, _) = roost(site, &[&["runs", "--json"], arguments].concat());
    out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// Waits until exactly one run is shown, and returns it.
pub(crate) fn the_run(host: &Roost, site: &Site, arguments: &[&str]) -> serde_json::Value {
    host.log.wait("a run to be shown", |_| runs(site, arguments).pop())
}

pub(crate) fn text<'a>(run: &'a serde_json::Value, key: &str) -> &'a str {
    run[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {run}"))
}

/// Returns a job of the guest `declared` that opens a valve at once, and closes it later.
fn valve(close_after_ms: u32) -> String {
    format!(
        "[[config.jobs]]\nid = \"water\"\ntrigger = {{ in_ms = 0 }}\nsteps = [\n\
         {{ topic = \"declared/valve\", payload = \"on\" }},\n\
         {{ topic = \"declared/valve\", payload = \"off\", after_ms = {close_after_ms} }},\n]\n"
    )
}

#[test]
fn a_failed_run_is_shown_with_its_reason_and_replayed() {
    let site = Site::new();
    let rules = site.path().join("rules");
    fs::write(&rules, "topic readwrite #\ntopic deny declared/locked\n").unwrap();
    let mut broker = Broker::start_with(&format!("acl_file {}", rules.display()));
    let locked = job("open", "in_ms = 0", "declared/locked") + "policy = { attempts = 1 }\n";
    site.settings("declared", &locked);
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("failed declared/declared/open");
    let failed = the_run(&host, &site, &["--failed"]);
    assert!(text(&failed, "reason").starts_with("step 1 was given up after 1 attempt: the broker refused"), "{failed}");
    let run = text(&failed, "run");
    let (table, _) = roost(&site, &["runs"]);
    assert!(table.starts_with("TIME ") && table.contains(run) && table.contains("  failed  "), "{table}");

    fs::write(&rules, "topic readwrite #\n").unwrap();
    broker.stop();
    broker.start();
    let listener = Listener::new(broker.port);
    let (replayed, _) = roost(&site, &["replay", run]);
    assert!(replayed.starts_with(&format!("{run}/replay-")), "{replayed}");
    assert_eq!(listener.wait_for("declared/locked").property("roost-run"), Some(replayed.trim()));
    let done = the_run(&host, &site, &["--state", "succeeded"]);
    assert_eq!(text(&done, "run"), replayed.trim());
    let (code, _, errors) = tried(&site, &["replay", replayed.trim()]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("has not failed: its state is `succeeded`"), "{errors}");
    assert!(host.stop().success());
    assert!(!site.path().join("data/control.sock").exists());
    let (code, _, errors) = tried(&site, &["replay", run]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("error: no host is running on `data`\nhint: start it with `roost run`"), "{errors}");
    // It is shown all the same.
    assert_eq!(runs(&site, &["--limit", "1"]).len(), 1);
    assert_eq!(runs(&site, &["--failed", "--since", "2100-01-01"]).len(), 0);
}

#[test]
fn an_owed_step_is_shown_and_can_be_abandoned_even_over_a_crash() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    site.settings("declared", &valve(3_600_000));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    listener.wait_for("declared/valve");
    host.has(&site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    host.kill();
    // The database can be read after a crash, although the old socket does not respond.
    let owing = runs(&site, &["--state", "running"]);
    let [run] = &owing[..] else { panic!("{owing:?}") };
    assert_eq!((run["next"]["step"].as_u64(), run["next"]["owed"].as_bool()), (Some(2), Some(true)));
    let run = text(run, "run");
    let (code, _, errors) = tried(&site, &["abandon", run]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("no host is running"), "{errors}");
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    // The reason is on disk when the response arrives.
    assert_eq!(roost(&site, &["abandon", run]).0.trim(), run);
    assert_eq!(text(&runs(&site, &["--state", "cancelled"])[0], "reason"), "it was abandoned by hand");
    assert!(host.stop().success());
    assert_eq!(listener.count("declared/valve"), 1);
}

#[test]
fn after_a_restore_only_owed_steps_are_sent() {
    const JOBS: usize = 500;
    let (broker, site, listener, host) = ticking("ticking");
    let start_ms = now_ms() + 6_000;
    site.settings(
        "burst",
        &format!(
            "[grants]\npublish = [\"burst/#\"]\n[[device]]\nname = \"one\"\nconfig = {{ first = 0, jobs = {JOBS}, \
             total = {JOBS}, t0_ms = {start_ms}, spread_ms = 6000, topic = \"burst/x\" }}\n"
        ),
    );
    site.drop_in(&guest("burst"), "burst");
    site.settings("declared", &valve(15_000));
    site.drop_in(&guest("declared"), "declared");
    listener.wait_for("declared/valve");
    let burst = |messages: &[Message]| messages.iter().filter(|one| one.topic.starts_with("burst/")).count();
    listener.wait("some of the burst", |messages| burst(messages) > JOBS / 4);
    roost(&site, &["backup", "copy.db"]);
    let so_far = burst(&listener.messages());
    assert!(so_far < JOBS, "the copy was made too late");
    let (code, _, errors) = tried(&site, &["restore", "copy.db"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("error: the data folder `data` is in use by process"), "{errors}");
    host.has(&site, &format!("SELECT count(*) = {JOBS} FROM runs WHERE plugin = 'burst' AND state = 'succeeded'"), 1);
    more(&listener, "ticking/tick");
    assert!(host.stop().success());
    let before = listener.messages();
    let (_, shown) = roost(&site, &["restore", "copy.db"]);
    assert!(
        shown.contains("these runs owe messages, which are sent when the host starts:\n  declared/declared/water/"),
        "{shown}"
    );
    assert!(shown.contains("the previous database is kept as `data/roost.db.before-restore`"), "{shown}");

    let host = site.start(&broker);
    more(&listener, "ticking/tick");
    listener.wait("off", |messages| messages[before.len()..].iter().any(|one| one.payload == "off"));
    // Long enough for messages that must not be sent.
    thread::sleep(Duration::from_secs(2));
    assert!(host.stop().success());
    let known: HashSet<_> = before.iter().filter_map(|one| one.property("roost-run")).collect();
    for message in &listener.messages()[before.len()..] {
        let run = message.property("roost-run").unwrap();
        let owed = run.starts_with("declared/") && message.payload == "off";
        assert!(owed || (run.starts_with("ticking/") && !known.contains(run)), "{message:?}");
    }
    let kept = runs(&site, &["--plugin", "declared"]);
    assert_eq!(text(&kept[0], "state"), "succeeded");
}

#[test]
fn without_a_database_there_is_an_error_and_no_folder() {
    let site = Site::new();
    for arguments in [&["runs"][..], &["backup", "copy.db"]] {
        let (code, out, errors) = tried(&site, arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(errors.starts_with("error: there is no `data/roost.db`\nhint: it is made when"), "{errors}");
    }
    let (code, _, errors) = tried(&site, &["restore", "copy.db"]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("error: `copy.db` cannot be restored\n  caused by: there is no"), "{errors}");
    let files: Vec<_> = fs::read_dir(site.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["plugins"]);
}
