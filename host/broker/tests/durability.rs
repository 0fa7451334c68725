//! Tests of persistence over a restart and over `kill -9`.

mod support;

use support::{Connect, Message, Target, packet};

/// Runs the broker if this program is started as a broker process.
#[test]
fn serve() {
    support::serve_if_requested();
}

/// Checks that messages for disconnected clients survive the given kind of end.
fn check_persistence(mut target: Target, end: fn(&mut Target), start: fn(&mut Target)) {
    let devices = [Connect::three("three").lasting(), Connect::five("five").lasting()];
    for connect in &devices {
        let mut device = target.connect(connect);
        device.subscribe_with(&[("d/+", 2)], if connect.version == 5 { &[0x0B, 5] } else { &[] });
        device.disconnect(&[]);
    }
    let mut other = target.connect(&Connect::five("other"));
    for (number, qos) in [(1, 1), (2, 2), (3, 1)] {
        let message = Message::new("d/x", &[number]).qos(qos).id(number.into()).with(&[0x26, 0, 1, b'a', 0, 1, b'b']);
        assert_eq!(other.publish(&message), 0);
    }
    other.publish(&Message::new("r/kept", b"kept").qos(1).retain());
    other.publish(&Message::new("r/gone", b"gone").qos(1).retain());
    other.publish(&Message::new("r/gone", b"").qos(1).retain());
    end(&mut target);
    start(&mut target);
    for connect in &devices {
        let mut device = target.connect(connect);
        assert!(device.session_present, "{connect:?}");
        for (number, qos) in [(1, 1), (2, 2), (3, 1)] {
            let message = device.message();
            assert_eq!((message.payload.as_slice(), message.qos), (&[number][..], qos));
            if connect.version == 5 {
                assert_eq!(message.property(0x0B), Some(&[5][..]));
                assert!(message.property(0x26).is_some());
            }
        }
        device.subscribe(&[("r/#", 1)]);
        assert_eq!(device.message().payload, b"kept");
        device.quiet();
        device.disconnect(&[]);
    }
    // They receive new messages, and delivered ones are not sent again.
    let mut device = target.connect(&devices[0]);
    let mut other = target.connect(&Connect::five("other"));
    assert_eq!(other.publish(&Message::new("d/x", b"new").qos(1)), 0);
    assert_eq!(device.message().payload, b"new");
    device.quiet();
    // Transactions are in order: after this one, the delivery to the device is on disk.
    other.publish(&Message::new("last", b"x").qos(1).retain());
    end(&mut target);
    start(&mut target);
    let mut device = target.connect(&devices[1]);
    assert_eq!(device.message().payload, b"new");
    device.quiet();
    target.connect(&devices[0]).quiet();
}

#[test]
fn sessions_and_retained_messages_survive_a_restart() {
    check_persistence(Target::built_in(), Target::stop, Target::start);
}

#[test]
fn sessions_and_retained_messages_survive_a_kill() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    check_persistence(target, Target::kill, Target::start_process);
}

/// Acknowledged messages survive a kill at any point, and none at QoS 2 is delivered twice.
#[test]
fn acknowledged_messages_survive_a_kill_at_any_point() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    let device = Connect::three("device").lasting();
    let mut away = target.connect(&device);
    away.subscribe(&[("t", 2)]);
    away.disconnect(&[]);
    let sender = Connect::three("sender").lasting();
    let mut expected = Vec::new();
    for round in 0..5_u16 {
        let mut client = target.connect(&sender);
        for number in 1..=20 + round {
            let message = Message::new("t", format!("{round}/{number}").as_bytes()).qos(2).id(number);
            client.publish(&message);
            expected.push(message.payload);
        }
        // The last message of a round is begun before the kill and completed after it.
        let mut message = Message::new("t", format!("{round}/last").as_bytes()).qos(2).id(99);
        client.send(&message.packet(4));
        assert_eq!(client.next().first, 0x50);
        expected.push(message.payload.clone());
        target.kill();
        target.start_process();
        let mut client = target.connect(&sender);
        assert!(client.session_present);
        message.dup = true;
        client.publish(&message);
        client.disconnect(&[]);
    }
    let mut client = target.connect(&device);
    let got: Vec<_> = expected.iter().map(|_| client.message().payload).collect();
    assert_eq!(got, expected);
    client.quiet();
}

/// A subscriber recognizes a message that it has acknowledged by its packet identifier.
#[test]
fn a_message_of_qos_2_is_delivered_once_over_a_kill() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    let device = Connect::five("device").lasting();
    let mut client = target.connect(&device);
    client.subscribe(&[("t", 2)]);
    let mut other = target.connect(&Connect::five("other"));
    for number in [1, 2] {
        other.publish(&Message::new("t", &[number]).qos(2));
    }
    let (first, second) = (client.unacknowledged(), client.unacknowledged());
    client.send(&packet(0x50, &first.id.to_be_bytes()));
    assert_eq!(client.next().first, 0x62);
    target.kill();
    target.start_process();
    let mut client = target.connect(&device);
    let released = client.next();
    assert_eq!((released.first, &released.body[..2]), (0x62, &first.id.to_be_bytes()[..]));
    client.send(&packet(0x70, &first.id.to_be_bytes()));
    let again = client.message();
    assert_eq!((again.payload, again.id, again.dup), (second.payload, second.id, true));
    client.quiet();
}

#[test]
fn the_will_of_a_client_survives_a_restart() {
    let mut target = Target::built_in();
    let device = Connect::five("device").will("will", b"lost", true, &[]);
    let mut client = target.connect(&device);
    client.quiet();
    target.stop();
    assert_eq!(client.ended(), Some(0x8B), "the server is shutting down");
    target.start();
    // The client has a minute. Here it is enough that its will is neither lost nor published at once.
    let mut other = target.connect(&Connect::five("other"));
    other.subscribe(&[("will", 1)]);
    other.quiet();
    target.connect(&device).crash();
    assert_eq!(other.message().payload, b"lost");
}

/// Nothing is written for connected clients without a persistent session.
#[test]
fn messages_for_non_persistent_clients_are_not_written() {
    let mut target = Target::built_in();
    let (mut from, mut to) = (target.connect(&Connect::five("a")), target.connect(&Connect::five("b")));
    to.subscribe(&[("t", 1)]);
    from.publish(&Message::new("t", b"x").qos(1));
    assert_eq!(to.message().payload, b"x");
    let size = || std::fs::metadata(target.file().with_extension("db-wal")).map_or(0, |file| file.len());
    let before = size();
    for _ in 0..100 {
        from.publish(&Message::new("t", b"x").qos(1));
        to.message();
    }
    assert_eq!(size(), before);
    from.publish(&Message::new("t", b"x").qos(1).retain());
    assert!(size() > before, "but a retained message is");
    target.stop();
}

#[test]
fn an_unreadable_database_is_renamed() {
    let mut target = Target::built_in();
    target.connect(&Connect::five("a")).publish(&Message::new("r", b"x").qos(1).retain());
    target.stop();
    std::fs::write(target.file(), vec![b'x'; 8_192]).expect("writable");
    target.start();
    target.check_alive();
    assert_eq!(std::fs::read(target.file().with_extension("db.unreadable")).expect("kept"), vec![b'x'; 8_192]);
}
