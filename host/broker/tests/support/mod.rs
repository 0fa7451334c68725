//! Brokers under test, and a client that says exactly what it is asked to say.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use roost_broker::{Broker, Settings};
use tempfile::TempDir;

/// Long: it only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Below those that the kernel gives out, so that no outgoing connection has it before it is used.
pub fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("it is small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A broker that tests connect to.
pub struct Target {
    pub port: u16,
    pub is_built_in: bool,
    running: Running,
    folder: TempDir,
}

enum Running {
    Nothing,
    BuiltIn(Broker),
    Process(Child),
}

impl Target {
    pub fn built_in() -> Self {
        let mut target = Self { port: free_port(), is_built_in: true, running: Running::Nothing, folder: folder() };
        target.start();
        target
    }

    /// Starts it (again), with what it remembers.
    pub fn start(&mut self) {
        let settings = Settings::new(vec![([127, 0, 0, 1], self.port).into()], self.file(), "host".to_owned());
        self.running = Running::BuiltIn(Broker::start(settings).expect("it starts"));
    }

    /// In a process of its own, which can be killed: this test program runs the test `serve`.
    pub fn start_process(&mut self) {
        self.start_by(Command::new(std::env::current_exe().expect("it has a path")));
    }

    /// The same, where only so many files may be open.
    pub fn start_limited(&mut self, files: u32) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        command.arg(std::env::current_exe().expect("it has a path"));
        self.start_by(command);
    }

    fn start_by(&mut self, mut command: Command) {
        command.args(["--exact", "serve", "--nocapture"]);
        command.env("SERVE_PORT", self.port.to_string()).env("SERVE_FILE", self.file());
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        self.running = Running::Process(command.spawn().expect("it starts"));
        self.listens();
    }

    pub fn mosquitto() -> Self {
        let (port, folder) = (free_port(), folder());
        let path = folder.path().join("mosquitto.conf");
        let lines = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\nlog_dest none\n\
             persistence false\nmax_topic_alias 16\nmax_queued_messages 100000\n"
        );
        std::fs::write(&path, lines).expect("writable");
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let mut command = Command::new(program);
        let child = command.arg("-c").arg(path).stderr(Stdio::null()).spawn();
        let child = child.expect("this test needs Mosquitto: `make setup` installs it");
        let target = Self { port, is_built_in: false, running: Running::Process(child), folder };
        target.listens();
        target
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("broker.db")
    }

    pub fn broker(&self) -> &Broker {
        match &self.running {
            Running::BuiltIn(broker) => broker,
            _ => panic!("it is another process"),
        }
    }

    pub fn stop(&mut self) {
        match std::mem::replace(&mut self.running, Running::Nothing) {
            Running::BuiltIn(broker) => block_on(broker.stop()),
            Running::Process(mut child) => {
                drop(child.stdin.take());
                child.wait().expect("it ends");
            }
            Running::Nothing => {}
        }
    }

    pub fn kill(&mut self) {
        if let Running::Process(mut child) = std::mem::replace(&mut self.running, Running::Nothing) {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    pub fn process_id(&self) -> u32 {
        match &self.running {
            Running::Process(child) => child.id(),
            _ => panic!("it is this process"),
        }
    }

    fn listens(&self) {
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn connect(&self, connect: &Connect) -> Client {
        let (client, code, _) = self.try_connect(connect);
        assert_eq!(code, 0, "{connect:?}");
        client
    }

    /// With the return code and the properties of CONNACK.
    pub fn try_connect(&self, connect: &Connect) -> (Client, u8, Vec<(u8, Vec<u8>)>) {
        let mut client = self.open(connect.version);
        client.send(&connect.packet());
        let connack = client.next();
        assert_eq!(connack.first, 0x20);
        client.session_present = connack.body[0] == 1;
        let code = connack.body[1];
        (client, code, if connect.version == 5 { properties(&connack.body[2..]).0 } else { Vec::new() })
    }

    /// A connection on which nothing was said.
    pub fn open(&self, version: u8) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client { stream, read: Vec::new(), version, session_present: false }
    }

    /// That it serves a client as if nothing had happened.
    pub fn is_alive(&self) {
        let mut client = self.connect(&Connect::five(""));
        client.subscribe(&[("alive", 1)]);
        client.publish(&Message::new("alive", b"yes").qos(1));
        assert_eq!(client.message().payload, b"yes");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
}

/// The broker of [`Target::start_process`].
pub fn serve_if_asked() {
    let (Ok(port), Ok(file)) = (std::env::var("SERVE_PORT"), std::env::var("SERVE_FILE")) else { return };
    let address = ([127, 0, 0, 1], port.parse().expect("a port")).into();
    let broker = Broker::start(Settings::new(vec![address], file.into(), "host".to_owned())).expect("it starts");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    block_on(broker.stop());
}

/// Runs a test against both brokers.
#[macro_export]
macro_rules! agree {
    ($($(#[$meta:meta])* fn $name:ident($target:ident) $body:block)*) => { $(
        mod $name {
            use super::*;
            fn check($target: &mut Target) $body
            $(#[$meta])*
            #[test]
            fn built_in() { check(&mut Target::built_in()); }
            #[test]
            fn mosquitto() { check(&mut Target::mosquitto()); }
        }
    )* };
}

/// What a client says in CONNECT.
#[derive(Clone, Debug)]
pub struct Connect {
    pub version: u8,
    pub id: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
    pub will: Option<Will>,
}

#[derive(Clone, Debug)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Vec<u8>,
}

impl Connect {
    pub fn five(id: &str) -> Self {
        Self { version: 5, id: id.to_owned(), clean: true, keep_alive: 60, properties: Vec::new(), will: None }
    }

    pub fn three(id: &str) -> Self {
        Self { version: 4, ..Self::five(id) }
    }

    /// With a session that lasts.
    pub fn lasting(mut self) -> Self {
        self.clean = false;
        if self.version == 5 {
            self.properties.extend([0x11, 0, 0, 0x0E, 0x10]);
        }
        self
    }

    pub fn with(mut self, properties: &[u8]) -> Self {
        self.properties.extend(properties);
        self
    }

    pub fn will(mut self, topic: &str, payload: &[u8], retain: bool, properties: &[u8]) -> Self {
        let (topic, payload, properties) = (topic.to_owned(), payload.to_owned(), properties.to_owned());
        self.will = Some(Will { topic, payload, qos: 1, retain, properties });
        self
    }

    pub fn packet(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([self.version, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        self.add_properties(&mut body, &self.properties);
        text(&mut body, self.id.as_bytes());
        if let Some(will) = &self.will {
            self.add_properties(&mut body, &will.properties);
            text(&mut body, will.topic.as_bytes());
            text(&mut body, &will.payload);
        }
        packet(0x10, &body)
    }

    fn add_properties(&self, body: &mut Vec<u8>, properties: &[u8]) {
        if self.version == 5 {
            variable(body, properties.len());
            body.extend(properties);
        }
    }
}

/// A packet with its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    variable(&mut packet, body.len());
    packet.extend(body);
    packet
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text);
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// A message to publish, or one that has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: u16,
    /// Raw, when it is published.
    pub properties: Vec<u8>,
    /// When it has arrived.
    pub found: Vec<(u8, Vec<u8>)>,
}

impl Message {
    pub fn new(topic: &str, payload: &[u8]) -> Self {
        Self { topic: topic.to_owned(), payload: payload.to_owned(), id: 1, ..Self::default() }
    }

    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub fn with(mut self, properties: &[u8]) -> Self {
        self.properties.extend(properties);
        self
    }

    pub fn packet(&self, version: u8) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, self.topic.as_bytes());
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        if version == 5 {
            variable(&mut body, self.properties.len());
            body.extend(&self.properties);
        }
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }

    /// What a property says.
    pub fn property(&self, id: u8) -> Option<&[u8]> {
        self.found.iter().find(|(found, _)| *found == id).map(|(_, value)| value.as_slice())
    }
}

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    version: u8,
    pub session_present: bool,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is connected");
    }

    /// The same of a connection that may be over.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next packet; panics at the end of the connection.
    pub fn next(&mut self) -> Packet {
        self.next_or_end().expect("the connection goes on")
    }

    /// The next packet, or `None` where the connection has ended.
    pub fn next_or_end(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, length)) = cut(&self.read) {
                self.read.drain(..length);
                return Some(packet);
            }
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.read.extend(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing for a minute"),
                Err(_) => return None,
            }
        }
    }

    /// Packets until the connection ends; then their first bytes and reason.
    pub fn ended(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some(packet) = self.next_or_end() {
            if packet.first == 0xE0 {
                reason = packet.body.first().copied();
            }
        }
        reason
    }

    /// Publishes, and goes through with the acknowledgement; gives its reason code.
    pub fn publish(&mut self, message: &Message) -> u8 {
        self.send(&message.packet(self.version));
        let reason = |packet: &Packet| packet.body.get(2).copied().unwrap_or(0);
        match message.qos {
            0 => 0,
            1 => {
                let ack = self.until(0x40);
                assert_eq!(ack.body[..2], message.id.to_be_bytes());
                reason(&ack)
            }
            _ => {
                let received = self.until(0x50);
                if reason(&received) < 0x80 {
                    self.send(&packet(0x62, &message.id.to_be_bytes()));
                    self.until(0x70);
                }
                reason(&received)
            }
        }
    }

    /// The next packet of a kind; messages that come first are put back behind it.
    fn until(&mut self, first: u8) -> Packet {
        let mut skipped = Vec::new();
        loop {
            let next = self.next();
            if next.first == first {
                skipped.extend_from_slice(&self.read);
                self.read = skipped;
                return next;
            }
            assert_eq!(next.first >> 4, 3, "{next:?}");
            skipped.extend(packet(next.first, &next.body));
        }
    }

    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(filters, &[])
    }

    /// With options and properties; gives the codes of SUBACK.
    pub fn subscribe_with(&mut self, filters: &[(&str, u8)], properties: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.version == 5 {
            variable(&mut body, properties.len());
            body.extend(properties);
        }
        for (filter, options) in filters {
            text(&mut body, filter.as_bytes());
            body.push(*options);
        }
        self.send(&packet(0x82, &body));
        self.until(0x90).body[if self.version == 5 { 3 } else { 2 }..].to_vec()
    }

    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.version == 5 {
            body.push(0);
        }
        for filter in filters {
            text(&mut body, filter.as_bytes());
        }
        self.send(&packet(0xA2, &body));
        self.until(0xB0).body[if self.version == 5 { 3 } else { 2 }..].to_vec()
    }

    /// The next packet, which is a message; it is not acknowledged.
    pub fn unacknowledged(&mut self) -> Message {
        let Packet { first, body } = self.next();
        assert_eq!(first >> 4, 3, "{first:x} {body:?}");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).expect("UTF-8");
        let (mut rest, qos) = (&body[2 + length..], first >> 1 & 3);
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        let mut found = Vec::new();
        if self.version == 5 {
            let (properties, length) = properties(rest);
            found = properties;
            rest = &rest[length..];
        }
        let (retain, dup) = (first & 1 != 0, first & 8 != 0);
        Message { topic, payload: rest.to_vec(), qos, retain, dup, id, properties: Vec::new(), found }
    }

    /// The next packet, which is a message, and is acknowledged.
    pub fn message(&mut self) -> Message {
        let message = self.unacknowledged();
        self.acknowledge(&message);
        message
    }

    pub fn acknowledge(&mut self, message: &Message) {
        match message.qos {
            0 => {}
            1 => self.send(&packet(0x40, &message.id.to_be_bytes())),
            _ => {
                self.send(&packet(0x50, &message.id.to_be_bytes()));
                assert_eq!(self.until(0x62).body[..2], message.id.to_be_bytes());
                self.send(&packet(0x70, &message.id.to_be_bytes()));
            }
        }
    }

    /// That nothing has arrived: the broker answers in the order in which it works.
    pub fn quiet(&mut self) {
        self.send(&[0xC0, 0]);
        assert_eq!(self.next(), Packet { first: 0xD0, body: Vec::new() });
    }

    /// As a client should, with a reason and properties of MQTT 5.
    pub fn disconnect(mut self, body: &[u8]) {
        self.send(&packet(0xE0, body));
        assert_eq!(self.next_or_end(), None);
    }

    /// What is left of it for a program that speaks for itself.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// As a client that crashes; returns when the broker has noticed, as far as can be seen.
    pub fn crash(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn cut(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (mut length, mut shift, mut at) = (0_usize, 0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << shift;
        (shift, at) = (shift + 7, at + 1);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?.to_vec();
    Some((Packet { first: bytes[0], body }, at + length))
}

/// Properties as pairs of an identifier and bytes, and how many bytes they have with their length.
fn properties(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
    let (mut length, mut at, mut shift) = (0_usize, 0, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7F) << shift;
        (shift, at) = (shift + 7, at + 1);
        if bytes[at - 1] & 0x80 == 0 {
            break;
        }
    }
    let whole = at + length;
    let mut rest = &bytes[at..whole];
    let mut found = Vec::new();
    let of_text = |rest: &[u8]| 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    while let Some((&id, value)) = rest.split_first() {
        let size = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0B => 1 + value.iter().take_while(|byte| **byte & 0x80 != 0).count(),
            0x26 => of_text(value) + of_text(&value[of_text(value)..]),
            _ => of_text(value),
        };
        found.push((id, value[..size].to_vec()));
        rest = &value[size..];
    }
    (found, whole)
}
