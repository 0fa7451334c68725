//! Tests of faults in the broker itself.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::{Broker, Settings};

/// Breaks the broker on purpose if a test publishes to certain topics.
pub(crate) fn break_at(topic: &str) {
    match topic {
        "$test/panic" => panic!("a test wants it"),
        "$test/hang" => loop {
            thread::park();
        },
        _ => {}
    }
}

struct Fixture {
    broker: Broker,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(watch_every: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let address = ([127, 0, 0, 1], port).into();
        let settings = Settings::new(vec![address], folder.path().join("broker.db"), "host".to_owned());
        let broker = Broker::start(Settings { watch_every, ..settings }).expect("it starts");
        Self { broker, port, _folder: folder }
    }

    /// Connects with MQTT 3.1.1 and a persistent session. Returns whether the session existed.
    fn connect(&self, id: &str) -> (TcpStream, bool) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let mut connect = vec![0x10, 12 + id.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, 0, 0, 0, 0, id.len() as u8];
        connect.extend(id.as_bytes());
        stream.write_all(&connect).expect("it listens");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("it answers");
        assert_eq!((connack[0], connack[3]), (0x20, 0));
        (stream, connack[2] == 1)
    }
}

fn publish(stream: &mut TcpStream, topic: &str) {
    let mut packet = vec![0x30, 2 + topic.len() as u8, 0, topic.len() as u8];
    packet.extend(topic.as_bytes());
    stream.write_all(&packet).expect("it is connected");
}

fn is_served(stream: &mut TcpStream) {
    stream.write_all(&[0xC0, 0]).expect("it is connected");
    let mut pingresp = [0; 2];
    stream.read_exact(&mut pingresp).expect("it answers");
    assert_eq!(pingresp, [0xD0, 0]);
}

#[test]
fn a_panic_ends_only_one_connection() {
    let fixture = Fixture::new(Duration::from_secs(60));
    let (mut other, _) = fixture.connect("other");
    for _ in 0..3 {
        let (mut stream, _) = fixture.connect("broken");
        publish(&mut stream, "$test/panic");
        assert_eq!(stream.read(&mut [0; 8]).expect("the connection ends"), 0);
        is_served(&mut other);
    }
    assert!(fixture.connect("broken").1, "its session is there");
    assert_eq!(fixture.broker.health().restarts(), 0);
}

#[test]
fn a_broker_that_does_not_respond_is_restarted() {
    let fixture = Fixture::new(Duration::from_millis(250));
    let health = fixture.broker.health();
    let (mut other, was_there) = fixture.connect("other");
    assert!(!was_there);
    let (mut stream, _) = fixture.connect("broken");
    publish(&mut stream, "$test/hang");
    let mut problem = None;
    while health.restarts() == 0 || health.problem().is_some() {
        problem = problem.or_else(|| health.problem());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(problem.is_some_and(|problem| problem.starts_with("the built-in broker does not respond")));
    assert_eq!(other.read(&mut [0; 8]).unwrap_or(0), 0, "its connections are closed");
    let (mut other, was_there) = fixture.connect("other");
    assert!(was_there, "its sessions are restored");
    is_served(&mut other);
}
