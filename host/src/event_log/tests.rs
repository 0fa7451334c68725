use super::*;

fn plugin(name: &str) -> PluginName {
    PluginName::parse(name).unwrap()
}

fn said(name: &str, line: &str) -> HostEvent {
    HostEvent::Logged { plugin: plugin(name), device: None, level: Level::INFO, line: line.into() }
}

fn ended(outcome: Outcome) -> HostEvent {
    HostEvent::Ended(Box::new(RunEnded {
        key: None,
        id: "coop/north/open/2027-03-01T06:30:00Z".parse().unwrap(),
        outcome,
        body: None,
        started: None,
        ended: Instant::MIN,
        attempts: 1,
        note: None,
    }))
}

fn numbers(piece: &Piece) -> Vec<u64> {
    piece.entries.iter().map(|entry| entry.number).collect()
}

#[test]
fn what_is_told_is_numbered_and_heard_in_pieces() {
    let feed = EventLog::default();
    assert_eq!((feed.last(), feed.after(0, 9).missed), (0, 0));
    feed.tell_all((0..5).map(|_| HostEvent::Link { up: true }));
    let piece = feed.after(1, 2);
    assert_eq!((numbers(&piece), piece.missed), (vec![2, 3], 0));
    assert!(feed.after(5, 9).entries.is_empty());
}

#[test]
fn whoever_is_too_slow_is_told_how_many_he_has_missed() {
    let feed = EventLog::default();
    feed.tell_all((0..limits::HAPPENINGS + 10).map(|_| HostEvent::Link { up: true }));
    let piece = feed.after(3, 1);
    assert_eq!((numbers(&piece), piece.missed), (vec![11], 7));
    assert_eq!(feed.after(10, 1).missed, 0);
}

#[test]
fn long_texts_push_out_more() {
    let feed = EventLog::default();
    let line = "x".repeat(1 << 20);
    (0..20).for_each(|_| feed.tell(said("coop", &line)));
    let kept = feed.after(0, 99);
    assert!(kept.entries.len() < 10 && kept.missed > 10, "{}", kept.entries.len());
    assert_eq!(feed.logged(&plugin("coop"), None, 9).len(), 1, "the newest is there, however long it is");
}

#[test]
fn a_plugins_logs_have_what_it_wrote_and_what_went_wrong() {
    let feed = EventLog::default();
    feed.tell(said("coop", "one"));
    feed.tell(said("other", "two"));
    feed.tell(ended(Outcome::Succeeded(Success::PLAIN)));
    feed.tell(ended(Outcome::Denied(roost_scheduler::outcome::Denied::Topic(
        roost_scheduler::topic::Topic::parse("x").unwrap(),
    ))));
    feed.tell(HostEvent::Removed(plugin("coop")));
    feed.tell(said("coop", "three"));
    let logged =
        |after, most| feed.logged(&plugin("coop"), after, most).iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(logged(None, 9), [1, 4, 5, 6]);
    assert_eq!(logged(None, 2), [5, 6]);
    assert_eq!(logged(Some(1), 2), [4, 5]);
    assert!(feed.logged(&plugin("nobody"), None, 9).is_empty());
}

#[test]
fn plugins_that_are_gone_or_quiet_make_room() {
    let feed = EventLog::default();
    feed.tell(said("quiet", "x"));
    feed.tell(said("gone", "x"));
    feed.tell(HostEvent::Removed(plugin("gone")));
    (2..limits::PLUGINS).for_each(|number| feed.tell(said(&format!("p{number}"), "x")));
    feed.tell(said("new", "x"));
    let has = |name: &str| feed.plugins().contains(&plugin(name));
    assert!(has("quiet") && !has("gone") && has("new"));
    feed.tell(said("newer", "x"));
    assert!(!has("quiet") && has("newer") && feed.plugins().len() == limits::PLUGINS);
}

#[tokio::test]
async fn those_who_follow_are_woken_and_told_when_it_is_over() {
    let feed = EventLog::default();
    let (mut bell, ringing) = (feed.bell(), feed.clone());
    let ringing = tokio::spawn(async move { ringing.ring().await });
    feed.tell(HostEvent::Link { up: true });
    bell.changed().await.unwrap();
    assert!(!*bell.borrow_and_update());
    ringing.abort();
    feed.end();
    bell.changed().await.unwrap();
    assert!(*bell.borrow_and_update());
}
