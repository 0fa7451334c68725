//! One plugin against the others: what each may use of what all share.

use roost_tests::{Broker, Listener, Site, guest, now_ms};

use crate::operations;

/// What a command says on standard output.
fn roost(site: &Site, arguments: &[&str]) -> String {
    operations::roost(site, arguments).0
}

#[test]
fn a_plugin_over_its_rate_waits_and_is_missed_and_says_why_while_what_it_owes_is_sent() {
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
    host.says("jobs of `declared`: 13 new");
    host.has(&site, "SELECT count(*) FROM history WHERE state = 'succeeded' AND job = 'valve'", 1);
    host.has(&site, "SELECT count(*) FROM history WHERE plugin = 'declared'", 13);
    let missed = site.query("SELECT count(*) FROM history WHERE state = 'missed' AND job LIKE 'job%'");
    // Two at once, one each second after that, of which one is what is owed.
    assert!((8..=11).contains(&missed), "{missed} were missed");
    let sent = listener.heard().iter().filter(|message| message.topic.starts_with("declared/")).count();
    assert_eq!(sent as i64, 2 + 12 - missed);
    let said = roost(&site, &["explain", "declared/declared/job11"]);
    assert!(said.contains("more to send than its rate of 1 message a second allows"), "{said}");
    assert!(said.contains("[rates.plugins.declared]"), "{said}");
}
