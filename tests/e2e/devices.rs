//! `docs/devices.md`: its settings work with devices that speak as the firmware's documents say.

use std::{collections::BTreeSet, fs};

use expect_test::expect;
use roost_tests::{Broker, House, Listener, Roost, Site, http::text, root, sample};
use serde_json::Value;

use crate::docs::blocks;

/// 2027-12-01T12:10:00Z: no job of the page is due soon.
const QUIET: i64 = 1_827_663_000_000;

/// Returns the blocks of settings of the page: the heading above each, its plugin and its text.
fn settings() -> Vec<(String, String, String)> {
    let page = fs::read_to_string(root().join("docs/devices.md")).unwrap();
    let (mut heading, mut found) = (String::new(), Vec::new());
    for (index, part) in page.split("```").enumerate() {
        if index % 2 == 0 {
            let last = part.lines().filter_map(|line| line.strip_prefix("## ")).next_back();
            heading = last.map_or(heading, str::to_owned);
        } else if let Some((_, named)) = part.split_once("# plugins/") {
            let (plugin, settings) = named.split_once(".toml\n").expect("a file of settings");
            found.push((heading.clone(), plugin.to_owned(), settings.to_owned()));
        }
    }
    let all = blocks("docs/devices.md").iter().filter(|(language, _)| language == "toml").count();
    assert_eq!(found.len(), all, "each block of settings names its plugin");
    found
}

/// Returns the settings of a plugin for a firmware.
fn settings_of(firmware: &str, plugin: &str) -> String {
    settings().into_iter().find(|block| block.0 == firmware && block.1 == plugin).expect("a block").2
}

/// Starts a host with the settings of a block, in which all lengths of the runs are a second.
fn started(plugin: &str, settings: &str) -> (Broker, Site, Roost) {
    let lengths = ["\"8m\"", "\"12m\"", "\"20m\"", "\"45m\"", "\"15s\""];
    let settings = lengths.iter().fold(settings.to_owned(), |settings, length| settings.replace(length, "\"1s\""));
    let (broker, site) = (Broker::new(), Site::new());
    site.settings(plugin, &settings);
    site.drop_in(&sample(plugin), plugin);
    let host = site.start_at(&broker, QUIET);
    host.wait_for_log(&format!("jobs of `{plugin}`"));
    host.wait_for_log("connected to the broker");
    (broker, site, host)
}

/// Waits for the end of a run, and returns it.
fn ended(site: &Site, host: &Roost, id: &str) -> Value {
    let has_ended = |run: &Value| text(run, "run") == id && text(run, "state") != "running";
    host.until(id, || site.runs(&[]).into_iter().find(has_ended))
}

