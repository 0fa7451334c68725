//! The policies of jobs: catching up, retries, confirmation, groups, overlap and resources.

use std::fs;

use expect_test::expect;
use roost_scheduler::names::RunId;
use roost_tests::{Broker, Device, Listener, Message, Roost, Site, guest, http::text, now_ms, redact, sample};
use serde_json::Value;

use crate::{NOON, SECOND, SOON};

const PUMP: &str = "[[resource]]\nname = \"pump\"\nplugins = [\"declared\", \"lawn\", \"beds\"]\n";

/// Returns a job of the guest `declared` that turns a device on, and off again after a while.
fn on_and_off(id: &str, trigger: &str, topic: &str, off_after_ms: u32, policy: &str) -> String {
    format!(
        "[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ {trigger} }}\npolicy = {{ {policy} }}\nsteps = [\n\
         {{ topic = \"{topic}\", payload = \"on\" }},\n\
         {{ topic = \"{topic}\", payload = \"off\", after_ms = {off_after_ms} }},\n]\n"
    )
}

/// Returns a job of the guest `declared` with one message.
fn at(id: &str, at_ms: i64, topic: &str, policy: &str) -> String {
    crate::job(id, &format!("at_ms = {at_ms}"), topic) + &format!("policy = {{ {policy} }}\n")
}

/// A host with one pump and the guest `declared`, and a clock that is set rather than waited for.
struct World {
    site: Site,
    listener: Listener,
    host: Option<Roost>,
    broker: Broker,
}

impl World {
    /// Plans jobs, of which the first is due at noon.
    fn with(jobs: &str) -> Self {
        let (broker, site, listener) = prepared(jobs);
        let host = site.start_at(&broker, NOON - SOON);
        host.wait_for_log("connected to the broker");
        host.wait_for_log(&format!("{} new", jobs.matches("[[config.jobs]]").count()));
        Self { site, listener, host: Some(host), broker }
    }

    fn host(&self) -> &Roost {
        self.host.as_ref().expect("it runs")
    }

    /// Sets the clock to shortly before the first job is due.
    fn until_due(&self) {
        self.site.set_clock(NOON - SECOND);
    }

    /// Kills the host.
    fn kill(&mut self) {
        self.host.take().expect("it runs").kill();
    }

    /// Starts the host again, some time after the first job was due.
    fn start_after(&mut self, millis: i64) {
        self.host = Some(self.site.start_at(&self.broker, NOON + millis));
    }
}

/// Starts a broker and a listener, and makes a folder with one pump and the guest `declared`.
fn prepared(jobs: &str) -> (Broker, Site, Listener) {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    fs::write(site.path().join("roost.toml"), PUMP).unwrap();
    site.settings("declared", jobs);
    site.drop_in(&guest("declared"), "declared");
    (broker, site, listener)
}

/// Starts a host there.
fn declared(jobs: &str) -> (Broker, Site, Listener, Roost) {
    let (broker, site, listener) = prepared(jobs);
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    (broker, site, listener, host)
}

fn payloads(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.payload.as_str()).collect()
}

/// Returns the occurrence of a message's run.
fn occurrence_ms(message: &Message) -> i64 {
    let run: RunId = message.property("roost-run").expect("the host says so").parse().expect("a run");
    run.occurrence.millis()
}

/// Waits until `roost runs` shows a run whose reason contains a text.
fn reason(host: &Roost, site: &Site, arguments: &[&str], part: &str) -> Value {
    let has_it = |run: &Value| run["reason"].as_str().is_some_and(|reason| reason.contains(part));
    host.log.wait(part, |_| site.runs(arguments).into_iter().find(has_it))
}

