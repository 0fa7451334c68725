//! Several hosts that share a database: one works, the others are standbys.

use std::{collections::HashMap, fs};

use expect_test::expect;
use roost_tests::{
    Chromium, Postgres, free_port,
    http::{ask, get, talk, text},
    redact,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

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

/// Returns a host's list of hosts: whether each is the one that was asked, and its role.
fn roles(address: &str) -> Vec<(bool, String)> {
    let hosts = get(address, "/api/v1/hosts");
    let role = |host: &Value| (host["answers"].as_bool().unwrap(), text(host, "role").to_owned());
    let mut roles: Vec<_> = hosts["items"].as_array().unwrap().iter().map(role).collect();
    roles.sort();
    roles
}

/// Waits until a list of hosts has these roles.
fn wait_for_roles(host: &Roost, expected: &[(bool, &str)]) {
    let address = host.address();
    host.until("the roles", || {
        let roles = roles(&address);
        roles.iter().map(|(own, role)| (*own, role.as_str())).eq(expected.iter().copied()).then_some(())
    });
}

#[test]
fn every_host_answers_and_requests_wait_for_the_end_of_a_takeover() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let (sites, owner, standby) = pair(&server, &broker);
    let (first, second) = (owner.address(), standby.address());
    wait_for_roles(&owner, &[(false, "standby"), (true, "owner")]);
    wait_for_roles(&standby, &[(false, "owner"), (true, "standby")]);
    assert_eq!(text(&get(&first, "/api/v1/status")["host"], "role"), "owner");
    let status = get(&second, "/api/v1/status");
    assert_eq!((text(&status["host"], "role"), &status["link"]["up"]), ("standby", &Value::Bool(true)));
    let list = sites[1].roost(&["hosts"]);
    assert!(list.contains(" (this one)") && list.contains("owner") && list.contains(&first), "{list}");
    assert!(sites[1].roost(&["status"]).contains(", a standby of `"));

    // Reads, writes, uploads and streams reach the owner.
    let jobs = |address: &str| get(address, "/api/v1/jobs?limit=10")["items"].as_array().unwrap().len();
    assert_eq!((jobs(&first), jobs(&second)), (1, 1));
    sites[1].roost(&["pause", "declared"]);
    assert!(sites[0].roost(&["status"]).contains("paused    declared"));
    sites[1].roost(&["resume", "declared"]);
    fs::copy(guest("at-once"), sites[1].path().join("other.wasm")).unwrap();
    sites[1].roost(&["upload", "other.wasm"]);
    owner.until("the plugin", || sites[0].roost(&["plugins"]).contains("other").then_some(()));
    let mut stream = stream::Stream::open(&second, "?kind=run", "");
    stream.find(|(_, kind, _)| kind == "run");
    for (address, is_owner) in [(&first, 1), (&second, 0)] {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        let (_, _, metrics) = talk(address, &request);
        assert!(metrics.contains(&format!("\nroost_host_owner {is_owner}\n")), "{metrics}");
        assert_eq!(metrics.contains("\nroost_jobs "), is_owner == 1, "{metrics}");
    }

    let before = jobs(&first);
    owner.kill();
    let health = get(&second, "/healthz");
    assert_eq!((text(&health, "status"), &health["answers"]), ("ok", &Value::Bool(false)));
    let (status, not_ready) = ask(&second, "GET", "/readyz", "", "");
    assert!(status == 503 && text(&not_ready, "detail").starts_with("this host cannot reach the owner"), "{not_ready}");
    // A write and a read that wait.
    let pause = "POST /api/v1/plugins/declared/pause HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (status, _, problem) = talk(&second, pause);
    assert_eq!(status, 204, "{problem}");
    assert_eq!(jobs(&second), before);
    stream.ends_early();
    assert_eq!(get(&second, "/healthz")["answers"], true);
    standby.until("readiness", || (ask(&second, "GET", "/readyz", "", "").0 == 200).then_some(()));
    wait_for_roles(&standby, &[(false, "away"), (true, "owner")]);
    assert!(standby.stop().success());
}

