use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<Incoming>, Failure> {
    next_packet(&mut BytesMut::from(bytes), Version::Five)
}

fn read_connack(bytes: &[u8]) -> Result<Option<Limits>, Failure> {
    next_connack(&mut BytesMut::from(bytes), Version::Five)
}

#[test]
fn acknowledgements_are_read_in_each_of_their_forms() {
    let ack = |kind, code, text: Option<&str>| {
        Incoming::Ack(Ack { kind, id: 0x0102, reason: Reason { code, text: text.map(str::to_owned) } })
    };
    for (bytes, expected) in [
        (&[0x40, 2, 1, 2][..], ack(AckKind::Puback, 0, None)),
        (&[0x50, 3, 1, 2, 0x10], ack(AckKind::Pubrec, 0x10, None)),
        (&[0x70, 4, 1, 2, 0x92, 0], ack(AckKind::Pubcomp, 0x92, None)),
        (&[0x40, 9, 1, 2, 0x87, 5, 0x1F, 0, 2, b'n', b'o'], ack(AckKind::Puback, 0x87, Some("no"))),
        (
            &[0x40, 16, 1, 2, 0x87, 12, 0x26, 0, 1, b'a', 0, 1, b'b', 0x1F, 0, 2, b'n', b'o'],
            ack(AckKind::Puback, 0x87, Some("no")),
        ),
        (&[0x40, 6, 1, 2, 0x87, 5, 0x1F, 0], ack(AckKind::Puback, 0x87, None)),
    ] {
        assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
    }
}

#[test]
fn answers_to_subscriptions_are_read_in_each_of_their_forms() {
    let ack = |kind, code, text: Option<&str>| {
        Incoming::Ack(Ack { kind, id: 0x0102, reason: Reason { code, text: text.map(str::to_owned) } })
    };
    for (bytes, expected) in [
        (&[0x90, 4, 1, 2, 0, 1][..], ack(AckKind::Suback, 1, None)),
        (&[0x90, 4, 1, 2, 0, 0], ack(AckKind::Suback, 0, None)),
        (&[0x90, 4, 1, 2, 0, 0xEE], ack(AckKind::Suback, 0xEE, None)),
        (&[0x90, 9, 1, 2, 5, 0x1F, 0, 2, b'n', b'o', 0x87], ack(AckKind::Suback, 0x87, Some("no"))),
        (&[0xB0, 4, 1, 2, 0, 0x11], ack(AckKind::Unsuback, 0, None)),
        (&[0xB0, 2, 1, 2], ack(AckKind::Unsuback, 0, None)),
    ] {
        assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
    }
}

#[test]
fn messages_are_read_at_the_qos_that_was_asked_for() {
    let message = |id, retained, expires| {
        let (topic, payload) = ("a/b".to_owned(), Bytes::from_static(b"on"));
        Incoming::Message(Arrived { topic, payload, id, retained, expires, is_own: false })
    };
    for (bytes, expected) in [
        (&[0x30, 8, 0, 3, b'a', b'/', b'b', 0, b'o', b'n'][..], message(None, false, false)),
        (&[0x31, 8, 0, 3, b'a', b'/', b'b', 0, b'o', b'n'], message(None, true, false)),
        (&[0x3A, 10, 0, 3, b'a', b'/', b'b', 1, 2, 0, b'o', b'n'], message(Some(0x0102), false, false)),
        (&[0x30, 13, 0, 3, b'a', b'/', b'b', 5, 2, 0, 0, 0, 9, b'o', b'n'], message(None, false, true)),
    ] {
        assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
    }
}

