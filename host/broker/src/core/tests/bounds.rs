//! Tests of the bounds between clients.

use super::*;

/// A subscriber that reads and never acknowledges.
#[test]
fn a_client_that_does_not_acknowledge_affects_only_itself() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (from, _) = connect(&mut core, b'f', 0, now);
    let (quick, _) = connect(&mut core, b'q', 0, now);
    subscribe(&mut core, quick, "q", 1, &[], now);
    core.take_output(quick, now);
    let payload = vec![b'x'; 900_000];
    for client in *b"01234567" {
        let (silent, _) = connect(&mut core, client, 100, now);
        subscribe(&mut core, silent, "s/#", 1, &[], now);
        let mut sent = 0;
        for number in 0..60 {
            publish(&mut core, from, &format!("s/{client}/{number}"), &payload, 2, now);
            for id in 1..=core.last_connection {
                let output = core.take_output(id, now);
                sent += if id == silent { output.len() } else { 0 };
            }
        }
        assert!(sent > 900_000, "it receives its window");
        assert!(sent < limits::IN_FLIGHT_BYTES + 2_000_000, "{sent} bytes at once");
        publish(&mut core, from, "q", b"x", 2, now);
        assert_eq!(core.take_output(quick, now).first(), Some(&0x32), "others get theirs");
        core.receive(quick, 0x40, &[0, 1], now);
    }
    assert!(core.queued_bytes.load(std::sync::atomic::Ordering::Relaxed) <= limits::QUEUES_BYTES);
}

/// Levels of filters that are visited without a match count as work.
#[test]
fn visited_levels_count_as_work() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    for client in *b"01" {
        let (id, _) = connect(&mut core, client, 0, now);
        let last = char::from(client);
        for number in 0..4_096 {
            let levels: String = (0..12).map(|bit| if number >> bit & 1 == 0 { "+/" } else { "a/" }).collect();
            subscribe(&mut core, id, &format!("{levels}a/{last}"), 0, &[], now);
        }
    }
    let (from, _) = connect(&mut core, b'f', 0, now);
    core.begin_turn();
    let topic = format!("{}b", "a/".repeat(13));
    let turns = (0..10).take_while(|_| publish(&mut core, from, &topic, b"", 0, now) == Next::Continue).count();
    assert!(turns < 3, "others have their turn after {turns}");
}

/// One SUBSCRIBE that visits each retained message a hundred times takes many turns, and the client receives all of
/// them.
#[test]
fn retained_messages_are_sent_in_many_turns() {
    let now = clock::now();
    let names = (0..limits::RETAINED_MESSAGES).map(|number| format!("r/{number}"));
    let retained = names.map(|topic| (message(&topic), Qos::AtLeastOnce, None)).collect();
    let mut core = core(Saved { retained, ..Saved::default() }, now);
    let (id, _) = connect(&mut core, b'a', 0, now);
    let mut body = vec![0, 1, 0];
    for number in 0..99 {
        body.extend([0, 7]);
        body.extend(format!("+/+/{number:03}\0").as_bytes());
    }
    body.extend(b"\0\x03r/#\0");
    core.begin_turn();
    assert_eq!(core.receive(id, 0x82, &body, now), Next::Yield);
    let (mut turns, mut topics) = (0, std::collections::BTreeSet::new());
    while topics.len() < limits::RETAINED_MESSAGES {
        assert!(core.work <= limits::WORK + 1_000, "{}", core.work);
        core.begin_turn();
        let output = core.take_output(id, now);
        let mut rest = output.as_slice();
        while let Ok(codec::Frame::Complete { first, body, length }) = codec::frame(rest, limits::PACKET_BYTES) {
            if first == 0x31 {
                assert!(topics.insert(body[2..2 + usize::from(body[1])].to_vec()), "each comes once");
            }
            rest = &rest[length..];
        }
        turns += 1;
        assert!(turns < 1_000, "{} have come", topics.len());
    }
    assert!(turns > 20);
}

/// Messages that were not sent when a client unsubscribes are not sent later.
#[test]
fn retained_messages_end_with_the_subscription() {
    let now = clock::now();
    let retained = (0..100_u8).map(|number| {
        let payload = vec![number; 60_000].into();
        (Message { payload, ..message(&format!("r/{number}")) }, Qos::AtMostOnce, None)
    });
    let mut core = core(Saved { retained: retained.collect(), ..Saved::default() }, now);
    let (id, _) = connect(&mut core, b'a', 0, now);
    subscribe(&mut core, id, "r/#", 0, &[], now);
    let first = core.take_output(id, now).len();
    core.receive(id, 0xA2, b"\0\x02\0\0\x03r/#", now);
    let rest = core.take_output(id, now);
    assert!(first > 1_000_000 && rest.len() < 100, "{first} bytes, and {} after UNSUBSCRIBE", rest.len());
}

