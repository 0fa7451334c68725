//! The HTTP API, over TCP and by commands.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use roost_tests::{Broker, Roost, Site, guest};
use serde_json::Value;

use crate::{
    job,
    operations::{roost, text},
    ticking,
};

/// Sends a request, and returns the response's status, head and body.
pub(crate) fn talk(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request}: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

pub(crate) fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{length}{headers}\r\n");
    let (status, head, text) = talk(address, &(head + body));
    let kind = if status < 300 { "application/json" } else { "application/problem+json" };
    assert!(head.contains(&format!("content-type: {kind}")), "{method} {path}: {head}\n{text}");
    for sealed in ["x-content-type-options: nosniff", "cross-origin-resource-policy: same-origin"] {
        assert!(head.contains(sealed), "{method} {path}: {head}");
    }
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"));
    if status >= 300 {
        assert_eq!((value["status"].as_u64(), value["type"].as_str()), (Some(status.into()), Some("about:blank")));
        assert!(value["detail"].is_string(), "{value}");
    }
    (status, value)
}

pub(crate) fn get(address: &str, path: &str) -> Value {
    let (status, value) = ask(address, "GET", path, "", "");
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// Starts a host with two devices of three jobs each.
fn planned() -> (Broker, Site, Roost, String) {
    let (broker, site) = (Broker::new(), Site::new());
    let jobs: String = ["a", "b", "c"].iter().map(|id| job(id, "cron = \"30 6 * * *\"", "declared/x")).collect();
    site.settings("declared", &format!("[[device]]\nname = \"north\"\n[[device]]\nname = \"south\"\n{jobs}"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("6 new");
    let address = host.address();
    (broker, site, host, address)
}

#[test]
fn planned_jobs_are_listed_in_pages() {
    let (_broker, site, host, address) = planned();
    host.wait_for_log("connected to the broker");
    assert_eq!(get(&address, "/healthz")["status"], "ok");
    host.log.wait("it to be ready", |_| (ask(&address, "GET", "/readyz", "", "").0 == 200).then_some(()));
    let status = get(&address, "/api/v1/status");
    assert_eq!((status["counts"]["jobs"].as_u64(), status["link"]["up"].as_bool()), (Some(6), Some(true)), "{status}");
    let plugin = &get(&address, "/api/v1/plugins")["items"][0];
    assert_eq!((plugin["devices"].as_u64(), plugin["jobs"].as_u64()), (Some(2), Some(6)), "{plugin}");
    let one = get(&address, "/api/v1/plugins/declared");
    assert_eq!((&one["component"], &one["jobs"]), (&plugin["component"], &6.into()));
    assert!(one["tasks"].is_array() && plugin["tasks"].is_null(), "{one}");
    let first = get(&address, "/api/v1/devices?limit=1");
    assert_eq!(text(&first["items"][0], "device"), "north");
    let second = get(&address, &format!("/api/v1/devices?limit=1&cursor={}", text(&first, "next")));
    assert_eq!((text(&second["items"][0], "device"), &second["next"]), ("south", &Value::Null));

    for (of, count) in [
        ("", 6),
        ("&plugin=declared", 6),
        ("&plugin=declared&device=north", 3),
        ("&device=south", 3),
        ("&plugin=other", 0),
    ] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&address, &format!("/api/v1/jobs?limit=2{of}{cursor}"));
            found.extend(
                page["items"].as_array().unwrap().iter().map(|job| format!("{}/{}", job["device"], job["job"])),
            );
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{of}: {found:?}");
    }
    let job = get(&address, "/api/v1/jobs/declared/north/a?next=2");
    assert_eq!((text(&job, "trigger"), job["following"].as_array().unwrap().len()), ("cron 30 6 * * *", 2), "{job}");
    assert_eq!(job["steps"][0]["topic"], "declared/x");

    let (table, _) = roost(&site, &["jobs", "declared/south"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("declared/south/c  cron 30 6 * * *"), "{table}");
    assert!(roost(&site, &["plugins"]).0.contains("declared"));
    assert!(roost(&site, &["plugins", "declared"]).0.contains("south"));
    assert!(roost(&site, &["status"]).0.contains("2 devices and 6 jobs"));
    assert!(host.stop().success());
}

#[test]
fn runs_are_listed_in_pages_alone_and_by_commands_from_another_folder() {
    let (_broker, site, listener, host) = ticking("ticking");
    let address = host.address();
    listener.wait("some of them", |messages| messages.len() > 4);
    host.log.wait("runs on disk", |_| {
        (get(&address, "/api/v1/runs?state=succeeded")["items"].as_array().unwrap().len() > 3).then_some(())
    });
    let first = get(&address, "/api/v1/runs?limit=2&plugin=ticking");
    let second = get(&address, &format!("/api/v1/runs?limit=2&plugin=ticking&cursor={}", text(&first, "next")));
    let times = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|run| text(run, "run").to_owned()).collect::<Vec<_>>()
    };
    let (first, second) = (times(&first), times(&second));
    assert!(first[0] > first[1] && first[1] > second[0] && second[0] > second[1], "{first:?} {second:?}");
    let run = get(&address, &format!("/api/v1/runs/{}", second[0]));
    assert_eq!(text(&run, "run"), second[0]);
    assert_eq!(times(&get(&address, &format!("/api/v1/runs?until={}", text(&run, "occurrence"))))[0], second[1]);
    // From another folder, as on another machine.
    let elsewhere = Site::new();
    let mut command = elsewhere.command(&["runs", "--json", "--limit", "3"]);
    let out = command.env("ROOST_URL", format!("http://{address}")).output().unwrap();
    let lines = String::from_utf8(out.stdout).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(roost(&site, &["runs", "--json", "--limit", "1000"]).0.contains(lines.lines().last().unwrap()));
    assert!(host.stop().success());
}

