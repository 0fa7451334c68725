//! Each request of the API that changes something, made by a page of another origin through a browser that has logged in.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use roost_tests::{
    Chromium, PATIENCE, Site,
    http::{ask, talk, text},
};
use serde_json::{Value, json};

use crate::{
    browser::serve,
    login::{TOKEN, bearer, code, log_in, with_token},
    ticking_in,
};

/// The ways in which the page makes a request, each of which the host refuses.
const WAYS: usize = 8;

/// Returns the requests of an OpenAPI description that change something: methods, paths and bodies, about what exists.
fn writes(description: &Value) -> Vec<[String; 3]> {
    let mut found = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in ["post", "put", "delete", "patch"].into_iter().filter(|method| item[method].is_object()) {
            let body = match path.as_str() {
                path if path.ends_with("/settings") => "[config]\n".to_owned(),
                path if path.starts_with("/api/v1/runs/") => {
                    json!({ "run": "declared/declared/tick/2027-03-01T06:30:00Z" }).to_string()
                }
                _ => json!({ "trigger": "now", "topic": "declared/evil", "payload": "1" }).to_string(),
            };
            let path = path.replace("{plugin}", "declared").replace("{device}", "declared").replace("{job}", "tick");
            assert!(!path.contains('{'), "{path}");
            found.push([method.to_uppercase(), path, body]);
        }
    }
    found
}

/// Returns what could be changed: plugins, devices, jobs, settings, sessions, and runs by hand.
fn state(site: &Site, address: &str) -> String {
    let get = |path: &str| {
        let (status, value) = ask(address, "GET", path, &bearer(), "");
        assert_eq!(status, 200, "{path}: {value}");
        value
    };
    let mut shown = String::new();
    let job = get("/api/v1/jobs/declared/declared/tick");
    let device = get("/api/v1/devices/declared/declared");
    let plugin = get("/api/v1/plugins/declared");
    for part in
        [&job["trigger"], &job["paused"], &job["skip"], &device["paused"], &plugin["paused"], &plugin["component"]]
    {
        writeln!(shown, "{part}").unwrap();
    }
    for list in ["/api/v1/plugins", "/api/v1/jobs?plugin=roost"] {
        let names: Vec<String> =
            get(list)["items"].as_array().unwrap().iter().map(|one| one["plugin"].to_string()).collect();
        writeln!(shown, "{names:?}").unwrap();
    }
    shown += &fs::read_to_string(site.plugin("declared.toml")).unwrap();
    let by_hand: BTreeSet<String> = site.runs(&[]).iter().map(|run| text(run, "run").to_owned()).collect();
    writeln!(shown, "{:?}", by_hand.iter().filter(|run| run.ends_with("/manual")).collect::<Vec<_>>()).unwrap();
    shown
}

/// Returns how many requests were refused because of where they came from.
fn refused(address: &str) -> usize {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}\r\n", bearer());
    let metrics = talk(address, &request).2;
    let count = metrics.lines().find_map(|line| line.strip_prefix("roost_http_requests_total{status=\"403\"} "));
    count.map_or(0, |count| count.parse::<f64>().unwrap() as usize)
}

#[test]
fn no_request_of_the_api_that_changes_something_is_made_by_a_page_of_another_origin() {
    let (_broker, site, _listener, host) = ticking_in(with_token(), "declared");
    let address = host.address();
    let (_, description) = ask(&address, "GET", "/api/v1/openapi.json", &bearer(), "");
    let writes = writes(&description);
    assert!(writes.len() > 20, "{writes:?}");
    let mut browser = Chromium::start(site.path());
    browser.open(&format!("http://{address}/login?next=/nothing#{}", code(&site)));
    browser.wait_for("there is no `/nothing`");
    let (before, refused_before) = (state(&site, &address), refused(&address));

    let page = include_str!("attacks.html").replace("HOST", &address).replace("LIST", &json!(writes).to_string());
    let (elsewhere, messages) = serve(page);
    browser.open(&format!("http://{elsewhere}/"));
    let read = messages.recv_timeout(PATIENCE).expect("the page says what it has read");
    let read = read.as_object().unwrap();
    assert_eq!(read.len(), 4 * writes.len(), "{read:?}");
    for (what, answer) in read {
        assert!(answer.is_null(), "{what}: {answer}");
    }
    host.until("each request is refused", || (refused(&address) - refused_before >= WAYS * writes.len()).then_some(()));
    assert_eq!(state(&site, &address), before);

    // Over plain HTTP in a network, browsers say nothing but the origin, and programs that send a cookie not even that.
    let cookie = log_in(&address, TOKEN);
    for [method, path, body] in &writes {
        for origin in ["", "origin: null\r\n", "origin: http://evil.example\r\n", "origin: http://127.0.0.1:1\r\n"] {
            let headers = format!("{cookie}{origin}content-type: application/json\r\n");
            let (status, problem) = ask(&address, method, path, &headers, body);
            assert_eq!(status, 403, "{method} {path} {origin}: {problem}");
        }
    }
    assert_eq!(state(&site, &address), before);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("Connected");
    assert!(host.stop().success());
}
