//! Tests of timeouts, with a simulated clock.

mod bounds;

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{Admission, ConnectionId, Core, Next, publish::Publication};
use crate::{
    clock::{self, Now},
    codec::{self, Qos, SubscribeOptions},
    disk::{Disk, Op, Saved, SavedSession, SavedSubscription, Will},
    limits,
    message::Message,
};

fn core(saved: Saved, now: Now) -> Core {
    let admission = Admission { most: 20, most_silent: 10, privileged: Vec::new() };
    Core::new(saved, Disk::nowhere(), admission, now)
}

fn later(now: Now, seconds: u64) -> Now {
    let after = Duration::from_secs(seconds);
    Now { monotonic: now.monotonic + after, wall_ms: now.wall_ms + i64::try_from(after.as_millis()).expect("soon") }
}

fn message(topic: &str) -> Message {
    let (payload, properties) = ([1].into(), [].into());
    Message { topic: topic.into(), payload, properties, expires: None, counted: Default::default() }
}

/// Connects with MQTT 5 and a session expiry in seconds. Returns whether the session existed.
fn connect(core: &mut Core, client: u8, expiry_s: u8, now: Now) -> (ConnectionId, bool) {
    let id = core.open(Arc::new(Notify::new()), now);
    let body = [b"\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0".as_slice(), &[expiry_s, 0, 1, client]].concat();
    assert_eq!(core.receive(id, 0x10, &body, now), Next::Yield);
    let answer = core.take_output(id, now);
    assert_eq!((answer[0], answer[3]), (0x20, 0));
    (id, answer[2] == 1)
}

/// Connects with MQTT 3.1.1 and a persistent session.
fn connect_three(core: &mut Core, client: u8, now: Now) -> ConnectionId {
    let id = core.open(Arc::new(Notify::new()), now);
    let body = [b"\0\x04MQTT\x04\0\0\0\0\x01".as_slice(), &[client]].concat();
    core.begin_turn();
    assert_eq!(core.receive(id, 0x10, &body, now), Next::Yield);
    core.take_output(id, now);
    id
}

/// Subscribes to one filter with MQTT 5.
fn subscribe(core: &mut Core, id: ConnectionId, filter: &str, qos: u8, properties: &[u8], now: Now) {
    let mut body = vec![0, 1, properties.len() as u8];
    body.extend(properties);
    body.extend([0, filter.len() as u8]);
    body.extend(filter.as_bytes());
    body.push(qos);
    core.begin_turn();
    assert_eq!(core.receive(id, 0x82, &body, now), Next::Yield);
}

/// Publishes with MQTT 5 and packet identifier 1.
fn publish(core: &mut Core, id: ConnectionId, topic: &str, payload: &[u8], flags: u8, now: Now) -> Next {
    let mut body = vec![0, topic.len() as u8];
    body.extend(topic.as_bytes());
    if flags & 6 != 0 {
        body.extend([0, 1]);
    }
    body.push(0);
    body.extend(payload);
    core.receive(id, 0x30 | flags, &body, now)
}

#[test]
fn a_session_ends_at_its_expiry() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 100, now);
    core.tick(later(now, 1_000));
    core.remove(id, later(now, 1_000));
    core.tick(later(now, 1_099));
    assert_eq!(core.totals().sessions, 1);
    let (id, was_there) = connect(&mut core, b'a', 100, later(now, 1_099));
    assert!(was_there);
    core.remove(id, later(now, 1_100));
    core.tick(later(now, 1_200));
    assert_eq!(core.totals().sessions, 0);
}

#[test]
fn a_session_expires_while_the_broker_is_stopped() {
    let now = clock::now();
    let session = |id, client: &str, away_ms| SavedSession { id, client: client.to_owned(), expiry_s: 100, away_ms };
    let ago = |seconds: i64| Some(now.wall_ms - seconds * 1_000);
    // An expired one, one with a second left, one from before the clock was set back, and one that was connected.
    let sessions =
        vec![session(1, "a", ago(101)), session(2, "b", ago(99)), session(3, "c", ago(-5)), session(4, "d", None)];
    let mut core = core(Saved { sessions, ..Saved::default() }, now);
    assert_eq!(core.totals().sessions, 3);
    core.tick(later(now, 2));
    assert_eq!(core.totals().sessions, 2);
    core.tick(later(now, 101));
    assert_eq!(core.totals().sessions, 0);
}

#[test]
fn a_client_has_a_minute_to_reconnect_after_a_restart() {
    let now = clock::now();
    let will = |topic: &str, delay_s| {
        let message = message(topic).into();
        Will { message, qos: Qos::AtLeastOnce, retain: true, delay_s, expiry_s: None }
    };
    let wills =
        vec![("a".to_owned(), will("wa", 0)), ("b".to_owned(), will("wb", 0)), ("c".to_owned(), will("wc", 90))];
    let mut core = core(Saved { wills, ..Saved::default() }, now);
    core.tick(later(now, 59));
    assert_eq!(core.totals().retained, 0);
    connect(&mut core, b'a', 0, later(now, 59));
    core.tick(later(now, 60));
    assert_eq!(core.totals().retained, 1, "the one that has not reconnected");
    core.tick(later(now, 90));
    assert_eq!(core.totals().retained, 2, "and the one with a longer will delay");
}

#[test]
fn beyond_the_limit_the_longest_disconnected_session_is_deleted() {
    let now = clock::now();
    let session = |number: i64| SavedSession {
        id: number.unsigned_abs(),
        client: format!("client-{number}"),
        expiry_s: limits::SESSION_EXPIRY_S,
        away_ms: Some(now.wall_ms - number * 1_000),
    };
    let most = i64::try_from(limits::SESSIONS_AWAY).expect("few");
    let sessions = (1..=most).map(session).collect();
    let mut core = core(Saved { sessions, ..Saved::default() }, now);
    let (id, _) = connect(&mut core, b'a', 100, now);
    assert_eq!(core.totals().sessions, limits::SESSIONS_AWAY + 1);
    core.remove(id, now);
    assert_eq!(core.totals().sessions, limits::SESSIONS_AWAY);
    assert!(!core.clients.contains_key(format!("client-{most}").as_str()));
    assert!(core.clients.contains_key("client-1") && core.clients.contains_key("a"));
}

#[test]
fn a_retained_message_is_deleted_at_its_expiry() {
    let now = clock::now();
    let retained =
        vec![(message("a"), Qos::AtLeastOnce, Some(now.wall_ms + 5_000)), (message("b"), Qos::AtMostOnce, None)];
    let mut core = core(Saved { retained, ..Saved::default() }, now);
    core.tick(later(now, 4));
    assert_eq!(core.totals().retained, 2);
    core.tick(later(now, 5));
    assert_eq!(core.totals().retained, 1);
}
