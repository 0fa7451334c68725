use super::*;

fn plugin(name: &str) -> PluginName {
    PluginName::parse(name).unwrap()
}

fn logged(name: &str, line: &str) -> HostEvent {
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

fn numbers(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.number).collect()
}

#[test]
fn events_are_numbered_and_read_in_pages() {
    let event_log = EventLog::default();
    assert_eq!((event_log.last(), event_log.after(0, 9).missed), (0, 0));
    event_log.push_all((0..5).map(|_| HostEvent::Link { up: true }));
    let page = event_log.after(1, 2);
    assert_eq!((numbers(&page), page.missed), (vec![2, 3], 0));
    assert!(event_log.after(5, 9).entries.is_empty());
}

#[test]
fn a_slow_subscriber_learns_how_many_events_it_has_missed() {
    let event_log = EventLog::default();
    event_log.push_all((0..limits::EVENTS + 10).map(|_| HostEvent::Link { up: true }));
    let page = event_log.after(3, 1);
    assert_eq!((numbers(&page), page.missed), (vec![11], 7));
    assert_eq!(event_log.after(10, 1).missed, 0);
}

#[test]
fn long_events_leave_room_for_fewer() {
    let event_log = EventLog::default();
    let line = "x".repeat(1 << 20);
    (0..20).for_each(|_| event_log.push(logged("coop", &line)));
    let kept = event_log.after(0, 99);
    assert!(kept.entries.len() < 10 && kept.missed > 10, "{}", kept.entries.len());
    assert_eq!(event_log.logged(&plugin("coop"), None, 9).len(), 1, "the newest is there, however long it is");
}

#[test]
fn a_plugins_log_has_its_own_lines_and_its_faults() {
    let event_log = EventLog::default();
    event_log.push(logged("coop", "one"));
    event_log.push(logged("other", "two"));
    event_log.push(ended(Outcome::Succeeded(Success::PLAIN)));
    event_log.push(ended(Outcome::Denied(roost_scheduler::outcome::Denied::Topic(
        roost_scheduler::topic::Topic::parse("x").unwrap(),
    ))));
    event_log.push(HostEvent::Removed(plugin("coop")));
    event_log.push(logged("coop", "three"));
    let logged = |after, most| {
        event_log.logged(&plugin("coop"), after, most).iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!(logged(None, 9), [1, 4, 5, 6]);
    assert_eq!(logged(None, 2), [5, 6]);
    assert_eq!(logged(Some(1), 2), [4, 5]);
    assert!(event_log.logged(&plugin("unknown"), None, 9).is_empty());
}

#[test]
fn logs_of_removed_or_idle_plugins_are_dropped_first() {
    let event_log = EventLog::default();
    event_log.push(logged("quiet", "x"));
    event_log.push(logged("gone", "x"));
    event_log.push(HostEvent::Removed(plugin("gone")));
    (2..limits::PLUGINS).for_each(|number| event_log.push(logged(&format!("p{number}"), "x")));
    event_log.push(logged("new", "x"));
    let has = |name: &str| event_log.plugins().contains(&plugin(name));
    assert!(has("quiet") && !has("gone") && has("new"));
    event_log.push(logged("newer", "x"));
    assert!(!has("quiet") && has("newer") && event_log.plugins().len() == limits::PLUGINS);
}

#[tokio::test]
async fn subscribers_are_woken_for_new_events_and_at_the_end() {
    let event_log = EventLog::default();
    let (mut wake, waking) = (event_log.subscribe(), event_log.clone());
    let waking = tokio::spawn(async move { waking.wake_subscribers().await });
    event_log.push(HostEvent::Link { up: true });
    wake.changed().await.unwrap();
    assert!(!*wake.borrow_and_update());
    waking.abort();
    event_log.close();
    wake.changed().await.unwrap();
    assert!(*wake.borrow_and_update());
}
