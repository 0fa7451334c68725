//! Tests of the encoding.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    model::{Confirm, Matches, Message, MessageProperties, Misfire, Overlap, Qos, Retry},
    names::{GroupName, ResourceName},
    topic::Topic,
};

fn policies() -> impl Strategy<Value = Policy> {
    let default = Policy::default();
    let or = |default: u32| prop_oneof![Just(default), any::<u32>()];
    let retry = (option::of(any::<u32>()), or(default.retry.give_up_after_ms), or(default.retry.backoff_ms))
        .prop_map(|(attempts, give_up_after_ms, backoff_ms)| Retry { attempts, give_up_after_ms, backoff_ms });
    let group = "[a-z]{1,64}".prop_map(|text| Misfire::LatestOfGroup(GroupName::unchecked(&text)));
    let misfire = prop_oneof![Just(Misfire::RunOnce), Just(Misfire::RunAll), group];
    let overlap = prop_oneof![
        Just(Overlap::Skip),
        any::<u32>().prop_map(Overlap::Queue),
        any::<u32>().prop_map(Overlap::Allow),
        Just(Overlap::Replace)
    ];
    let needs = option::of("[a-z]{1,64}".prop_map(|text| ResourceName::unchecked(&text)));
    (or(default.grace_ms), or(default.jitter_ms), any::<i8>(), retry, misfire, overlap, needs).prop_map(
        |(grace_ms, jitter_ms, priority, retry, misfire, overlap, needs)| Policy {
            misfire,
            grace_ms,
            overlap,
            jitter_ms,
            priority,
            retry,
            needs,
        },
    )
}

fn properties() -> impl Strategy<Value = MessageProperties> {
    let user = vec((".{0,8}", ".{0,300}"), 0..3);
    (option::of(any::<u32>()), option::of(".{0,200}"), option::of("[a-z]{1,8}"), user).prop_map(
        |(expiry_ms, content_type, response_topic, user)| {
            let response_topic = response_topic.map(|text| Topic::parse(&text).expect("valid"));
            MessageProperties { expiry_ms, content_type, response_topic, user }
        },
    )
}

fn confirms() -> impl Strategy<Value = Confirm> {
    let matches = prop_oneof![
        Just(Matches::Any),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Matches::Bytes(bytes.into())),
        (".{0,20}", ".{0,200}").prop_map(|(pointer, value)| Matches::Json { pointer, value }),
        (".{0,20}", -1e9..1e9, -1e9..1e9).prop_map(|(pointer, min, max)| Matches::JsonRange { pointer, min, max }),
    ];
    ("[a-z]{1,8}", matches, any::<u32>(), any::<bool>()).prop_map(|(topic, matches, within_ms, already)| Confirm {
        topic: Topic::unchecked(&topic),
        matches,
        within_ms,
        already,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)];
    let payload = vec(any::<u8>(), 0..300);
    let message = ("[a-zß/]{1,200}", payload, qos, any::<bool>(), option::of(properties())).prop_map(
        |(topic, payload, qos, retain, properties)| {
            let topic = Topic::parse(&topic).unwrap_or_else(|_| Topic::unchecked("a"));
            Message { topic, payload: payload.into(), qos, retain, properties: properties.map(Arc::new) }
        },
    );
    (any::<u32>(), message, any::<bool>(), option::of(confirms())).prop_map(|(after_ms, message, once, confirm)| Step {
        after_ms,
        message,
        once,
        confirm: confirm.map(Arc::new),
    })
}

proptest! {
    #[test]
    fn decoding_returns_what_was_encoded(
        id in "[a-z]{1,64}",
        label in option::of(".{0,200}"),
        policy in policies(),
        steps in vec(steps(), 1..5),
    ) {
        let id = JobId::parse(&id).expect("valid");
        let body = Body::new(&id, label.as_deref(), &policy, &steps);
        prop_assert_eq!(body.job_id(), id);
        prop_assert_eq!(body.label(), label.as_deref());
        prop_assert_eq!(body.policy(), policy);
        prop_assert_eq!(body.step_count(), steps.len());
        prop_assert_eq!(body.step(steps.len()), None);
        let back: Vec<Step> = body.steps().map(|step| step.to_step()).collect();
        prop_assert_eq!(back, steps);
    }
}

#[test]
fn an_ordinary_job_is_small() {
    let topic = Topic::parse("coop/north/door/open").expect("valid");
    let message = Message { topic, payload: (*b"{}").into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
    let id = JobId::parse("open").expect("valid");
    let body = Body::new(&id, None, &Policy::default(), &[Step { after_ms: 0, message, once: false, confirm: None }]);
    assert_eq!(body.0.len(), 34);
}