#[test]
fn an_invalid_request_gets_a_problem_document() {
    let (_broker, _site, host, address) = planned();
    let json = "content-type: application/json\r\n";
    let long = format!("{{\"run\":\"{}\"}}", "a".repeat(256 * 1024));
    for (method, path, headers, body, expected) in [
        ("GET", "/", "", "", 404),
        ("GET", "/api/v1/nothing", "", "", 404),
        ("POST", "/api/v1/status", "", "", 405),
        ("GET", "/api/v1/runs/replay", "", "", 405),
        ("GET", "/api/v1/jobs?limit=0", "", "", 400),
        ("GET", "/api/v1/jobs?limit=1001", "", "", 400),
        ("GET", "/api/v1/jobs?limit=x", "", "", 400),
        ("GET", "/api/v1/jobs?next=11", "", "", 400),
        ("GET", "/api/v1/jobs?colour=red", "", "", 400),
        ("GET", "/api/v1/jobs?cursor=zz", "", "", 404),
        ("GET", "/api/v1/runs?cursor=00", "", "", 404),
        ("GET", "/api/v1/runs?state=happy", "", "", 400),
        ("GET", "/api/v1/runs?since=yesterday", "", "", 400),
        ("GET", "/api/v1/plugins/Declared", "", "", 400),
        ("GET", "/api/v1/plugins/other", "", "", 404),
        ("GET", "/api/v1/plugins/%FF", "", "", 400),
        ("GET", "/api/v1/jobs/declared/north/x", "", "", 404),
        ("GET", "/api/v1/runs/declared/north/a/2027-03-01T06:30:00Z", "", "", 404),
        ("GET", "/api/v1/runs/declared/north/a/never", "", "", 404),
        ("POST", "/api/v1/runs/abandon", json, "", 400),
        ("POST", "/api/v1/runs/abandon", json, "{", 400),
        ("POST", "/api/v1/runs/abandon", json, "{\"run\":1}", 400),
        ("POST", "/api/v1/runs/abandon", json, "{\"run\":\"x\"}", 404),
        ("POST", "/api/v1/runs/abandon", json, "{\"run\":\"a/b/c/2027-03-01T06:30:00Z\"}", 404),
        ("POST", "/api/v1/runs/replay", json, "{\"run\":\"a/b/c/2027-03-01T06:30:00Z\"}", 404),
        ("POST", "/api/v1/runs/abandon", "", "{}", 415),
        ("POST", "/api/v1/runs/abandon", "content-type: text/plain\r\n", "{}", 415),
        ("POST", "/api/v1/runs/abandon", "content-type: application/wasm\r\n", "{}", 415),
        ("POST", "/api/v1/runs/abandon", json, &long, 413),
        ("GET", "/healthz", "origin: http://evil.example\r\n", "", 403),
        ("GET", "/healthz", "sec-fetch-site: cross-site\r\n", "", 403),
    ] {
        let (status, value) = ask(&address, method, path, headers, body);
        assert_eq!(status, expected, "{method} {path}: {value}");
    }
    for (path, shown) in [
        ("/api/v1/jobs?colour=red", "the query is not understood: colour: unknown field `colour`"),
        ("/api/v1/plugins/Declared", "the path is not understood: "),
        ("/api/v1/jobs/declared/north/d", "device `declared/north` has no job `d`"),
    ] {
        let detail = ask(&address, "GET", path, "", "").1["detail"].to_string();
        assert!(detail.contains(shown), "{path}: {detail}");
    }
    let (status, head, _) = talk(&address, "GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
    assert_eq!(status, 421, "{head}");
    let described = get(&address, "/api/v1/openapi.json");
    assert!(text(&described, "openapi").starts_with("3.1"), "{described}");
    for (path, item) in described["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["responses"]["default"].is_object(), "{path}");
        }
    }
    assert!(host.stop().success());
}

