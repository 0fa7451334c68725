//! Tests of the broker's bounds.

mod support;

use support::{Client, Connect, Message, Target, packet};

/// Runs the broker if this program is started as a broker process.
#[test]
fn serve() {
    support::serve_if_requested();
}

/// The most memory that a process has had, in MiB.
fn most_memory_mib(process: u32) -> u64 {
    memory_of(process, "VmHWM:")
}

/// The memory of a process, in MiB.
fn memory_mib(process: u32) -> u64 {
    memory_of(process, "VmRSS:")
}

fn memory_of(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(what)).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") / 1_024
}

#[test]
fn retained_messages_are_bounded_in_bytes() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    let mut client = target.connect(&Connect::five("a"));
    let large = vec![b'x'; 900_000];
    let mut refused = 0;
    for number in 0..400 {
        match client.publish(&Message::new(&format!("large/{number}"), &large).qos(1).retain()) {
            0x10 => assert_eq!(refused, 0, "what fits comes first"),
            0x97 => refused += 1,
            reason => panic!("{reason:x}"),
        }
    }
    assert_eq!(400 - refused, (32 << 20) / 900_260);
    // A message that replaces another fits.
    assert_eq!(client.publish(&Message::new("large/0", &large).qos(1).retain()), 0x10);
    assert_eq!(client.publish(&Message::new("small", b"x").qos(1).retain()), 0x10);
    // 3.1.1 has no refusal: current subscribers receive it, later ones receive neither it nor the older one.
    let mut three = target.connect(&Connect::three("b"));
    three.publish(&Message::new("large/new", &large).qos(1).retain());
    client.subscribe(&[("large/new", 1)]);
    client.quiet();
    three.publish(&Message::new("large/new", &large).qos(1).retain());
    assert_eq!(client.message().payload.len(), large.len());
    let memory = memory_mib(target.process_id());
    assert!(memory < 160, "{memory} MiB");
    target.check_alive();
}

/// A subscriber that does not read does not affect other clients.
#[test]
fn a_slow_client_affects_only_itself() {
    let target = Target::built_in();
    let (mut slow, mut quick) = (target.connect(&Connect::five("slow")), target.connect(&Connect::five("quick")));
    slow.subscribe(&[("t/#", 0)]);
    quick.subscribe(&[("t/#", 1), ("u", 1)]);
    let mut from = target.connect(&Connect::five("from"));
    let payload = vec![b'x'; 100_000];
    for number in 0..200_u32 {
        from.publish(&Message::new(&format!("t/{number}"), &payload).qos(1));
        assert_eq!(quick.message().topic, format!("t/{number}"));
    }
    // It receives what fits, in order, and continues when it reads again.
    let mut last = None;
    slow.send(&[0xC0, 0]);
    loop {
        let next = slow.next();
        if next.first == 0xD0 {
            break;
        }
        let topic = String::from_utf8_lossy(&next.body[4..]).split(['\0', 'x']).next().unwrap_or_default().to_owned();
        let number = topic.parse::<u32>().ok();
        assert!(number > last, "{number:?} after {last:?}");
        last = number;
    }
    from.publish(&Message::new("t/after", b"x").qos(1));
    assert_eq!(slow.message().topic, "t/after");
}

/// Beyond the limit the oldest messages are dropped, and a publisher never waits.
#[test]
fn a_queue_is_bounded() {
    let target = Target::built_in();
    let connect = Connect::three("away").lasting();
    let mut away = target.connect(&connect);
    away.subscribe(&[("t", 1)]);
    away.disconnect(&[]);
    let mut from = target.connect(&Connect::five("from"));
    let payload = vec![0; 900_000];
    for number in 0..20 {
        let mut payload = payload.clone();
        payload[0] = number;
        assert_eq!(from.publish(&Message::new("t", &payload).qos(1)), 0);
    }
    let mut away = target.connect(&connect);
    let got: Vec<_> = (0..9).map(|_| away.message().payload[0]).collect();
    assert_eq!(got, (11..20).collect::<Vec<_>>(), "8 MiB, the newest ones");
    away.quiet();
}

#[test]
fn a_client_cannot_have_more_subscriptions_than_allowed() {
    let target = Target::built_in();
    let mut client = target.connect(&Connect::five("a"));
    for hundred in 0..100 {
        let filters: Vec<_> = (0..100).map(|number| format!("t/{}", hundred * 100 + number)).collect();
        let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
        assert_eq!(client.subscribe(&filters), [0; 100]);
    }
    assert_eq!(client.subscribe(&[("more", 0), ("t/1", 1)]), [0x97, 1]);
    assert_eq!(client.unsubscribe(&["t/1"]), [0]);
    assert_eq!(client.subscribe(&[("more", 0)]), [0]);
}