#[test]
fn a_valve_is_closed_late_rather_than_never_after_its_plugin_is_gone() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    site.settings(
        "sprinkler",
        "[[device]]\nname = \"garden\"\ntime_zone = \"UTC\"\n[device.config]\nstart = \"12:00\"\n\
         zones = [{ name = \"lawn\", water = \"2s\" }]\n",
    );
    site.drop_in(&sample("sprinkler"), "sprinkler");
    // Another plugin, because an empty folder would count as unmounted.
    site.drop_in(&guest("burst"), "burst");
    let host = site.start_at(&broker, NOON - SOON);
    host.wait_for_log("1 new");
    site.set_clock(NOON - SECOND);
    listener.wait_for("sprinkler/garden/lawn/set");
    host.has(&site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    host.kill();
    fs::remove_file(site.plugin("sprinkler.wasm")).unwrap();

    let host = site.start_at(&broker, NOON + 60 * SECOND);
    let messages = listener.wait("off", |messages| messages.iter().any(|message| message.payload == "OFF"));
    assert_eq!(payloads(&messages), ["ON", "OFF"]);
    let run = site.the_run(&host, &["--plugin", "sprinkler", "--state", "succeeded"]);
    let shown = text(&run, "reason");
    assert!(shown.starts_with("step 2 was sent ") && shown.ends_with("s late"), "{shown}");
    host.wait_for_log("sprinkler removed");
}

#[test]
fn after_an_outage_only_the_newest_run_of_a_group_runs_however_old() {
    let policy = "misfire = { latest-of-group = \"door\" }, grace_ms = 1000";
    let door = |id, at_ms| at(id, at_ms, "declared/door", policy);
    let mut world = World::with(&(door("open", NOON) + &door("close", NOON + 500)));
    world.kill();
    world.start_after(5_000);
    let (site, listener, host) = (&world.site, &world.listener, world.host());
    let close = listener.wait_for("declared/door");
    assert_eq!(close.payload, "close");
    let missed = site.the_run(host, &["--state", "missed"]);
    assert_eq!(text(&missed, "job"), "open");
    expect!["only the newest run of its group, `close` of [TIME], is caught up"]
        .assert_eq(&redact(text(&missed, "reason")));
    let done = site.the_run(host, &["--state", "succeeded"]);
    assert_eq!(text(&done, "job"), "close");
    assert!(world.host.take().is_some_and(|host| host.stop().success()));
    assert_eq!(payloads(&world.listener.messages()), ["close"]);
}

#[test]
fn a_door_that_does_not_open_is_no_longer_opened_when_it_should_be_closed() {
    let open = format!(
        "[[config.jobs]]\nid = \"open\"\ntrigger = {{ at_ms = {NOON} }}\n\
         policy = {{ misfire = {{ latest-of-group = \"door\" }}, backoff_ms = 100 }}\n\
         steps = [{{ topic = \"declared/door\", payload = \"open\", confirm = {{ topic = \"declared/state\", \
         within_ms = 400 }} }}]\n",
    );
    let close = at("close", NOON + 2_000, "declared/door", "misfire = { latest-of-group = \"door\" }");
    let world = World::with(&(open + &close));
    world.until_due();
    let (site, listener, host) = (&world.site, &world.listener, world.host());
    site.the_run(host, &["--state", "succeeded", "--job", "close"]);
    let cancelled = site.the_run(host, &["--state", "cancelled", "--job", "open"]);
    expect!["a newer run of its group, `close` of [TIME], replaced it"].assert_eq(&redact(text(&cancelled, "reason")));
    // Another attempt would be sent before this.
    site.roost(&["schedule", "at", "now+1s", "--topic", "later"]);
    listener.wait_for("later");
    let messages = listener.messages();
    let [before @ .., last, _] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(last.payload, "close");
    assert!(before.len() > 1 && before.iter().all(|message| message.payload == "open"), "{messages:?}");
}

