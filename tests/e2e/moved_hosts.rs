//! A host's store is moved into a database of several hosts, backed up, and restored there and on one machine.

use std::{collections::HashMap, fs};

use expect_test::expect;
use roost_tests::{Postgres, redact};

use super::*;

const URL_FILE: &str = "roost.toml";

/// A job that opens a valve at once, and closes it later.
const VALVE: &str = "[[config.jobs]]\nid = \"water\"\ntrigger = { in_ms = 0 }\nsteps = [\n\
     { topic = \"declared/valve\", payload = \"on\" },\n\
     { topic = \"declared/valve\", payload = \"off\", after_ms = 20000 },\n]\n";

/// Uses a database from now on.
fn use_database(site: &Site, database: &str) {
    fs::write(site.path().join(URL_FILE), format!("[store]\nurl = \"{database}\"\n")).unwrap();
}

/// Makes a host with a plugin that publishes each second, and one of which a run is under way.
fn alone(broker: &Broker, listener: &Listener) -> (Site, Roost) {
    let site = Site::new();
    site.settings("ticking", &job("tick", "every_ms = 1000", "ticking/tick"));
    site.drop_in(&guest("declared"), "ticking");
    site.settings("declared", VALVE);
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(broker);
    listener.wait_for("declared/valve");
    more(listener, "ticking/tick");
    (site, host)
}

/// Checks that no run of the plugin was heard twice.
fn each_once(messages: &[Message]) {
    let mut heard: HashMap<&str, u32> = HashMap::new();
    for message in messages.iter().filter(|message| message.topic == "ticking/tick") {
        *heard.entry(message.property("roost-run").unwrap()).or_default() += 1;
    }
    assert!(heard.values().all(|count| *count == 1), "{heard:?}");
}

fn is_closed(messages: &[Message]) -> bool {
    messages.iter().any(|message| message.payload == "off")
}

#[test]
fn hosts_with_a_database_go_on_with_what_one_host_has_begun() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (site, host) = alone(&broker, &listener);
    let database = server.database("roost");
    let hide = |text: &str| redact(text).replace(&database, "[DATABASE]");
    expect![[r#"
        error: the data folder `data` is in use by process [PID]
        hint: only one Roost can use a data folder: stop the other one, or name another folder with `--data DIR`
    "#]]
    .assert_eq(&hide(&site.tried(&["move", "--to", &database]).refused()));
    expect![[r#"
        error: no database is named
        hint: name it with `--to postgres://USER:PASSWORD@HOST/DATABASE`, or in `[store]` of the settings
    "#]]
    .assert_eq(&site.tried(&["move"]).refused());
    site.roost(&["pause", "ticking", "--from", "2099-01-01T00:00:00Z", "--reason", "service"]);
    assert!(host.stop().success());
    let before = site.runs(&["--plugin", "ticking", "--limit", "1000"]).len();
    let moved = site.notes(&["move", "--to", &database]);
    assert!(moved.starts_with(&format!("copied 2 plugins, 2 jobs and {} runs to", before + 1)), "{moved}");
    let refused = site.tried(&["move", "--to", &database]).refused();
    assert!(refused.contains("it has plugins, jobs or runs already"), "{refused}");

    // Two other machines: no plugin is in a folder of theirs.
    let others = [Site::new(), Site::new()];
    others.iter().for_each(|other| use_database(other, &database));
    let owner = others[0].start(&broker);
    owner.wait_for_log("connected to the broker");
    let standby = others[1].start(&broker);
    standby.wait_for_log("another host owns the cell: this one is a standby");
    more(&listener, "ticking/tick");
    listener.wait("the end of what was begun", is_closed);
    owner.kill();
    standby.wait_for_log("this host owns the cell");
    more(&listener, "ticking/tick");
    each_once(&listener.messages());
    let valve = others[1].runs(&["--plugin", "declared"]);
    assert_eq!((valve.len(), valve[0]["state"].as_str()), (1, Some("succeeded")));
    assert!(others[1].runs(&["--plugin", "ticking", "--limit", "1000"]).len() > before);
    assert!(others[1].roost(&["status"]).contains("service"), "{}", others[1].roost(&["status"]));
    let first = &listener.messages()[0];
    let last = listener.messages().pop().unwrap();
    assert_eq!(first.property("roost-version"), last.property("roost-version"));

    // The way back, while they work.
    others[1].roost(&["backup", "copy.db"]);
    let known = others[1].runs(&["--plugin", "ticking", "--limit", "1000"]).len();
    assert!(standby.stop().success());
    let back = Site::new();
    let plugins = others[1].path().join("data/plugins");
    for file in fs::read_dir(&plugins).unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, back.plugin(file.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    let copy = others[1].path().join("copy.db");
    assert_eq!(back.notes(&["restore", copy.to_str().unwrap()]), "restored 2 jobs\n");
    let host = back.start(&broker);
    more(&listener, "ticking/tick");
    each_once(&listener.messages());
    assert!(back.runs(&["--plugin", "ticking", "--limit", "1000"]).len() > known - 2);
    assert!(host.stop().success());
}

#[test]
fn a_backup_is_restored_into_an_empty_database() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (site, host) = alone(&broker, &listener);
    site.roost(&["backup", "copy.db"]);
    assert!(host.stop().success());
    use_database(&site, &server.database("roost"));
    let restored = redact(&site.notes(&["restore", "copy.db"]));
    expect![[r#"
        restored 2 jobs
        these runs owe messages, which are sent when the host starts:
          declared/declared/water/[TIME]
    "#]]
    .assert_eq(&restored);
    let refused = redact(&site.tried(&["restore", "copy.db"]).refused());
    expect![[r#"
        error: the database `postgres://127.0.0.1:[PORT]/roost` could not be used
          caused by: it has plugins, jobs or runs already
        hint: nothing was changed: name an empty database; as an administrator: `ALTER DATABASE roost RENAME TO roost_before;`, `CREATE DATABASE roost OWNER roost;`
    "#]]
    .assert_eq(&refused);
    let host = site.start(&broker);
    more(&listener, "ticking/tick");
    listener.wait("the end of what was begun", is_closed);
    each_once(&listener.messages());
    assert!(host.stop().success());

    // A host that works keeps its database.
    use_database(&site, &server.database("other"));
    let host = site.start(&broker);
    host.wait_for_log("this host owns the cell");
    let other = Site::new();
    use_database(&other, &server.url("other"));
    let copy = site.path().join("copy.db");
    let refused = redact(&other.tried(&["restore", copy.to_str().unwrap()]).refused());
    expect![[r#"
        error: the database `postgres://127.0.0.1:[PORT]/other` could not be used
          caused by: a host works with it, or is about to
        hint: nothing was changed: stop all hosts that use it, and try again
    "#]]
    .assert_eq(&refused);
    assert!(host.stop().success());
}