/// A large message for many persistent sessions: copies that do not fit are not written first and then deleted.
#[test]
fn messages_dropped_at_once_are_not_written() {
    let now = clock::now();
    let sessions = (1..=500).map(|id| SavedSession { id, client: format!("c{id}"), expiry_s: 100, away_ms: None });
    let options =
        SubscribeOptions { qos: Qos::AtLeastOnce, no_local: false, retain_as_published: false, retain_handling: 0 };
    let subscriptions =
        (1..=500).map(|session| SavedSubscription { session, filter: "t".to_owned(), options, id: None }).collect();
    let mut core = core(Saved { sessions: sessions.collect(), subscriptions, ..Saved::default() }, now);
    let payload = vec![0; 1_000_000];
    let publication = Publication {
        from: None,
        topic: "t",
        payload: &payload,
        properties: &[],
        qos: Qos::AtLeastOnce,
        retain: false,
        expires: None,
    };
    core.route(&publication, now);
    let bytes: usize = core.take_ops().iter().map(Op::size).sum();
    assert!((10_000_000..=limits::QUEUES_BYTES).contains(&bytes), "{bytes}");
    assert!(core.totals().dropped > 400);
}

/// Levels of filters that are created or removed count as work.
#[test]
fn long_filters_count_as_work() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 0, now);
    for (first, option) in [(0x82, &[0][..]), (0xA2, &[])] {
        let mut body = vec![0, 1, 0];
        for number in 0..1_000 {
            let filter = format!("{number:03}{}", "/".repeat(100));
            body.extend([0, filter.len() as u8]);
            body.extend(filter.as_bytes());
            body.extend(option);
        }
        core.begin_turn();
        assert_eq!(core.receive(id, first, &body, now), Next::Yield);
        assert!(core.end_turn(id, false));
    }
    assert_eq!(core.totals().subscriptions, 0);
}

/// The topics of aliases are bounded for all clients together, and released when clients disconnect.
#[test]
fn topic_aliases_are_bounded() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let topic = "x".repeat(limits::TOPIC_BYTES);
    let set = |core: &mut Core, id, alias| {
        let [high, low] = (topic.len() as u16).to_be_bytes();
        let body = [&[high, low], topic.as_bytes(), &[3, 0x23, 0, alias]].concat();
        core.begin_turn();
        core.receive(id, 0x30, &body, now)
    };
    for _ in 0..3 {
        let (id, _) = connect(&mut core, b'a', 0, now);
        for _ in 0..3 {
            assert_eq!(set(&mut core, id, 1), Next::Continue);
        }
        assert_eq!(core.totals.alias_bytes, limits::TOPIC_BYTES);
        core.totals.alias_bytes += limits::ALIASES_BYTES - limits::TOPIC_BYTES;
        assert_eq!(set(&mut core, id, 1), Next::Continue, "a replacement fits");
        assert_eq!(set(&mut core, id, 2), Next::Close);
        core.totals.alias_bytes -= limits::ALIASES_BYTES - limits::TOPIC_BYTES;
        assert_eq!(core.totals.alias_bytes, 0);
    }
}

/// No packet exceeds the client's maximum [MQTT-3.1.2-24].
#[test]
fn an_answer_beyond_the_maximum_packet_size_ends_the_connection() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let id = core.open(Arc::new(Notify::new()), now);
    core.receive(id, 0x10, b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\x32\0\x01a", now);
    assert_eq!(core.take_output(id, now)[0], 0x20);
    let body = [&[0, 1, 0][..], &b"\0\x01t\0".repeat(60)].concat();
    core.receive(id, 0x82, &body, now);
    assert_eq!((core.take_output(id, now), core.is_closing(id)), (vec![0xE0, 1, 0x95], true));
    let id = core.open(Arc::new(Notify::new()), now);
    core.receive(id, 0x10, b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\x05\0\x01a", now);
    assert_eq!((core.take_output(id, now), core.is_closing(id)), (vec![0x20, 3, 0, 0x95, 0], true));
    assert_eq!(core.totals().sessions, 0);
}

/// Many clients that become active at the same time do not delay the host's own client.
#[test]
fn the_work_of_a_round_is_bounded() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    core.admission.privileged.push("h".to_owned());
    let (host, _) = connect(&mut core, b'h', 0, now);
    let (other, _) = connect(&mut core, b'a', 0, now);
    let silent = core.open(Arc::new(Notify::new()), now);
    for turn in 0.. {
        core.begin_turn();
        core.work = limits::WORK;
        assert!(core.end_turn(other, false) && !core.end_turn(host, true));
        if core.is_round_full() {
            break;
        }
        assert!(!core.has_to_wait(other) && turn < 10);
    }
    assert_eq!([host, silent, other].map(|id| core.has_to_wait(id)), [false, false, true]);
    core.begin_round();
    assert!(!core.has_to_wait(other));
}

