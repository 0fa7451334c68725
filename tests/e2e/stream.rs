//! Event streams, metrics and the timeline.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use roost_tests::{Broker, Lines, Listener, Message, PATIENCE, Site, guest};
use serde_json::Value;

use crate::{
    api::{ask, get, talk},
    job,
    operations::{roost, text},
    ticking,
};

/// A stream of events, which is closed when it is dropped.
struct Stream(BufReader<TcpStream>);

/// An event: its id, its kind, and its data.
type Event = (String, String, Value);

impl Stream {
    fn open(address: &str, query: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        assert!(stream.line().contains("200 OK"));
        let mut is_stream = false;
        loop {
            match stream.line().to_lowercase().as_str() {
                "" => break,
                line => is_stream |= line == "content-type: text/event-stream",
            }
        }
        assert!(is_stream);
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// Returns the next event with data.
    fn next(&mut self) -> Event {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.line();
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, kind, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Returns the next event that satisfies a condition.
    fn find(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next();
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Checks that only the end of the stream follows.
    fn ends(mut self) {
        let mut line = String::new();
        while self.0.read_line(&mut line).unwrap() > 0 {
            assert!(!line.starts_with("data: "), "{line}");
            line.clear();
        }
    }
}

#[test]
fn events_resume_where_a_client_left_off_and_a_restart_is_a_gap() {
    let (broker, site, _listener, host) = ticking("ticking");
    let address = host.address();
    let mut stream = Stream::open(&address, "?after=oldest", "");
    let (_, _, link) = stream.find(|(_, kind, _)| kind == "link");
    assert_eq!(link["up"], true, "{link}");
    let (_, _, loaded) = stream.find(|(_, kind, _)| kind == "plugin");
    assert_eq!(
        text(&loaded, "text"),
        "ticking loaded: 1 device, 1 job; it may publish to ticking/#, and read ticking/#"
    );
    let (_, _, plan) = stream.find(|(_, kind, _)| kind == "plan");
    assert_eq!((plan["plan"]["new"].as_u64(), plan["plan"]["loaded"].as_bool()), (Some(1), Some(true)));
    let (id, _, first) = stream.find(|(_, kind, _)| kind == "run");
    assert_eq!((text(&first, "plugin"), text(&first["run"], "state")), ("ticking", "succeeded"));
    // When a client gets the event of a run, the run is on disk.
    assert_eq!(get(&address, &format!("/api/v1/runs/{}", text(&first["run"], "run")))["state"], "succeeded");
    let (_, _, second) = stream.find(|(_, kind, _)| kind == "run");
    drop(stream);

    let mut resumed = Stream::open(&address, "?kind=run,clock&plugin=ticking", &format!("last-event-id: {id}\r\n"));
    assert_eq!(resumed.next().2["run"]["run"], second["run"]["run"]);
    let mut others = Stream::open(&address, "?plugin=other&after=oldest", "");
    assert!(host.stop().success());
    while resumed.0.fill_buf().is_ok_and(|left| !left.is_empty()) {
        resumed.line();
    }
    assert!(!others.line().is_empty());
    others.ends();

    let host = site.start(&broker);
    let address = host.address();
    let mut stream = Stream::open(&address, &format!("?after={id}"), "");
    let (_, kind, gap) = stream.next();
    assert_eq!((kind.as_str(), &gap["missed"]), ("gap", &Value::Null));
    stream.find(|(_, kind, _)| kind == "run");
    assert_eq!(ask(&address, "GET", "/api/v1/events?kind=tide", "", "").0, 400);
    assert_eq!(ask(&address, "GET", "/api/v1/events?after=x", "", "").0, 400);
    assert!(host.stop().success());
}

#[test]
fn the_number_of_streams_is_limited_and_ended_ones_make_room() {
    let (_broker, _site, _listener, host) = ticking("ticking");
    let address = host.address();
    let mut streams: Vec<_> = (0..256).map(|_| Stream::open(&address, "", "")).collect();
    let (status, problem) = ask(&address, "GET", "/api/v1/events", "", "");
    assert_eq!((status, text(&problem, "detail")), (503, "all 256 streams are in use"));
    let runs: Vec<Event> = streams.iter_mut().map(|stream| stream.find(|(_, kind, _)| kind == "run")).collect();
    assert!(runs.iter().all(|(_, _, run)| text(run, "plugin") == "ticking"));
    streams.truncate(10);
    host.log.wait("room", |_| {
        let (_, _, metrics) =
            talk(&address, &format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
        metrics.contains("\nroost_event_streams 10\n").then_some(())
    });
    drop(Stream::open(&address, "", ""));
    assert!(host.stop().success());
}

#[test]
fn a_plugins_logs_outlive_its_versions() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("tides", &job("tide", "cron = \"30 6 * * *\"", "other/topic"));
    site.drop_in(&guest("declared"), "tides");
    let host = site.start(&broker);
    let address = host.address();
    host.wait_for_log("plugin `tides` was not loaded");
    let logs = |query: &str| get(&address, &format!("/api/v1/plugins/tides/logs{query}"));
    let refused = logs("");
    let item = &refused["items"][0];
    assert_eq!((text(item, "level"), text(item, "kind")), ("error", "plugin"), "{refused}");
    assert!(text(item, "text").starts_with("plugin `tides` was not loaded\n  caused by: "), "{refused}");
    assert!(text(item, "hint").contains("the plugin does not run until this is fixed"), "{refused}");
    let mut follow = site.command(&["logs", "tides", "-f", "--data", "data"]);
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let followed = Lines::of(follow.stdout.take().unwrap());
    followed.wait_for(0, "was not loaded");
    site.settings("tides", &job("tide", "cron = \"30 6 * * *\"", "tides/topic"));
    host.wait_for_log("1 new");
    followed.wait_for(0, "tides loaded: 1 device, 1 job");
    let both = logs("");
    assert!(both["items"].as_array().unwrap().iter().any(|item| text(item, "level") == "error"), "{both}");
    let after = logs(&format!("?after={}", text(&refused, "next")));
    assert!(after["items"].as_array().unwrap().iter().all(|item| text(item, "level") != "error"), "{after}");
    assert!(logs("?limit=1")["items"].as_array().unwrap().len() == 1);
    assert!(roost(&site, &["logs", "tides"]).0.contains("ERROR  tides  plugin `tides` was not loaded"));
    assert!(roost(&site, &["logs", "--json"]).0.contains("\"kind\":\"plugin\""));
    assert_eq!(ask(&address, "GET", "/api/v1/plugins/other/logs", "", "").0, 404);
    assert!(host.stop().success());
    // After a restart of the host, the client is still there.
    let host = site.start(&broker);
    std::fs::write(site.plugin("tides.wasm"), "garbage").unwrap();
    followed.wait_for(0, "it is not a WebAssembly component");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(host.stop().success());
}

#[test]
fn the_metrics_can_be_scraped_with_the_token() {
    let (broker, site) = (Broker::new(), Site::new());
    std::fs::write(site.path().join("token"), "0123456789abcdef\n").unwrap();
    std::fs::write(site.path().join("roost.toml"), "[http]\ntoken_file = \"token\"\n").unwrap();
    site.settings("ticking", &job("tick", "every_ms = 1000", "ticking/tick"));
    site.drop_in(&guest("declared"), "ticking");
    let host = site.start(&broker);
    let address = host.address();
    let scrape = |token: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{token}\r\n");
        talk(&address, &head)
    };
    assert_eq!(scrape("").0, 401);
    let value = |text: &str, series: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    };
    let text = host.log.wait("a run to be counted", |_| {
        let (status, head, text) = scrape("authorization: Bearer 0123456789abcdef\r\n");
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
        value(&text, "roost_runs_total{outcome=\"succeeded\"}").is_some_and(|count| count > 1.0).then_some(text)
    });
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok() && name.starts_with(['r', 'p']), "{line}");
    }
    assert_eq!(value(&text, "roost_jobs"), Some(1.0), "{text}");
    assert_eq!(value(&text, "roost_link_up"), Some(1.0), "{text}");
    assert!(value(&text, "roost_lateness_seconds_count").unwrap() > 1.0, "{text}");
    assert!(value(&text, "roost_commit_seconds_count").unwrap() > 1.0, "{text}");
    assert!(value(&text, "roost_http_requests_total{status=\"401\"}").unwrap() > 0.0, "{text}");
    assert!(value(&text, "process_resident_memory_bytes").unwrap() > 1e6, "{text}");
    assert!(host.stop().success());
}

