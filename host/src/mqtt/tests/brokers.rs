//! Real brokers, started for one test, and a real client that reads along.

use std::{
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
    time::{Duration, sleep, timeout},
};

use crate::mqtt::{BuiltInBroker, Ports, start_built_in, wire};

/// A port before a broker, at which CONNECT in MQTT 5 is answered with this, and the end of the connection.
pub(super) async fn refuse_5(broker: u16, answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.set_nodelay(true);
                let mut first = [0; 256];
                let length = client.read(&mut first).await.unwrap_or(0);
                // The level of the protocol stands behind its name.
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
    /// Where Roost connects.
    pub(super) roost: u16,
    /// Where others do.
    pub(super) devices: u16,
    /// Which MQTT it speaks with Roost.
    pub(super) version: wire::Version,
    runs: Runs,
}

enum Runs {
    Mosquitto(Child, tempfile::TempDir),
    BuiltIn(BuiltInBroker, tempfile::TempDir),
}

/// Below those that the kernel gives out: else an outgoing connection could have it before it is used.
pub(super) fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("it is small");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Broker {
    pub(super) fn built_in() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (devices, other) = (free_port(), free_port());
        let ports = Ports { devices, roost: Some(other) };
        let (broker, url) = start_built_in(ports, folder.path(), "roost-test").expect("free ports");
        assert_eq!(url.port, devices);
        Self { roost: devices, devices: other, version: wire::Version::Five, runs: Runs::BuiltIn(broker, folder) }
    }

    /// On any port, open to everybody.
    pub(super) async fn mosquitto() -> Self {
        Self::mosquitto_with(free_port(), "allow_anonymous true", &[]).await
    }

    /// With lines for its configuration, in which `DIR` is the folder that these files are in.
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
        // Debian keeps it out of the path of ordinary users.
        let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let child = Command::new(program).arg("-c").arg(&path).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let mut child = child.expect("this test needs Mosquitto: `make setup` installs it");
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert_eq!(child.try_wait().expect("our child"), None, "Mosquitto does not start");
            sleep(Duration::from_millis(5)).await;
        }
        Self { roost: port, devices: port, version: wire::Version::Five, runs: Runs::Mosquitto(child, folder) }
    }

    /// One that refuses MQTT 5 from Roost, as brokers do that do not know it.
    pub(super) async fn old() -> Self {
        let broker = Self::mosquitto().await;
        let roost = refuse_5(broker.roost, &[0x20, 2, 0, 1]).await;
        Self { roost, version: wire::Version::Three, ..broker }
    }

    /// Without any farewell, as far as it can be.
    pub(super) async fn kill(self) {
        match self.runs {
            Runs::Mosquitto(mut child, _folder) => child.kill().await.expect("it runs"),
            Runs::BuiltIn(broker, _folder) => broker.stop().await,
        }
    }

    /// A client that has subscribed to everything, which shows in its receiving what the link retained.
    pub(super) async fn reader(&self, version: Version) -> Reader {
        let version = match version {
            Version::Three => "mqttv311",
            Version::Five => "mqttv5",
        };
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.devices.to_string(), "-V", version, "-q", "2", "-t", "#"]);
        command.args(["-F", "%t|%q|%r|%p|%E|%F|%P"]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("this test needs mosquitto_sub: `make setup` installs it");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Reader { lines, _child: child }
    }
}

pub(super) enum Version {
    Three,
    Five,
}

pub(super) struct Reader {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Reader {
    /// What the link says of itself, and whether that was retained.
    pub(super) async fn status(&mut self) -> (String, bool) {
        let line = self.next().await;
        let fields: Vec<_> = line.split('|').collect();
        assert_eq!(fields[0], "roost/status", "{line}");
        (fields[3].to_owned(), fields[2] == "1")
    }

    /// `topic|QoS|retained|payload|expiry|is text|user properties`
    pub(super) async fn next(&mut self) -> String {
        // Long: it only ends a test that would otherwise hang.
        let line = timeout(Duration::from_secs(60), self.lines.next_line()).await.expect("a message within a minute");
        line.expect("UTF-8").expect("the reader is still there")
    }
}
