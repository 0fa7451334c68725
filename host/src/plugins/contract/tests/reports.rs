//! Tests of steps that are sent once, and of confirmations.

use roost_scheduler::{
    model::{Confirm, Matches, Step},
    topic::Topic,
};

use super::*;

fn confirmed(change: impl FnOnce(&mut wit::Confirm)) -> wit::Job {
    let mut confirm = wit::Confirm {
        topic: "coop/door/state".into(),
        matches: wit::Matches::Bytes(b"open".to_vec()),
        within_ms: 1,
        already: false,
    };
    change(&mut confirm);
    with_step(|step| step.confirm = Some(confirm))
}

fn matching(matches: wit::Matches) -> wit::Job {
    confirmed(|of| of.matches = matches)
}

fn json(pointer: &str, value: &str) -> wit::Matches {
    wit::Matches::Json(wit::JsonValue { pointer: pointer.into(), value: value.into() })
}

fn range(min: f64, max: f64) -> wit::Matches {
    range_at("/position", min, max)
}

fn range_at(pointer: &str, min: f64, max: f64) -> wit::Matches {
    wit::Matches::JsonRange(wit::JsonRange { pointer: pointer.into(), min, max })
}

fn accepted(job: wit::Job) -> Step {
    let mut jobs = converted(vec![job], None, false).unwrap_or_else(|invalid| panic!("{invalid}"));
    jobs.remove(0).steps()[0].clone()
}

#[test]
fn once_and_every_condition_are_converted() {
    assert!(accepted(with_step(|step| step.once = true)).once);
    assert!(!accepted(with_step(|_| {})).once);
    let confirm = accepted(confirmed(|of| of.already = true)).confirm.unwrap();
    let expected = Confirm {
        topic: Topic::parse("coop/door/state").unwrap(),
        matches: Matches::Bytes(b"open".as_slice().into()),
        within_ms: 1,
        already: true,
    };
    assert_eq!(*confirm, expected);
    let long = |length| "x".repeat(length);
    let longest = (format!("/{}", long(4_095)), format!("\"{}\"", long(4_094)));
    for (proposed, expected) in [
        (wit::Matches::Any, Matches::Any),
        (wit::Matches::Bytes(Vec::new()), Matches::Bytes([].into())),
        (wit::Matches::Bytes(vec![0; 4_096]), Matches::Bytes(vec![0; 4_096].into())),
        (json("", "null"), Matches::Json { pointer: String::new(), value: "null".into() }),
        (json("/a/0", "{\"b\": [1]}"), Matches::Json { pointer: "/a/0".into(), value: "{\"b\": [1]}".into() }),
        (json(&longest.0, &longest.1), Matches::Json { pointer: longest.0.clone(), value: longest.1.clone() }),
        (range(49.0, 49.0), Matches::JsonRange { pointer: "/position".into(), min: 49.0, max: 49.0 }),
    ] {
        assert_eq!(accepted(matching(proposed)).confirm.unwrap().matches, expected);
    }
}

#[test]
fn errors_name_each_violated_range_of_a_confirmation() {
    let text = |length| "x".repeat(length);
    for (job, expected) in [
        (confirmed(|of| of.topic = "coop/+".into()), "`confirm.topic`: `coop/+` is not a topic"),
        (confirmed(|of| of.within_ms = 0), "`confirm.within-ms` 0: it must be 1 or more"),
        (
            matching(wit::Matches::Bytes(vec![0; 4_097])),
            "`confirm.matches.bytes` of 4097 bytes: it may have 4,096 (4 KiB)",
        ),
        (
            matching(json("state", "true")),
            "`confirm.matches.json.pointer` `state`: it must be empty or begin with `/` (RFC 6901)",
        ),
        (
            matching(json(&text(4_097), "true")),
            "`confirm.matches.json.pointer` of 4097 bytes: it may have 4,096 (4 KiB)",
        ),
        (matching(json("/state", "open")), "`confirm.matches.json.value` `open`: it is not JSON: "),
        (matching(json("/state", "")), "`confirm.matches.json.value` ``: it is not JSON: "),
        (matching(json("/state", "1 2")), "`confirm.matches.json.value` `1 2`: it is not JSON: "),
        (
            matching(json("/state", &format!("\"{}\"", text(4_095)))),
            "`confirm.matches.json.value` of 4097 bytes: it may have 4,096 (4 KiB)",
        ),
        (matching(range(50.0, 49.0)), "`confirm.matches.json-range` 50 to 49: both must be finite"),
        (matching(range(f64::NAN, 49.0)), "`confirm.matches.json-range` NaN to 49: both must be finite"),
        (matching(range(0.0, f64::NAN)), "`confirm.matches.json-range` 0 to NaN: both must be finite"),
        (matching(range(f64::NEG_INFINITY, 0.0)), "`confirm.matches.json-range` -inf to 0: both must be finite"),
        (
            matching(range_at("position", 0.0, 1.0)),
            "`confirm.matches.json-range.pointer` `position`: it must be empty or begin with `/`",
        ),
        (
            matching(range_at(&text(4_097), 0.0, 1.0)),
            "`confirm.matches.json-range.pointer` of 4097 bytes: it may have 4,096 (4 KiB)",
        ),
    ] {
        let error = refusal(job);
        assert!(
            error.starts_with(&format!("job `open`, step 1: {expected}")),
            "{error}\n  does not begin with\n{expected}"
        );
    }
}

#[test]
fn the_error_for_a_string_without_quotes_asks_for_them() {
    let error = refusal(matching(json("/state", "open")));
    assert!(error.ends_with("; a string must be in quotes, as in `\"open\"`"), "{error}");
}

#[test]
fn the_hint_for_a_report_outside_the_grant_has_the_lines_that_allow_it() {
    let elsewhere = |topic: &str| vec![confirmed(|of| of.topic = topic.into())];
    let of_file = converted(elsewhere("barn/door"), None, false).unwrap_err();
    assert_eq!(
        of_file.to_string(),
        "job `open`, step 1: `confirm.topic` `barn/door`: it is outside what `coop-door` may read"
    );
    assert_eq!(
        of_file.hint.as_deref(),
        Some("to allow it, put this into `plugins/coop-door.toml`:\n[grants]\nsubscribe = [\"coop/#\", \"barn/door\"]")
    );
    let of_operator = converted(elsewhere("coop-door/door"), None, true).unwrap_err();
    assert_eq!(
        of_operator.hint.as_deref(),
        Some("to allow it, put this into `roost.toml`:\n[grants.coop-door]\nsubscribe = [\"coop/#\", \"coop-door/#\"]")
    );
}
