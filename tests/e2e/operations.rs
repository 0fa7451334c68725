//! Runs: listing, replaying and abandoning them; backups.

use std::{collections::HashSet, fs};

use expect_test::expect;
use roost_tests::{Broker, Listener, Message, Site, guest, http::text, now_ms, redact};

use crate::{job, more, ticking};

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
    let failed = site.the_run(&host, &["--failed"]);
    let run = text(&failed, "run");
    expect![[r#"
        $ roost runs
        TIME ([ZONE])  STATE   ATTEMPTS  RUN                                              REASON
        [TIME]  failed  1         declared/declared/open/[TIME]  step 1 was given up after 1 attempt: the broker refused the message: the user is not authorized (0x87)
    "#]].assert_eq(&site.transcript(&[&["runs"]]));

    fs::write(&rules, "topic readwrite #\n").unwrap();
    broker.stop();
    broker.start();
    let listener = Listener::new(broker.port);
    let replayed = site.roost(&["replay", run]);
    assert!(replayed.starts_with(&format!("{run}/replay-")), "{replayed}");
    assert_eq!(listener.wait_for("declared/locked").property("roost-run"), Some(replayed.trim()));
    let done = site.the_run(&host, &["--state", "succeeded"]);
    assert_eq!(text(&done, "run"), replayed.trim());
    let refused = redact(&site.tried(&["replay", replayed.trim()]).refused());
    expect![[r#"
        error: the run `declared/declared/open/[TIME]/replay-[TIME]` has not failed: its state is `succeeded`
        hint: `roost runs --failed` shows those that can be replayed
    "#]]
    .assert_eq(&refused);
    assert!(host.stop().success());
    assert!(!site.path().join("data/control.sock").exists());
    expect![[r#"
        error: no host is running on `data`
        hint: start it with `roost run`, or select a running host by its data folder with `--data DIR` or by its address with `ROOST_URL`
    "#]].assert_eq(&site.tried(&["replay", run]).refused());
    // It is shown all the same.
    assert_eq!(site.runs(&["--limit", "1"]).len(), 1);
    assert_eq!(site.runs(&["--failed", "--since", "2100-01-01"]).len(), 0);
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
    let owing = site.runs(&["--state", "running"]);
    let [run] = &owing[..] else { panic!("{owing:?}") };
    assert_eq!((run["next"]["step"].as_u64(), run["next"]["owed"].as_bool()), (Some(2), Some(true)));
    let run = text(run, "run");
    assert_eq!(site.tried(&["abandon", run]).code, Some(1), "no host is running");
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    // The reason is on disk when the response arrives.
    assert_eq!(site.roost(&["abandon", run]).trim(), run);
    assert_eq!(text(&site.runs(&["--state", "cancelled"])[0], "reason"), "it was abandoned by hand");
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
    site.roost(&["backup", "copy.db"]);
    let so_far = burst(&listener.messages());
    assert!(so_far < JOBS, "the copy was made too late");
    expect![[r#"
        error: the data folder `data` is in use by process [PID]
        hint: only one Roost can use a data folder: stop the other one, or name another folder with `--data DIR`
    "#]]
    .assert_eq(&redact(&site.tried(&["restore", "copy.db"]).refused()));
    host.has(&site, &format!("SELECT count(*) = {JOBS} FROM runs WHERE plugin = 'burst' AND state = 'succeeded'"), 1);
    more(&listener, "ticking/tick");
    assert!(host.stop().success());
    let before = listener.messages();
    expect![[r#"
        $ roost restore copy.db
        restored 502 jobs
        these runs owe messages, which are sent when the host starts:
          declared/declared/water/[TIME]
        the previous database is kept as `data/roost.db.before-restore`
    "#]]
    .assert_eq(&site.transcript(&[&["restore", "copy.db"]]));

    let host = site.start(&broker);
    more(&listener, "ticking/tick");
    listener.wait("off", |messages| messages[before.len()..].iter().any(|one| one.payload == "off"));
    // No run of the burst is left that could still be sent.
    host.has(&site, &format!("SELECT count(*) = {JOBS} FROM history WHERE plugin = 'burst'"), 1);
    assert!(host.stop().success());
    let known: HashSet<_> = before.iter().filter_map(|one| one.property("roost-run")).collect();
    for message in &listener.messages()[before.len()..] {
        let run = message.property("roost-run").unwrap();
        let owed = run.starts_with("declared/") && message.payload == "off";
        assert!(owed || (run.starts_with("ticking/") && !known.contains(run)), "{message:?}");
    }
    let kept = site.runs(&["--plugin", "declared"]);
    assert_eq!(text(&kept[0], "state"), "succeeded");
}

#[test]
fn without_a_database_there_is_an_error_and_no_folder() {
    let site = Site::new();
    expect![[r#"
        $ roost runs
        error: there is no `data/roost.db`
        hint: it is made when Roost runs first; name its data folder with `--data DIR`
        (exit 1)

        $ roost backup copy.db
        error: there is no `data/roost.db`
        hint: it is made when Roost runs first; name its data folder with `--data DIR`
        (exit 1)

        $ roost restore copy.db
        error: `copy.db` cannot be restored
          caused by: there is no `copy.db`
        hint: nothing was changed: name a file that `roost backup` has written
        (exit 1)
    "#]]
    .assert_eq(&site.transcript(&[&["runs"], &["backup", "copy.db"], &["restore", "copy.db"]]));
    let files: Vec<_> = fs::read_dir(site.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["plugins"]);
}
