//! Several hosts that share a database: one works, the others are standbys.

use std::{collections::HashMap, fs};

use expect_test::expect;
use roost_tests::{Postgres, redact};

use super::*;

/// A job that is due each second, and a run of which must not start more than half a minute late.
const OFTEN: &str = "every_ms = 1000";

/// Makes a folder for a host that uses a database.
fn site(database: &str) -> Site {
    let site = Site::new();
    fs::write(site.path().join("roost.toml"), format!("[store]\nurl = \"{database}\"\n")).unwrap();
    site
}

/// Starts a host that becomes the owner, with a plugin that publishes each second, and one that becomes a standby.
fn pair(server: &Postgres, broker: &Broker) -> ([Site; 2], Roost, Roost) {
    let database = server.database("roost");
    let sites = [site(&database), site(&database)];
    let owner = sites[0].start(broker);
    owner.wait_for_log("connected to the broker");
    sites[0].settings("declared", &job("often", OFTEN, "declared/often"));
    sites[0].drop_in(&guest("declared"), "declared");
    assert_eq!(sites[0].roost(&["adopt", "plugins"]), "declared is installed: 1 jobs\n");
    owner.wait_for_log("jobs of `declared`: 1 new");
    let standby = sites[1].start(broker);
    standby.wait_for_log("another host owns the cell: this one is a standby");
    (sites, owner, standby)
}

/// Waits until so many more messages than now have arrived.
fn more(listener: &Listener, count: usize) {
    let before = listener.messages().len();
    listener.wait("more messages", |messages| messages.len() >= before + count);
}

/// Checks that each run was heard once.
fn each_once(listener: &Listener) {
    each_once_but(listener, 0);
}

/// Checks that each run was heard once, but for so many whose end could not be stored: these come again, with their id.
fn each_once_but(listener: &Listener, lost_commits: usize) {
    let mut heard: HashMap<String, u32> = HashMap::new();
    for message in listener.messages().iter().filter(|message| message.topic == "declared/often") {
        *heard.entry(message.property("roost-run").unwrap().to_owned()).or_default() += 1;
    }
    heard.retain(|_, count| *count > 1);
    assert!(heard.len() <= lost_commits && heard.values().all(|count| *count == 2), "{heard:?}");
}

#[test]
fn a_standby_takes_over_from_an_owner_that_is_killed_or_stopped() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (sites, owner, standby) = pair(&server, &broker);
    more(&listener, 2);
    owner.kill();
    standby.wait_for_log("this host owns the cell");
    more(&listener, 3);
    // The history is that of both.
    let runs = sites[1].roost(&["runs", "--limit", "3"]);
    assert_eq!(runs.matches("declared/declared/often").count(), 3, "{runs}");

    let first = sites[0].start(&broker);
    first.wait_for_log("another host owns the cell: this one is a standby");
    assert!(standby.stop().success());
    first.wait_for_log("this host owns the cell");
    more(&listener, 3);
    each_once(&listener);
    assert!(first.stop().success());
    assert_eq!(server.ask("roost", "SELECT epoch >= 3, owner IS NULL FROM cells"), ["t|t"]);
}

#[test]
fn an_owner_that_was_suspended_sends_nothing_more_and_becomes_a_standby() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (_sites, owner, standby) = pair(&server, &broker);
    more(&listener, 2);
    owner.suspend();
    standby.wait_for_log("this host owns the cell");
    more(&listener, 3);
    owner.resume();
    owner.wait_for_log("this host has lost its cell, and begins anew");
    let anew = owner.log.all().iter().position(|line| line.contains("begins anew")).unwrap();
    owner.log.wait_for(anew, "another host owns the cell: this one is a standby");
    more(&listener, 3);
    each_once(&listener);
    assert!(standby.stop().success());
    owner.log.wait_for(anew, "this host owns the cell");
    more(&listener, 2);
    each_once(&listener);
    assert!(owner.stop().success());
}

#[test]
fn an_owner_that_has_lost_its_connection_takes_its_own_cell_again_at_once() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (_sites, owner, standby) = pair(&server, &broker);
    more(&listener, 2);
    let of_owner = "SELECT pg_terminate_backend(backend::int4) FROM cells";
    for _ in 0..3 {
        let (count, epoch) = (owner.log.all().len(), server.ask("roost", "SELECT epoch FROM cells"));
        assert_eq!(server.ask("roost", of_owner), ["t"]);
        owner.log.wait_for(count, "this host owns the cell");
        assert_ne!(server.ask("roost", "SELECT epoch FROM cells"), epoch);
        more(&listener, 2);
    }
    each_once_but(&listener, 3);
    assert!(!standby.log.all().iter().any(|line| line.contains("this host owns the cell")));
    assert!(owner.stop().success());
    standby.wait_for_log("this host owns the cell");
}

