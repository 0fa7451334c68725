use roost_scheduler::event::Event;

use super::*;
use crate::mqtt::tests::confirm;

fn arrived(topic: &str, payload: &str, retained: bool) -> Arrived {
    Arrived {
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        id: None,
        retained,
        expires: false,
        is_own: false,
    }
}

fn drain(pending: &mut PendingEvents) -> Vec<(WatchId, bool, bool, String)> {
    let fields = |event| match event {
        Event::Reported { watch, matches, retained, excerpt, .. } => (watch, matches, retained, excerpt),
        other => panic!("unexpected {other:?}"),
    };
    std::iter::from_fn(|| pending.pop()).map(fields).collect()
}

#[test]
fn the_last_watch_of_a_topic_ends_the_subscription() {
    let mut watches = Watches::default();
    for (watch, topic) in [(1, "a"), (2, "a"), (3, "b")] {
        watches.add(watch, &confirm(topic, "on"));
        assert!(watches.contains(watch));
    }
    let gone = |topic: &str, is_last: bool| Some((topic.into(), is_last));
    assert_eq!(watches.remove(1), gone("a", false));
    assert_eq!(watches.remove(1), None, "it was removed before");
    assert_eq!(watches.remove(3), gone("b", true));
    assert_eq!(watches.remove(2), gone("a", true));
    assert!(watches.topics.is_empty() && watches.by_id.is_empty());
}

#[test]
fn each_watch_of_a_topic_has_its_own_condition() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "on"));
    watches.add(2, &confirm("a", "off"));
    watches.add(3, &confirm("b", "on"));
    watches.receive(arrived("a", "on", false), &mut pending);
    watches.receive(arrived("c", "on", false), &mut pending);
    watches.receive(arrived("A", "on", false), &mut pending);
    let expected = [(1, true, false, "on".to_owned()), (2, false, false, "on".to_owned())];
    assert_eq!(drain(&mut pending), expected);
}

#[test]
fn a_retained_message_is_reported_to_later_watches() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "on"));
    watches.receive(arrived("a", "on", true), &mut pending);
    watches.replay_retained(1, &mut pending);
    assert_eq!(drain(&mut pending), [(1, true, true, "on".to_owned())], "once");
    watches.add(2, &confirm("a", "off"));
    watches.replay_retained(2, &mut pending);
    assert_eq!(drain(&mut pending), [(2, false, true, "on".to_owned())]);
    let too_long = "x".repeat(CONDITION_BYTES + 1);
    let brief = Arrived { expires: true, ..arrived("a", "brief", true) };
    let own = Arrived { is_own: true, ..arrived("a", "on", true) };
    for newer in [arrived("a", "off", false), arrived("a", &too_long, true), brief, own] {
        watches.receive(arrived("a", "on", true), &mut pending);
        watches.receive(newer, &mut pending);
        drain(&mut pending);
        watches.replay_retained(2, &mut pending);
        assert_eq!(drain(&mut pending), [], "the broker's retained message is unknown now");
    }
    watches.receive(arrived("a", "on", true), &mut pending);
    for watch in [1, 2] {
        watches.remove(watch);
    }
    drain(&mut pending);
    watches.add(3, &confirm("a", "on"));
    watches.replay_retained(3, &mut pending);
    assert_eq!(drain(&mut pending), [], "no watch listened in between");
}

