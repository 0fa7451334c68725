//! All hostile guests at once, beside a well-behaved plugin.

use std::collections::HashMap;

use roost_tests::{Broker, PATIENCE, Roost, Site, guest, hostile};
use serde_json::Value;

use crate::fairness::{PEAK_MIB, peak_mib};

const DEVICES: i64 = 20;

/// Installs a plugin that publishes once a second for each of its devices. A machine that gives neither the host nor the
/// broker a turn for some seconds makes ticks late, not lost; `make bench ONLY=hostile` measures how late they are.
fn ticks(site: &Site) {
    let job = "[[device.config.jobs]]\nid = \"tick\"\ntrigger = { every_ms = 1000 }\n\
               policy = { misfire = \"run-all\", overlap = { queue = 100 } }\n";
    let device = |number: i64| {
        format!("[[device]]\nname = \"d{number}\"\n{job}steps = [{{ topic = \"good/d{number}/tick\" }}]\n")
    };
    site.settings("good", &(0..DEVICES).map(device).collect::<String>());
    site.drop_in(&guest("declared"), "good");
}

/// Returns the causes and the hint of each refused plugin.
fn refusals(site: &Site) -> HashMap<String, (String, Option<String>)> {
    let listed = site.roost(&["plugins", "--json"]);
    let records = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let of = |record: Value| {
        let error = record.get("error")?;
        let causes = error["causes"].as_array()?.iter().filter_map(text).collect::<Vec<_>>().join("; ");
        Some((text(&record["plugin"])?, (causes, error.get("hint").and_then(text))))
    };
    records.filter_map(of).collect()
}

/// Waits until all of these are refused. A compiler may take five minutes for one of them.
fn wait_for_refusals(host: &Roost, site: &Site, names: &[String]) -> HashMap<String, (String, Option<String>)> {
    host.log.wait_at_most(4 * PATIENCE, "all to be refused", |_| {
        Some(refusals(site)).filter(|refused| names.iter().all(|name| refused.contains_key(name)))
    })
}

#[test]
fn hostile_plugins_cost_a_good_plugin_no_tick_and_the_host_no_memory() {
    let (broker, site) = (Broker::new(), Site::new());
    ticks(&site);
    let host = site.start(&broker);
    let ticked = "SELECT count(DISTINCT device) FROM history WHERE plugin = 'good'";
    host.wait_for_log("jobs of `good`: 20 new");
    host.has(&site, ticked, DEVICES);

    let names = hostile::drop_all(&site);
    let refused = wait_for_refusals(&host, &site, &names);
    for name in &names {
        let (causes, hint) = &refused[name];
        assert!(!causes.is_empty() && hint.is_some(), "{name}: {causes}, {hint:?}");
    }
    for (name, text) in [
        ("a-sleeper-7", "did not return within 10000 ms"),
        ("bad-never-cron", "0 0 31 2 *"),
        ("large-3", "no tide table"),
        ("recurses", "call stack exhausted"),
        ("cut-off", "truncated"),
        ("too-large", "more than the"),
    ] {
        assert!(refused[name].0.contains(text), "{name}: {}", refused[name].0);
    }
    for number in 0..3 {
        host.wait_for_log(&format!("jobs of `hoards-{number}`: 1 new"));
    }
    for odd in [
        "`plugins/pipe.wasm` was not read",
        "`plugins/folder.wasm` was not read",
        "`plugins/two words.wasm` was not loaded",
    ] {
        host.wait_for_log(odd);
    }
    // A bomb goes off while the host stops.
    site.drop_in(&guest("compile-bomb"), "compile-bomb");
    let before = site.query("SELECT count(*) FROM history WHERE plugin = 'good'");
    host.until("more ticks", || {
        (site.query("SELECT count(*) FROM history WHERE plugin = 'good'") > before + 40).then_some(())
    });

    let peak = peak_mib(&host);
    assert!(peak < PEAK_MIB, "{peak} MiB");
    assert!(host.stop().success(), "within {PATIENCE:?}");
    let lost = "SELECT count(*) FROM history WHERE plugin = 'good' AND state <> 'succeeded'";
    assert_eq!(site.query(lost), 0, "ticks that were not sent");
    let gaps = "SELECT count(*) FROM (SELECT device, max(occurrence) - min(occurrence) AS span, count(*) AS ticks
                FROM runs WHERE plugin = 'good' GROUP BY device) WHERE span / 1000 + 1 <> ticks";
    assert_eq!(site.query(gaps), 0, "devices whose ticks have a gap");
}
