//! Tests of the standards' requirements, with the built-in broker and with Mosquitto.

mod support;

use support::{Connect, Message, Target, packet};

/// User property `a`: `b`.
const USER: &[u8] = &[0x26, 0, 1, b'a', 0, 1, b'b'];

agree! {
    fn every_qos_passes_between_versions(target) {
        for (from, to) in [(Connect::three("a"), Connect::five("b")), (Connect::five("a"), Connect::three("b"))] {
            let (mut from, mut to) = (target.connect(&from), target.connect(&to));
            to.subscribe(&[("t/+", 2), ("low", 0)]);
            for qos in 0..=2 {
                from.publish(&Message::new("t/x", b"words").qos(qos));
                let got = to.message();
                assert_eq!((got.topic.as_str(), got.payload.as_slice(), got.qos), ("t/x", &b"words"[..], qos));
                assert!(!got.retain && !got.dup);
                from.publish(&Message::new("low", b"").qos(qos));
                assert_eq!(to.message().qos, 0);
            }
            from.quiet();
            to.quiet();
        }
    }

    fn properties_of_a_message_are_forwarded(target) {
        let (mut from, mut to) = (target.connect(&Connect::five("a")), target.connect(&Connect::five("b")));
        to.subscribe(&[("t", 1)]);
        // Payload format, expiry, content type, response topic, correlation data, two user properties.
        let message = Message::new("t", b"x").qos(1).with(&[1, 1, 2, 0, 0, 0, 100, 3, 0, 1, b'c', 8, 0, 1, b'r', 9, 0, 1, 7]);
        assert_eq!(from.publish(&message.with(USER).with(USER)), 0);
        let got = to.message();
        assert_eq!(got.property(1), Some(&[1][..]));
        assert!(matches!(got.property(2), Some([0, 0, 0, 99 | 100])), "{got:?}");
        assert_eq!(got.property(3), Some(&b"\0\x01c"[..]));
        assert_eq!(got.property(8), Some(&b"\0\x01r"[..]));
        assert_eq!(got.property(9), Some(&[0, 1, 7][..]));
        assert_eq!(got.found.iter().filter(|(id, _)| *id == 0x26).count(), 2);
    }

    fn puback_reports_that_there_is_no_subscriber(target) {
        let mut client = target.connect(&Connect::five("a"));
        assert_eq!(client.publish(&Message::new("t", b"x").qos(1)), 0x10);
        // Mosquitto 2.0.11 reports it only at QoS 1.
        let reason = if target.is_built_in { 0x10 } else { 0 };
        assert_eq!(client.publish(&Message::new("t", b"x").qos(2)), reason);
        client.subscribe(&[("t", 0)]);
        assert_eq!(client.publish(&Message::new("t", b"x").qos(1)), 0);
    }

    fn retained_messages_wait_for_subscriptions(target) {
        let (mut from, mut to) = (target.connect(&Connect::three("a")), target.connect(&Connect::five("b")));
        from.publish(&Message::new("r/1", b"one").qos(1).retain());
        from.publish(&Message::new("r/2", b"two").qos(1).retain());
        from.publish(&Message::new("r/2", b"").qos(1).retain());
        from.publish(&Message::new("r", b"root").qos(1).retain());
        to.subscribe(&[("r/#", 2)]);
        let mut got = [to.message(), to.message()];
        got.sort_by(|one, other| one.topic.cmp(&other.topic));
        assert_eq!(got.each_ref().map(|one| (one.topic.as_str(), one.retain, one.qos)), [("r", true, 1), ("r/1", true, 1)]);
        // For existing subscriptions the flag is cleared, unless they request it as published.
        from.publish(&Message::new("r/1", b"uno").qos(1).retain());
        assert!(!to.message().retain);
        to.subscribe(&[("r/1", 0x20 | 8 | 1), ("r/#", 0x20 | 8 | 1)]);
        from.publish(&Message::new("r/1", b"un").qos(1).retain());
        assert!(to.message().retain);
        for name in ["r", "r/1"] {
            from.publish(&Message::new(name, b"").qos(1).retain());
        }
    }

    fn retain_handling_is_respected(target) {
        let mut client = target.connect(&Connect::five("a"));
        client.publish(&Message::new("r", b"x").qos(1).retain());
        client.subscribe(&[("r", 0x20)]);
        client.quiet();
        client.subscribe(&[("r", 0x10)]);
        client.quiet();
        client.subscribe(&[("r", 0)]);
        assert_eq!(client.message().payload, b"x");
        client.unsubscribe(&["r"]);
        client.subscribe(&[("r", 0x10)]);
        assert_eq!(client.message().payload, b"x");
    }

    fn wildcards_do_not_match_topics_with_a_dollar(target) {
        let mut client = target.connect(&Connect::five("a"));
        client.subscribe(&[("#", 0), ("+/b", 0)]);
        client.publish(&Message::new("$own/b", b"x").qos(1));
        client.quiet();
        client.subscribe(&[("$own/#", 0)]);
        client.publish(&Message::new("$own/b", b"x").qos(1));
        assert_eq!(client.message().topic, "$own/b");
        client.quiet();
    }

    fn no_local_subscriptions_exclude_own_messages(target) {
        let (mut own, mut other) = (target.connect(&Connect::five("a")), target.connect(&Connect::five("b")));
        own.subscribe(&[("t", 4)]);
        other.subscribe(&[("t", 0)]);
        own.publish(&Message::new("t", b"x").qos(1));
        assert_eq!(other.message().payload, b"x");
        own.quiet();
    }

    fn messages_carry_the_subscription_identifier(target) {
        let mut client = target.connect(&Connect::five("a"));
        client.subscribe_with(&[("t/#", 1)], &[0x0B, 0x81, 1]);
        client.publish(&Message::new("t", b"x").qos(1));
        assert_eq!(client.message().property(0x0B), Some(&[0x81, 1][..]));
    }

    fn topic_aliases_stand_for_topics(target) {
        let (mut from, mut to) = (target.connect(&Connect::five("a")), target.connect(&Connect::five("b")));
        to.subscribe(&[("t", 1), ("u", 1)]);
        from.publish(&Message::new("t", b"1").qos(1).with(&[0x23, 0, 1]));
        from.publish(&Message::new("", b"2").qos(1).with(&[0x23, 0, 1]));
        from.publish(&Message::new("u", b"3").qos(1).with(&[0x23, 0, 1]));
        from.publish(&Message::new("", b"4").qos(1).with(&[0x23, 0, 1]));
        let got: Vec<_> = (0..4).map(|_| to.message()).map(|one| (one.topic, one.payload)).collect();
        let expected = [("t", b"1"), ("t", b"2"), ("u", b"3"), ("u", b"4")];
        assert_eq!(got, expected.map(|(topic, payload)| (topic.to_owned(), payload.to_vec())));
    }

    fn a_session_persists(target) {
        for connect in [Connect::three("three"), Connect::five("five")] {
            let mut client = target.connect(&connect.clone().lasting());
            assert!(!client.session_present);
            client.subscribe(&[("s/#", 2)]);
            client.disconnect(&[]);
            let mut other = target.connect(&Connect::five("other"));
            for (number, qos) in [(1, 1), (2, 2), (3, 0), (4, 1)] {
                let sent = other.publish(&Message::new("s/x", &[number]).qos(qos).id(number.into()));
                assert_eq!(sent, 0, "there is a subscription");
            }
            let mut client = target.connect(&connect.clone().lasting());
            assert!(client.session_present);
            assert_eq!([client.message(), client.message(), client.message()].map(|one| one.payload[0]), [1, 2, 4]);
            client.quiet();
            client.disconnect(&[]);
            let mut client = target.connect(&connect);
            assert!(!client.session_present);
            other.publish(&Message::new("s/x", b"x").qos(1));
            client.quiet();
            client.disconnect(&[]);
        }
    }

    fn unacknowledged_messages_are_sent_again(target) {
        let connect = Connect::five("again").lasting();
        let mut client = target.connect(&connect);
        client.subscribe(&[("t", 2)]);
        let mut other = target.connect(&Connect::three("other"));
        for qos in [1, 2, 2] {
            other.publish(&Message::new("t", &[qos]).qos(qos));
        }
        let first = [client.unacknowledged(), client.unacknowledged(), client.unacknowledged()];
        // Of the third one, everything except PUBCOMP is sent.
        client.send(&packet(0x50, &first[2].id.to_be_bytes()));
        assert_eq!(client.next().first, 0x62);
        client.crash();
        let mut client = target.connect(&connect);
        assert!(client.session_present);
        let (mut again, mut released) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let next = client.next();
            match next.first {
                0x62 => released.push(next.body),
                first => {
                    assert_eq!(first & 0xF8, 0x38, "a message, repeated");
                    again.push(next.body[3..5].to_vec());
                }
            }
        }
        assert_eq!(again, first[..2].iter().map(|one| one.id.to_be_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(released, [first[2].id.to_be_bytes()]);
    }

    fn a_message_at_qos_2_is_accepted_once(target) {
        let (mut from, mut to) = (target.connect(&Connect::five("a")), target.connect(&Connect::five("b")));
        to.subscribe(&[("t", 0)]);
        let mut message = Message::new("t", b"x").qos(2).id(7);
        from.send(&message.packet(5));
        assert_eq!(from.next().first, 0x50);
        message.dup = true;
        from.send(&message.packet(5));
        assert_eq!(from.next().first, 0x50);
        from.send(&packet(0x62, &[0, 7]));
        assert_eq!(from.next().first, 0x70);
        assert_eq!(to.message().payload, b"x");
        to.quiet();
        message.dup = false;
        from.publish(&message);
        assert_eq!(to.message().payload, b"x");
    }

    fn a_newer_connection_takes_over_the_session(target) {
        let mut old = target.connect(&Connect::five("same").lasting());
        old.subscribe(&[("t", 1)]);
        let mut new = target.connect(&Connect::five("same").lasting());
        assert!(new.session_present);
        // Mosquitto 2.0.11 gives no reason.
        let reason = target.is_built_in.then_some(0x8E);
        assert_eq!(old.ended(), reason);
        new.publish(&Message::new("t", b"x").qos(1));
        assert_eq!(new.message().payload, b"x");
        let mut three = target.connect(&Connect::three("same").lasting());
        assert!(three.session_present);
        assert_eq!(new.ended(), reason);
        three.quiet();
    }

    fn a_will_is_published_when_a_client_is_lost(target) {
        let mut other = target.connect(&Connect::five("other"));
        other.subscribe(&[("will/#", 0x20 | 8 | 1)]);
        for connect in [Connect::three("a"), Connect::five("a")] {
            let connect = connect.will("will/a", b"lost", true, &[]);
            target.connect(&connect).crash();
            let will = other.message();
            assert_eq!((will.payload.as_slice(), will.qos, will.retain), (&b"lost"[..], 1, true));
            target.connect(&connect).disconnect(&[]);
            other.quiet();
        }
        target.connect(&Connect::five("a").will("will/a", b"lost", false, USER)).disconnect(&[4]);
        let will = other.message();
        assert_eq!((will.payload.as_slice(), will.property(0x26).is_some()), (&b"lost"[..], true));
        // A packet that clients may not send.
        let mut client = target.connect(&Connect::five("a").will("will/a", b"lost", false, &[]));
        client.send(&packet(0x30, &[0, 0, 0]));
        client.ended();
        assert_eq!(other.message().payload, b"lost");
    }

    fn a_will_waits_for_its_delay(target) {
        let mut other = target.connect(&Connect::five("other"));
        other.subscribe(&[("will", 1)]);
        // A delay and a session of an hour: the client reconnects in time.
        let connect = Connect::five("a").lasting().will("will", b"lost", false, &[0x18, 0, 0, 0x0E, 0x10]);
        target.connect(&connect).crash();
        target.connect(&connect).disconnect(&[]);
        other.quiet();
        if !target.is_built_in {
            return;
        }
        // The session ends before the delay: Mosquitto 2.0.11 drops the will then.
        target.connect(&connect).crash();
        target.connect(&Connect::five("a")).disconnect(&[]);
        assert_eq!(other.message().payload, b"lost");
    }

    fn a_will_is_published_after_its_delay(target) {
        let mut other = target.connect(&Connect::five("other"));
        other.subscribe(&[("will", 1)]);
        target.connect(&Connect::five("a").lasting().will("will", b"lost", false, &[0x18, 0, 0, 0, 1])).crash();
        assert_eq!(other.message().payload, b"lost");
        assert!(target.connect(&Connect::five("a").lasting()).session_present);
    }

    fn a_session_ends_with_its_connection(target) {
        let mut client = target.connect(&Connect::five("a"));
        client.subscribe(&[("t", 1)]);
        client.disconnect(&[]);
        let connect = Connect { clean: false, ..Connect::five("a") };
        let mut client = target.connect(&connect);
        assert!(!client.session_present);
        client.subscribe(&[("t", 1)]);
        client.disconnect(&[]);
        // A client may set that with DISCONNECT.
        let lasting = Connect::five("a").lasting();
        target.connect(&lasting).disconnect(&[0, 5, 0x11, 0, 0, 0, 0]);
        assert!(!target.connect(&lasting).session_present);
    }

    fn a_client_without_an_identifier_gets_one(target) {
        let (mut client, code, properties) = target.try_connect(&Connect::five(""));
        let name = properties.into_iter().find(|(id, _)| *id == 0x12).map(|(_, name)| name);
        assert!(code == 0 && name.is_some_and(|name| name.len() > 4));
        client.quiet();
        target.connect(&Connect::three("")).quiet();
        assert_eq!(target.try_connect(&Connect::three("").lasting()).1, 2);
    }

    fn the_clients_receive_maximum_is_respected(target) {
        let mut client = target.connect(&Connect::five("few").with(&[0x21, 0, 2]));
        client.subscribe(&[("t", 1)]);
        let mut other = target.connect(&Connect::five("other"));
        for number in 1..=4 {
            other.publish(&Message::new("t", &[number]).qos(1));
        }
        let first = [client.unacknowledged(), client.unacknowledged()];
        client.quiet();
        client.acknowledge(&first[0]);
        assert_eq!(client.message().payload, [3]);
        client.acknowledge(&first[1]);
        assert_eq!(client.message().payload, [4]);
    }

    fn the_clients_maximum_packet_size_is_respected(target) {
        let mut client = target.connect(&Connect::five("small").with(&[0x27, 0, 0, 0, 50]));
        client.subscribe(&[("t", 1)]);
        let mut other = target.connect(&Connect::five("other"));
        for qos in [0, 1] {
            other.publish(&Message::new("t", &[b'x'; 100]).qos(qos));
            other.publish(&Message::new("t", b"small").qos(qos));
        }
        assert_eq!([client.message(), client.message()].map(|one| one.payload), [b"small", b"small"]);
        client.quiet();
    }

    fn an_expired_message_is_not_delivered(target) {
        let connect = Connect::five("late").lasting();
        let mut client = target.connect(&connect);
        client.subscribe(&[("t", 1)]);
        client.disconnect(&[]);
        let mut other = target.connect(&Connect::five("other"));
        other.publish(&Message::new("t", b"stale").qos(1).with(&[2, 0, 0, 0, 1]));
        other.publish(&Message::new("r", b"stale").qos(1).retain().with(&[2, 0, 0, 0, 1]));
        other.publish(&Message::new("t", b"fresh").qos(1).with(&[2, 0, 0, 1, 0]));
        // Time has to pass.
        std::thread::sleep(std::time::Duration::from_millis(2_100));
        let mut client = target.connect(&connect);
        assert_eq!(client.message().payload, b"fresh");
        client.subscribe(&[("r", 1)]);
        client.quiet();
    }

    fn overlapping_subscriptions_are_served(target) {
        let mut client = target.connect(&Connect::five("a"));
        client.subscribe_with(&[("t/#", 0)], &[0x0B, 1]);
        client.subscribe_with(&[("t/+", 2)], &[0x0B, 2]);
        client.publish(&Message::new("t/x", b"x").qos(2));
        // Once or twice: in both cases with the highest QoS and both identifiers.
        let mut got = vec![client.message()];
        client.publish(&Message::new("other", b"x").qos(1));
        client.send(&[0xC0, 0]);
        if target.is_built_in {
            assert_eq!(got[0].found.iter().filter(|(id, _)| *id == 0x0B).count(), 2);
        } else if got[0].found.iter().filter(|(id, _)| *id == 0x0B).count() < 2 {
            got.push(client.message());
        }
        assert_eq!(got.iter().map(|one| one.qos).max(), Some(2));
    }

    fn invalid_filters_are_refused(target) {
        let mut client = target.connect(&Connect::five("a"));
        assert_eq!(client.subscribe(&[("good/+/#", 1)]), [1]);
        assert_eq!(client.unsubscribe(&["good/+/#", "never"]), [0, 0x11]);
        assert_eq!(target.connect(&Connect::three("b")).unsubscribe(&["never"]), [0_u8; 0]);
    }

    fn errors_end_the_connection_with_a_reason(target) {
        let five: [(&[u8], &[u8]); 14] = [
            // UNSUBACK and other packets that only servers send.
            (&[0xB0, 4, 0, 1, 0, 0], &[0x81, 0x82]),
            (&[0x20, 3, 0, 0, 0], &[0x81, 0x82]),
            (&[0xD0, 0], &[0x81, 0x82]),
            // QoS 3, no topic, a wildcard, an alias that is 0 or too large or unknown.
            (&[0x36, 6, 0, 1, b'a', 0, 1, 0], &[0x81]),
            (&[0x30, 3, 0, 0, 0], &[0x82]),
            (&[0x30, 4, 0, 1, b'#', 0], &[0x82, 0x90]),
            (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0], &[0x81, 0x94]),
            (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 99], &[0x94]),
            (&[0x30, 6, 0, 0, 3, 0x23, 0, 9], &[0x82, 0x94]),
            // A packet identifier that is 0.
            (&[0x32, 6, 0, 1, b'a', 0, 0, 0], &[0x81, 0x82]),
            // SUBSCRIBE: wrong flags, no filter, reserved options.
            (&[0x80, 7, 0, 1, 0, 0, 1, b'a', 0], &[0x81]),
            (&[0x82, 3, 0, 1, 0], &[0x81, 0x82]),
            (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 0xC0], &[0x81, 0x82]),
            // A topic that is not UTF-8.
            (&[0x30, 4, 0, 1, 0xFF, 0], &[0x81]),
        ];
        // Mosquitto 2.0.11 accepts the first three, or gives no reason.
        for (bytes, reasons) in five.into_iter().skip(if target.is_built_in { 0 } else { 3 }) {
            let mut client = target.connect(&Connect::five("wrong"));
            client.send(bytes);
            let reason = client.ended();
            assert!(reason.is_some_and(|reason| reasons.contains(&reason)), "{bytes:x?}: {reason:x?}");
            target.check_alive();
        }
        let mut client = target.connect(&Connect::five("wrong"));
        client.send(&Connect::five("wrong").packet());
        assert_eq!(client.ended(), target.is_built_in.then_some(0x82), "a second CONNECT");
        let mut client = target.open(4);
        client.send(&[0xC0, 0]);
        assert_eq!(client.ended(), None, "no CONNECT at all");
    }

    fn a_silent_client_counts_as_lost(target) {
        let mut other = target.connect(&Connect::five("other"));
        other.subscribe(&[("will", 1)]);
        let connect = Connect { keep_alive: 1, ..Connect::five("silent").will("will", b"lost", false, &[]) };
        let mut client = target.connect(&connect);
        assert_eq!(client.ended(), target.is_built_in.then_some(0x8D));
        assert_eq!(other.message().payload, b"lost");
    }
}

