//! What was and what is to come, as a person looks at it: many runs as one entry.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Roost, Site,
    http::{get, refusals, schedule, text},
    root, sample,
};
use serde_json::{Value, json};

/// 2027-06-01T09:00:00Z.
const MORNING: i64 = 1_811_840_400_000;

/// Starts a host with the sample plugins and their settings in the morning of a day in June.
fn samples() -> (Broker, Site, Roost) {
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