#[test]
fn a_step_marked_once_is_not_repeated_even_if_its_arrival_is_unknown() {
    let mut world = World::with(&format!(
        "[[config.jobs]]\nid = \"feed\"\ntrigger = {{ at_ms = {NOON} }}\n\
         steps = [{{ topic = \"declared/feeder\", payload = \"1\", once = true }}]\n",
    ));
    world.broker.suspend();
    world.until_due();
    // It leaves as soon as its arming is on disk.
    world.host().has(&world.site, "SELECT count(*) FROM runs WHERE armed = 1", 1);
    let attempts = || world.site.json(&["status"])["counts"]["attempts"].as_u64();
    world.host().until("it to leave", || (attempts() == Some(1)).then_some(()));
    world.kill();
    world.broker.resume();
    world.start_after(5_000);
    let failed = world.site.the_run(world.host(), &["--failed"]);
    assert_eq!(text(&failed, "reason"), "step 1 was possibly sent, and is not to be repeated");
    world.host().wait_for_log("connected to the broker");
    assert!(world.host.take().is_some_and(|host| host.stop().success()));
    assert_eq!(world.listener.count("declared/feeder"), 1);
}

#[test]
fn each_missed_run_is_caught_up_with_run_all() {
    let policy = "misfire = \"run-all\", grace_ms = 60000";
    let jobs = crate::job("dose", "every_ms = 1000", "declared/dose") + &format!("policy = {{ {policy} }}\n");
    let (broker, site, listener, host) = declared(&jobs);
    listener.wait("two", |messages| messages.len() >= 2);
    host.kill();
    let so_far = listener.messages().len();
    let _host = site.start_later(&broker, 4 * SECOND);
    let messages = listener.wait("the next ones", |messages| messages.len() >= so_far + 6);
    let mut due: Vec<i64> = messages.iter().map(occurrence_ms).collect();
    // A run under way is repeated as the same run.
    due.dedup();
    assert!(due.windows(2).all(|pair| pair[1] == pair[0] + 1_000), "oldest first, and none left out: {due:?}");
}

#[test]
fn an_unconfirmed_step_is_retried_and_then_fails_until_it_is_replayed() {
    let confirm = "confirm = { topic = \"declared/door/state\", bytes = \"closed\", within_ms = 300 }";
    let close = format!(
        "[[config.jobs]]\nid = \"close\"\ntrigger = {{ in_ms = 0 }}\npolicy = {{ attempts = 3, backoff_ms = 100 }}\n\
         steps = [{{ topic = \"declared/door/set\", payload = \"close\", {confirm} }}]\n"
    );
    // A step marked `once` is not repeated, confirmed or not.
    let feed = format!(
        "[[config.jobs]]\nid = \"feed\"\ntrigger = {{ in_ms = 0 }}\n\
         steps = [{{ topic = \"declared/feeder/drop\", payload = \"1\", once = true, {confirm} }}]\n"
    );
    let (broker, site, listener, host) = declared(&(close + &feed));
    let failed = site.the_run(&host, &["--failed", "--job", "close"]);
    let no_report = "the device did not confirm the step within 300ms";
    assert_eq!(text(&failed, "reason"), format!("step 1 was given up after 3 attempts: {no_report}"));
    let fed = site.the_run(&host, &["--failed", "--job", "feed"]);
    assert_eq!(text(&fed, "reason"), format!("step 1 was given up after 1 attempt: {no_report}"));
    assert_eq!(listener.count("declared/feeder/drop"), 1);

    let messages = listener.messages();
    let tries = messages.iter().filter(|message| message.topic == "declared/door/set");
    let attempts: Vec<Option<&str>> = tries.map(|message| message.property("roost-attempt")).collect();
    assert_eq!(attempts, [Some("1"), Some("2"), Some("3")]);

    let _door = Device::answering(&broker, &listener, "declared/door/set", "declared/door/state", "closed");
    let replayed = site.roost(&["replay", text(&failed, "run")]);
    let done = site.the_run(&host, &["--state", "succeeded"]);
    assert_eq!(text(&done, "run"), replayed.trim());
}