#[test]
fn unsupported_features_are_stated() {
    let target = Target::built_in();
    let (mut client, _, properties) = target.try_connect(&Connect::five("a"));
    assert!(properties.contains(&(0x2A, vec![0])), "no shared subscriptions");
    assert_eq!(client.subscribe(&[("$share/g/t", 1), ("a#", 1), ("fine", 1)]), [0x9E, 0x8F, 1]);
    assert_eq!(
        target.connect(&Connect::three("b")).subscribe(&[("$share/g/t", 1), ("a#", 1), ("fine", 1)]),
        [0x80, 0x80, 1]
    );
    let with_authentication = Connect::five("c").with(&[0x15, 0, 1, b'x']);
    assert_eq!(target.try_connect(&with_authentication).1, 0x8C);
    // MQTT 3.1, and something later than 5.
    for (name, level) in [(&b"\0\x06MQIsdp"[..], 3), (b"\0\x04MQTT", 6)] {
        let mut client = target.open(4);
        client.send(&packet(0x10, &[name, &[level, 2, 0, 60, 0, 1, b'x']].concat()));
        let refused = client.next();
        assert_eq!((refused.first, refused.body), (0x20, vec![0, 1]));
    }
    let longest = Connect::five("a").with(&[0x11, 0xFF, 0xFF, 0xFF, 0xFF]);
    let (_, _, properties) = target.try_connect(&longest);
    assert!(properties.contains(&(0x11, (30 * 24 * 3_600_u32).to_be_bytes().to_vec())), "a month at most");
}
