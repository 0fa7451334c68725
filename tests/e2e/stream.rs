//! Event streams, metrics and the timeline.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use expect_test::expect;
use roost_tests::{
    Broker, Lines, Listener, Message, PATIENCE, Site, guest,
    http::{JSON, ask, get, has_header, problem, refusals, talk, text},
    redact,
};
use serde_json::{Value, json};

use crate::{job, ticking};

/// A stream of events, which is closed when it is dropped.
pub(crate) struct Stream(BufReader<TcpStream>);

/// An event: its id, its kind, and its data.
pub(crate) type Event = (String, String, Value);

impl Stream {
    pub(crate) fn open(address: &str, query: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        let head: Vec<String> = std::iter::repeat_with(|| stream.line()).take_while(|line| !line.is_empty()).collect();
        let head = head.join("\n").to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\n") && has_header(&head, "content-type", "text/event-stream"));
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
    pub(crate) fn find(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next();
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Waits until the stream ends, whatever comes before.
    pub(crate) fn ends_early(mut self) {
        let mut line = String::new();
        while self.0.read_line(&mut line).is_ok_and(|count| count > 0) {
            line.clear();
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
    let invalid = ["/api/v1/events?kind=tide", "/api/v1/events?after=x"].map(|path| ["GET", path, "", ""]);
    expect![[r#"
        GET /api/v1/events?kind=tide
          400 Bad Request: the query is not understood: kind: `tide` is not a comma-separated list of kinds: use run, plan, plugin, log, link, clock, pause, job
        GET /api/v1/events?after=x
          400 Bad Request: `x` is neither the id of an event nor `oldest`
    "#]].assert_eq(&refusals(&address, invalid));
    assert!(host.stop().success());
}

#[test]
fn the_number_of_streams_is_limited_and_ended_ones_make_room() {
    let (_broker, _site, _listener, host) = ticking("ticking");
    let address = host.address();
    let mut streams: Vec<_> = (0..256).map(|_| Stream::open(&address, "", "")).collect();
    expect![[r#"
        503 Service Unavailable: all 256 streams are in use
          hint: close one of them, or try again later"#]]
    .assert_eq(&problem(&ask(&address, "GET", "/api/v1/events", "", "")));
    let runs: Vec<Event> = streams.iter_mut().map(|stream| stream.find(|(_, kind, _)| kind == "run")).collect();
    assert!(runs.iter().all(|(_, _, run)| text(run, "plugin") == "ticking"));
    streams.truncate(10);
    host.log.wait("room", |_| {
        let (_, _, metrics) = scrape(&address, "");
        (metric(&metrics, "roost_event_streams") == Some(10.0)).then_some(())
    });
    drop(Stream::open(&address, "", ""));
    assert!(host.stop().success());
}

#[test]
fn what_requests_change_of_a_job_is_an_event() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    let mut stream = Stream::open(&address, "?kind=job&plugin=roost", "");
    let new = |topic: &str| json!({"trigger": "every 2h", "topic": topic}).to_string();
    for topic in ["a", "b", "b"] {
        assert!(ask(&address, "PUT", "/api/v1/jobs/roost/api/hourly", JSON, &new(topic)).0 < 300);
    }
    site.roost(&["skip", "hourly"]);
    site.roost(&["skip", "hourly", "--undo"]);
    site.roost(&["run-now", "hourly"]);
    site.roost(&["cancel", "hourly"]);
    let mut shown = String::new();
    for _ in 0..6 {
        let (_, kind, event) = stream.next();
        assert_eq!(
            (kind.as_str(), text(&event, "device"), text(&event["job"], "job")),
            ("job", "api", "hourly"),
            "{event}"
        );
        shown += &format!("{}: {}\n", text(&event["job"], "change"), text(&event, "text"));
        let of_run = event["job"].get("run").is_some();
        assert_eq!(of_run, text(&event, "text").contains("/hourly/2"), "{event}");
    }
    expect![[r#"
        made: job `roost/api/hourly` was made by hand
        replaced: job `roost/api/hourly` was replaced by hand
        skipped: the skip of roost/api/hourly/[TIME] was set
        skip-undone: the skip of roost/api/hourly/[TIME] was undone
        run-now: roost/api/hourly/[TIME]/manual was requested by hand
        cancelled: job `roost/api/hourly` was cancelled by hand
    "#]]
    .assert_eq(&redact(&shown));
    host.wait_for_log("job `roost/api/hourly` was made by hand");
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
    expect![[r#"
        plugin `tides` was not loaded
          caused by: tides.toml:2:6: device `tides` has no plan
          caused by: job `tide`, step 1: `topic` `other/topic`: it is outside what `tides` may publish to
        hint: to allow it, put this into `plugins/tides.toml`:
        [grants]
        publish = ["tides/#", "other/topic"]
        the plugin does not run until this is fixed"#]]
    .assert_eq(&format!("{}\nhint: {}", text(item, "text"), text(item, "hint")));
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
    expect![[r#"
        [TIME]  ERROR  tides  plugin `tides` was not loaded
              caused by: tides.toml:2:6: device `tides` has no plan
              caused by: job `tide`, step 1: `topic` `other/topic`: it is outside what `tides` may publish to
            hint: to allow it, put this into `plugins/tides.toml`:
              [grants]
              publish = ["tides/#", "other/topic"]
              the plugin does not run until this is fixed
        [TIME]  INFO   tides  tides loaded: 1 device, 1 job; it may publish to tides/#, and read tides/#
    "#]]
    .assert_eq(&redact(&site.roost(&["logs", "tides"])));
    let lines = site.roost(&["logs", "--json"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["kind"].is_string())));
    expect![[r#"
        GET /api/v1/plugins/other/logs
          404 Not Found: there is no plugin `other`
          hint: `roost plugins` lists the plugins
    "#]]
    .assert_eq(&refusals(&address, [["GET", "/api/v1/plugins/other/logs", "", ""]]));
    assert!(host.stop().success());
    // After a restart of the host, the client is still there.
    let host = site.start(&broker);
    std::fs::write(site.plugin("tides.wasm"), "garbage").unwrap();
    followed.wait_for(0, "it is not a WebAssembly component");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(host.stop().success());
}

/// Requests the metrics, with header lines.
fn scrape(address: &str, headers: &str) -> (u16, String, String) {
    talk(address, &format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"))
}

/// Returns the value of a series.
fn metric(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
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
    assert_eq!(scrape(&address, "").0, 401);
    let text = host.log.wait("a run to be counted", |_| {
        let (status, head, text) = scrape(&address, "authorization: Bearer 0123456789abcdef\r\n");
        assert_eq!(status, 200);
        assert!(has_header(&head, "content-type", "text/plain; version=0.0.4; charset=utf-8"), "{head}");
        metric(&text, "roost_runs_total{outcome=\"succeeded\"}").is_some_and(|count| count > 1.0).then_some(text)
    });
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok() && name.starts_with(['r', 'p']), "{line}");
    }
    assert_eq!(metric(&text, "roost_jobs"), Some(1.0), "{text}");
    assert_eq!(metric(&text, "roost_link_up"), Some(1.0), "{text}");
    assert!(metric(&text, "roost_lateness_seconds_count").unwrap() > 1.0, "{text}");
    assert!(metric(&text, "roost_commit_seconds_count").unwrap() > 1.0, "{text}");
    assert!(metric(&text, "roost_http_requests_total{status=\"401\"}").unwrap() > 0.0, "{text}");
    assert!(metric(&text, "process_resident_memory_bytes").unwrap() > 1e6, "{text}");
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
    assert_eq!(&text(&items[0], "time")[10..19], "T06:30:00", "{day}");
    assert_eq!(get(&address, "/api/v1/timeline?plugin=daily&device=south")["items"].as_array().unwrap().len(), 1);

    // Pages continue from past to expected runs without a gap.
    listener.wait("some of them", |messages| messages.len() > 3);
    let status = get(&address, "/api/v1/status");
    let from = text(&status, "started").replace('+', "%2B");
    let (mut times, mut states, mut running, mut cursor) = (Vec::new(), Vec::new(), HashSet::new(), String::new());
    while times.len() < 40 {
        let page = get(&address, &format!("/api/v1/timeline?plugin=ticking&from={from}&limit=7{cursor}"));
        for item in page["items"].as_array().unwrap() {
            // A run under way is listed, and so is each expected message of it.
            if item["state"] == "running" {
                running.insert(text(item, "occurrence").to_owned());
                continue;
            }
            times.push(text(item, "occurrence").to_owned());
            states.push(text(item, "state").to_owned());
        }
        cursor = format!("&cursor={}", text(&page, "next"));
    }
    times.retain(|time| !running.contains(time));
    let mut sorted = times.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(times, sorted);
    assert!(states.iter().any(|state| state == "succeeded") && states.iter().any(|state| state == "expected"));

    expect![[r#"
        $ roost timeline --plugin daily
        TIME ([ZONE])  STATE     JOB                WHAT
        [TIME]  expected  daily/north/daily  daily/x  daily
        [TIME]  expected  daily/south/daily  daily/x  daily
    "#]]
    .assert_eq(&site.transcript(&[&["timeline", "--plugin", "daily"]]));
    let reversed = "/api/v1/timeline?from=2027-03-02T00:00:00Z&to=2027-03-01T00:00:00Z";
    expect![[r#"
        GET /api/v1/timeline?from=[TIME]&to=[TIME]
          400 Bad Request: `to` must be later than `from`
    "#]]
    .assert_eq(&refusals(&address, [["GET", reversed, "", ""]]));
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
