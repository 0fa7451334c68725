use roost_scheduler::event::Event;

use super::*;
use crate::mqtt::tests::confirm;

fn arrived(topic: &str, payload: &str, retained: bool) -> Arrived {
    Arrived { topic: topic.to_owned(), payload: payload.to_owned().into(), id: None, retained, expires: false }
}

fn told(untold: &mut Untold) -> Vec<(WatchId, bool, bool, String)> {
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
        assert_eq!(watches.add(watch, &confirm(topic, "on")), None);
        assert!(watches.contains(watch));
    }
    let gone = |topic: &str, is_last: bool| Some((topic.into(), is_last));
    assert_eq!(watches.remove(1), gone("a", false));
    assert_eq!(watches.remove(1), None, "it has gone before");
    assert_eq!(watches.remove(3), gone("b", true));
    assert_eq!(watches.add(2, &confirm("c", "on")), gone("a", true), "the same number again");
    assert!(watches.topics.contains_key("c") && !watches.topics.contains_key("a"));
    assert_eq!(watches.remove(2), gone("c", true));
    assert!(watches.topics.is_empty() && watches.by_id.is_empty());
}

#[test]
fn each_watch_of_a_topic_hears_and_has_its_own_condition() {
    let (mut watches, mut untold) = (Watches::default(), Untold::new(1));
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
    let (mut watches, mut untold) = (Watches::default(), Untold::new(1));
    watches.add(1, &confirm("a", "on"));
    watches.take(arrived("a", "on", true), &mut untold);
    watches.granted(1, &mut untold);
    assert_eq!(told(&mut untold), [(1, true, true, "on".to_owned())], "once");
    watches.add(2, &confirm("a", "off"));
    watches.granted(2, &mut untold);
    assert_eq!(told(&mut untold), [(2, false, true, "on".to_owned())]);
    let too_long = "x".repeat(CONDITION_BYTES + 1);
    let brief = Arrived { expires: true, ..arrived("a", "brief", true) };
    for newer in [arrived("a", "off", false), arrived("a", &too_long, true), brief] {
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
    let (mut watches, mut untold) = (Watches::default(), Untold::new(1));
    let listeners = 100;
    for watch in 1..=listeners {
        watches.add(watch, &confirm("a", "last"));
    }
    watches.add(1_000, &confirm("b", "b"));
    for number in 0..100_000 {
        watches.take(arrived("a", &number.to_string(), false), &mut untold);
        assert!(watches.looks <= LOOKS_PER_TURN + 100);
    }
    watches.take(arrived("a", "last", false), &mut untold);
    watches.take(arrived("a", "older", true), &mut untold);
    watches.take(arrived("b", "b", false), &mut untold);
    assert!(watches.end_turn(&mut untold), "a flood");
    let told = told(&mut untold);
    assert_eq!(told.iter().filter(|(_, matches, retained, _)| *matches && !retained).count(), 101);
    assert!(told.len() <= 202, "{}", told.len());
    assert!(!watches.end_turn(&mut untold));
    watches.take(arrived("b", "b", false), &mut untold);
    assert!(!untold.is_empty(), "the next turn is as ever");
}

#[test]
fn json_takes_its_share_of_a_turn() {
    let (mut watches, mut untold) = (Watches::default(), Untold::new(1));
    watches.add(1, &confirm("a", "text"));
    let long = format!("[{}0]", "0,".repeat(30_000));
    watches.take(arrived("a", &long, false), &mut untold);
    assert!(watches.looks < 10, "nobody wants it as JSON");
    watches.add(2, &json("a", "/x"));
    watches.add(3, &json("a", "/y"));
    watches.take(arrived("a", &long, false), &mut untold);
    assert!((900..1_000).contains(&watches.looks), "read once: {}", watches.looks);
}

fn json(topic: &str, pointer: &str) -> Confirm {
    let matches = roost_scheduler::model::Matches::Json { pointer: pointer.to_owned(), value: "1".to_owned() };
    Confirm { matches, ..confirm(topic, "") }
}
