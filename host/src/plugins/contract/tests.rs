//! Tests every range of the contract with a job that violates it.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use expect_test::expect;
use roost_scheduler::{
    accept::{self, Fault, Owner, Terms},
    model::{Action, Job, Misfire, Overlap, Policy, Qos, Resource, Retry},
    names::{PluginName, ResourceName},
    time::{Instant, Location, Site},
    topic::{Grant, TopicFilter},
    trigger::{Every, Sun, SunEvent, Trigger},
};

use super::{super::trigger_cache::TriggerCache, *};
use crate::{config::rules::Rules, zones::zone};

mod frozen;
mod fuzz;
mod policies;
mod reports;
mod tasks;

fn message() -> wit::Message {
    wit::Message { topic: "coop/door".into(), payload: b"open".to_vec(), qos: 1, retain: false, properties: None }
}

fn step(after_ms: u32) -> wit::Step {
    wit::Step { after_ms, message: message(), once: false, confirm: None }
}

fn job(id: &str) -> wit::Job {
    wit::Job {
        id: id.into(),
        label: None,
        trigger: wit::Trigger::At(1_800_000_000_000),
        action: wit::Action::Steps(vec![step(0)]),
        policy: None,
    }
}

fn labelled(label: &str) -> wit::Job {
    wit::Job { label: Some(label.into()), ..job("open") }
}

fn no_policy() -> wit::Policy {
    wit::Policy {
        misfire: None,
        grace_ms: None,
        overlap: None,
        jitter_ms: None,
        priority: None,
        retry: None,
        needs: None,
    }
}

fn with_policy(change: impl FnOnce(&mut wit::Policy)) -> wit::Job {
    let mut policy = no_policy();
    change(&mut policy);
    wit::Job { policy: Some(policy), ..job("open") }
}

fn with_trigger(trigger: wit::Trigger) -> wit::Job {
    wit::Job { trigger, ..job("open") }
}

fn with_step(change: impl FnOnce(&mut wit::Step)) -> wit::Job {
    let mut step = step(0);
    change(&mut step);
    wit::Job { action: wit::Action::Steps(vec![step]), ..job("open") }
}

fn with_properties(change: impl FnOnce(&mut wit::MessageProperties)) -> wit::Job {
    let mut properties =
        wit::MessageProperties { expiry_ms: None, content_type: None, response_topic: None, user: None };
    change(&mut properties);
    with_step(|step| step.message.properties = Some(properties))
}

fn cron(expression: &str, zone: Option<&str>) -> wit::Job {
    with_trigger(wit::Trigger::Cron(wit::Cron {
        expression: expression.into(),
        time_zone: zone.map(Into::into),
        days: None,
        finish: false,
    }))
}

fn sun(offset_ms: i32, not_before: Option<(u8, u8)>, not_after: Option<(u8, u8)>) -> wit::Job {
    let time = |(hour, minute)| wit::Time { hour, minute, second: 0 };
    let (not_before, not_after) = (not_before.map(time), not_after.map(time));
    let event = wit::SunEvent::Sunset;
    with_trigger(wit::Trigger::Sun(wit::Sun {
        event,
        offset_ms,
        not_before,
        not_after,
        otherwise: None,
        days: None,
        finish: false,
    }))
}

fn every(period_ms: u32, jitter_ms: u32) -> wit::Job {
    let trigger = wit::Trigger::Every(wit::Every { period_ms, anchor: None });
    wit::Job { trigger, ..with_policy(|policy| policy.jitter_ms = Some(jitter_ms)) }
}

fn pump_and_spring() -> BTreeMap<ResourceName, Resource> {
    let resource = |name, plugins: &[&str]| {
        let plugins = plugins.iter().map(|name| PluginName::parse(name).unwrap()).collect();
        (ResourceName::parse(name).unwrap(), Resource { plugins, ..Resource::new(1) })
    };
    [resource("pump", &["coop-door"]), resource("spring", &["sprinkler"])].into()
}