#[test]
fn plugins_are_paused_and_planned_again_and_invalid_uploads_get_a_problem() {
    let (_broker, _site, host, address) = planned();
    let (json, wasm) = ("content-type: application/json\r\n", "content-type: application/wasm\r\n");
    for (method, path, headers, body, expected) in [
        ("PUT", "/api/v1/plugins/coop_door", wasm, "x", 400),
        ("PUT", "/api/v1/plugins/roost", wasm, "x", 400),
        ("PUT", "/api/v1/plugins/other", json, "{}", 415),
        ("PUT", "/api/v1/plugins/other", "", "", 415),
        ("PUT", "/api/v1/plugins/other", wasm, "x", 422),
        ("POST", "/api/v1/check", wasm, "x", 400),
        ("POST", "/api/v1/check?plugin=other&colour=red", wasm, "x", 400),
        ("POST", "/api/v1/check?plugin=Other", wasm, "x", 400),
        ("POST", "/api/v1/check?plugin=other", wasm, "x", 422),
        ("DELETE", "/api/v1/plugins/other", "", "", 404),
        ("DELETE", "/api/v1/plugins/roost", "", "", 404),
        ("POST", "/api/v1/plugins/other/rollback", "", "", 404),
        ("POST", "/api/v1/plugins/declared/rollback", "", "", 409),
        ("POST", "/api/v1/plugins/other/pause", "", "", 404),
        ("POST", "/api/v1/plugins/other/resume", "", "", 404),
        ("POST", "/api/v1/plugins/other/replan", "", "", 404),
    ] {
        let (status, value) = ask(&address, method, path, headers, body);
        assert_eq!(status, expected, "{method} {path}: {value}");
    }
    // A request that announces too much is refused without waiting for its body.
    let head = format!("PUT /api/v1/plugins/other HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{wasm}");
    let (status, _, shown) = talk(&address, &format!("{head}content-length: 67108865\r\n\r\n"));
    assert_eq!(status, 413, "{shown}");
    for (what, paused) in [("pause", true), ("replan", true), ("resume", false)] {
        let path = format!("/api/v1/plugins/declared/{what}");
        let (status, _, shown) =
            talk(&address, &format!("POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
        assert_eq!((status, shown.as_str()), (204, ""), "{what}");
        assert_eq!(get(&address, "/api/v1/plugins/declared")["paused"], paused, "{what}");
    }
    assert!(host.stop().success());
}

#[test]
fn with_a_token_only_its_holders_are_served_except_over_the_socket() {
    let (broker, site) = (Broker::new(), Site::new());
    fs::write(site.path().join("token"), "0123456789abcdef\n").unwrap();
    fs::write(site.path().join("roost.toml"), "[http]\ntoken_file = \"token\"\n").unwrap();
    let host = site.start(&broker);
    let address = host.address();
    host.wait_for_log("connected to the broker");
    assert_eq!(ask(&address, "GET", "/healthz", "", "").0, 200);
    assert_eq!(ask(&address, "GET", "/api/v1/status", "", "").0, 401);
    assert_eq!(ask(&address, "GET", "/api/v1/openapi.json", "", "").0, 401);
    assert_eq!(ask(&address, "GET", "/api/v1/status", "authorization: Bearer 0123456789abcdeX\r\n", "").0, 401);
    assert_eq!(ask(&address, "GET", "/api/v1/status", "authorization: Bearer 0123456789abcdef\r\n", "").0, 200);
    assert!(roost(&site, &["status"]).0.contains("roost "));
    let by_url = |token: &str| {
        let mut command = site.command(&["status", "--json"]);
        command.env("ROOST_URL", format!("http://{address}")).env("ROOST_TOKEN", token).output().unwrap()
    };
    assert!(by_url("0123456789abcdef").status.success());
    let shown = String::from_utf8(by_url("wrong").stderr).unwrap();
    assert!(shown.starts_with("error: the token is wrong\nhint: set `ROOST_TOKEN` to the content of"), "{shown}");
    assert!(host.stop().success());
}

#[test]
fn an_occupied_address_is_an_error_only_if_it_is_configured() {
    let (broker, site) = (Broker::new(), Site::new());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, log) = site.start_with(&["--mqtt", &broker.url(), "--http", &address]).ended();
    assert!(!status.success());
    assert!(log.join("\n").contains(&format!("error: the HTTP API cannot listen on `{address}`")), "{log:?}");
    let (status, log) = site.start_with(&["--mqtt", &broker.url(), "--http", "0.0.0.0:0"]).ended();
    assert!(!status.success());
    assert!(log.join("\n").contains("can be reached from other machines, and there is no token"), "{log:?}");
    let host = site.start_with(&["--mqtt", &broker.url(), "--http", "off"]);
    host.wait_for_log("connected to the broker");
    assert!(roost(&site, &["status"]).0.contains("roost "));
    assert!(host.stop().success());
}

#[test]
fn idle_connections_delay_no_request() {
    let site = Site::new();
    let broker = Broker::new();
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let address = host.address();
    let mut silent = Vec::new();
    while silent.len() < 3_000 {
        match TcpStream::connect(&address) {
            Ok(stream) => silent.push(stream),
            // This process cannot open more files.
            Err(_) => break,
        }
    }
    // The last ones have sent a part of a request.
    for stream in silent.iter_mut().rev().take(500) {
        let _ = stream
            .write_all(b"POST /api/v1/runs/abandon HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    }
    silent.truncate(silent.len().saturating_sub(4));
    assert_eq!(ask(&address, "GET", "/healthz", "", "").0, 200);
    assert!(roost(&site, &["status"]).0.contains("roost "));
    drop(silent);
    assert!(host.stop().success());
}