#[test]
fn each_subscription_requests_the_retained_message() {
    let mut subscribe = subscribe("a/b");
    subscribe.pkid = 0x0102;
    let mut bytes = BytesMut::new();
    Packet::Subscribe(subscribe).write(&mut bytes, None).expect("encodable");
    // QoS 1; retain as published: no; retain handling: send at each subscription.
    assert_eq!(&bytes[..], [0x82, 9, 1, 2, 0, 0, 3, b'a', b'/', b'b', 0b0000_0001]);
    let mut bytes = BytesMut::new();
    unsubscribe("a/b", 0x0102).write(&mut bytes, None).expect("encodable");
    assert_eq!(&bytes[..], [0xA2, 8, 1, 2, 0, 0, 3, b'a', b'/', b'b']);
}

#[test]
fn a_subscription_to_others_is_for_new_messages_or_for_retained_ones() {
    for (with_retained, options) in [
        // QoS 1; no local: yes; retain as published: yes; retain handling: send none.
        (false, 0b0010_1101),
        // QoS 0; retain handling: send at each subscription.
        (true, 0b0000_1100),
    ] {
        let mut bytes = BytesMut::new();
        Packet::Subscribe(subscribe_to_others("a", with_retained)).write(&mut bytes, None).expect("encodable");
        assert_eq!(bytes.last(), Some(&options), "{bytes:?}");
    }
}

#[test]
fn a_session_ends_with_its_connection() {
    let mut bytes = BytesMut::new();
    connect("roost", None, 30, None).write(&mut bytes, None).expect("encodable");
    let Packet::Connect(connect, ..) = Packet::read(&mut bytes, None).expect("readable") else { panic!("no CONNECT") };
    assert!(connect.clean_start);
    let properties = connect.properties.expect("some");
    assert_eq!((properties.session_expiry_interval, properties.topic_alias_max), (Some(0), None));
    assert_eq!((properties.receive_maximum, properties.max_packet_size), (Some(100), Some(1 << 20)));
}

#[test]
fn a_disconnect_is_read_in_each_of_its_forms() {
    for (bytes, code) in [(&[0xE0, 0][..], 0), (&[0xE0, 1, 0x8B], 0x8B), (&[0xE0, 2, 0x8E, 0], 0x8E)] {
        let expected = Incoming::Disconnect(Reason { code, text: None });
        assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
    }
}

#[test]
fn an_incomplete_packet_is_not_taken() {
    let whole = [0x40, 4, 1, 2, 0x87, 0];
    for length in 0..whole.len() {
        assert_eq!(read(&whole[..length]).expect("not wrong yet"), None, "{length}");
    }
}

#[test]
fn packets_that_a_broker_may_not_send_are_malformed() {
    for bytes in [
        &[0x00, 0x00][..],
        &[0x40, 0x00],
        &[0x40, 0x01, 0x01],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x30, 0x03, 0x00, 0x09, b'a'],
        // No topic, one that is not UTF-8, and an alias for one.
        &[0x30, 0x03, 0x00, 0x00, 0x00],
        &[0x30, 0x04, 0x00, 0x01, 0xFF, 0x00],
        &[0x30, 0x07, 0x00, 0x01, b'a', 0x03, 0x23, 0x00, 0x01],
        // QoS 1 with packet id 0, QoS 2, and an invalid QoS.
        &[0x32, 0x06, 0x00, 0x01, b'a', 0x00, 0x00, 0x00],
        &[0x34, 0x06, 0x00, 0x01, b'a', 0x00, 0x01, 0x00],
        &[0x36, 0x06, 0x00, 0x01, b'a', 0x00, 0x01, 0x00],
        // SUBACK without a reason, with two, with QoS 3, with a wrong length of the properties.
        &[0x90, 0x02, 0x00, 0x01],
        &[0x90, 0x03, 0x00, 0x01, 0x00],
        &[0x90, 0x05, 0x00, 0x01, 0x00, 0x01, 0x01],
        &[0x90, 0x04, 0x00, 0x01, 0x00, 0x03],
        &[0x90, 0x05, 0x00, 0x01, 0x02, 0x1F, 0x01],
        &[0x90, 0x05, 0x00, 0x01, 0xFF, 0xFF, 0x01],
        &[0xB0, 0x01, 0x00],
        &[0x10, 0x02, 0x00, 0x00],
        &[0x20, 0x03, 0x00, 0x00, 0x00],
    ] {
        assert!(matches!(read(bytes), Err(Failure::Malformed(_))), "{bytes:02x?}");
    }
}