#[test]
fn an_earlier_report_confirms_a_step_that_allows_it() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    broker.publish(&["-t", "declared/blind", "-m", "{\"position\": 49}", "-r"]);
    let step = |already| {
        format!(
            "steps = [{{ topic = \"declared/blind/set\", payload = \"50\", confirm = {{ topic = \"declared/blind\", \
             pointer = \"/position\", min = 48.0, max = 52.0, within_ms = 500, already = {already} }} }}]\n"
        )
    };
    let job =
        |id: &str| format!("[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ in_ms = 0 }}\npolicy = {{ attempts = 1 }}\n");
    site.settings("declared", &(job("already") + &step(true)));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    site.the_run(&host, &["--state", "succeeded"]);
    assert_eq!(listener.count("declared/blind/set"), 0);
    // Otherwise the retained report would prove nothing.
    site.settings("declared", &(job("anew") + &step(false)));
    let failed = site.the_run(&host, &["--failed"]);
    assert_eq!((text(&failed, "job"), listener.count("declared/blind/set")), ("anew", 1));
}

#[test]
fn no_stale_message_arrives_after_an_outage_longer_than_the_grace() {
    let stale = |id, at_ms| at(id, at_ms, "declared/stale", "grace_ms = 1000");
    let jobs = [stale("one", NOON), stale("two", NOON + 100), stale("three", NOON + 500)].concat();
    let mut world = World::with(&(jobs + &at("later", NOON + SOON, "declared/later", "")));
    world.broker.stop();
    world.host().wait_for_log("lost the connection");
    world.until_due();
    let is_stale = |shown: &String| shown.contains("will be missed when the connection is back");
    let explained = || world.site.roost(&["explain", "declared/declared/three"]);
    world.host().until("the grace to end", || Some(explained()).filter(is_stale));
    world.broker.start();
    let listener = Listener::new(world.broker.port);
    let (site, host) = (&world.site, world.host());
    host.has(site, "SELECT count(*) FROM runs WHERE state = 'missed'", 3);
    for run in site.runs(&["--state", "missed"]) {
        let shown = text(&run, "reason");
        assert!(shown.starts_with("there was no connection to the broker; it would have started "), "{shown}");
        assert!(shown.ends_with(" late, and its grace is 1s"), "{shown}");
    }
    site.set_clock(NOON + SOON - SECOND);
    assert_eq!(listener.wait_for("declared/later").payload, "later");
    assert!(world.host.take().is_some_and(|host| host.stop().success()));
    assert_eq!(payloads(&listener.messages()), ["later"]);
}

#[test]
fn runs_that_need_the_same_resource_take_turns_across_plugins() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    fs::write(site.path().join("roost.toml"), PUMP).unwrap();
    for name in ["lawn", "beds"] {
        let policy = "needs = \"pump\", grace_ms = 30000";
        let valve = format!("{name}/valve");
        let jobs = on_and_off("one", "in_ms = 0", &valve, 300, policy);
        site.settings(name, &(jobs + &on_and_off("two", "in_ms = 100", &valve, 300, policy)));
        site.drop_in(&guest("declared"), name);
    }
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    host.has(&site, "SELECT count(*) FROM runs WHERE state = 'succeeded'", 4);
    let messages = listener.wait("all of them", |messages| messages.len() == 8);
    assert_eq!(payloads(&messages), ["on", "off"].repeat(4));
    for pair in messages.chunks(2) {
        assert_eq!(pair[0].property("roost-run"), pair[1].property("roost-run"));
    }
    for plugin in ["lawn", "beds"] {
        assert_eq!(listener.count(&format!("{plugin}/valve")), 4);
    }
}

