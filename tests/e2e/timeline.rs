//! What was and what is to come, as a person looks at it: many runs as one entry, and as counts.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Roost, Site, guest,
    http::{get, post, refusals, schedule, text},
    root, sample,
};
use serde_json::{Value, json};

/// 2027-06-01T09:00:00Z.
const MORNING: i64 = 1_811_840_400_000;

/// Starts a host with the sample plugins and their settings in the morning of a day in June.
pub(super) fn samples() -> (Broker, Site, Roost) {
    let (broker, site) = (Broker::new(), Site::new());
    for name in ["coop-door", "greenhouse", "sprinkler"] {
        let settings = root().join("plugins").join(name).with_extension("toml");
        site.settings(name, &fs::read_to_string(settings).unwrap());
        site.drop_in(&sample(name), name);
    }
    let host = site.start_at(&broker, MORNING);
    for name in ["coop-door", "greenhouse", "sprinkler"] {
        host.wait_for_log(&format!("{name} loaded"));
    }
    (broker, site, host)
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

#[test]
fn jobs_that_are_due_often_are_one_entry_each() {
    let (_broker, site, host) = samples();
    let address = host.address();
    let label = "Mist the seedlings";
    schedule(&address, &json!({"trigger": "every 1m", "topic": "seedlings/mist", "id": "seedlings", "label": label}));
    let day = "from=2027-06-01T10:00:00Z&to=2027-06-02T10:00:00Z";
    let all = get(&address, &format!("/api/v1/timeline?{day}&limit=1000"));
    assert!(items(&all).len() == 1_000 && all["next"].is_string());
    let few = get(&address, &format!("/api/v1/timeline?{day}&limit=1000&collapse=6"));
    assert!(items(&few).len() < 20 && few["next"].is_null(), "{few}");
    let of = |job: &str| items(&few).iter().find(|item| item["job"] == job).unwrap();
    let seedlings = of("seedlings");
    assert_eq!(
        json!([seedlings["count"], seedlings["every_ms"], seedlings["states"], seedlings["label"]]),
        json!([1_440, 60_000, {"expected": 1_440}, label])
    );
    assert!(text(of("mist-*"), "first").starts_with("2027-06-01T11:00:00"), "{few}");
    // The same on small pages.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    while let Some(page) = Some(get(&address, &format!("/api/v1/timeline?{day}&limit=3&collapse=6{cursor}"))) {
        paged.extend(items(&page).clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&paged, items(&few));

    let (from, to) = (["--from", "2027-06-01T11:00"], ["--to", "2027-06-02T11:00"]);
    let arguments = [&["timeline", "--collapse", "6", "--plugin", "greenhouse"][..], &from, &to].concat();
    expect![[r#"
        $ roost timeline --collapse 6 --plugin greenhouse --from [DATE]T11:00 --to [DATE]T11:00
        TIME ([ZONE])  STATE     JOB                              WHAT
        [TIME]  66 runs   greenhouse/tomatoes/mist-*       Mist, until [TIME]: 66 expected
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  OPEN
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  CLOSE
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  OPEN
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  CLOSE
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  OPEN
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  CLOSE
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  OPEN
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  CLOSE
        [TIME]  expected  greenhouse/tomatoes/lamps-on     greenhouse/tomatoes/lamps/set  {"state":"ON"}
        [TIME]  expected  greenhouse/tomatoes/lamps-off    greenhouse/tomatoes/lamps/set  {"state":"OFF"}
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  OPEN
        [TIME]  expected  greenhouse/tomatoes/vent-summer  greenhouse/tomatoes/vent/set  CLOSE
    "#]]
    .assert_eq(&site.transcript(&[&arguments]));
    expect![[r#"
        GET /api/v1/timeline?collapse=0
          400 Bad Request: the query is not understood: collapse: `0` is not a whole number from 1 to 1000
    "#]]
    .assert_eq(&refusals(&address, [["GET", "/api/v1/timeline?collapse=0", "", ""]]));
    assert!(host.stop().success());
}

#[test]
fn any_number_of_jobs_is_counted() {
    let (broker, site) = (Broker::new(), Site::new());
    let jobs =
        format!("[config]\ntotal = 12000\nt0_ms = {}\nspread_ms = 36000000\ntopic = \"burst\"\n", MORNING + 3_600_000);
    let device =
        |first: u32| format!("[[device]]\nname = \"at-{first}\"\nconfig = {{ first = {first}, jobs = 4000 }}\n");
    site.settings("burst", &(jobs + &[0, 4_000, 8_000].map(device).concat()));
    site.drop_in(&guest("burst"), "burst");
    let host = site.start_at(&broker, MORNING);
    host.wait_for_log("jobs of `burst`: 12000 new");
    let address = host.address();
    schedule(&address, &json!({"trigger": "now", "topic": "porch/light", "id": "now"}));
    host.wait_for_log("succeeded roost/api/now");
    host.has(&site, "SELECT count(*) FROM runs WHERE state = 'succeeded'", 1);
    schedule(
        &address,
        &json!({"trigger": "every 1h from 2027-06-01T09:30:00Z", "topic": "porch/light", "id": "hourly"}),
    );

    let day = "from=2027-06-01T09:00:00Z&to=2027-06-02T09:00:00Z";
    let counted = get(&address, &format!("/api/v1/timeline/density?{day}&buckets=24"));
    let thousands = vec![1_200; 10];
    assert_eq!(
        counted,
        json!({
            "from": "2027-06-01T10:00:00+01:00",
            "to": "2027-06-02T10:00:00+01:00",
            "buckets": 24,
            "by": "plugin",
            "groups": [
                {"name": "burst", "count": 12_000, "states": {"expected": {"start": 1, "counts": thousands}}},
                {"name": "roost", "count": 25, "states": {
                    "expected": {"start": 0, "counts": vec![1; 24]},
                    "succeeded": {"start": 0, "counts": [1]},
                }},
            ],
        })
    );
    let of = |more: &str| {
        let groups = get(&address, &format!("/api/v1/timeline/density?{day}&buckets=2&{more}"))["groups"].take();
        let line = |group: &Value| format!("{} {}", text(group, "name"), group["count"]);
        groups.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(of("by=device"), ["burst/at-0 4000", "burst/at-4000 4000", "burst/at-8000 4000", "roost/api 25"]);
    assert_eq!(of("by=device&plugin=burst&device=at-0"), ["burst/at-0 4000"]);
    assert_eq!(of("by=reason&plugin=roost"), ["expected 24", "no device listens on the topic of step … 1"]);
    expect![[r#"
        GET /api/v1/timeline
          422 Unprocessable Entity: a timeline may have at most 10000 jobs, and there are more
          hint: select a plugin with `plugin`, or a device with `device`
        GET /api/v1/timeline/density?by=hour
          400 Bad Request: the query is not understood: by: unknown variant `hour`, expected one of `plugin`, `device`, `reason`
        GET /api/v1/timeline/density?buckets=1001
          400 Bad Request: the query is not understood: buckets: `1001` is not a whole number from 1 to 1000
        GET /api/v1/timeline/density?from=[TIME]&to=[TIME]
          400 Bad Request: `to` may be at most 400 days after `from`
    "#]].assert_eq(&refusals(
        &address,
        [
            ["GET", "/api/v1/timeline", "", ""],
            ["GET", "/api/v1/timeline/density?by=hour", "", ""],
            ["GET", "/api/v1/timeline/density?buckets=1001", "", ""],
            ["GET", "/api/v1/timeline/density?from=2027-06-01T09:00:00Z&to=2029-06-01T09:00:00Z", "", ""],
        ],
    ));
    assert!(host.stop().success());
}

#[test]
fn the_night_of_a_device_begins_and_ends_with_the_events_of_its_jobs() {
    let (_broker, _site, host) = samples();
    let address = host.address();
    let jobs = get(&address, "/api/v1/jobs?plugin=coop-door&next=3");
    let device = text(&items(&jobs)[0], "device").to_owned();
    let day = "from=2027-06-01T11:00:00%2B01:00&to=2027-06-03T11:00:00%2B01:00";
    let sun = get(&address, &format!("/api/v1/sun?plugin=coop-door&device={device}&{day}"));
    let bands = sun["bands"].as_array().unwrap();
    assert_eq!((text(&bands[0], "light"), text(&bands[0], "from")), ("day", "2027-06-01T11:00:00+01:00"), "{sun}");
    assert!(bands.windows(2).all(|pair| pair[0]["to"] == pair[1]["from"]) && bands.len() > 8, "{sun}");
    // A job that is due at sunset is due at the end of a day.
    schedule(&address, &json!({"trigger": "sunset", "topic": "porch/light", "id": "porch"}));
    let due = get(&address, "/api/v1/jobs/roost/api/porch?next=1");
    let days = bands.iter().filter(|band| band["light"] == "day");
    assert!(days.clone().any(|day| day["to"] == due["due"]), "{sun} {due}");
    expect![[r#"
        GET /api/v1/sun
          400 Bad Request: the query is not understood: missing field `plugin`
        GET /api/v1/sun?plugin=coop-door&device=nowhere
          404 Not Found: plugin `coop-door` has no device `nowhere`
          hint: `roost plugins coop-door` lists its devices
        GET /api/v1/sun?plugin=coop-door&device=x&from=[TIME]&to=[TIME]
          400 Bad Request: `to` may be at most 31 days after `from`
    "#]]
    .assert_eq(&refusals(
        &address,
        [
            ["GET", "/api/v1/sun", "", ""],
            ["GET", "/api/v1/sun?plugin=coop-door&device=nowhere", "", ""],
            ["GET", "/api/v1/sun?plugin=coop-door&device=x&from=2027-06-01T00:00:00Z&to=2027-08-01T00:00:00Z", "", ""],
        ],
    ));
    assert!(host.stop().success());
}

#[test]
fn past_runs_have_their_label_and_what_they_sent() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    let steps = json!([{"topic": "porch/light", "payload": "ON"}, {"topic": "porch/light", "payload": "OFF", "after_ms": 60_000}]);
    schedule(&address, &json!({"trigger": "now", "id": "porch", "label": "Light the porch", "steps": steps}));
    host.has(&site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    let under_way = &get(&address, "/api/v1/runs?state=running")["items"][0];
    assert_eq!(json!([under_way["label"], under_way["messages"]]), json!(["Light the porch", null]));
    let sending = get(&address, &format!("/api/v1/runs/{}", text(under_way, "run")));
    assert_eq!(
        json!([sending["messages"], sending["next"]["step"], sending["time_zone"]]),
        json!([steps, 2, "Europe/London"])
    );
    // Also over a restart, and when the job is gone.
    assert!(host.stop().success());
    let host = site.start(&broker);
    let address = host.address();
    post(&address, "/api/v1/runs/abandon", &json!({"run": under_way["run"]}));
    host.has(&site, "SELECT count(*) FROM runs WHERE state = 'cancelled'", 1);
    let run = get(&address, &format!("/api/v1/runs/{}", text(under_way, "run")));
    assert_eq!(json!([run["label"], run["messages"]]), json!(["Light the porch", steps]), "{run}");
    assert_eq!(get(&address, "/api/v1/runs")["items"][0], run);
    let from = text(&run, "occurrence").replace('+', "%2B");
    let past = get(&address, &format!("/api/v1/timeline?from={from}&limit=1"));
    let past = &items(&past)[0];
    assert_eq!(json!([past["label"], past["run"]]), json!(["Light the porch", run]));
    assert!(host.stop().success());
}