#[test]
fn connack_states_the_brokers_limits() {
    let plain = read_connack(&[0x20, 3, 0, 0, 0]).expect("readable").expect("complete");
    let version = Version::Five;
    let expected = Limits {
        version,
        receive_maximum: u16::MAX,
        packet_bytes: None,
        maximum_qos: 2,
        retain: true,
        keep_alive_s: None,
    };
    assert_eq!(plain, expected);
    let connack = [0x20, 18, 0, 0, 15, 0x21, 0, 10, 0x24, 1, 0x25, 0, 0x27, 0, 0, 4, 0, 0x13, 0, 9];
    let expected = Limits {
        version,
        receive_maximum: 10,
        packet_bytes: Some(1024),
        maximum_qos: 1,
        retain: false,
        keep_alive_s: Some(9),
    };
    assert_eq!(read_connack(&connack).expect("readable"), Some(expected));
}

#[test]
fn connack_states_why_the_connection_is_refused() {
    assert!(matches!(read_connack(&[0x20, 2, 0, 1]), Err(Failure::Version)));
    assert!(matches!(read_connack(&[0x20, 3, 0, 0x84, 0]), Err(Failure::Version)));
    // The form is that of 3.1.1, whatever the code.
    assert!(matches!(read_connack(&[0x20, 2, 0, 0]), Err(Failure::Version)));
    assert!(matches!(read_connack(&[0x20, 2, 0, 5]), Err(Failure::Version)));
    assert!(matches!(read_connack(&[0x20, 3, 0, 0x87, 0]), Err(Failure::Login(_))));
    assert!(matches!(read_connack(&[0x20, 3, 0, 0x89, 0]), Err(Failure::Refused(_))));
    assert!(matches!(read_connack(&[0x20, 3, 0, 0xEE, 0]), Err(Failure::Refused(_))));
    assert!(matches!(read_connack(&[0x40, 2, 0, 1]), Err(Failure::Malformed(_))));
    assert!(matches!(read_connack(b"HTTP/1.1"), Err(Failure::Malformed(_))));
}

#[test]
fn packets_of_3_1_1_have_no_properties() {
    let written = |packet: &Packet| {
        let mut bytes = BytesMut::new();
        Version::Three.write(packet, &mut bytes).expect("encodable");
        bytes.to_vec()
    };
    let status = Topic::parse("s").expect("valid");
    let connect = written(&connect("x", Some(("u", "p")), 30, Some((&status, true))));
    let mut expected =
        vec![0x10, 32, 0, 4, b'M', b'Q', b'T', b'T', 4, 0b1110_0110, 0, 30, 0, 1, b'x', 0, 1, b's', 0, 7];
    expected.extend(b"offline");
    expected.extend([0, 1, b'u', 0, 1, b'p']);
    expected[1] = (expected.len() - 2) as u8;
    assert_eq!(connect, expected);
    let mut subscribe = subscribe("a/b");
    subscribe.pkid = 0x0102;
    assert_eq!(written(&Packet::Subscribe(subscribe)), [0x82, 8, 1, 2, 0, 3, b'a', b'/', b'b', 1]);
    assert_eq!(written(&unsubscribe("a/b", 0x0102)), [0xA2, 7, 1, 2, 0, 3, b'a', b'/', b'b']);
    assert_eq!(written(&super::status(&status, "on", true)), [0x31, 5, 0, 1, b's', b'o', b'n']);
}

