//! Tests with valid and invalid packets.

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8], version: Option<Version>) -> Result<Packet<'_>, Fault> {
    match frame(bytes, usize::MAX)? {
        Frame::Complete { first, body, .. } => packet(first, body, version),
        Frame::Incomplete(_) => Err(Fault::malformed("it is not complete")),
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::Three), Just(Version::Five)]
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..64),
        version in proptest::option::of(version()),
    ) {
        let _ = packet(first, &body, version);
        let _ = frame(&body, 100);
    }

    /// A truncated packet is refused, and not decoded as another one.
    #[test]
    fn what_is_written_is_read(
        version in version(),
        topic in "[a-z/]{1,20}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        qos in 0_u8..3,
        (retain, repeated) in any::<(bool, bool)>(),
        packet_id in 1_u16..,
        expiry_s in proptest::option::of(any::<u32>()),
        users in 0_usize..3,
    ) {
        let qos = Qos::from_number(qos).expect("in range");
        let properties = b"\x26\0\x01a\0\x01b".repeat(users);
        let delivery = Delivery {
            topic: &topic,
            payload: &payload,
            properties: &properties,
            qos,
            retain,
            repeated: repeated && qos > Qos::AtMostOnce,
            packet_id,
            expiry_s,
            // Clients may not send these.
            subscription_ids: &[],
        };
        let mut bytes = Vec::new();
        publish(&mut bytes, version, &delivery);
        prop_assert_eq!(bytes.len(), publish_size(version, &delivery));
        for length in 0..bytes.len() {
            prop_assert!(matches!(frame(&bytes[..length], usize::MAX), Ok(Frame::Incomplete(_))));
        }
        let Ok(Packet::Publish(read)) = read(&bytes, Some(version)) else { panic!("{bytes:x?}") };
        prop_assert_eq!((read.topic, read.payload, read.qos, read.retain), (&*topic, &*payload, qos, retain));
        prop_assert_eq!(read.packet_id, if qos == Qos::AtMostOnce { 0 } else { packet_id });
        if version == Version::Five {
            prop_assert_eq!(read.expiry_s, expiry_s);
            prop_assert_eq!(&*read.properties, &*properties);
        }
    }
}

/// Properties of the connection are not passed on, wherever they are.
#[test]
fn only_properties_of_the_message_are_passed_on() {
    let (user, alias, expiry, format): (&[u8], &[u8], &[u8], &[u8]) =
        (b"\x26\0\x01a\0\x01b", &[0x23, 0, 1], &[2, 0, 0, 0, 9], &[1, 1]);
    for order in [[user, alias, expiry, format], [alias, user, format, expiry], [expiry, alias, user, format]] {
        let properties = order.concat();
        let body = [&[0, 1, b't', properties.len() as u8][..], &properties, b"x"].concat();
        let Ok(Packet::Publish(read)) = packet(0x30, &body, Some(Version::Five)) else { panic!("{body:x?}") };
        assert_eq!((read.topic_alias, read.expiry_s, read.payload), (Some(1), Some(9), &b"x"[..]));
        let expected: Vec<_> = order.into_iter().filter(|one| *one == user || *one == format).collect();
        assert_eq!(read.properties.as_ref(), expected.concat());
    }
    let twice = [&[0, 1, b't', 6][..], alias, alias].concat();
    assert_eq!(packet(0x30, &twice, Some(Version::Five)).err().map(|fault| fault.reason), Some(Reason::ProtocolError));
}