#[test]
fn a_timeline_has_past_and_expected_runs() {
    let (_broker, site, listener, host) = ticking("ticking");
    let address = host.address();
    let daily = job("daily", "cron = \"30 6 * * *\"", "daily/x");
    site.settings("daily", &format!("[[device]]\nname = \"north\"\n[[device]]\nname = \"south\"\n{daily}"));
    site.drop_in(&guest("declared"), "daily");
    host.wait_for_log("2 new");
    let day = get(&address, "/api/v1/timeline?plugin=daily");
    let items = day["items"].as_array().unwrap();
    assert_eq!((items.len(), &day["next"]), (2, &Value::Null), "{day}");
    assert_eq!((text(&items[0], "device"), text(&items[1], "device")), ("north", "south"));
    assert_eq!((text(&items[0], "state"), text(&items[0]["message"], "topic")), ("expected", "daily/x"));
    assert!(text(&items[0], "time").contains("T06:30:00"), "{day}");
    assert_eq!(get(&address, "/api/v1/timeline?plugin=daily&device=south")["items"].as_array().unwrap().len(), 1);

    // Pages continue from past to expected runs without a gap.
    listener.wait("some of them", |messages| messages.len() > 3);
    let status = get(&address, "/api/v1/status");
    let from = text(&status, "started").replace('+', "%2B");
    let (mut times, mut states, mut cursor) = (Vec::new(), Vec::new(), String::new());
    while times.len() < 40 {
        let page = get(&address, &format!("/api/v1/timeline?plugin=ticking&from={from}&limit=7{cursor}"));
        // A run under way is listed, and so is each expected message of it.
        for item in page["items"].as_array().unwrap().iter().filter(|item| item["state"] != "running") {
            times.push(text(item, "occurrence").to_owned());
            states.push(text(item, "state").to_owned());
        }
        cursor = format!("&cursor={}", text(&page, "next"));
    }
    let mut sorted = times.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(times, sorted);
    assert!(states.iter().any(|state| state == "succeeded") && states.iter().any(|state| state == "expected"));

    let (table, _) = roost(&site, &["timeline", "--plugin", "daily"]);
    assert!(table.lines().nth(1).unwrap().contains("expected  daily/north/daily  daily/x  daily"), "{table}");
    let (status, problem) =
        ask(&address, "GET", "/api/v1/timeline?from=2027-03-02T00:00:00Z&to=2027-03-01T00:00:00Z", "", "");
    assert_eq!((status, text(&problem, "detail")), (400, "`to` must be later than `from`"));
    assert!(host.stop().success());
}

