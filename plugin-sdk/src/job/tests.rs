//! Tests of the job builder.

use super::*;
use crate::{days, hours, minutes, seconds};

#[test]
fn a_mistake_is_reported_with_its_job() {
    let cases = [
        (Job::daily("a", "25:00").publish("t", ""), "job `a`: `daily`: there is no time of day `25:00`"),
        (Job::daily("a", "05:00"), "job `a`: it has nothing to do: give it a message with `.publish(topic, payload)`"),
        (
            Job::daily("a", "05:00").qos(1).publish("t", ""),
            "job `a`: `qos` applies to a message, so it comes after `publish`",
        ),
        (
            Job::daily("a", "05:00").once().publish("t", ""),
            "job `a`: `once` applies to a message, so it comes after `publish`",
        ),
        (
            Job::daily("a", "05:00").confirm("s", "1", seconds(1)).publish("t", ""),
            "job `a`: `confirm` applies to a message, so it comes after `publish`",
        ),
        (
            Job::daily("a", "05:00").publish("t", "").confirm("s", "1", seconds(1)).publish("t", "").already(),
            "job `a`: `already` applies to a confirmation, so it comes after `confirm`",
        ),
        (
            Job::daily("a", "05:00").publish("t", "").confirm("s", "1", minutes(-1)),
            "job `a`: `confirm` -1m is negative",
        ),
        (Job::daily("a", "05:00").otherwise("06:00").publish("t", ""), "job `a`: `otherwise` belongs to a sun event"),
        (Job::daily("a", "05:00").not_before("06:00").publish("t", ""), "job `a`: `not_before` belongs to a sun event"),
        (Job::sunrise("a").offset(days(60)).publish("t", ""), "job `a`: `offset` 60d is more than 12 hours"),
        (Job::every("a", minutes(-1)).publish("t", ""), "job `a`: `every` -1m is negative"),
        (Job::every("a", minutes(1)).grace(days(50)).publish("t", ""), "job `a`: `grace` 50d is more than 49 days"),
        (
            Job::every("a", minutes(1)).publish("t", "").then(days(40), "t", "").then(days(40), "t", ""),
            "job `a`: its messages take more than 49 days",
        ),
        (
            Job::daily("a", "05:00").publish("t", "").task("b", ()),
            "job `a`: it has messages and the task `b`, and may have only one of them",
        ),
        (
            Job::daily("a", "05:00").messages(Messages::new().qos(1)),
            "job `a`: `qos` applies to a message, so it comes after `publish`",
        ),
    ];
    for (job, expected) in cases {
        assert_eq!(job.into_contract().unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_time_between_messages_adds_up() {
    let job = Job::daily("a", "05:00:30").publish("t", "1").then(minutes(10), "t", "2").publish("t", "3").then(
        seconds(5),
        "t",
        "4",
    );
    let job =
        job.label("Four").priority(-1).attempts(3).backoff(seconds(2)).grace(hours(1)).into_contract().expect("valid");
    let wit::Action::Steps(steps) = job.action else { panic!("it publishes") };
    assert_eq!(steps.iter().map(|step| step.after_ms).collect::<Vec<_>>(), [0, 600_000, 600_000, 605_000]);
    let wit::Trigger::Cron(cron) = job.trigger else { panic!("it is daily") };
    assert_eq!(cron.expression, "30 0 5 * * *");
}

#[test]
fn message_options_apply_to_the_message_before() {
    let job =
        Job::daily("a", "05:00").publish("t", "1").once().publish("t", "2").confirm("s", "2", seconds(9)).already();
    let wit::Action::Steps(steps) = job.into_contract().expect("valid").action else { panic!("it publishes") };
    assert!(steps[0].once && steps[0].confirm.is_none() && !steps[1].once);
    let confirm = steps[1].confirm.as_ref().expect("it has one");
    assert_eq!((confirm.topic.as_str(), confirm.within_ms, confirm.already), ("s", 9_000, true));
}

#[test]
fn the_last_setting_counts() {
    let job = Job::daily("a", "05:00").publish("t", "").run_all().latest_of_group("g").queue(1).allow(2).replace();
    let policy = job.needs("pump").into_contract().expect("valid").policy.expect("it has one");
    assert!(matches!(policy.misfire, Some(wit::Misfire::LatestOfGroup(group)) if group == "g"));
    assert!(matches!(policy.overlap, Some(wit::Overlap::Replace)));
    assert_eq!(policy.needs.as_deref(), Some("pump"));
}

#[test]
fn shared_messages_follow_the_jobs_own() {
    let shared = Messages::new().publish("t", "2").once().then(seconds(5), "t", "3");
    let job = Job::daily("a", "05:00").publish("t", "0").then(seconds(1), "t", "1").messages(shared).publish("t", "4");
    let wit::Action::Steps(steps) = job.into_contract().expect("valid").action else { panic!("it publishes") };
    let published: Vec<_> = steps.iter().map(|step| (step.after_ms, step.message.payload[0], step.once)).collect();
    assert_eq!(
        published,
        [(0, b'0', false), (1_000, b'1', false), (1_000, b'2', true), (6_000, b'3', false), (6_000, b'4', false)]
    );
}

#[test]
fn a_task_has_its_arguments_as_json() {
    let args = JsonValue::object([("zone", "lawn".into()), ("minutes", 1.5.into())]);
    let job = Job::daily("a", "05:00").task("water", args).into_contract().expect("valid");
    let wit::Action::Task(task) = job.action else { panic!("it asks") };
    assert_eq!((task.name.as_str(), task.args.as_str()), ("water", r#"{"zone":"lawn","minutes":1.5}"#));
}
