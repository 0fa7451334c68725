//! Real brokers, started for one test, and a real client that reads their messages.

use std::{
    collections::{HashSet, VecDeque},
    path::Path,
    process::Stdio,
};

use roost_scheduler::model::Qos;
pub(super) use roost_tests::free_port;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
    time::{Duration, sleep, timeout},
};

use crate::mqtt::{BuiltInBroker, Ports, start_built_in, wire};

/// Returns the port of a proxy that answers CONNECT in MQTT 5 with the given bytes and closes the connection.
pub(super) async fn refuse_5(broker: u16, answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.set_nodelay(true);
                let mut first = [0; 256];
                let length = client.read(&mut first).await.unwrap_or(0);
                // The protocol level follows the protocol name.
                let level = first[..length].windows(5).find(|bytes| bytes.starts_with(b"MQTT")).map(|bytes| bytes[4]);
                if level != Some(4) {
                    let _ = client.write_all(answer).await;
                    return;
                }
                let Ok(mut broker) = TcpStream::connect(("127.0.0.1", broker)).await else { return };
                let _ = broker.set_nodelay(true);
                let _ = broker.write_all(&first[..length]).await;
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    port
}

/// A broker under test.
pub(super) struct Broker {
    /// The port that Roost connects to.
    pub(super) roost: u16,
    /// The port that other clients connect to.
    pub(super) devices: u16,
    /// The version of MQTT that it speaks with Roost.
    pub(super) version: wire::Version,
    pub(super) abilities: Abilities,
    runs: Runs,
}

/// Differences between brokers. Roost's guarantees do not depend on them.
#[derive(Clone, Copy)]
pub(super) struct Abilities {
    /// Whether devices may use MQTT 5.
    pub(super) five: bool,
    /// Whether it accepts messages at QoS 2, rather than lowering them to QoS 1.
    pub(super) qos_2: bool,
    /// Whether it delivers messages at the QoS of the subscription, even if they were sent at a lower one.
    raises_qos: bool,
    /// Whether it sends retained messages again without a new subscription.
    repeats_retained: bool,
    /// Whether a subscription with a wildcard receives retained messages.
    pub(super) retained_for_wildcards: bool,
}

impl Abilities {
    /// The abilities of Mosquitto.
    const ALL: Self =
        Self { five: true, qos_2: true, raises_qos: false, repeats_retained: false, retained_for_wildcards: true };

    /// The abilities of a broker that `make conformance` installs. They speak MQTT 3.1.1 only.
    fn of(program: &str) -> Self {
        let old = Self { five: false, ..Self::ALL };
        match program {
            "rabbitmq" => Self { qos_2: false, retained_for_wildcards: false, ..old },
            "aedes" | "aedes-0.51" => old,
            "amqtt" => Self { raises_qos: true, repeats_retained: true, ..old },
            other => panic!("`BROKER={other}` is not a broker that `tests/brokers/serve` supports"),
        }
    }

    /// The QoS at which a reader receives a message.
    pub(super) fn delivered(self, sent: Qos) -> u8 {
        match (self.qos_2, self.raises_qos) {
            (_, true) => 2,
            (true, _) => sent as u8,
            (false, _) => (sent as u8).min(1),
        }
    }
}

enum Runs {
    Mosquitto(Child, tempfile::TempDir),
    BuiltIn(BuiltInBroker, tempfile::TempDir),
    Another(Group, tempfile::TempDir),
}

/// A process and its children.
struct Group(Child);

impl Group {
    async fn kill(&mut self) {
        self.signal();
        let _ = self.0.wait().await;
    }

    fn signal(&self) {
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal();
    }
}