#[test]
fn of_two_runs_of_a_group_due_at_once_the_timeline_has_the_one_that_is_sent() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let policy = "policy = { misfire = { latest-of-group = \"door\" } }\n";
    // The last job of a plan counts, whatever its name.
    for (name, ids) in [("first", ["close", "open"]), ("second", ["open", "close"])] {
        let jobs: String =
            ids.iter().map(|id| job(id, "cron = \"*/3 * * * * *\"", &format!("{name}/door")) + policy).collect();
        site.settings(name, &jobs);
        site.drop_in(&guest("declared"), name);
    }
    let host = site.start(&broker);
    let address = host.address();
    for (name, last) in [("first", "open"), ("second", "close")] {
        let topic = format!("{name}/door");
        let of = |messages: &[Message]| messages.iter().filter(|message| message.topic == topic).count();
        listener.wait(&topic, |messages| of(messages) > 2);
        let messages = listener.messages();
        assert!(
            messages.iter().filter(|message| message.topic == topic).all(|message| message.payload == last),
            "{messages:?}"
        );
        let ahead = get(&address, &format!("/api/v1/timeline?plugin={name}&limit=20"));
        let expected: Vec<&Value> =
            ahead["items"].as_array().unwrap().iter().filter(|item| item["state"] == "expected").collect();
        assert!(expected.len() > 9 && expected.iter().all(|item| item["job"] == last), "{name}: {ahead}");
    }
}
