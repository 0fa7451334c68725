//! The HTTP API, over TCP and by commands.

use std::{fs, io::Write, net::TcpStream};

use expect_test::expect;
use roost_tests::{
    Broker, Ran, Roost, Site, guest,
    http::{JSON, ask, get, refusals, talk, text},
};
use serde_json::Value;

use crate::{job, ticking};

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

    expect![[r#"
        $ roost jobs declared/south
        NEXT ([ZONE])  JOB               TRIGGER          LABEL
        [TIME]  declared/south/a  cron 30 6 * * *
        [TIME]  declared/south/b  cron 30 6 * * *
        [TIME]  declared/south/c  cron 30 6 * * *

        $ roost plugins
        PLUGIN    STATE    DEVICES  JOBS  PLAN  MEMORY  ERROR
        declared  running  2        6  [USED]
    "#]]
    .assert_eq(&site.transcript(&[&["jobs", "declared/south"], &["plugins"]]));
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
    let whole = site.roost(&["runs", "--json", "--limit", "1000"]);
    assert!(lines.lines().all(|line| whole.lines().any(|other| other == line)), "{lines}");
    assert!(host.stop().success());
}

#[test]
fn an_invalid_request_gets_a_problem_document() {
    let (_broker, _site, host, address) = planned();
    let long = format!("{{\"run\":\"{}\"}}", "a".repeat(256 * 1024));
    expect![[r#"
        GET /nothing
          404 Not Found: there is no `/nothing`
          hint: `/` is the first page, and `/api/v1/openapi.json` describes the API
        GET /api/v1/nothing
          404 Not Found: there is no `/api/v1/nothing`
          hint: see `/api/v1/openapi.json` for the paths that exist
        POST /api/v1/status
          405 Method Not Allowed: `/api/v1/status` does not support `POST`
        GET /api/v1/runs/replay
          405 Method Not Allowed: `/api/v1/runs/replay` does not support `GET`
        GET /api/v1/jobs?limit=0
          400 Bad Request: the query is not understood: limit: `0` is not a whole number from 1 to 1000
        GET /api/v1/jobs?limit=1001
          400 Bad Request: the query is not understood: limit: `1001` is not a whole number from 1 to 1000
        GET /api/v1/jobs?limit=x
          400 Bad Request: the query is not understood: limit: `x` is not a whole number from 1 to 1000
        GET /api/v1/jobs?next=11
          400 Bad Request: the query is not understood: next: it must be 0 to 10
        GET /api/v1/jobs?colour=red
          400 Bad Request: the query is not understood: colour: unknown field `colour`, expected one of `plugin`, `device`, `next`, `limit`, `cursor`
        GET /api/v1/jobs?cursor=zz
          404 Not Found: there is no such page: `cursor` is not valid
          hint: start without a cursor
        GET /api/v1/runs?cursor=00
          404 Not Found: there is no such page: `cursor` is not valid
          hint: start without a cursor
        GET /api/v1/runs?state=happy
          400 Bad Request: the query is not understood: state: unknown variant `happy`, expected one of `running`, `succeeded`, `failed`, `missed`, `skipped`, `cancelled`, `denied`
        GET /api/v1/runs?since=yesterday
          400 Bad Request: the query is not understood: since: `yesterday` is not a time: write it like `2027-03-01T06:30:00Z`
        GET /api/v1/plugins/Declared
          400 Bad Request: the path is not understood: `Declared` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        GET /api/v1/plugins/other
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
        GET /api/v1/plugins/%FF
          400 Bad Request: the path is not understood: Invalid UTF-8 in `plugin`
        GET /api/v1/jobs/declared/north/x
          404 Not Found: device `declared/north` has no job `x`
          hint: `roost jobs declared/north` lists its jobs
        GET /api/v1/jobs/declared/west/a
          404 Not Found: plugin `declared` has no device `west`
          hint: `roost plugins declared` lists its devices
        GET /api/v1/jobs/declard/north/a
          404 Not Found: there is no plugin `declard`
          hint: did you mean `declared`?
        GET /api/v1/runs/declared/north/a/2027-03-01T06:30:00Z
          404 Not Found: there is no run `declared/north/a/2027-03-01T06:30:00Z`
        GET /api/v1/runs/declared/north/a/never
          404 Not Found: `declared/north/a/never` is not a run id: it must be like `coop-door/north/open/2027-03-01T06:30:00Z`
        POST /api/v1/runs/abandon
          400 Bad Request: the body is not understood: EOF while parsing a value at line 1 column 0
        POST /api/v1/runs/abandon {
          400 Bad Request: the body is not understood: EOF while parsing an object at line 1 column 1
        POST /api/v1/runs/abandon {"run":1}
          400 Bad Request: the body is not understood: run: invalid type: integer `1`, expected a string at line 1 column 8
        POST /api/v1/runs/abandon {"run":"x"}
          404 Not Found: `x` is not a run id: it must be like `coop-door/north/open/2027-03-01T06:30:00Z`
          hint: `roost runs --state running` lists the runs that can be abandoned
        POST /api/v1/runs/abandon {"run":"a/b/c/2027-03-01T06:30:00Z"}
          404 Not Found: there is no run a/b/c/2027-03-01T06:30:00Z that has not ended
          hint: `roost runs --state running` lists the runs that can be abandoned
        POST /api/v1/runs/replay {"run":"a/b/c/2027-03-01T06:30:00Z"}
          404 Not Found: there is no run `a/b/c/2027-03-01T06:30:00Z`
          hint: `roost runs --failed` shows those that can be replayed
        POST /api/v1/runs/abandon {}
          415 Unsupported Media Type: the body must be JSON
          hint: send `Content-Type: application/json`, `application/wasm` with a component, or `application/toml` with settings
        POST /api/v1/runs/abandon content-type: text/plain {}
          415 Unsupported Media Type: the body must be JSON
          hint: send `Content-Type: application/json`, `application/wasm` with a component, or `application/toml` with settings
        POST /api/v1/runs/abandon content-type: application/wasm {}
          415 Unsupported Media Type: the body must be JSON
          hint: send `Content-Type: application/json`
        POST /api/v1/runs/abandon {"run":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…
          413 Payload Too Large: the body has more than 262144 bytes
        GET /healthz origin: http://evil.example
          403 Forbidden: the request comes from a page of another origin
        GET /healthz sec-fetch-site: cross-site
          403 Forbidden: the request comes from a page of another origin: it is `cross-site`
    "#]].assert_eq(&refusals(
        &address,
        [
            ["GET", "/nothing", "", ""],
            ["GET", "/api/v1/nothing", "", ""],
            ["POST", "/api/v1/status", "", ""],
            ["GET", "/api/v1/runs/replay", "", ""],
            ["GET", "/api/v1/jobs?limit=0", "", ""],
            ["GET", "/api/v1/jobs?limit=1001", "", ""],
            ["GET", "/api/v1/jobs?limit=x", "", ""],
            ["GET", "/api/v1/jobs?next=11", "", ""],
            ["GET", "/api/v1/jobs?colour=red", "", ""],
            ["GET", "/api/v1/jobs?cursor=zz", "", ""],
            ["GET", "/api/v1/runs?cursor=00", "", ""],
            ["GET", "/api/v1/runs?state=happy", "", ""],
            ["GET", "/api/v1/runs?since=yesterday", "", ""],
            ["GET", "/api/v1/plugins/Declared", "", ""],
            ["GET", "/api/v1/plugins/other", "", ""],
            ["GET", "/api/v1/plugins/%FF", "", ""],
            ["GET", "/api/v1/jobs/declared/north/x", "", ""],
            ["GET", "/api/v1/jobs/declared/west/a", "", ""],
            ["GET", "/api/v1/jobs/declard/north/a", "", ""],
            ["GET", "/api/v1/runs/declared/north/a/2027-03-01T06:30:00Z", "", ""],
            ["GET", "/api/v1/runs/declared/north/a/never", "", ""],
            ["POST", "/api/v1/runs/abandon", JSON, ""],
            ["POST", "/api/v1/runs/abandon", JSON, "{"],
            ["POST", "/api/v1/runs/abandon", JSON, "{\"run\":1}"],
            ["POST", "/api/v1/runs/abandon", JSON, "{\"run\":\"x\"}"],
            ["POST", "/api/v1/runs/abandon", JSON, "{\"run\":\"a/b/c/2027-03-01T06:30:00Z\"}"],
            ["POST", "/api/v1/runs/replay", JSON, "{\"run\":\"a/b/c/2027-03-01T06:30:00Z\"}"],
            ["POST", "/api/v1/runs/abandon", "", "{}"],
            ["POST", "/api/v1/runs/abandon", "content-type: text/plain\r\n", "{}"],
            ["POST", "/api/v1/runs/abandon", "content-type: application/wasm\r\n", "{}"],
            ["POST", "/api/v1/runs/abandon", JSON, &long],
            ["GET", "/healthz", "origin: http://evil.example\r\n", ""],
            ["GET", "/healthz", "sec-fetch-site: cross-site\r\n", ""],
        ],
    ));
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
fn an_operation_that_needs_no_body_takes_none_in_every_form() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    let described = get(&address, "/api/v1/openapi.json");
    let forms = [
        ("", ""),
        ("content-length: 0\r\n", ""),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ("content-length: 0\r\ncontent-type: application/octet-stream\r\n", ""),
        ("content-length: 0\r\ncontent-type: application/json\r\n", ""),
    ];
    let mut asked = 0;
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in ["post", "put", "delete", "patch"] {
            let operation = &item[method];
            if !operation.is_object() || operation["requestBody"]["required"] == true {
                continue;
            }
            let (path, method) = (path.replace(['{', '}'], ""), method.to_uppercase());
            for (headers, body) in forms {
                let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
                let (status, _, answer) = talk(&address, &(head + body));
                // Codes are made over the socket alone, and there is no plugin, device or job of these names.
                let expected = match path.as_str() {
                    "/api/v1/login-codes" => 403,
                    path if path.contains("/plugin") => 404,
                    _ => 204,
                };
                assert_eq!(status, expected, "{method} {path} {headers}: {answer}");
            }
            asked += 1;
        }
    }
    assert!(asked > 12, "{asked}");
    // One that is there has its type.
    for (headers, body) in [
        ("content-length: 2\r\n", "{}"),
        ("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("content-length: 2\r\ncontent-type: application/octet-stream\r\n", "{}"),
        ("content-length: 0\r\ncontent-type: text/plain\r\n", ""),
    ] {
        let head = format!("POST /api/v1/pause HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
        assert_eq!(talk(&address, &(head + body)).0, 415, "{headers}");
    }
    assert!(host.stop().success());
}

#[test]
fn plugins_are_paused_and_planned_again_and_invalid_uploads_get_a_problem() {
    let (_broker, _site, host, address) = planned();
    let wasm = "content-type: application/wasm\r\n";
    expect![[r#"
        PUT /api/v1/plugins/coop_door content-type: application/wasm x
          400 Bad Request: `coop_door` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
          hint: name it `coop-door`
        PUT /api/v1/plugins/roost content-type: application/wasm x
          400 Bad Request: `roost` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        PUT /api/v1/plugins/other {}
          415 Unsupported Media Type: the body must be a component
          hint: send `Content-Type: application/wasm`
        PUT /api/v1/plugins/other
          415 Unsupported Media Type: the body must be a component
          hint: send `Content-Type: application/wasm`
        PUT /api/v1/plugins/other content-type: application/wasm x
          422 Unprocessable Entity: plugin `other` was not loaded: it is not a WebAssembly component
          hint: a plugin is a WebAssembly component; build it with `cargo build --release --target wasm32-wasip2`
        POST /api/v1/check content-type: application/wasm x
          400 Bad Request: the query is not understood: missing field `plugin`
        POST /api/v1/check?plugin=other&colour=red content-type: application/wasm x
          400 Bad Request: the query is not understood: colour: unknown field `colour`, expected `plugin` or `days`
        POST /api/v1/check?plugin=Other content-type: application/wasm x
          400 Bad Request: `Other` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
          hint: name it `other`
        POST /api/v1/check?plugin=other content-type: application/wasm x
          422 Unprocessable Entity: plugin `other` was not loaded: it is not a WebAssembly component
          hint: a plugin is a WebAssembly component; build it with `cargo build --release --target wasm32-wasip2`
        DELETE /api/v1/plugins/other
          404 Not Found: plugin `other` was not removed: `plugins/other.wasm` does not exist
          hint: `roost plugins` lists the plugins
        DELETE /api/v1/plugins/roost
          404 Not Found: plugin `roost` was not removed: `plugins/roost.wasm` does not exist
          hint: `roost plugins` lists the plugins
        POST /api/v1/plugins/other/rollback
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
        POST /api/v1/plugins/declared/rollback
          409 Conflict: plugin `declared` was not rolled back: no other version of it has run
          hint: there is a previous version only after a new one has replaced it
        POST /api/v1/plugins/other/pause
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
        POST /api/v1/plugins/other/resume
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
        POST /api/v1/plugins/other/replan
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
    "#]].assert_eq(&refusals(
        &address,
        [
            ["PUT", "/api/v1/plugins/coop_door", wasm, "x"],
            ["PUT", "/api/v1/plugins/roost", wasm, "x"],
            ["PUT", "/api/v1/plugins/other", JSON, "{}"],
            ["PUT", "/api/v1/plugins/other", "", ""],
            ["PUT", "/api/v1/plugins/other", wasm, "x"],
            ["POST", "/api/v1/check", wasm, "x"],
            ["POST", "/api/v1/check?plugin=other&colour=red", wasm, "x"],
            ["POST", "/api/v1/check?plugin=Other", wasm, "x"],
            ["POST", "/api/v1/check?plugin=other", wasm, "x"],
            ["DELETE", "/api/v1/plugins/other", "", ""],
            ["DELETE", "/api/v1/plugins/roost", "", ""],
            ["POST", "/api/v1/plugins/other/rollback", "", ""],
            ["POST", "/api/v1/plugins/declared/rollback", "", ""],
            ["POST", "/api/v1/plugins/other/pause", "", ""],
            ["POST", "/api/v1/plugins/other/resume", "", ""],
            ["POST", "/api/v1/plugins/other/replan", "", ""],
        ],
    ));
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
    expect![[r#"
        GET /api/v1/status
          401 Unauthorized: the request has no token
          hint: send `Authorization: Bearer TOKEN` with the content of the host's token file
        GET /api/v1/openapi.json
          401 Unauthorized: the request has no token
          hint: send `Authorization: Bearer TOKEN` with the content of the host's token file
        GET /api/v1/status authorization: Bearer 0123456789abcdeX
          401 Unauthorized: the token is wrong
          hint: send `Authorization: Bearer TOKEN` with the content of the host's token file
        GET /api/v1/status authorization: Basic 0123456789abcdef
          401 Unauthorized: the request has no token
          hint: send `Authorization: Bearer TOKEN` with the content of the host's token file
    "#]]
    .assert_eq(&refusals(
        &address,
        [
            ["GET", "/api/v1/status", "", ""],
            ["GET", "/api/v1/openapi.json", "", ""],
            ["GET", "/api/v1/status", "authorization: Bearer 0123456789abcdeX\r\n", ""],
            ["GET", "/api/v1/status", "authorization: Basic 0123456789abcdef\r\n", ""],
        ],
    ));
    assert_eq!(ask(&address, "GET", "/api/v1/status", "authorization: Bearer 0123456789abcdef\r\n", "").0, 200);
    assert_eq!(text(&site.json(&["status"])["link"], "broker"), broker.url());
    let by_url = |token: &str| {
        let mut command = site.command(&["status", "--json"]);
        Ran::of(command.env("ROOST_URL", format!("http://{address}")).env("ROOST_TOKEN", token))
    };
    assert_eq!(by_url("0123456789abcdef").code, Some(0));
    expect![[r#"
        error: the token is wrong
        hint: set `ROOST_TOKEN` to the content of the host's token file
    "#]]
    .assert_eq(&by_url("wrong").refused());
    assert!(host.stop().success());
}

#[test]
fn an_occupied_address_is_an_error_only_if_it_is_configured() {
    let (broker, site) = (Broker::new(), Site::new());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = |address: &str| site.start_with(&["--mqtt", &broker.url(), "--http", address]).refused();
    expect![[r#"
        error: the HTTP API cannot listen on `127.0.0.1:[PORT]`
          caused by: Address already in use (os error 98)
        hint: configure another address with `--http ADDRESS`, or turn the listener off with `--http off`
    "#]]
    .assert_eq(&refused(&address));
    expect![[r#"
        error: `0.0.0.0:0` can be reached from other machines, and there is no token
          caused by: a client that reaches the HTTP API can do everything with Roost
        hint: name a file with a secret by `token_file` below `[http]` in `roost.toml`, or listen on `127.0.0.1`
    "#]]
    .assert_eq(&refused("0.0.0.0:0"));
    let host = site.start_with(&["--mqtt", &broker.url(), "--http", "off"]);
    host.wait_for_log("connected to the broker");
    site.roost(&["status"]);
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
    site.roost(&["status"]);
    drop(silent);
    assert!(host.stop().success());
}