#[test]
fn a_run_still_holds_its_resource_after_a_crash() {
    let valve =
        |id: &str, at_ms: i64| on_and_off(id, &format!("at_ms = {at_ms}"), "declared/valve", 1_500, "needs = \"pump\"");
    let mut world = World::with(&(valve("lawn", NOON) + &valve("beds", NOON + 500)));
    world.until_due();
    world.host().has(&world.site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    world.kill();
    world.start_after(1_000);
    world.host().has(&world.site, "SELECT count(*) FROM runs WHERE state = 'succeeded'", 2);
    assert_eq!(payloads(&world.listener.messages()), ["on", "off", "on", "off"]);
}

#[test]
fn a_plan_that_needs_a_missing_resource_is_refused_with_the_lines_to_add() {
    let jobs = on_and_off("water", "in_ms = 0", "declared/valve", 1, "needs = \"well\"");
    let (_broker, _site, listener, host) = declared(&jobs);
    host.wait_for_log("`policy.needs`: there is no resource `well`");
    host.wait_for_log("name = \"well\"");
    assert!(listener.messages().is_empty());
}

#[test]
fn a_run_that_is_due_too_early_waits_in_the_queue() {
    let policy = "overlap = { queue = 1 }, grace_ms = 30000";
    let (_broker, site, listener, host) =
        declared(&on_and_off("water", "every_ms = 1000", "declared/valve", 2_600, policy));
    let messages = listener.wait("two runs", |messages| messages.len() >= 4);
    assert_eq!(payloads(&messages[..4]), ["on", "off", "on", "off"]);
    assert_eq!(occurrence_ms(&messages[2]), occurrence_ms(&messages[0]) + 1_000, "the next one, and not a later one");
    reason(&host, &site, &["--state", "skipped"], "the limit of waiting runs (");
}

#[test]
fn as_many_runs_as_allowed_overlap() {
    let policy = "overlap = { allow = 2 }";
    let (_broker, site, listener, host) =
        declared(&on_and_off("chime", "every_ms = 1000", "declared/chime", 2_500, policy));
    let messages = listener.wait("three runs", |messages| messages.len() >= 4);
    assert_eq!(payloads(&messages[..4]), ["on", "on", "off", "on"]);
    let due: Vec<i64> = messages.iter().map(|message| occurrence_ms(message) - occurrence_ms(&messages[0])).collect();
    assert_eq!(due[..4], [0, 1_000, 0, 3_000], "the third one was left out");
    reason(&host, &site, &["--state", "skipped"], "the limit of simultaneous runs (");
}

#[test]
fn a_run_that_replaces_another_takes_over_its_owed_steps_or_sends_them_at_once() {
    // Each second of these minutes: it may replace itself, because the rest of the hour leaves time to turn it off.
    let minute = now_ms() / 60_000 % 60;
    let trigger = format!("cron = \"* {minute},{},{} * * * *\"", (minute + 1) % 60, (minute + 2) % 60);
    let lit = |topic: &str| on_and_off("light", &trigger, topic, 60_000, "overlap = \"replace\"");
    let (_broker, site, listener, host) = declared(&lit("declared/porch"));
    listener.wait("three runs", |messages| messages.len() >= 3);
    assert!(payloads(&listener.messages()).iter().all(|payload| *payload == "on"), "the newest one will turn it off");
    reason(&host, &site, &["--state", "cancelled"], " replaced it");
    // A lamp that the new run does not turn off is turned off before that run starts.
    site.settings("declared", &lit("declared/hall"));
    let messages =
        listener.wait("the hall", |messages| messages.iter().any(|message| message.topic == "declared/hall"));
    let last: Vec<_> = messages.iter().rev().take(3).map(|one| (one.topic.as_str(), one.payload.as_str())).collect();
    assert_eq!(last, [("declared/hall", "on"), ("declared/porch", "off"), ("declared/porch", "on")]);
    let due: Vec<i64> = messages.iter().rev().take(3).map(occurrence_ms).collect();
    assert_eq!((due[1], due[0]), (due[2], due[2] + 1_000));
}

#[test]
fn of_two_sprinklers_on_one_pump_the_second_waits_for_80_minutes_within_its_grace() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    fs::write(site.path().join("roost.toml"), "[[resource]]\nname = \"pump\"\nplugins = [\"sprinkler\"]\n").unwrap();
    let controller = |name: &str, grace: &str| {
        format!(
            "[[device]]\nname = \"{name}\"\ntime_zone = \"UTC\"\n[device.config]\n\
             start = \"12:00\"\npump = \"pump\"\n{grace}zones = [{{ name = \"lawn\", water = \"80m\" }}]\n"
        )
    };
    let controllers = [("a", ""), ("b", "grace = \"2h\"\n"), ("c", "")].map(|(name, grace)| controller(name, grace));
    site.settings("sprinkler", &controllers.concat());
    site.drop_in(&sample("sprinkler"), "sprinkler");
    let host = site.start_at(&broker, NOON - SOON);
    host.wait_for_log("3 new");
    site.set_clock(NOON - SECOND);
    let first = listener.wait("one of them", |messages| !messages.is_empty());
    host.has(&site, "SELECT count(*) FROM runs WHERE steps_done = 1", 1);
    assert_eq!((payloads(&first), first[0].topic.as_str()), (vec!["ON"], "sprinkler/a/lawn/set"));
    host.kill();

    let host = site.start_at(&broker, NOON + 80 * 60 * SECOND + 10 * SECOND);
    let messages = listener.wait("the second one", |messages| messages.len() > 2);
    let messages: Vec<_> = messages.iter().map(|message| (message.topic.as_str(), message.payload.as_str())).collect();
    assert_eq!(
        messages,
        [("sprinkler/a/lawn/set", "ON"), ("sprinkler/a/lawn/set", "OFF"), ("sprinkler/b/lawn/set", "ON")]
    );
    let missed = site.the_run(&host, &["--state", "missed"]);
    assert_eq!(text(&missed, "device"), "c", "the default grace is an hour: {missed}");
}

