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
        is_ours: false,
    }
}

fn told(untold: &mut PendingEvents) -> Vec<(WatchId, bool, bool, String)> {
    let fields = |event| match event {
        Event::Reported { watch, matches, retained, said, .. } => (watch, matches, retained, said),
        other => panic!("unexpected {other:?}"),
    };
    std::iter::from_fn(|| untold.pop()).map(fields).collect()
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
    assert_eq!(watches.remove(1), None, "it has gone before");
    assert_eq!(watches.remove(3), gone("b", true));
    assert_eq!(watches.remove(2), gone("a", true));
    assert!(watches.topics.is_empty() && watches.by_id.is_empty());
}

#[test]
fn each_watch_of_a_topic_hears_and_has_its_own_condition() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "on"));
    watches.add(2, &confirm("a", "off"));
    watches.add(3, &confirm("b", "on"));
    watches.take(arrived("a", "on", false), &mut untold);
    watches.take(arrived("c", "on", false), &mut untold);
    watches.take(arrived("A", "on", false), &mut untold);
    let expected = [(1, true, false, "on".to_owned()), (2, false, false, "on".to_owned())];
    assert_eq!(told(&mut untold), expected);
}

#[test]
fn what_the_broker_has_kept_is_told_to_later_watches() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "on"));
    watches.take(arrived("a", "on", true), &mut untold);
    watches.granted(1, &mut untold);
    assert_eq!(told(&mut untold), [(1, true, true, "on".to_owned())], "once");
    watches.add(2, &confirm("a", "off"));
    watches.granted(2, &mut untold);
    assert_eq!(told(&mut untold), [(2, false, true, "on".to_owned())]);
    let too_long = "x".repeat(CONDITION_BYTES + 1);
    let brief = Arrived { expires: true, ..arrived("a", "brief", true) };
    let ours = Arrived { is_ours: true, ..arrived("a", "on", true) };
    for newer in [arrived("a", "off", false), arrived("a", &too_long, true), brief, ours] {
        watches.take(arrived("a", "on", true), &mut untold);
        watches.take(newer, &mut untold);
        told(&mut untold);
        watches.granted(2, &mut untold);
        assert_eq!(told(&mut untold), [], "it is not known what the broker has now");
    }
    watches.take(arrived("a", "on", true), &mut untold);
    for watch in [1, 2] {
        watches.remove(watch);
    }
    told(&mut untold);
    watches.add(3, &confirm("a", "on"));
    watches.granted(3, &mut untold);
    assert_eq!(told(&mut untold), [], "nobody has listened in between");
}

#[test]
fn a_flood_is_not_looked_at_in_full_but_its_end_is() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    let listeners = 100;
    for watch in 1..=listeners {
        watches.add(watch, &confirm("a", "last"));
    }
    watches.add(1_000, &confirm("b", "b"));
    for number in 0..100_000 {
        watches.take(arrived("a", &number.to_string(), false), &mut untold);
        assert!(watches.looks <= LOOKS_PER_PERIOD + 100);
    }
    assert!(watches.end_turn(), "a flood");
    watches.take(arrived("a", "last", false), &mut untold);
    watches.take(arrived("a", "older", true), &mut untold);
    watches.take(arrived("b", "b", false), &mut untold);
    assert!(!watches.end_turn(), "the turns have come to their end");
    assert!(told(&mut untold).iter().all(|(_, matches, ..)| !matches), "the period has not");
    watches.next_period(&mut untold);
    let told = told(&mut untold);
    assert_eq!(told.len(), 101);
    assert!(told.iter().all(|(_, matches, retained, _)| *matches && !retained), "{told:?}");
    assert_eq!((watches.late.len(), watches.late_bytes), (0, 0));
    watches.take(arrived("b", "b", false), &mut untold);
    assert!(!untold.is_empty(), "at once");
    watches.next_period(&mut untold);
    assert!(!watches.has_looked());
}

#[test]
fn json_takes_its_share_of_a_period() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &confirm("a", "text"));
    let long = format!("[{}0]", "0,".repeat(30_000));
    watches.take(arrived("a", &long, false), &mut untold);
    assert!(watches.looks < 10, "nobody wants it as JSON");
    watches.add(2, &json("a", "/x"));
    watches.add(3, &json("a", "/y"));
    watches.take(arrived("a", &long, false), &mut untold);
    assert!((3_500..4_000).contains(&watches.looks), "read once: {}", watches.looks);
}

#[test]
fn large_reports_are_looked_at_now_and_then_however_many_turns_bring_them() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    watches.add(1, &json("a", "/0"));
    let long = format!("[0{}]", ",0".repeat(30_000));
    let (periods, mut looked) = (20, 0);
    for _ in 0..periods {
        for _ in 0..10 {
            watches.take(arrived("a", &long, false), &mut untold);
            looked += told(&mut untold).len();
            watches.end_turn();
        }
        watches.next_period(&mut untold);
        looked += told(&mut untold).len();
    }
    assert!((periods..=periods + 3).contains(&looked), "{looked}");
    watches.take(arrived("a", "[1]", false), &mut untold);
    watches.next_period(&mut untold);
    watches.next_period(&mut untold);
    assert_eq!(told(&mut untold).last(), Some(&(1, true, false, "[1]".to_owned())), "the last one is seen");
}

#[test]
fn what_waits_to_be_looked_at_is_bounded_and_each_topic_has_its_turn() {
    let (mut watches, mut untold) = (Watches::default(), PendingEvents::new(1));
    let long = format!("[1{}]", " ".repeat(60_000));
    let topics = 1 + LATE_BYTES / long.len();
    let name = |number: usize| format!("device/{number}");
    for number in 0..=topics + 1 {
        watches.add(number as WatchId, &json(&name(number), "/0"));
    }
    while watches.looks < LOOKS_PER_PERIOD {
        watches.take(arrived(&name(0), &long, false), &mut untold);
    }
    for number in 1..=topics {
        assert!(!watches.is_full());
        watches.take(arrived(&name(number), "[0]", false), &mut untold);
        watches.take(arrived(&name(number), &long, false), &mut untold);
    }
    assert!(watches.is_full());
    told(&mut untold);
    watches.remove(1);
    assert!(!watches.is_full(), "what nobody waits for any more does not wait either");
    for number in 2..=topics {
        watches.next_period(&mut untold);
        // Who goes on reporting waits no longer for that, and the others no longer for it.
        watches.take(arrived(&name(number), &long, false), &mut untold);
        watches.take(arrived(&name(topics), &long, false), &mut untold);
    }
    let heard: std::collections::BTreeSet<_> = told(&mut untold).into_iter().map(|(watch, ..)| watch).collect();
    assert!(heard.into_iter().eq(2..=topics as WatchId));
    watches.end(&mut untold);
    assert_eq!((watches.late.len(), watches.late_bytes), (0, 0));
}

fn json(topic: &str, pointer: &str) -> Confirm {
    let matches = roost_scheduler::model::Matches::Json { pointer: pointer.to_owned(), value: "1".to_owned() };
    Confirm { matches, ..confirm(topic, "") }
}
