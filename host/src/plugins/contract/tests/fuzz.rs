//! Fuzzes plans: each becomes jobs, or is refused with the job and the reason.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// Generates valid, invalid and long texts.
fn text() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "open",
        "",
        "coop/door",
        "coop/#",
        "$SYS/x",
        "/",
        "30 6 * * *",
        "0 0 31 2 *",
        "@daily",
        "Europe/London",
        "pump",
        "null",
        "{\"a\":1}",
        "/a/b",
        "~",
        "\u{202e}x",
        "line\nline",
        "\u{0}",
        "roost-run",
        "\u{1f414}",
        "close",
        "spring",
    ];
    let long = (select(WORDS), 1..4_000_usize).prop_map(|(word, times)| word.repeat(times));
    prop_oneof![8 => select(WORDS).prop_map(str::to_owned), 1 => any::<String>(), 1 => long]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![select(&[0, 1, 99, 100, 999, 1_000, 60_000, u32::MAX][..]), any::<u32>()]
}

fn instant() -> impl Strategy<Value = i64> {
    prop_oneof![select(&[i64::MIN, -1, 0, 1_800_000_000_000, 253_402_300_799_999, i64::MAX][..]), any::<i64>()]
}

fn float() -> impl Strategy<Value = f64> {
    select(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.5, f64::MAX, f64::MIN_POSITIVE][..])
}

fn time() -> impl Strategy<Value = wit::Time> {
    (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(hour, minute, second)| {
        if hour % 2 == 0 {
            wit::Time { hour: hour % 25, minute: minute % 60, second: second % 60 }
        } else {
            wit::Time { hour, minute, second }
        }
    })
}

fn trigger() -> impl Strategy<Value = wit::Trigger> {
    let events =
        [wit::SunEvent::Sunrise, wit::SunEvent::Sunset, wit::SunEvent::SolarNoon, wit::SunEvent::AstronomicalDusk];
    prop_oneof![
        instant().prop_map(wit::Trigger::At),
        (number(), option::of(instant()))
            .prop_map(|(period_ms, anchor)| wit::Trigger::Every(wit::Every { period_ms, anchor })),
        (text(), option::of(text())).prop_map(|(expression, time_zone)| wit::Trigger::Cron(wit::Cron {
            expression,
            time_zone,
            days: None,
            finish: false
        })),
        (0..events.len(), any::<i32>(), option::of(time()), option::of(time()), option::of(time())).prop_map(
            move |(event, offset_ms, not_before, not_after, otherwise)| {
                wit::Trigger::Sun(wit::Sun {
                    event: events[event],
                    offset_ms,
                    not_before,
                    not_after,
                    otherwise,
                    days: None,
                    finish: false,
                })
            }
        ),
    ]
}

fn confirm() -> impl Strategy<Value = wit::Confirm> {
    let matches = prop_oneof![
        Just(wit::Matches::Any),
        vec(any::<u8>(), 0..9).prop_map(wit::Matches::Bytes),
        (text(), text()).prop_map(|(pointer, value)| wit::Matches::Json(wit::JsonValue { pointer, value })),
        (text(), float(), float()).prop_map(|(pointer, min, max)| wit::Matches::JsonRange(wit::JsonRange {
            pointer,
            min,
            max
        })),
    ];
    (text(), matches, number(), any::<bool>()).prop_map(|(topic, matches, within_ms, already)| wit::Confirm {
        topic,
        matches,
        within_ms,
        already,
    })
}

fn any_step() -> impl Strategy<Value = wit::Step> {
    let properties =
        (option::of(number()), option::of(text()), option::of(text()), option::of(vec((text(), text()), 0..18)));
    let properties = properties.prop_map(|(expiry_ms, content_type, response_topic, user)| wit::MessageProperties {
        expiry_ms,
        content_type,
        response_topic,
        user,
    });
    let message = (text(), vec(any::<u8>(), 0..9), 0..4_u8, any::<bool>(), option::of(properties))
        .prop_map(|(topic, payload, qos, retain, properties)| wit::Message { topic, payload, qos, retain, properties });
    (number(), message, any::<bool>(), option::of(confirm())).prop_map(|(after_ms, message, once, confirm)| wit::Step {
        after_ms,
        message,
        once,
        confirm,
    })
}

fn any_policy() -> impl Strategy<Value = wit::Policy> {
    let misfire = prop_oneof![
        Just(wit::Misfire::RunOnce),
        Just(wit::Misfire::RunAll),
        text().prop_map(wit::Misfire::LatestOfGroup)
    ];
    let overlap = prop_oneof![
        Just(wit::Overlap::Skip),
        Just(wit::Overlap::Replace),
        number().prop_map(wit::Overlap::Queue),
        number().prop_map(wit::Overlap::Allow)
    ];
    let retry = (option::of(number()), option::of(number()), option::of(number()))
        .prop_map(|(attempts, give_up_after_ms, backoff_ms)| wit::Retry { attempts, give_up_after_ms, backoff_ms });
    let first = (option::of(misfire), option::of(number()), option::of(overlap), option::of(number()));
    (first, option::of(any::<i8>()), option::of(retry), option::of(text())).prop_map(
        |((misfire, grace_ms, overlap, jitter_ms), priority, retry, needs)| wit::Policy {
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

fn any_job() -> impl Strategy<Value = wit::Job> {
    let action = prop_oneof![
        3 => vec(any_step(), 0..4).prop_map(wit::Action::Steps),
        1 => (text(), text()).prop_map(|(name, args)| wit::Action::Task(wit::Task { name, args })),
    ];
    // Most jobs are valid in all but one or two parts.
    let parts =
        (option::of(text()), option::of(text()), option::of(trigger()), option::of(action), option::of(any_policy()));
    parts.prop_map(|(id, label, trigger, action, policy)| {
        let good = job("open");
        wit::Job {
            id: id.unwrap_or(good.id),
            label,
            trigger: trigger.unwrap_or(good.trigger),
            action: action.unwrap_or(good.action),
            policy,
        }
    })
}

proptest! {
    #[test]
    fn a_plan_becomes_valid_jobs_or_is_refused_with_a_reason(
        list in vec(any_job(), 0..4),
        has_location in any::<bool>(),
    ) {
        let location = Location::new(51.5, -0.1).filter(|_| has_location);
        let count = list.len();
        match converted(list, location, false) {
            Err(invalid) => {
                let message = invalid.to_string();
                prop_assert!(message.len() < 4_096 && !message.contains(|char: char| char.is_control()),
                    "{:?}", message);
            }
            Ok(jobs) => {
                prop_assert_eq!(jobs.len(), count);
                for job in &jobs {
                    for step in job.steps() {
                        prop_assert!(step.message.topic.as_str().starts_with("coop"), "I8: {}", step.message.topic);
                    }
                    let packed = roost_scheduler::body::PackedJob::from(job);
                    prop_assert_eq!(&Job::from(&packed), job);
                }
            }
        }
    }
}