#[test]
fn settings_of_the_page_work_with_each_firmware() {
    let mut shown = String::new();
    for (firmware, plugin, settings) in settings() {
        let (broker, site, host) = started(&plugin, &settings);
        let house = House::new(broker.port);
        shown += &format!("# {firmware}, {plugin}\n");
        // The jobs of one label differ by the time alone.
        let (mut labels, mut messages) = (BTreeSet::new(), 0);
        let jobs: Vec<Value> =
            site.roost(&["jobs", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!jobs.is_empty(), "{settings}");
        for job in jobs.iter().filter(|job| labels.insert(job.get("label").unwrap_or(&job["job"]).to_string())) {
            let name = format!("{plugin}/{}/{}", text(job, "device"), text(job, "job"));
            let run = ended(&site, &host, site.roost(&["run-now", &name]).trim());
            assert_eq!(text(&run, "state"), "succeeded", "{run}\n{}", house.dialogues.all().join("\n"));
            messages += job["steps"].as_array().map_or(0, Vec::len);
        }
        house.dialogues.wait("the last message", |dialogues| (dialogues.len() == messages).then_some(()));
        shown += &(house.dialogues.all().join("\n") + "\n\n");
        assert!(host.stop().success());
    }
    assert!(!shown.contains("RETAINED"), "{shown}");
    expect![[r##"
        # ESPHome, coop-door
        henhouse/cover/door/command OPEN
            henhouse/cover/door/state opening
            henhouse/cover/door/state open
        henhouse/cover/door/command CLOSE
            henhouse/cover/door/state closing
            henhouse/cover/door/state closed

        # ESPHome, sprinkler
        garden/valve/lawn/command OPEN
            garden/valve/lawn/state opening
            garden/valve/lawn/state open
        garden/valve/lawn/command CLOSE
            garden/valve/lawn/state closing
            garden/valve/lawn/state closed
        garden/valve/beds/command OPEN
            garden/valve/beds/state opening
            garden/valve/beds/state open
        garden/valve/beds/command CLOSE
            garden/valve/beds/state closing
            garden/valve/beds/state closed

        # ESPHome, timers
        pond/switch/pump/command ON
            pond/switch/pump/state ON
        pond/switch/pump/command OFF
            pond/switch/pump/state OFF

        # ESPHome, greenhouse
        greenhouse/cover/vent/command OPEN
            greenhouse/cover/vent/state opening
            greenhouse/cover/vent/state open
        greenhouse/cover/vent/command CLOSE
            greenhouse/cover/vent/state closing
            greenhouse/cover/vent/state closed
        greenhouse/switch/nozzles/command ON
            greenhouse/switch/nozzles/state ON
        greenhouse/switch/nozzles/command OFF
            greenhouse/switch/nozzles/state OFF

        # Zigbee2MQTT, sprinkler
        zigbee2mqtt/lawn/set {"state":"ON","on_time":1}
            zigbee2mqtt/lawn {"linkquality":102,"state":"ON"}
        zigbee2mqtt/lawn/set {"state":"OFF"}
            zigbee2mqtt/lawn {"linkquality":102,"state":"OFF"}
        zigbee2mqtt/beds/set {"state":"ON","on_time":1}
            zigbee2mqtt/beds {"linkquality":102,"state":"ON"}
        zigbee2mqtt/beds/set {"state":"OFF"}
            zigbee2mqtt/beds {"linkquality":102,"state":"OFF"}

        # Zigbee2MQTT, coop-door
        zigbee2mqtt/henhouse door/set {"state":"OPEN"}
            zigbee2mqtt/henhouse door {"position":50,"state":"OPEN"}
            zigbee2mqtt/henhouse door {"position":100,"state":"OPEN"}
        zigbee2mqtt/henhouse door/set {"state":"CLOSE"}
            zigbee2mqtt/henhouse door {"position":50,"state":"OPEN"}
            zigbee2mqtt/henhouse door {"position":0,"state":"CLOSE"}

        # Zigbee2MQTT, timers
        zigbee2mqtt/pond/set {"on_time":1500,"state":"ON"}
            zigbee2mqtt/pond {"linkquality":102,"state":"ON"}
        zigbee2mqtt/pond/set {"state":"OFF"}
            zigbee2mqtt/pond {"linkquality":102,"state":"OFF"}

        # Zigbee2MQTT, greenhouse
        zigbee2mqtt/nozzles/set/state ON
            zigbee2mqtt/nozzles {"linkquality":102,"state":"ON"}
        zigbee2mqtt/nozzles/set/state OFF
            zigbee2mqtt/nozzles {"linkquality":102,"state":"OFF"}
        zigbee2mqtt/greenhouse lamps/set {"state":"ON","brightness":200}
            zigbee2mqtt/greenhouse lamps {"linkquality":102,"state":"ON"}
        zigbee2mqtt/greenhouse lamps/set {"state":"OFF"}
            zigbee2mqtt/greenhouse lamps {"linkquality":102,"state":"OFF"}

        # Tasmota, sprinkler
        cmnd/garden-valves/POWER1 ON
            stat/garden-valves/RESULT {"POWER1":"ON"}
            stat/garden-valves/POWER1 ON
        cmnd/garden-valves/POWER1 OFF
            stat/garden-valves/RESULT {"POWER1":"OFF"}
            stat/garden-valves/POWER1 OFF
        cmnd/garden-valves/POWER2 ON
            stat/garden-valves/RESULT {"POWER2":"ON"}
            stat/garden-valves/POWER2 ON
        cmnd/garden-valves/POWER2 OFF
            stat/garden-valves/RESULT {"POWER2":"OFF"}
            stat/garden-valves/POWER2 OFF

        # Tasmota, timers
        cmnd/pond/POWER ON
            stat/pond/RESULT {"POWER":"ON"}
            stat/pond/POWER ON
        cmnd/pond/POWER OFF
            stat/pond/RESULT {"POWER":"OFF"}
            stat/pond/POWER OFF

        # Tasmota, coop-door
        cmnd/henhouse/ShutterPosition1 100
            stat/henhouse/RESULT {"Shutter1":{"Direction":1,"Position":50,"Target":100}}
            stat/henhouse/SHUTTER1 100
            stat/henhouse/RESULT {"Shutter1":{"Direction":0,"Position":100,"Target":100}}
        cmnd/henhouse/ShutterPosition1 0
            stat/henhouse/RESULT {"Shutter1":{"Direction":-1,"Position":50,"Target":0}}
            stat/henhouse/SHUTTER1 0
            stat/henhouse/RESULT {"Shutter1":{"Direction":0,"Position":0,"Target":0}}

        # Shelly, Gen1, sprinkler
        shellies/shelly1-AAAAAA/relay/0/command on
            shellies/shelly1-AAAAAA/relay/0 on
        shellies/shelly1-AAAAAA/relay/0/command off
            shellies/shelly1-AAAAAA/relay/0 off
        shellies/shelly1-BBBBBB/relay/0/command on
            shellies/shelly1-BBBBBB/relay/0 on
        shellies/shelly1-BBBBBB/relay/0/command off
            shellies/shelly1-BBBBBB/relay/0 off

        # Shelly, Gen1, timers
        shellies/shelly1-CCCCCC/relay/0/command on
            shellies/shelly1-CCCCCC/relay/0 on
        shellies/shelly1-CCCCCC/relay/0/command off
            shellies/shelly1-CCCCCC/relay/0 off

        # Shelly, Gen1, coop-door
        shellies/shellyswitch25-DDDDDD/roller/0/command open
            shellies/shellyswitch25-DDDDDD/roller/0 open
            shellies/shellyswitch25-DDDDDD/roller/0 stop
            shellies/shellyswitch25-DDDDDD/roller/0/pos 100
        shellies/shellyswitch25-DDDDDD/roller/0/command close
            shellies/shellyswitch25-DDDDDD/roller/0 close
            shellies/shellyswitch25-DDDDDD/roller/0 stop
            shellies/shellyswitch25-DDDDDD/roller/0/pos 0

        # Shelly, Gen2 and newer, timers
        shellyplus1-eeeeee/rpc {"id":1,"method":"Switch.Set","params":{"id":0,"on":true,"toggle_after":1500},"src":"answers/pond"}
            answers/pond/rpc {"dst":"answers/pond","id":1,"result":{"was_on":false},"src":"shellyplus1-eeeeee"}
            shellyplus1-eeeeee/status/switch:0 {"id":0,"output":true,"source":"MQTT"}
        shellyplus1-eeeeee/rpc {"id":2,"method":"Switch.Set","params":{"id":0,"on":false},"src":"answers/pond"}
            answers/pond/rpc {"dst":"answers/pond","id":2,"result":{"was_on":true},"src":"shellyplus1-eeeeee"}
            shellyplus1-eeeeee/status/switch:0 {"id":0,"output":false,"source":"MQTT"}

        # Shelly, Gen2 and newer, sprinkler
        shelly-lawn/rpc {"id":1,"src":"answers/garden","method":"Switch.Set","params":{"id":0,"on":true,"toggle_after":1}}
            answers/garden/rpc {"dst":"answers/garden","id":1,"result":{"was_on":false},"src":"shelly-lawn"}
            shelly-lawn/status/switch:0 {"id":0,"output":true,"source":"MQTT"}
        shelly-lawn/rpc {"id":2,"src":"answers/garden","method":"Switch.Set","params":{"id":0,"on":false}}
            answers/garden/rpc {"dst":"answers/garden","id":2,"result":{"was_on":true},"src":"shelly-lawn"}
            shelly-lawn/status/switch:0 {"id":0,"output":false,"source":"MQTT"}
        shelly-beds/rpc {"id":1,"src":"answers/garden","method":"Switch.Set","params":{"id":0,"on":true,"toggle_after":1}}
            answers/garden/rpc {"dst":"answers/garden","id":1,"result":{"was_on":false},"src":"shelly-beds"}
            shelly-beds/status/switch:0 {"id":0,"output":true,"source":"MQTT"}
        shelly-beds/rpc {"id":2,"src":"answers/garden","method":"Switch.Set","params":{"id":0,"on":false}}
            answers/garden/rpc {"dst":"answers/garden","id":2,"result":{"was_on":true},"src":"shelly-beds"}
            shelly-beds/status/switch:0 {"id":0,"output":false,"source":"MQTT"}

        # Shelly, Gen2 and newer, coop-door
        shellyplus2pm-ffffff/command/cover:0 open
            shellyplus2pm-ffffff/status/cover:0 {"id":0,"source":"MQTT","state":"opening"}
            shellyplus2pm-ffffff/status/cover:0 {"id":0,"source":"MQTT","state":"open"}
        shellyplus2pm-ffffff/command/cover:0 close
            shellyplus2pm-ffffff/status/cover:0 {"id":0,"source":"MQTT","state":"closing"}
            shellyplus2pm-ffffff/status/cover:0 {"id":0,"source":"MQTT","state":"closed"}

    "##]].assert_eq(&shown);
}

#[test]
fn a_valve_that_is_away_is_given_up_when_it_should_open_but_not_when_it_should_close() {
    let settings = settings_of("Tasmota", "timers");
    let lengths = [("\"20m\"", "\"4s\""), ("within = \"10s\"", "within = \"200ms\""), ("\"10s\"", "\"100ms\"")];
    let settings = lengths.iter().fold(settings, |settings, (long, short)| settings.replace(long, short));
    let (broker, site, host) = started("timers", &settings);
    let listener = Listener::new(broker.port);
    let id = site.roost(&["run-now", "timers/timers/pond"]).trim().to_owned();
    let sent = |payload: &str| listener.messages().iter().filter(|message| message.payload == payload).count();
    host.until("more attempts than five", || (sent("OFF") > 5).then_some(()));
    let house = House::new(broker.port);
    let run = ended(&site, &host, &id);
    assert_eq!(
        (text(&run, "state"), text(&run, "reason")),
        ("failed", "step 1 was given up after 5 attempts: the device did not confirm the step within 200ms")
    );
    assert_eq!(sent("ON"), 5);
    assert!(house.dialogues.all().concat().ends_with("\n    stat/pond/POWER OFF"));
}

#[test]
fn a_door_that_reports_only_changes_is_not_commanded_when_it_is_closed() {
    let (broker, site, host) = started("coop-door", &settings_of("ESPHome", "coop-door"));
    let house = House::new(broker.port);
    for (job, commands) in [("open", 1), ("close", 2), ("close", 2)] {
        let run = ended(&site, &host, site.roost(&["run-now", &format!("coop-door/henhouse/{job}")]).trim());
        assert_eq!((text(&run, "state"), house.dialogues.count()), ("succeeded", commands), "{run}");
    }
}
