//! What a person types and reads.

use std::process::Output;

use roost_tests::{Site, guest, sample};

/// Exit code, standard output and standard error of `roost …`, at Greenwich unless it says otherwise.
fn roost(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = site.command(arguments);
    if !arguments.contains(&"--time-zone") {
        command.env("ROOST_TIME_ZONE", "Europe/London");
    }
    command.env("ROOST_LATITUDE", "51.4779").env("ROOST_LONGITUDE", "-0.0015");
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn next(arguments: &[&str]) -> Vec<String> {
    let arguments = [&["next", "--json"], arguments].concat();
    let (code, out, errors) = roost(&Site::new(), &arguments);
    assert_eq!(code, Some(0), "{errors}");
    serde_json::from_str(&out).expect("an array of texts")
}

#[test]
fn next_runs_come_strictly_after_the_given_time_in_the_given_zone() {
    let from = ["--from", "2027-03-01T06:30:00Z", "--count", "2"];
    let at = |trigger: &[&str], more: &[&str]| next(&[trigger, &from, more].concat());
    assert_eq!(at(&["every", "15m"], &[]), ["2027-03-01T06:45:00Z", "2027-03-01T07:00:00Z"]);
    assert_eq!(at(&["cron", "30 6 * * *"], &[]), ["2027-03-02T06:30:00Z", "2027-03-03T06:30:00Z"]);
    assert_eq!(at(&["cron", "30", "6", "*", "*", "MON-FRI"], &[])[0], "2027-03-02T06:30:00Z");
    let sydney = at(&["cron", "@daily"], &["--time-zone", "Australia/Sydney"]);
    assert_eq!(sydney, ["2027-03-02T00:00:00+11:00", "2027-03-03T00:00:00+11:00"]);
    assert_eq!(at(&["at", "2027-03-01T06:30:00Z"], &[]), [""; 0]);
    assert_eq!(at(&["sunset", "-20m", "not-before", "20:00"], &[])[0], "2027-03-01T20:00:00Z");
    // There is no civil dusk at midsummer in Oulu, and at Helsinki it is after midnight.
    let midsummer = ["--from", "2027-06-21", "--time-zone", "Europe/Helsinki", "--longitude", "25", "--latitude"];
    let evening = |trigger: &[&str], latitude: &str| next(&[trigger, &midsummer, &[latitude]].concat())[0].clone();
    assert_eq!(evening(&["civil-dusk", "not-after", "22:00"], "60.17"), "2027-06-21T22:00:00+03:00");
    assert_eq!(evening(&["civil-dusk", "else", "22:30"], "65.01"), "2027-06-21T22:30:00+03:00");
    assert_eq!(next(&["now"]).len(), 1);
    assert_eq!(next(&["at", "now+2s"]).len(), 1);
}

#[test]
fn a_trigger_that_never_fires_says_why_and_one_that_is_none_what_it_should_be() {
    let site = Site::new();
    let (code, out, errors) = roost(&site, &["next", "cron 0 0 31 2 *", "--json"]);
    assert_eq!((code, out.as_str()), (Some(0), "[]\n"));
    assert!(errors.contains("the calendar has no such day"), "{errors}");
    for (trigger, told) in [("evry 15m", "did you mean `every`?"), ("sunset -20x", "-20x"), ("sunset -20", "-20")] {
        let words: Vec<_> = ["next"].into_iter().chain(trigger.split(' ')).collect();
        let (code, out, errors) = roost(&site, &words);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{trigger}: {errors}");
        assert!(errors.replace('−', "-").contains(told), "{trigger}: {errors}");
    }
}

#[test]
fn a_check_shows_what_a_plugin_would_do() {
    let site = Site::new();
    site.drop_in(&sample("coop-door"), "coop");
    let (code, out, errors) = roost(&site, &["check", "plugins/coop.wasm"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for part in
        ["roost:device/schedule@1.0.0", "device coop (Europe/London), 2 jobs", "publishes coop/coop/door/set  OPEN"]
    {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(out.matches("      next ").count(), 6, "{out}");
    assert!(!out.contains("denied   "), "{out}");
    for (name, what) in [("wants-files", "files"), ("wants-sockets", "sockets")] {
        site.drop_in(&guest(name), name);
        let (code, out, _) = roost(&site, &["check", &format!("plugins/{name}.wasm")]);
        assert_eq!(code, Some(0));
        assert!(out.contains(&format!("denied   {what}: Roost never grants them")), "{out}");
    }
}