impl Broker {
    pub(super) fn built_in() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (devices, other) = (free_port(), free_port());
        let ports = Ports { devices, roost: Some(other) };
        let (broker, url) = start_built_in(ports, folder.path(), "roost-test").expect("free ports");
        assert_eq!(url.port, devices);
        let (version, abilities) = (wire::Version::Five, Abilities::ALL);
        Self { roost: devices, devices: other, version, abilities, runs: Runs::BuiltIn(broker, folder) }
    }

    /// Starts Mosquitto on any port, with anonymous access.
    pub(super) async fn mosquitto() -> Self {
        Self::mosquitto_with(free_port(), "allow_anonymous true", &[]).await
    }

    /// Starts Mosquitto with lines for its configuration, in which `DIR` stands for the folder with the files.
    pub(super) async fn mosquitto_with(port: u16, lines: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("writable");
        }
        let lines = lines.replace("DIR", &folder.path().display().to_string());
        let configuration = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence false\nset_tcp_nodelay true\nlog_dest none\n\
             max_inflight_messages 0\nmax_queued_messages 100000\n{lines}\n"
        );
        let path = folder.path().join("mosquitto.conf");
        std::fs::write(&path, configuration).expect("writable");
        // On Debian it is not in an ordinary user's `PATH`.
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let child = Command::new(program).arg("-c").arg(&path).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let mut child = child.expect("this test needs Mosquitto: `make setup` installs it");
        listens(port, &mut child).await;
        let (version, abilities) = (wire::Version::Five, Abilities::ALL);
        Self { roost: port, devices: port, version, abilities, runs: Runs::Mosquitto(child, folder) }
    }

    /// Starts the broker that the variable `BROKER` names (see `make conformance`), or Mosquitto.
    pub(super) async fn another() -> Self {
        Self::another_at(free_port()).await
    }

    pub(super) async fn another_at(port: u16) -> Self {
        let Ok(program) = std::env::var("BROKER") else {
            return Self::mosquitto_with(port, "allow_anonymous true", &[]).await;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/brokers/serve");
        let mut command = Command::new(serve);
        command.arg(&program).arg(port.to_string()).arg(folder.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut group = Group(command.spawn().expect("this test needs brokers: `make conformance` installs them"));
        listens(port, &mut group.0).await;
        let (version, abilities) = (wire::Version::Three, Abilities::of(&program));
        Self { roost: port, devices: port, version, abilities, runs: Runs::Another(group, folder) }
    }

    /// Starts Mosquitto behind a proxy that refuses MQTT 5, as a broker without MQTT 5 does.
    pub(super) async fn old() -> Self {
        let broker = Self::mosquitto().await;
        let roost = refuse_5(broker.roost, &[0x20, 2, 0, 1]).await;
        Self { roost, version: wire::Version::Three, ..broker }
    }

    /// Stops the broker, with SIGKILL if it is a process of its own.
    pub(super) async fn kill(self) {
        match self.runs {
            Runs::Mosquitto(mut child, _folder) => child.kill().await.expect("it runs"),
            Runs::BuiltIn(broker, _folder) => broker.stop().await,
            Runs::Another(mut group, _folder) => group.kill().await,
        }
    }

    /// Returns a client that has subscribed to everything. It speaks 3.1.1 if the broker speaks nothing else.
    pub(super) async fn reader(&self, version: Version) -> Reader {
        self.reader_of("#", version).await
    }

    /// Returns a client that has subscribed to the link's status topic.
    pub(super) async fn status_reader(&self) -> Reader {
        self.reader_of("roost/status", Version::Three).await
    }

    /// Returns a client once its subscription is granted. Its lines show whether a message was retained.
    async fn reader_of(&self, filter: &str, version: Version) -> Reader {
        let version = match version {
            Version::Five if self.abilities.five => "mqttv5",
            Version::Three | Version::Five => "mqttv311",
        };
        // `stdbuf` makes it print each line at once.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", &self.devices.to_string()]);
        command.args(["-V", version, "-q", "2", "-t", filter, "-F", "message %t|%q|%r|%p|%E|%F|%P"]);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("this test needs mosquitto_sub: `make setup` installs it");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let repeats = self.abilities.repeats_retained.then(HashSet::new);
        let mut reader = Reader { lines, messages: VecDeque::new(), repeats, _child: child };
        while !reader.line().await.starts_with("Subscribed") {}
        reader
    }
}

/// Waits until something listens at a port.
async fn listens(port: u16, child: &mut Child) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert_eq!(child.try_wait().expect("our child"), None, "the broker does not start");
        sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Clone, Copy)]
pub(super) enum Version {
    Three,
    Five,
}

pub(super) struct Reader {
    lines: Lines<BufReader<ChildStdout>>,
    /// Messages that were read and not taken yet.
    messages: VecDeque<String>,
    /// The retained messages so far, if duplicates are ignored.
    repeats: Option<HashSet<String>>,
    _child: Child,
}

impl Reader {
    /// Returns the next status of the link, and whether the message was retained.
    pub(super) async fn status(&mut self) -> (String, bool) {
        let line = self.next().await;
        let fields: Vec<_> = line.split('|').collect();
        assert_eq!(fields[0], "roost/status", "{line}");
        (fields[3].to_owned(), fields[2] == "1")
    }

    /// Returns the next message as `topic|QoS|retained|payload|expiry|is text|user properties`.
    pub(super) async fn next(&mut self) -> String {
        while self.messages.is_empty() {
            self.line().await;
        }
        self.messages.pop_front().expect("there is one")
    }

    async fn line(&mut self) -> String {
        // A long limit, which only ends a test that would otherwise hang.
        let line = timeout(Duration::from_secs(60), self.lines.next_line()).await.expect("a line within a minute");
        let line = line.expect("UTF-8").expect("the reader is still there");
        if let Some(message) = line.strip_prefix("message ")
            && !self.is_repeated(message)
        {
            self.messages.push_back(message.to_owned());
        }
        line
    }

    fn is_repeated(&mut self, message: &str) -> bool {
        let Some(retained) = &mut self.repeats else { return false };
        match message.split('|').collect::<Vec<_>>()[..] {
            [topic, _, "1", payload, ..] => !retained.insert(format!("{topic}|{payload}")),
            _ => false,
        }
    }
}
