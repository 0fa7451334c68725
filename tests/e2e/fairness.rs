//! Fairness between plugins: rates, memory and files.

use std::fs;

use expect_test::expect;
use roost_tests::{Broker, Listener, Roost, Site, guest, now_ms, redact};

use crate::job;

#[test]
fn runs_over_the_rate_wait_and_are_missed_while_owed_steps_are_sent() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let rates = "[rates.plugins.declared]\nper_second = 1\nburst = 2\n[rates.plugins.api]\nper_second = 1\nburst = 1\n";
    std::fs::write(site.path().join("roost.toml"), rates).unwrap();
    let due_ms = now_ms() + 3_000;
    let job = |id: &str, steps: &str, policy: &str| {
        format!(
            "[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ at_ms = {due_ms} }}\nsteps = [{steps}]\npolicy = {{ {policy} }}\n"
        )
    };
    let valve = r#"{ topic = "declared/valve", payload = "on" }, { topic = "declared/valve", payload = "off", after_ms = 1000 }"#;
    let mut settings = job("valve", valve, "priority = 100");
    for number in 0..12 {
        let step = format!("{{ topic = \"declared/{number}\" }}");
        settings += &job(&format!("job{number}"), &step, "grace_ms = 2500, priority = 50");
    }
    site.settings("declared", &settings);
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("jobs of `declared`: 13 new");
    host.has(&site, "SELECT count(*) FROM history WHERE state = 'succeeded' AND job = 'valve'", 1);
    host.has(&site, "SELECT count(*) FROM history WHERE plugin = 'declared'", 13);
    let missed = site.query("SELECT count(*) FROM history WHERE state = 'missed' AND job LIKE 'job%'");
    // Two at once, then one each second, one of them an owed step.
    assert!((8..=11).contains(&missed), "{missed} were missed");
    let sent = listener.messages().iter().filter(|message| message.topic.starts_with("declared/")).count();
    assert_eq!(sent as i64, 2 + 12 - missed);
    expect![[r#"
        it did not run: it was due [TIME], and was missed: its plugin had more to send than its rate of 1 message a second allows; it would have started [SPAN] late, and its grace is 2s500ms
        remedy: `roost run-now declared/declared/job11`
        note: to allow a higher rate, raise `per_second` or `burst` in `[rates.plugins.declared]` of `roost.toml`, and restart Roost
        note: it is never due again
    "#]].assert_eq(&redact(&site.roost(&["explain", "declared/declared/job11"])));
}

/// Returns the largest memory that a host has had, in MiB.
pub(crate) fn peak_mib(host: &Roost) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// The memory that a host may have: the total for its guests, and 64 MiB for itself.
pub(crate) const PEAK_MIB: u64 = 384 + 64;

#[test]
fn waiting_guests_delay_no_other_plugin() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    for number in 0..20 {
        site.drop_in(&guest("sleeps"), &format!("a-sleeper-{number}"));
    }
    site.settings("good", &job("tick", "every_ms = 1000", "good/tick"));
    site.drop_in(&guest("declared"), "good");
    let host = site.start(&broker);
    listener.wait_for("good/tick");
    // Each sleeps for as long as allowed.
    let refused = host.log.all().iter().filter(|line| line.contains("was not loaded")).count();
    assert_eq!(refused, 0, "they have been waited for");
    assert!(host.stop().success());
}

#[test]
fn guests_that_need_more_memory_than_there_is_wait_for_each_other() {
    let (broker, site) = (Broker::new(), Site::new());
    for number in 0..4 {
        site.settings(&format!("hoards-{number}"), "[config]\nmib = 200\nfor = \"1s\"\n");
        site.drop_in(&guest("hoards"), &format!("hoards-{number}"));
    }
    site.settings("greedy", "[config]\nmib = 1\nfor = \"1s\"\n[limits]\nmemory_mib = 500\n");
    site.drop_in(&guest("hoards"), "greedy");
    let host = site.start(&broker);
    let hint = "lower `memory_mib` in `[limits]` of its settings, or raise `memory_mib` in `[guests]` of `roost.toml`";
    host.wait_for_log(hint);
    for number in 0..4 {
        host.wait_for_log(&format!("jobs of `hoards-{number}`: 1 new"));
    }
    let peak = peak_mib(&host);
    assert!(peak < PEAK_MIB, "{peak} MiB");
    assert!(host.stop().success());
}

#[test]
fn files_wait_unread_until_there_is_room_for_them() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    // A custom section of 60 MiB.
    let errors = fs::read(guest("errors")).unwrap();
    let mut section = vec![0; 60 << 20];
    section[0] = 1;
    for number in 0..12 {
        let mut bytes = errors.clone();
        bytes.extend([0, 0x80, 0x80, 0x80, 0x1e]);
        section[1..2].copy_from_slice(&[b'a' + number]);
        bytes.extend(&section);
        fs::write(site.plugin(&format!("large-{number}.wasm")), bytes).unwrap();
    }
    site.settings("small", &job("tick", "every_ms = 1000", "small/tick"));
    site.drop_in(&guest("declared"), "small");
    host.wait_for_log("jobs of `small`: 1 new");
    for number in 0..12 {
        host.wait_for_log(&format!("plugin `large-{number}` was not loaded"));
    }
    let reasons = |lines: &[String]| lines.iter().filter(|line| line.contains("no tide table")).count();
    host.log.wait("the reason of each", |lines| (reasons(lines) >= 12).then_some(()));
    let peak = peak_mib(&host);
    assert!(peak < PEAK_MIB, "{peak} MiB");
    assert!(host.stop().success());
}