#[test]
fn nothing_is_answered_while_no_host_works_and_it_is_said_why() {
    let (mut server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    let site = site(&database);
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let address = host.address();
    host.until("its plugins", || (ask(&address, "GET", "/readyz", "", "").0 == 200).then_some(()));
    server.stop();
    host.wait_for_log("begins anew");
    // Until it begins anew, it answers what is read.
    let problem = host.until("no answer", || match ask(&address, "GET", "/api/v1/jobs", "", "") {
        (503, problem) => Some(problem),
        _ => None,
    });
    assert_eq!(text(&problem, "hint"), "try again; nothing was done");
    let page = |kind: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\naccept: {kind}\r\n\r\n");
        talk(&address, &head)
    };
    let (status, head, page) = page("text/html");
    assert!(status == 503 && head.contains("\nretry-after: 2\r"), "{head}");
    assert!(page.contains("http-equiv=\"refresh\"") && page.contains("Please wait"), "{page}");
    server.start();
    host.until("an answer", || (ask(&address, "GET", "/api/v1/jobs", "", "").0 == 200).then_some(()));
    assert!(host.stop().success());
}

#[test]
fn another_host_is_recognised_by_the_secret_in_the_database_and_clients_need_their_token() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    let sites = [login::with_token(), login::with_token()];
    for site in &sites {
        let settings = format!("[store]\nurl = \"{database}\"\n[http]\ntoken_file = \"token\"\n");
        fs::write(site.path().join("roost.toml"), settings).unwrap();
    }
    let owner = sites[0].start(&broker);
    owner.wait_for_log("connected to the broker");
    let standby = sites[1].start(&broker);
    standby.wait_for_log("another host owns the cell");
    wait_for_token(&standby);
    for host in [&owner, &standby] {
        let address = host.address();
        let status = |headers: &str| ask(&address, "GET", "/api/v1/jobs", headers, "").0;
        assert_eq!((status(""), status(&login::bearer())), (401, 200));
        assert_eq!(ask(&address, "GET", "/api/v1/hosts", "", "").0, 401);
    }
    let secret = &server.ask("roost", "SELECT secret FROM forwarding")[0];
    assert_eq!(secret.len(), 64, "{secret}");
    let id = |role: &str| {
        let sql =
            format!("SELECT hosts.id FROM hosts LEFT JOIN cells ON cells.host_id = hosts.id WHERE cells.id IS {role}");
        server.ask("roost", &sql).remove(0)
    };
    let (own, other) = (id("NOT NULL"), id("NULL"));
    let address = owner.address();
    let status = |secret: &str, target: &str| {
        let headers = format!("roost-forwarded: {secret}\r\nroost-host: {target}\r\n");
        ask(&address, "GET", "/api/v1/jobs", &headers, "").0
    };
    assert_eq!(status(secret, &own), 200);
    assert_eq!(status(secret, &other), 421);
    assert_eq!(status("", &own), 403);
    assert_eq!(status(&secret.replace(&secret[..1], "x"), &own), 403);
    // A token does not help one that claims to be a host, and what a client says of itself reaches no other host.
    let faked = format!("roost-forwarded: faked\r\nroost-host: {own}\r\n{}", login::bearer());
    assert_eq!(ask(&standby.address(), "GET", "/api/v1/jobs", &faked, "").0, 403);
    let faked = format!("roost-host: {other}\r\n{}", login::bearer());
    assert_eq!(ask(&standby.address(), "GET", "/api/v1/jobs", &faked, "").0, 200);
    // What each host makes for its cell is its own from the beginning.
    for host in [&owner, &standby] {
        assert!(!host.log.all().iter().any(|line| line.contains("was open to other users")));
    }
    assert!(standby.stop().success());
    assert!(owner.stop().success());
}

