//! Crashes (`kill -9`) and restarts.

use roost_tests::{Broker, Listener, Site, guest};

use crate::{job, more, ticking};

/// A sprinkler: on at once, off some seconds later.
pub(crate) fn sprinkler(off_after_ms: u32) -> String {
    format!(
        "[[config.jobs]]\nid = \"water\"\ntrigger = {{ in_ms = 500 }}\nsteps = [\n\
         {{ topic = \"declared/valve\", payload = \"on\" }},\n\
         {{ topic = \"declared/valve\", payload = \"off\", after_ms = {off_after_ms} }},\n]\n"
    )
}

#[test]
fn a_valve_that_was_opened_is_closed_after_a_crash() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    site.settings("declared", &sprinkler(3000));
    site.drop_in(&guest("declared"), "declared");
    let roost = site.start(&broker);
    listener.wait_for("declared/valve");
    roost.kill();
    let _roost = site.start(&broker);
    let messages = listener.wait("off", |messages| messages.iter().any(|message| message.payload == "off"));
    let runs: Vec<Option<&str>> = messages.iter().map(|message| message.property("roost-run")).collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "one run, whatever crashed: {messages:?}");
    assert_eq!(messages.last().unwrap().payload, "off");
}

#[test]
fn a_valve_is_closed_after_its_plugin_was_deleted_while_the_host_was_down() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    site.settings("declared", &sprinkler(5000));
    site.drop_in(&guest("declared"), "declared");
    // Another plugin, because an empty folder would count as unmounted.
    site.drop_in(&guest("burst"), "burst");
    let roost = site.start(&broker);
    listener.wait_for("declared/valve");
    roost.kill();
    std::fs::remove_file(site.plugin("declared.wasm")).unwrap();
    let roost = site.start(&broker);
    roost.wait_for_log("declared removed");
    listener.wait("off", |messages| messages.iter().any(|message| message.payload == "off"));
}

#[test]
fn after_a_crash_the_jobs_have_the_same_ids_and_no_run_is_repeated() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let jobs = job("done", "in_ms = 0", "declared/done") + &job("later", "at_ms = 4000000000000", "declared/later");
    site.settings("declared", &jobs);
    site.drop_in(&guest("declared"), "declared");
    let roost = site.start(&broker);
    roost.wait_for_log("succeeded declared/declared/done");
    roost.has(&site, "SELECT count(*) FROM runs WHERE job = 'done' AND state = 'succeeded'", 1);
    let id = site.query("SELECT id FROM jobs WHERE job = 'later'");
    roost.kill();
    let roost = site.start(&broker);
    roost.wait_for_log("connected to the broker");
    roost.stop();
    assert_eq!(site.query("SELECT id FROM jobs WHERE job = 'later'"), id);
    assert_eq!(listener.count("declared/done"), 1);
}

#[test]
fn the_newest_run_missed_while_the_host_was_down_is_caught_up() {
    let (broker, site, listener, roost) = ticking("declared");
    roost.kill();
    let roost = site.start_later(&broker, 4_000);
    more(&listener, "declared/tick");
    assert!(roost.stop().success());
    assert!(site.query("SELECT count(*) FROM runs WHERE state = 'missed'") >= 1);
    let runs: Vec<String> =
        listener.messages().iter().filter_map(|one| one.property("roost-run").map(Into::into)).collect();
    let mut distinct = runs.clone();
    distinct.sort();
    distinct.dedup();
    assert!(runs.len() - distinct.len() <= 1, "only what was under way is repeated: {runs:?}");
}