#[test]
fn answers_of_3_1_1_are_read() {
    let read = |bytes: &[u8]| next_packet(&mut BytesMut::from(bytes), Version::Three);
    let ack = |kind, code| Incoming::Ack(Ack { kind, id: 0x0102, reason: Reason { code, text: None } });
    for (bytes, expected) in [
        (&[0x40, 2, 1, 2][..], ack(AckKind::Puback, 0)),
        (&[0x50, 2, 1, 2], ack(AckKind::Pubrec, 0)),
        (&[0x70, 2, 1, 2], ack(AckKind::Pubcomp, 0)),
        (&[0x90, 3, 1, 2, 1], ack(AckKind::Suback, 1)),
        (&[0x90, 3, 1, 2, 0x80], ack(AckKind::Suback, 0x80)),
        (&[0xB0, 2, 1, 2], ack(AckKind::Unsuback, 0)),
        (&[0xD0, 0], Incoming::Pong),
    ] {
        assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
    }
    for bytes in
        [&[0x90, 2, 1, 2][..], &[0x90, 4, 1, 2, 0, 1], &[0x90, 3, 1, 2, 3], &[0xE0, 0], &[0x34, 5, 0, 1, b'a', 0, 1]]
    {
        assert!(matches!(read(bytes), Err(Failure::Malformed(_))), "{bytes:02x?}");
    }
    let connack = |bytes: &[u8]| next_connack(&mut BytesMut::from(bytes), Version::Three);
    let limits = connack(&[0x20, 2, 0, 0]).expect("readable").expect("complete");
    assert_eq!((limits.version, limits.receive_maximum, limits.maximum_qos), (Version::Three, u16::MAX, 2));
    assert!(matches!(connack(&[0x20, 2, 0, 1]), Err(Failure::Version)));
    assert!(matches!(connack(&[0x20, 2, 0, 2]), Err(Failure::Refused(_))));
    assert!(matches!(connack(&[0x20, 2, 0, 4]), Err(Failure::Login(_))));
    assert!(matches!(connack(&[0x20, 2, 0, 5]), Err(Failure::Login(_))));
    assert!(matches!(connack(&[0x20, 3, 0, 0, 0]), Err(Failure::Malformed(_))));
}

/// Reads all packets.
fn read_all(bytes: &[u8], version: Version) -> Result<Vec<Incoming>, Failure> {
    let mut read = BytesMut::from(bytes);
    let mut packets = Vec::new();
    while let Some(packet) = next_packet(&mut read, version)? {
        packets.push(packet);
    }
    Ok(packets)
}

proptest! {
    #[test]
    fn arbitrary_bytes_from_a_broker_cause_no_panic(
        kind in 0..=u8::MAX,
        body in proptest::collection::vec(prop_oneof![Just(0_u8), 0..8_u8, any::<u8>()], 0..40),
    ) {
        let mut packet = vec![kind, body.len() as u8];
        packet.extend(&body);
        for version in [Version::Three, Version::Five] {
            let framed = read_all(&packet, version);
            if let Err(failure) = framed {
                prop_assert!(matches!(failure, Failure::Malformed(_)), "{failure}");
            }
            let _ = read_all(&body, version);
            let _ = next_connack(&mut BytesMut::from(&packet[..]), version);
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_sent_and_a_corrupted_one_causes_no_panic(
        topic in "[a-zü/$]{1,20}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        id in proptest::option::of(1..=u16::MAX),
        retained: bool,
        (place, byte) in (0..400_usize, any::<u8>()),
    ) {
        let qos = if id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut publish = Publish::new(topic.clone(), qos, payload.clone(), None);
        publish.pkid = id.unwrap_or(0);
        publish.retain = retained;
        for version in [Version::Three, Version::Five] {
            let mut bytes = BytesMut::new();
            version.write(&Packet::Publish(publish.clone()), &mut bytes).expect("encodable");
            let (topic, payload) = (topic.clone(), Bytes::from(payload.clone()));
            let expected = Arrived { topic, payload, id, retained, expires: false, is_own: false };
            prop_assert_eq!(read_all(&bytes, version).expect("readable"), [Incoming::Message(expected)]);
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = read_all(&bytes, version);
        }
    }
}