#[test]
fn a_host_of_several_without_a_broker_of_theirs_is_warned_of() {
    let server = Postgres::new();
    let site = site(&server.database("roost"));
    let settings = site.path().join("roost.toml");
    fs::write(
        &settings,
        fs::read_to_string(&settings).unwrap() + &format!("[built_in_broker]\ndevices = {}\n", free_port()),
    )
    .unwrap();
    let host = site.start_with(&[]);
    host.wait_for_log("`[mqtt]` names no broker that they share");
}

/// Waits until a host that requires a token reaches the owner.
fn wait_for_token(host: &Roost) {
    let address = host.address();
    host.until("the owner", || (ask(&address, "GET", "/api/v1/jobs", &login::bearer(), "").0 == 200).then_some(()));
}

#[test]
fn the_page_of_a_standby_goes_on_when_the_owner_is_killed() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let (sites, owner, standby) = pair(&server, &broker);
    sites[0].settings("declared", &job("close", r#"cron = "30 22 * * *""#, "declared/close"));
    sites[0].roost(&["adopt", "plugins"]);
    wait_for_roles(&standby, &[(false, "owner"), (true, "standby")]);
    let mut browser = Chromium::start(sites[1].path());
    browser.open(&format!("http://{}/", standby.address()));
    browser.wait_for("declared/close");
    browser.eval("window.isTheSame = true");
    // The stream of events is open.
    sites[0].roost(&["pause", "declared/declared/close"]);
    browser.wait_for_role("button", "Resume declared/declared/close");
    owner.kill();
    browser.wait_for("The host does not answer.");
    let buttons = "[...document.querySelectorAll('button[data-path]')].map((button) => button.disabled)";
    let disabled = browser.eval(buttons);
    assert!(disabled.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|one| one == true)), "{disabled}");
    browser.until("the host to be back", |browser| {
        let is_away = browser.eval("document.body.classList.contains('away')");
        (is_away == false).then_some(())
    });
    // The stream of events is that of the new owner.
    sites[1].roost(&["resume", "declared/declared/close"]);
    browser.wait_for_role("button", "Pause declared/declared/close");
    browser.click("button", "Run declared/declared/close now");
    browser.wait_for("● succeeded");
    assert_eq!(browser.eval("window.isTheSame"), true);
    assert!(standby.stop().success());
}

#[test]
fn a_process_of_a_cell_that_crashes_or_hangs_is_started_again_and_ends_with_its_gateway() {
    let (server, broker) = (Postgres::new(), Broker::new());
    let database = server.database("roost");
    let site = site(&database);
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let process = host.cell_process().unwrap();
    kill_process(process, Signal::KILL).unwrap();
    let line = host.wait_for_log("the process of the cell has ended");
    assert!(line.contains("signal: 9"), "{line}");
    let before = host.log.all().len();
    host.log.wait_for(before, "connected to the broker");
    let address = host.address();
    host.until("an answer", || get(&address, "/healthz")["answers"].as_bool().filter(|answers| *answers));
    // The gateway asks it from time to time, and has to have had one answer.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let before = host.log.all().len();
    kill_process(host.cell_process().unwrap(), Signal::STOP).unwrap();
    host.log.wait_for(before, "the process of the cell does not respond, and is killed");
    host.log.wait_for(before, "connected to the broker");
    // The gateway alone is killed; the log ends when the last process does.
    kill_process(Pid::from_raw(host.id().cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert!(!host.ended().0.success());
}

#[test]
fn a_host_with_a_database_of_its_own_lists_itself() {
    let (broker, site) = (Broker::new(), Site::new());
    fs::write(site.path().join("roost.toml"), "[store]\nname = \"attic\"\n").unwrap();
    let host = site.start(&broker);
    let hosts = get(&host.address(), "/api/v1/hosts");
    let expected = json!({ "name": "attic", "role": "owner", "cells": [], "answers": true });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&hosts["items"][0][key], value, "{hosts}");
    }
    assert!(site.roost(&["hosts"]).contains("attic (this one)  owner"), "{}", site.roost(&["hosts"]));
    assert!(host.stop().success());
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