#[test]
fn a_host_whose_database_is_away_sends_nothing_and_goes_on_when_it_is_back() {
    let (mut server, broker) = (Postgres::new(), Broker::new());
    let listener = Listener::new(broker.port);
    let (_sites, owner, standby) = pair(&server, &broker);
    more(&listener, 2);
    server.stop();
    owner.wait_for_log("this host has lost its cell, and begins anew");
    server.start();
    more(&listener, 3);
    each_once_but(&listener, 1);
    let is_owner = |host: &Roost| host.log.all().iter().any(|line| line.contains("this host owns the cell"));
    assert!(is_owner(&standby) || owner.log.all().iter().filter(|line| line.contains("owns the cell")).count() > 1);
    // One that starts meanwhile waits for it as well.
    server.stop();
    let third = site(&server.url("roost"));
    let third = third.start(&broker);
    third.wait_for_log("cannot be used, and is tried again");
    server.start();
    third.wait_for_log("another host owns the cell: this one is a standby");
}

#[test]
fn plugins_are_those_of_all_hosts() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    let listener = Listener::new(broker.port);
    let sites = [site(&database), site(&database)];
    // What lies in a folder is not used.
    sites[0].settings("declared", &job("first", OFTEN, "declared/first"));
    sites[0].drop_in(&guest("declared"), "declared");
    let first = sites[0].start(&broker);
    first.wait_for_log("the plugins in `plugins` do not run");
    first.wait_for_log("connected to the broker");
    assert_eq!(sites[0].roost(&["adopt", "plugins"]), "declared is installed: 1 jobs\n");
    more(&listener, 1);

    let second = sites[1].start(&broker);
    second.wait_for_log("another host owns the cell: this one is a standby");
    // A new version of the settings, another plugin, and a component that is refused.
    sites[0].settings("declared", &job("second", OFTEN, "declared/second"));
    sites[0].drop_in(&guest("declared"), "other");
    sites[0].settings("other", &job("third", OFTEN, "other/third"));
    assert_eq!(sites[0].roost(&["adopt", "plugins"]), "declared is replaced: 1 jobs\nother is installed: 1 jobs\n");
    listener.wait("the new settings", |messages| messages.iter().any(|message| message.topic == "declared/second"));
    fs::write(sites[0].path().join("broken.wasm"), "no component").unwrap();
    sites[0].tried(&["upload", "broken.wasm", "--as", "other"]).refused();
    // A version that is rolled back by the next owner.
    fs::copy(guest("at-once"), sites[0].path().join("at-once.wasm")).unwrap();
    sites[0].roost(&["upload", "at-once.wasm", "--as", "declared"]);
    let status = || sites[0].roost(&["plugins", "declared", "--json"]);
    first.until("the version", || status().contains("previous").then_some(()));
    first.kill();
    second.wait_for_log("connected to the broker");
    sites[1].roost(&["rollback", "declared"]);
    let taken = listener.messages().len();
    listener.wait("messages of both", |messages| {
        let of = |topic: &str| messages[taken..].iter().any(|message| message.topic == topic);
        of("declared/second") && of("other/third")
    });
    assert!(!listener.messages()[taken..].iter().any(|message| message.topic == "declared/first"));
    assert!(!second.log.all().iter().any(|line| line.contains("jobs of `other`")));

    // What the second one removes, the first one does not have.
    sites[1].roost(&["remove", "other"]);
    let first = sites[0].start(&broker);
    first.wait_for_log("another host owns the cell: this one is a standby");
    second.wait_for_log("other removed");
    assert!(second.stop().success());
    first.wait_for_log("connected to the broker");
    let taken = listener.messages().len();
    more(&listener, 2);
    assert!(!listener.messages()[taken..].iter().any(|message| message.topic == "other/third"));
    assert_eq!(
        server.ask("roost", "SELECT plugin, component IS NULL FROM plugin_files ORDER BY 1"),
        ["declared|f", "other|t"]
    );
    assert!(first.stop().success());
}

#[test]
fn a_standby_can_be_stopped() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let (_sites, owner, standby) = pair(&server, &broker);
    assert!(standby.stop().success());
    assert!(owner.stop().success());
}

#[test]
fn what_is_missing_in_the_database_is_reported_with_the_statement_that_mends_it() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    assert!(server.sql("roost", "CREATE ROLE ada LOGIN"));
    let refused = |url: &str| {
        let site = site(url);
        redact(&site.start(&broker).refused()).replace(&server.url(""), "postgres://roost@[SERVER]/")
    };
    let errors = [
        refused(&server.url("none")),
        refused(&database.replace("roost@", "eve@")),
        refused(&database.replace("roost@", "ada@")),
        refused("postgres://roost@127.0.0.1"),
    ];
    expect![[r#"
        error: the database `postgres://127.0.0.1:[PORT]/none` could not be used
          caused by: database "none" does not exist
        hint: as an administrator of the database: `CREATE DATABASE none OWNER roost;`

        error: the database `postgres://127.0.0.1:[PORT]/roost` could not be used
          caused by: role "eve" does not exist
        hint: as an administrator of the database: `CREATE ROLE eve LOGIN PASSWORD '…';`

        error: the database `postgres://127.0.0.1:[PORT]/roost` could not be used
          caused by: permission denied for schema public
        hint: give Roost a database of its own; as an administrator of the database: `ALTER DATABASE roost OWNER TO ada;`, and `ALTER SCHEMA public OWNER TO ada;` in it

        error: roost.toml:2:7: this is not the address of a database: it names no database: end it with `/roost`
        hint: write `postgres://USER:PASSWORD@HOST/DATABASE`
    "#]]
    .assert_eq(&errors.join("\n"));
}