#[test]
fn packets_are_bounded() {
    let target = Target::built_in();
    let (mut client, _, properties) = target.try_connect(&Connect::five("a"));
    assert!(properties.contains(&(0x27, (1_u32 << 20).to_be_bytes().to_vec())));
    client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(client.ended(), Some(0x95));
    // A packet that does not arrive takes no memory, and does not delay other clients' packets.
    let mut idle: Vec<Client> = (0..100).map(|_| target.connect(&Connect::five(""))).collect();
    for client in &mut idle {
        client.send(&[0x30, 0xF0, 0xFF, 0x3F, 0]);
    }
    target.check_alive();
    // The host's own messages do not wait for them.
    let large = Message::new("t", &vec![b'x'; 900_000]).qos(1);
    assert_eq!(target.connect(&Connect::five("host")).publish(&large), 0x10);
    let mut client = target.connect(&Connect::five("a"));
    for number in 0..3_000_u16 {
        client.try_send(&Message::new("t", b"x").qos(2).id(number + 1).packet(5));
    }
    assert_eq!(client.ended(), Some(0x93), "more at once than the receive maximum");
}

/// After a restart, all devices reconnect at the same time.
#[test]
fn hundreds_of_clients_may_connect_at_the_same_time() {
    let target = Target::built_in();
    let mut clients: Vec<_> = (0..300).map(|_| target.open(5)).collect();
    for client in &mut clients {
        client.send(&Connect::five("").packet());
    }
    for client in &mut clients {
        assert_eq!(client.next().first, 0x20);
    }
}

/// A client that is disconnected while it sends receives the reason.
#[test]
fn a_flood_does_not_hide_the_reason() {
    let target = Target::built_in();
    let mut client = target.connect(&Connect::five("a"));
    client.try_send(&[&[0xB0, 4, 0, 1, 0, 0][..], &vec![0; 1 << 20]].concat());
    assert_eq!(client.ended(), Some(0x82));
}

/// Idle connections do not use up the open files, and the host's own client can connect.
#[test]
fn some_open_files_are_reserved() {
    let mut target = Target::built_in();
    target.stop();
    target.start_limited(256);
    let mut silent: Vec<_> = (0..100).map(|_| target.open(5)).collect();
    let mut connected = Vec::new();
    let refused = loop {
        let (client, code, _) = target.try_connect(&Connect::five(""));
        if code != 0 {
            break code;
        }
        connected.push(client);
    };
    assert_eq!(refused, 0x89, "the server is busy");
    assert_eq!(target.try_connect(&Connect::three("three")).1, 3);
    assert!((120..=170).contains(&connected.len()), "{}", connected.len());
    let open = std::fs::read_dir(format!("/proc/{}/fd", target.process_id())).expect("our child").count();
    assert!(open <= 256 - 16, "{open} files are open");
    target.connect(&Connect::five("host")).quiet();
    assert_eq!(silent[0].ended(), None, "the oldest silent connection was ended");
    connected.truncate(10);
    while target.try_connect(&Connect::five("")).1 != 0 {}
}

/// Packets in pieces of one byte.
#[test]
fn a_packet_may_come_byte_by_byte() {
    let target = Target::built_in();
    let mut client = target.open(5);
    let bytes =
        [Connect::five("slow").packet(), packet(0x82, &[0, 1, 0, 0, 1, b't', 0]), Message::new("t", b"x").packet(5)];
    for byte in bytes.concat() {
        client.send(&[byte]);
    }
    assert_eq!([client.next().first, client.next().first, client.next().first], [0x20, 0x90, 0x30]);
}

/// A slow or full disk takes no memory: clients with persistent messages wait, and others do not.
#[test]
fn the_backlog_of_the_disk_is_bounded() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    let mut client = target.connect(&Connect::five("a"));
    client.publish(&Message::new("r", b"x").qos(1).retain());
    // From now on the broker cannot write.
    let lock = rusqlite::Connection::open(target.file()).expect("a database");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("it is free");
    let flood = std::thread::spawn(move || {
        let large = vec![b'x'; 900_000];
        for _ in 0..300 {
            client.send(&Message::new("r", &large).retain().packet(5));
        }
        client
    });
    for _ in 0..20 {
        target.check_alive();
    }
    lock.execute_batch("ROLLBACK").expect("it was begun");
    let mut client = flood.join().expect("all of it is accepted in the end");
    client.quiet();
    let most = most_memory_mib(target.process_id());
    assert!(most < 160, "{most} MiB");
}

/// A large message for many clients is written to one after the other.
#[test]
fn a_large_message_for_many_clients_takes_bounded_memory() {
    let mut target = Target::built_in();
    target.stop();
    target.start_process();
    let mut clients: Vec<_> = (0..400).map(|_| target.connect(&Connect::five(""))).collect();
    for client in &mut clients {
        client.subscribe(&[("t", 1)]);
    }
    let mut from = target.connect(&Connect::five("from"));
    let large = vec![b'x'; 900_000];
    assert_eq!(from.publish(&Message::new("t", &large).qos(1)), 0);
    for client in &mut clients {
        assert_eq!(client.message().payload.len(), large.len());
    }
    let most = most_memory_mib(target.process_id());
    assert!(most < 200, "{most} MiB");
}

#[test]
fn a_connection_without_connect_is_ended() {
    let target = Target::built_in();
    let mut client = target.open(5);
    client.send(&[0x10, 14, 0, 4]);
    assert_eq!(client.ended(), None);
}