/// Calls a function with the terms of `coop-door` at a location. Faults have the operator's hints.
fn with_terms<T>(
    location: Option<Location>,
    granted_by_operator: bool,
    test: impl FnOnce(&Terms<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let plugin = PluginName::parse("coop-door").unwrap();
    let filters = vec![TopicFilter::parse("coop/#").unwrap()];
    let grant = Grant { max_qos: Qos::AtLeastOnce, retain: false, ..Grant::new(filters.clone(), filters) };
    let grants = granted_by_operator.then(|| (plugin.clone(), grant.clone())).into_iter().collect();
    let rules = Rules { resources: pump_and_spring(), grants, ..Rules::default() };
    let terms = Terms {
        site: &Site { zone: zone("Europe/London"), location },
        owner: Some(Owner {
            plugin: &plugin,
            grant: &grant,
            resources: &rules.resources,
            host_topic: &rules.host_topic,
        }),
        jobs: 3,
        calendars: Some(|_| false),
        tasks: Some(&tasks::tasks(&["open", "close"])),
        syntax: &TriggerCache::default(),
    };
    test(&terms).map_err(|fault| rules.with_hint(fault, &plugin, &grant))
}

fn converted(list: Vec<wit::Job>, location: Option<Location>, granted_by_operator: bool) -> Result<Vec<Job>, Fault> {
    with_terms(location, granted_by_operator, |terms| accept::plan(drafts(list), terms))
}

fn refusal(job: wit::Job) -> String {
    let location = Location::new(51.5, -0.1);
    converted(vec![job], location, false).expect_err("refused").to_string()
}

#[test]
fn valid_jobs_are_converted_completely() {
    let mut proposed = sun(-43_200_000, Some((6, 30)), Some((6, 30)));
    if let wit::Trigger::Sun(sun) = &mut proposed.trigger {
        sun.otherwise = sun.not_after;
    }
    proposed.label = Some("Open the door".into());
    proposed.policy = Some(wit::Policy {
        misfire: Some(wit::Misfire::RunOnce),
        grace_ms: Some(1_000),
        overlap: Some(wit::Overlap::Skip),
        jitter_ms: Some(5),
        priority: Some(-3),
        retry: Some(wit::Retry { attempts: Some(1), give_up_after_ms: Some(0), backoff_ms: Some(100) }),
        needs: None,
    });
    let list = vec![proposed, every(1_000, 999), cron("@daily", Some("Asia/Tokyo"))];
    let jobs = converted(
        list.into_iter().zip(["a", "b", "c"]).map(|(job, id)| wit::Job { id: id.into(), ..job }).collect(),
        Location::new(0.0, 0.0),
        false,
    )
    .unwrap();
    let half_past_six = NaiveTime::from_hms_opt(6, 30, 0);
    let expected = Sun {
        event: SunEvent::Sunset,
        offset_ms: -43_200_000,
        not_before: half_past_six,
        not_after: half_past_six,
        otherwise: half_past_six,
        days: None,
        finish: None,
    };
    assert_eq!(jobs[0].trigger, expected.into());
    assert_eq!(jobs[0].label.as_deref(), Some("Open the door"));
    let retry = Retry { attempts: Some(1), give_up_after_ms: 0, backoff_ms: 100 };
    assert_eq!(jobs[0].policy, Policy { grace_ms: 1_000, jitter_ms: 5, priority: -3, retry, ..Policy::default() });
    assert_eq!(jobs[1].trigger, Trigger::Every(Every { period_ms: 1_000, anchor: Instant::MIN }));
    assert_eq!(jobs[2].policy.grace_ms, 300_000);
    assert_eq!(jobs[2].steps()[0].message.properties, None);
}

#[test]
fn errors_name_each_violated_range() {
    let cases = [
        (job("a b"), "job number 1: `id`: `a b` is not a job id"),
        (with_trigger(wit::Trigger::At(-1)), "job `open`: `trigger.at` -1: it must be 0 to"),
        (every(999, 0), "`trigger.every.period-ms` 999: it must be 1,000 to"),
        (every(1_000, 1_000), "`policy.jitter-ms` 1000: it must be less than the period, 1000 ms"),
        (cron("* * *", None), "`trigger.cron.expression`: `* * *` is not a cron expression"),
        (cron("0 0 31 2 *", None), "`trigger.cron.expression`: `0 0 31 2 *` is not a cron expression"),
        (cron("@daily", Some("Europe/Londo")), "`trigger.cron.time-zone`: "),
        (sun(43_200_001, None, None), "`trigger.sun.offset-ms` 43200001: it must be -43,200,000 to"),
        (sun(0, Some((24, 0)), None), "`trigger.sun.not-before` 24:00:00: it must be 0:00:00 to 23:59:59"),
        (sun(0, Some((7, 0)), Some((6, 0))), "`trigger.sun.not-after` 06:00:00: counted from 06:00:00 on, it"),
        (
            wit::Job { action: wit::Action::Steps(Vec::new()), ..job("open") },
            "`action.steps` 0: there must be 1 to 100",
        ),
        (
            wit::Job { action: wit::Action::Steps(vec![step(5), step(4)]), ..job("open") },
            "job `open`, step 2: `after-ms` 4: it must not be less than the step before, 5",
        ),
        (
            with_step(|step| step.message.topic = "coop/+".into()),
            "job `open`, step 1: `topic`: `coop/+` is not a topic",
        ),
        (with_step(|step| step.message.payload = vec![0; 262_145]), "`payload` of 262145 bytes: it may have 262,144"),
        (with_step(|step| step.message.qos = 3), "`qos` 3: it must be 0, 1 or 2"),
        (
            with_step(|step| step.message.topic = "coop/\u{1b}".into()),
            "`topic`: `coop/\\u{1b}` is not a topic: it contains",
        ),
        (with_properties(|of| of.expiry_ms = Some(0)), "`properties.expiry-ms` 0: it must be 1 or more"),
        (with_properties(|of| of.response_topic = Some("#".into())), "`properties.response-topic`: `#` is not a topic"),
        (with_properties(|of| of.user = Some(vec![Default::default(); 17])), "`properties.user` 17: there may be 16"),
        (
            with_properties(|of| of.user = Some(vec![("roost-run".into(), String::new())])),
            "`properties.user` `roost-run`: ",
        ),
        (
            with_properties(|of| of.content_type = Some("x".repeat(32_769))),
            "`properties` of 32769 bytes: the content type and the user properties may have 32,768",
        ),
        (
            with_properties(|of| of.user = Some(vec![("x".repeat(2_048), "x".into()); 16])),
            "`properties` of 32784 bytes: ",
        ),
        (
            with_properties(|of| of.content_type = Some("\0".into())),
            "`properties` with the character U+0000: MQTT does",
        ),
        (with_policy(|of| of.grace_ms = Some(999)), "`policy.grace-ms` 999: it must be 1,000 or more"),
        (
            with_policy(|of| {
                of.retry = Some(wit::Retry { attempts: Some(0), give_up_after_ms: None, backoff_ms: None });
            }),
            "`policy.retry.attempts` 0: it must be 1 or more",
        ),
        (
            with_policy(|of| {
                of.retry = Some(wit::Retry { attempts: None, give_up_after_ms: None, backoff_ms: Some(99) });
            }),
            "`policy.retry.backoff-ms` 99: it must be 100 or more",
        ),
    ];
    for (job, expected) in cases {
        let error = refusal(job);
        assert!(error.contains(expected), "{error}\n  does not contain\n{expected}");
    }
}

#[test]
fn errors_for_long_or_invisible_texts_are_short() {
    let cases = [
        (labelled(&"x".repeat(5 << 20)), "job `open`: `label` of 5242880 bytes: it may have 1,024 (1 KiB)"),
        (labelled("a\nb"), "job `open`: `label` with the character U+000A: users read it, so it must be one line"),
        (labelled("a\u{202e}b"), "job `open`: `label` with the character U+202E: users read it"),
        (labelled("a\u{200b}b"), "job `open`: `label` with the character U+200B: users read it"),
        (job(&"a".repeat(5 << 20)), "…` is not a job id: 1 to 64 of"),
        (
            with_properties(|of| of.content_type = Some("x".repeat(256))),
            "`properties.content-type` of 256 bytes: it may have 255",
        ),
        (
            with_properties(|of| of.content_type = Some("text\u{2066}".into())),
            "`properties.content-type` with the character U+2066: ",
        ),
        (
            with_properties(|of| of.user = Some(vec![("zone".into(), "a\u{feff}".into())])),
            "`properties.user` with the character U+FEFF: ",
        ),
        (
            with_policy(|of| of.misfire = Some(wit::Misfire::LatestOfGroup("\n".repeat(5 << 20)))),
            "…` is not a group name",
        ),
        (with_policy(|of| of.needs = Some("p".repeat(5 << 20))), "…` is not a resource name"),
        (cron("* * * * *", Some(&"x".repeat(5 << 20))), "…` is not an IANA time zone"),
    ];
    for (job, expected) in cases {
        let error = refusal(job);
        assert!(error.len() < 2_000, "{} bytes for {expected}", error.len());
        assert!(error.contains(expected), "{error}\n  does not contain\n{expected}");
    }
}

#[test]
fn a_plan_is_refused_as_a_whole() {
    let location = Location::new(51.5, -0.1);
    let error = |list| converted(list, location, false).unwrap_err().to_string();
    let twice = vec![job("open"), job("open")];
    assert_eq!(error(twice), "job `open`: `id`: another job of the device has it already");
    assert_eq!(error(vec![job("a"); 4]), "`jobs` 4: the plan of this device may have 3");
}

#[test]
fn the_hint_for_a_topic_outside_the_grant_has_the_lines_that_allow_it() {
    let elsewhere = || vec![with_step(|step| step.message.topic = "barn/door".into())];
    let of_file = converted(elsewhere(), None, false).unwrap_err();
    assert_eq!(
        of_file.to_string(),
        "job `open`, step 1: `topic` `barn/door`: it is outside what `coop-door` may publish to"
    );
    assert_eq!(
        of_file.hint.as_deref().unwrap(),
        "to allow it, put this into `plugins/coop-door.toml`:\n[grants]\npublish = [\"coop/#\", \"barn/door\"]"
    );
    let of_operator = converted(elsewhere(), None, true).unwrap_err();
    assert_eq!(
        of_operator.hint.as_deref().unwrap(),
        "to allow it, put this into `roost.toml`:\n[grants.coop-door]\npublish = [\"coop/#\", \"barn/door\"]"
    );
}

#[test]
fn no_job_publishes_at_the_hosts_own_topics() {
    for topic in ["roost", "roost/set/coop-door/north/enabled"] {
        let list = vec![with_step(|step| step.message.topic = topic.into())];
        let refused = converted(list, None, true).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "job `open`, step 1: `topic` `{topic}`: no job may publish there, because what is at or below `roost` is the \
                 host's own"
            )
        );
        expect![[r#"
            use another topic; or, if devices have topics below `roost`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
            [mqtt]
            topic = "roost/host""#]]
        .assert_eq(refused.hint.as_deref().unwrap());
    }
}

#[test]
fn the_hint_for_a_message_above_a_ceiling_has_the_line_that_raises_it() {
    let error = |change: fn(&mut wit::Message), by_operator| {
        let list = vec![with_step(|step| change(&mut step.message))];
        let invalid = converted(list, None, by_operator).unwrap_err();
        (invalid.to_string(), invalid.hint.unwrap().to_string())
    };
    assert_eq!(
        error(|message| message.qos = 2, true),
        (
            "job `open`, step 1: `qos` 2: the grant of `coop-door` allows up to 1, in the message to `coop/door`"
                .into(),
            "to allow it, put this into `roost.toml`:\n[grants.coop-door]\nmax_qos = 2".into()
        )
    );
    assert_eq!(
        error(|message| message.retain = true, false),
        (
            "job `open`, step 1: `retain` true: the grant of `coop-door` allows no retained messages, in the message \
             to `coop/door`"
                .into(),
            "to allow it, put this into `plugins/coop-door.toml`:\n[grants]\nretain = true".into()
        )
    );
}

#[test]
fn a_sun_trigger_needs_a_location_and_the_hint_has_the_lines() {
    let error = converted(vec![sun(0, None, None)], None, false).unwrap_err();
    assert_eq!(error.to_string(), "job `open`: `trigger.sun`: the device has no location");
    expect![[r#"
        set its location below its `[[device]]` in `plugins/coop-door.toml`, or for all devices at the top of `roost.toml`:
        latitude = 51.5
        longitude = -0.1"#]].assert_eq(&error.hint.unwrap());
}