#[test]
fn a_flood_is_not_compared_in_full_but_its_last_report_is() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    let listeners = 100;
    for watch in 1..=listeners {
        watches.add(watch, &confirm("a", "last"));
    }
    watches.add(1_000, &confirm("b", "b"));
    for number in 0..100_000 {
        watches.receive(arrived("a", &number.to_string(), false), &mut pending);
        assert!(watches.comparisons <= limits::COMPARISONS_PER_PERIOD + 100);
    }
    assert!(watches.end_read(), "a flood");
    watches.receive(arrived("a", "last", false), &mut pending);
    watches.receive(arrived("a", "older", true), &mut pending);
    watches.receive(arrived("b", "b", false), &mut pending);
    assert!(!watches.end_read(), "the flood is over");
    assert!(drain(&mut pending).iter().all(|(_, matches, ..)| !matches), "the period is not over");
    watches.next_period(&mut pending);
    let events = drain(&mut pending);
    assert_eq!(events.len(), 101);
    assert!(events.iter().all(|(_, matches, retained, _)| *matches && !retained), "{events:?}");
    assert_eq!((watches.queued.len(), watches.queued_bytes), (0, 0));
    watches.receive(arrived("b", "b", false), &mut pending);
    assert!(!pending.is_empty(), "at once");
    watches.next_period(&mut pending);
    assert!(!watches.has_compared());
}

#[test]
fn parsing_json_uses_up_a_share_of_the_period() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "text"));
    let long = format!("[{}0]", "0,".repeat(30_000));
    watches.receive(arrived("a", &long, false), &mut pending);
    assert!(watches.comparisons < 10, "no condition needs JSON");
    watches.add(2, &json("a", "/x"));
    watches.add(3, &json("a", "/y"));
    watches.receive(arrived("a", &long, false), &mut pending);
    assert!((3_500..4_000).contains(&watches.comparisons), "parsed once: {}", watches.comparisons);
}

#[test]
fn large_reports_are_compared_about_once_per_period() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &json("a", "/0"));
    let long = format!("[0{}]", ",0".repeat(30_000));
    let (periods, mut compared) = (20, 0);
    for _ in 0..periods {
        for _ in 0..10 {
            watches.receive(arrived("a", &long, false), &mut pending);
            compared += drain(&mut pending).len();
            watches.end_read();
        }
        watches.next_period(&mut pending);
        compared += drain(&mut pending).len();
    }
    assert!((periods..=periods + 3).contains(&compared), "{compared}");
    watches.receive(arrived("a", "[1]", false), &mut pending);
    watches.next_period(&mut pending);
    watches.next_period(&mut pending);
    assert_eq!(drain(&mut pending).last(), Some(&(1, true, false, "[1]".to_owned())), "the last report is compared");
}

#[test]
fn queued_reports_are_bounded_and_each_topic_has_its_turn() {
    let (mut watches, mut pending) = (Watches::default(), PendingEvents::new(1));
    let long = format!("[1{}]", " ".repeat(60_000));
    let topics = 1 + limits::QUEUED_BYTES / long.len();
    let name = |number: usize| format!("device/{number}");
    for number in 0..=topics + 1 {
        watches.add(number as WatchId, &json(&name(number), "/0"));
    }
    while watches.comparisons < limits::COMPARISONS_PER_PERIOD {
        watches.receive(arrived(&name(0), &long, false), &mut pending);
    }
    for number in 1..=topics {
        assert!(!watches.is_full());
        watches.receive(arrived(&name(number), "[0]", false), &mut pending);
        watches.receive(arrived(&name(number), &long, false), &mut pending);
    }
    assert!(watches.is_full());
    drain(&mut pending);
    watches.remove(1);
    assert!(!watches.is_full(), "reports without a watch are removed from the queue");
    for number in 2..=topics {
        watches.next_period(&mut pending);
        // A device that continues to report neither loses its turn nor delays the others.
        watches.receive(arrived(&name(number), &long, false), &mut pending);
        watches.receive(arrived(&name(topics), &long, false), &mut pending);
    }
    let received: std::collections::BTreeSet<_> = drain(&mut pending).into_iter().map(|(watch, ..)| watch).collect();
    assert!(received.into_iter().eq(2..=topics as WatchId));
    watches.end(&mut pending);
    assert_eq!((watches.queued.len(), watches.queued_bytes), (0, 0));
}

fn json(topic: &str, pointer: &str) -> Confirm {
    let matches = roost_scheduler::model::Matches::Json { pointer: pointer.to_owned(), value: "1".to_owned() };
    Confirm { matches, ..confirm(topic, "") }
}