#[test]
fn runs_that_replace_one_another_put_off_owed_steps_for_a_limited_time() {
    /// 2027-03-01T00:00:00Z
    const MIDNIGHT: i64 = 1_803_859_200_000;
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    // Off is due two and a half hours after on; if runs replace one another, no later than as long again.
    let trigger = "cron = \"0 0,1,3,5 * * *\"";
    site.settings("declared", &on_and_off("light", trigger, "declared/light", 9_000_000, "overlap = \"replace\""));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start_at(&broker, MIDNIGHT - SOON);
    host.wait_for_log("1 new");
    host.kill();
    // Restarts, because in a running host measured times move with a clock that is set.
    let start_at = |minutes: i64, seconds: i64| site.start_at(&broker, MIDNIGHT + (minutes * 60 + seconds) * SECOND);
    for (hour, so_far) in [(0, 1), (1, 2), (3, 3)] {
        let host = start_at(60 * hour, -1);
        let messages = listener.wait("the light", |messages| messages.len() >= so_far);
        assert_eq!(payloads(&messages), vec!["on"; so_far]);
        host.has(&site, "SELECT count(*) FROM runs WHERE steps_done = 1 AND state = 'running'", 1);
        host.kill();
    }
    // Later than the first run may have been.
    let host = start_at(60 * 5, 10);
    let skipped = site.the_run(&host, &["--state", "skipped"]);
    expect!["the run of [TIME] had not ended"].assert_eq(&redact(text(&skipped, "reason")));
    assert_eq!(text(&skipped, "occurrence"), "2027-03-01T05:00:00Z");
    host.kill();
    let _host = start_at(60 * 5 + 30, -1);
    let off = listener.wait("off", |messages| messages.len() > 3).pop().unwrap();
    let due = off.property("roost-due").unwrap();
    assert_eq!((off.payload.as_str(), &due[..16]), ("off", "2027-03-01T05:30"));
}