/// The size of a queued message includes its subscription identifiers.
#[test]
fn subscription_identifiers_count_in_a_queue() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 0, now);
    for number in 0..1_000 {
        let levels: String = (0..10).map(|bit| if number >> bit & 1 == 0 { "+/" } else { "a/" }).collect();
        subscribe(&mut core, id, &format!("{levels}a"), 1, &[0x0B, 0xFF, 0xFF, 0xFF, 0x7F], now);
    }
    publish(&mut core, id, &format!("{}a", "a/".repeat(10)), b"x", 2, now);
    assert!(core.totals().queue_bytes > 4_000, "{}", core.totals().queue_bytes);
}

/// A persistent client sends as many messages at QoS 2 as CONNACK allows, before any of them is on disk.
#[test]
fn a_client_may_use_the_whole_receive_maximum() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 100, now);
    for number in 1..=limits::RECEIVE_MAXIMUM + 1 {
        let [high, low] = number.to_be_bytes();
        let next = core.receive(id, 0x34, &[0, 1, b't', high, low, 0], now);
        let expected = if number > limits::RECEIVE_MAXIMUM { Next::Close } else { Next::Continue };
        assert_eq!(next, expected, "{number}");
    }
}

/// Packet identifiers of 3.1.1 clients, which have no receive maximum, are bounded for all sessions together.
#[test]
fn messages_that_are_never_released_are_bounded() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let mut ended = Vec::new();
    for client in *b"01234567" {
        let id = connect_three(&mut core, client, now);
        for number in 1..=u16::MAX {
            core.begin_turn();
            let [high, low] = number.to_be_bytes();
            if core.receive(id, 0x34, &[0, 1, b't', high, low], now) == Next::Close {
                ended.push(client);
                break;
            }
            core.ops.clear();
        }
    }
    let kept: usize = core.sessions.values().map(|session| session.received.len()).sum();
    assert!(kept <= limits::RECEIVED_IDS + 8 * limits::RECEIVED_IDS_ALWAYS, "{kept}");
    assert!(ended.ends_with(b"567"), "{ended:?}");
    let id = connect_three(&mut core, b'8', now);
    assert_eq!(core.receive(id, 0x34, &[0, 1, b't', 0, 1], now), Next::Continue, "an ordinary client is served");
}

/// PINGRESP does not wait for a failing disk.
#[test]
fn a_ping_is_answered_while_the_disk_is_full() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 0, now);
    publish(&mut core, id, "t", b"x", 3, now);
    assert_eq!(core.take_output(id, now), [0_u8; 0], "not acknowledged yet");
    core.receive(id, 0xC0, &[], now);
    assert_eq!(core.take_output(id, now), [0xD0, 0]);
}

/// PUBREL ends a message, so that it waits for the disk, on a new connection as well.
#[test]
fn pubrel_waits_until_the_release_is_on_disk() {
    let now = clock::now();
    let mut core = core(Saved::default(), now);
    let (id, _) = connect(&mut core, b'a', 100, now);
    subscribe(&mut core, id, "t", 2, &[], now);
    publish(&mut core, id, "t", b"x", 4, now);
    core.set_durable(core.token - 1, now);
    let output = core.take_output(id, now);
    assert!(output.contains(&0x34), "the message is delivered: {output:x?}");
    core.receive(id, 0x50, &[0, 1], now);
    assert!(!core.take_output(id, now).contains(&0x62));
    let again = core.open(Arc::new(Notify::new()), now);
    core.receive(again, 0x10, b"\0\x04MQTT\x05\0\0\0\x05\x11\0\0\0\x64\0\x01a", now);
    assert!(!core.take_output(again, now).contains(&0x62), "it is not on disk");
    core.set_durable(core.token - 1, now);
    assert_eq!(core.take_output(again, now), [0x62, 2, 0, 1]);
}

/// The will of a client without a persistent session waits a minute as well.
#[test]
fn a_session_that_ended_with_the_broker_leaves_its_will() {
    let now = clock::now();
    let message = message("will").into();
    let will = Will { message, qos: Qos::AtLeastOnce, retain: true, delay_s: 0, expiry_s: None };
    let session = SavedSession { id: 1, client: "a".to_owned(), expiry_s: 0, away_ms: None };
    let saved = Saved { sessions: vec![session], wills: vec![("a".to_owned(), will)], ..Saved::default() };
    let mut core = core(saved, now);
    assert_eq!((core.totals().sessions, core.totals().retained), (0, 0));
    core.tick(later(now, 60));
    assert_eq!(core.totals().retained, 1);
}
