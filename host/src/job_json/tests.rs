//! Records are decoded to the values that were encoded.

use roost_scheduler::{
    model::Message,
    names::{GroupName, JobId, ResourceName},
    topic::Topic,
};

use super::*;

fn step(payload: &[u8], properties: Option<MessageProperties>) -> Step {
    let message = Message {
        topic: Topic::parse("coop/north/door/open").unwrap(),
        payload: payload.into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: properties.map(Arc::new),
    };
    Step { after_ms: 0, message, once: false, confirm: None }
}

fn body(steps: &[Step]) -> Body {
    Body::new(&JobId::parse("open").unwrap(), None, &Policy::default(), steps)
}

#[test]
fn default_values_of_steps_are_left_out() {
    let json = action_to_json(&body(&[step(b"go \"on\"", None)])).unwrap();
    assert_eq!(json, r#"[{"topic":"coop/north/door/open","payload":"go \"on\""}]"#);
}

fn confirm(matches: Matches) -> Option<Arc<Confirm>> {
    let topic = Topic::parse("coop/north/door").unwrap();
    Some(Arc::new(Confirm { topic, already: matches == Matches::Any, matches, within_ms: 30_000 }))
}

#[test]
fn steps_are_decoded_as_encoded() {
    let every = MessageProperties {
        expiry_ms: Some(7),
        content_type: Some("text/plain".into()),
        response_topic: Some(Topic::parse("a/b").unwrap()),
        user: vec![("k".into(), "v".into()), ("k".into(), "\0".into())],
    };
    let mut last = step(&[0xff, 0], Some(every));
    last.after_ms = u32::MAX;
    last.message.qos = Qos::AtMostOnce;
    last.message.retain = true;
    last.once = true;
    let pointer = || "/door/0/~1".to_owned();
    let reports = [
        Matches::Any,
        Matches::Bytes(b"OPEN".as_slice().into()),
        Matches::Bytes([0xff, 0].as_slice().into()),
        Matches::Json { pointer: pointer(), value: r#"{"a":[1,null]}"#.into() },
        Matches::JsonRange { pointer: pointer(), min: -0.1, max: f64::MAX },
        Matches::JsonRange { pointer: String::new(), min: f64::MIN_POSITIVE, max: 0.1 + 0.2 },
    ];
    let reported = reports.map(|matches| Step { confirm: confirm(matches), ..step(b"", None) });
    let plain = [step(b"", None), step("caf\u{e9}\0".as_bytes(), None), last];
    let steps = [reported.as_slice(), &plain].concat();
    let back = action_from_json(&action_to_json(&body(&steps)).unwrap()).unwrap();
    assert_eq!(back, Action::Steps(steps.into()));
}

#[test]
fn bytes_that_are_not_text_are_in_base64_with_padding() {
    let confirm = confirm(Matches::Bytes([0xff].as_slice().into()));
    let json = action_to_json(&body(&[Step { confirm, ..step(&[0xff, 0xfe, 0, 1], None) }])).unwrap();
    assert_eq!(
        json,
        r#"[{"topic":"coop/north/door/open","payload_base64":"//4AAQ==","confirm":{"topic":"coop/north/door","matches":{"base64":"/w=="},"within_ms":30000}}]"#
    );
}

#[test]
fn tasks_are_decoded_as_encoded() {
    let task = Task { name: TaskName::parse("water").unwrap(), args: r#"{"zone":2}"#.into() };
    let body = Body::from_task(&JobId::parse("now").unwrap(), None, &Policy::default(), &task);
    let json = action_to_json(&body).unwrap();
    assert_eq!(json, r#"{"task":"water","args":"{\"zone\":2}"}"#);
    assert_eq!(action_from_json(&json).unwrap(), Action::Task(task.into()));
}

#[test]
fn an_invalid_step_is_reported() {
    for (json, message) in [
        ("[{}]", "steps: missing field `topic`"),
        (r#"[{"topic":"a","colour":1}]"#, "steps: unknown field `colour`"),
        (r#"[{"topic":"a/+"}]"#, "a/+"),
        (r#"[{"topic":"a","confirm":{"topic":"b","matches":{"base64":"AA"},"within_ms":1}}]"#, "not base64"),
        (r#"[{"topic":"a","payload_base64":"_w=="}]"#, "`payload_base64` is not base64 with padding"),
        (r#"[{"topic":"a","payload":"1","payload_base64":"/w=="}]"#, "leave one out"),
        (r#"[{"topic":"a","payload_hex":"ff"}]"#, "unknown field `payload_hex`, expected one of"),
        (r#"[{"topic":"a","payload_hex":"ff"}]"#, "`payload_base64`"),
    ] {
        let error = action_from_json(json).unwrap_err();
        assert!(error.contains(message), "{json}: {error}");
    }
}

#[test]
fn policies_are_decoded_as_encoded() {
    let mut policy = Policy::default();
    assert_eq!(policy_to_json(&policy).unwrap(), None);
    assert_eq!(policy_from_json(None).unwrap(), policy);
    policy.retry.attempts = Some(3);
    policy.priority = -1;
    let json = policy_to_json(&policy).unwrap().unwrap();
    assert_eq!(json, r#"{"priority":-1,"attempts":3}"#);
    assert_eq!(policy_from_json(Some(&json)).unwrap(), policy);
    let group = || Misfire::LatestOfGroup(GroupName::parse("door").unwrap());
    let pump = || Some(ResourceName::parse("pump").unwrap());
    let unusual = [
        (Misfire::RunAll, Overlap::Queue(3), None, r#"{"run_all":true,"overlap":{"queue":3}}"#),
        (group(), Overlap::Replace, None, r#"{"latest_of_group":"door","overlap":"replace"}"#),
        (Misfire::RunOnce, Overlap::Allow(2), pump(), r#"{"overlap":{"allow":2},"needs":"pump"}"#),
    ];
    for (misfire, overlap, needs, json) in unusual {
        let policy = Policy { misfire, overlap, needs, ..Policy::default() };
        assert_eq!(policy_to_json(&policy).unwrap().as_deref(), Some(json));
        assert_eq!(policy_from_json(Some(json)).unwrap(), policy);
    }
}
