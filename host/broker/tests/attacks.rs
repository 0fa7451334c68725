//! Hostile input ends at most its own connection.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use support::{Client, Connect, Message, Target, packet};

static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("broker")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        usual(panic);
    }));
}

/// Sends bytes on a new connection, and reads until the broker ends it.
fn attack(port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    // The broker may end the connection before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("not ended after a minute: {bytes:02x?}")
        }
        _ => {}
    }
}

/// A subscriber and a publisher, connected before an attack.
struct Witness(Client);

impl Witness {
    fn new(target: &Target) -> Self {
        let mut client = target.connect(&Connect::five("witness"));
        client.subscribe(&[("$witness", 1)]);
        Self(client)
    }

    fn is_served(&mut self) {
        self.0.publish(&Message::new("$witness", b"words").qos(1));
        assert_eq!(self.0.message().payload, b"words");
    }
}

/// An UNSUBACK, and then the same client again: this crashed another broker.
#[test]
fn a_packet_that_only_servers_send_ends_only_its_connection() {
    let target = Target::built_in();
    let mut witness = Witness::new(&target);
    let mut client = target.connect(&Connect::five("x"));
    client.send(&[0xB0, 0x04, 0x00, 0x01, 0x00, 0x00]);
    assert_eq!(client.ended(), Some(0x82));
    let mut client = target.connect(&Connect::five("x"));
    client.quiet();
    witness.is_served();
    target.check_alive();
}

/// Input that once caused faults, here or in other brokers: a file for each, with a line of hexadecimal digits for each
/// connection, and `#` before a comment.
#[test]
fn the_corpus_of_hostile_input_does_no_harm() {
    count_panics();
    let target = Target::built_in();
    let mut witness = Witness::new(&target);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        files += 1;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let digits: Vec<_> = line.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
            attack(target.port, &digits.chunks(2).map(byte).collect::<Vec<_>>());
            witness.is_served();
        }
    }
    assert!(files > 3);
    assert_eq!((PANICS.load(Ordering::Relaxed), target.broker().health().restarts()), (0, 0));
}

/// Mutated packets on thousands of connections. `CONNECTIONS=100000` sets their number, and `SEED=n` the random seed.
#[test]
fn thousands_of_broken_connections_do_no_harm() {
    count_panics();
    let number = |name, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (connections, seed) = (number("CONNECTIONS", 3_000_u64), number("SEED", 1_u64));
    let mut target = Target::built_in();
    let mut witness = Witness::new(&target);
    for connection in 0..connections {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(connection));
        attack(target.port, &random.connection());
        if connection % 50 == 0 {
            witness.is_served();
        }
        if connection % 500 == 0 {
            target.check_alive();
        }
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "reproduce: SEED={seed} CONNECTIONS={}", connection + 1);
    }
    witness.is_served();
    assert_eq!(target.broker().health().restarts(), 0);
    // The database is readable afterwards.
    target.stop();
    target.start();
    assert!(!target.file().with_extension("db.unreadable").exists());
    target.check_alive();
    target.stop();
}

/// A deterministic random generator (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Returns CONNECT and some packets, with a few bytes changed, inserted or removed.
    fn connection(&mut self) -> Vec<u8> {
        let version = if self.below(2) == 0 { 4 } else { 5 };
        let mut bytes = self.connect(version);
        for _ in 0..self.below(8) {
            bytes.extend(self.packet(version));
        }
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len() as u64) as usize;
            match self.below(6) {
                0 => bytes.insert(at, self.next() as u8),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at + 1),
                3 => bytes[at] ^= 1 << self.below(8),
                4 => bytes[at] = self.pick(&[&0, &0x7F, &0x80, &0xFF]).to_owned(),
                _ => bytes[at] = self.next() as u8,
            }
        }
        bytes
    }

    fn connect(&mut self, version: u8) -> Vec<u8> {
        let mut connect = Connect { version, ..Connect::five(self.pick(&["x", "y", "z", ""])) };
        connect.clean = self.below(2) == 0;
        connect.keep_alive = self.below(3) as u16 * 30_000;
        if version == 5 && self.below(2) == 0 {
            connect =
                connect.with(self.pick(&[&[0x11, 0, 0, 0, 9][..], &[0x21, 0, 1], &[0x27, 0, 0, 0, 40], &[0x22, 0, 5]]));
        }
        if self.below(3) == 0 {
            let properties: &[u8] = self.pick(&[&[], &[0x18, 0, 0, 0, 1], &[0x02, 0, 0, 0, 1]]);
            connect = connect.will(self.pick(&["t", "t/x", "w"]), b"lost", self.below(2) == 0, properties);
        }
        connect.packet()
    }

    fn packet(&mut self, version: u8) -> Vec<u8> {
        let id = (self.below(4) as u16).to_be_bytes();
        let none: &[u8] = if version == 5 { &[0] } else { &[] };
        match self.below(16) {
            0..=4 => {
                let topic = self.pick(&["t", "t/x", "$own", "", "a/b/c/d", "+"]);
                let mut message = Message::new(topic, self.pick(&[&b""[..], b"x", b"a longer payload"]));
                message = message.qos(self.below(3) as u8).id(self.below(4) as u16);
                message.retain = self.below(3) == 0;
                if version == 5 {
                    let (alias, expiry, user) = (&[0x23, 0, 1][..], &[2, 0, 0, 0, 1][..], &[0x26, 0, 0, 0, 0][..]);
                    message = message.with(self.pick(&[&[], alias, expiry, user]));
                }
                message.packet(version)
            }
            5..=8 => {
                let filter = self.pick(&["t", "t/#", "#", "+/+", "$own", "$share/g/t", "a/+/c/#", "a#"]);
                let options = self.pick(&[&0_u8, &1, &2, &5, &0x28]).to_owned();
                let length = (filter.len() as u16).to_be_bytes();
                packet(0x82, &[&id[..], none, &length, filter.as_bytes(), &[options]].concat())
            }
            9 => packet(0xA2, &[&id[..], none, &[0, 1, b't']].concat()),
            10 => packet(self.pick(&[&0x40_u8, &0x50, &0x62, &0x70]).to_owned(), &id),
            11 if version == 5 => {
                packet(self.pick(&[&0x40_u8, &0x50, &0x62, &0x70]).to_owned(), &[&id[..], &[0x87, 0]].concat())
            }
            12 => packet(0xC0, &[]),
            13 => packet(0xE0, self.pick(&[&[][..], &[4], &[0, 5, 0x11, 0, 0, 0, 5]])),
            14 => self.connect(version),
            _ => packet(self.next() as u8, &id),
        }
    }
}
