use super::*;
use crate::mqtt::tests::attempt;
use roost_scheduler::model::Qos;

fn topic(name: &str) -> Subject {
    Subject::Publish(name.into())
}

#[test]
fn only_the_last_answered_packet_and_later_ones_are_suspects() {
    let now = Instant::now();
    let mut recent = Recent::default();
    for (number, id) in [(1, Some(1)), (2, None), (3, Some(2)), (4, Some(3))] {
        let publish = attempt(1, number, &format!("a/{number}"), b"on", Qos::AtLeastOnce);
        recent.step(&publish.body, publish.step, id, now);
    }
    recent.other(Subject::Subscribe("a/1".into()), Some(4), now);
    assert_eq!(recent.suspects(now).len(), 5);
    recent.answered(2);
    let left = [topic("a/3"), topic("a/4"), Subject::Subscribe("a/1".into())];
    assert_eq!(recent.suspects(now), left, "a broker may answer and then close");
    recent.answered(9);
    assert_eq!(recent.suspects(now), left);
    assert!(recent.suspects(now + limits::SUSPECT_WITHIN * 2).is_empty());
    let mark = recent.mark();
    recent.other(topic("a/5"), None, now);
    recent.passed(mark);
    assert_eq!(recent.suspects(now), [topic("a/5")]);
    for _ in 0..2 * limits::RECENT_PACKETS {
        recent.other(topic("a/6"), None, now);
    }
    assert_eq!(recent.packets.len(), limits::RECENT_PACKETS, "I10");
    recent.passed(mark);
    assert_eq!(recent.suspects(now), [topic("a/6")], "an old mark has no effect");
}

#[test]
fn candidates_become_suspects_only_after_an_immediate_reconnect() {
    let now = Instant::now();
    let mut suspects = Suspects::new(now);
    assert!(suspects.nominate(vec![topic("a"), topic("b")]));
    assert_eq!(suspects.connected(false, now), []);
    assert!(!suspects.contains(&topic("a")));
    suspects.nominate(vec![topic("a"), topic("b")]);
    assert_eq!(suspects.connected(true, now).len(), 2);
    assert!(suspects.contains(&topic("a")) && !suspects.contains(&Subject::Subscribe("a".into())));
    assert!(!suspects.nominate(vec![topic("a")]), "a known suspect is not new");
    assert!(suspects.nominate((0..2 * limits::SUSPECTS).map(|number| topic(&number.to_string())).collect()));
    assert_eq!(suspects.connected(true, now).len(), limits::SUSPECTS - 2, "I10");
}

#[test]
fn pauses_grow_until_the_connection_ends_for_another_reason() {
    let now = Instant::now();
    let mut suspects = Suspects::new(now);
    suspects.nominate(vec![topic("a"), topic("b")]);
    suspects.connected(true, now);
    assert_eq!(suspects.ready_at(&topic("a")), now);
    let pauses: Vec<u64> =
        (0..8).map(|_| suspects.mark_denied(&topic("a"), limits::LONGEST_PAUSE, now).1.as_secs()).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(suspects.ready_at(&topic("b")), now + limits::AFTER_DENIAL);
    assert_eq!(suspects.denied(), (vec!["a".to_owned()], 1));
    suspects.retry_all(now);
    assert_eq!(suspects.ready_at(&topic("a")), now + limits::AFTER_DENIAL);
    assert!(suspects.clear(&topic("a"), Duration::from_millis(10), now), "it was denied before");
    assert!(!suspects.clear(&topic("b"), Duration::from_millis(10), now));
    assert!(suspects.is_empty());
}

#[test]
fn each_deferred_message_has_its_own_turn() {
    let now = Instant::now();
    let mut suspects = Suspects::new(now);
    suspects.nominate(vec![topic("a")]);
    suspects.connected(true, now);
    let waits: Vec<Duration> = (0..3).map(|_| suspects.wait(&topic("a"), now)).collect();
    assert_eq!(waits, [limits::TURN, limits::TURN * 2, limits::TURN * 3]);
    for _ in 0..10_000 {
        suspects.wait(&topic("a"), now);
    }
    assert_eq!(suspects.wait(&topic("a"), now), limits::LAST_TURN);
}
