//! A broker on a port of its own: Debian's Mosquitto, or another.

use std::{
    env, fs,
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::{PATIENCE, free_port, root, without_5};

/// A broker that can be stopped, killed and started again on the same port.
pub struct Broker {
    folder: TempDir,
    /// Where it is reached, on 127.0.0.1.
    pub port: u16,
    /// Where it listens itself.
    own_port: u16,
    /// What `tests/brokers/serve` is to run, where it is not Mosquitto.
    another: Option<String>,
    process: Option<Child>,
}

impl Broker {
    /// One that lets everybody do everything, with more lines for its configuration.
    pub fn start_with(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let configuration = format!(
            "listener {port} 127.0.0.1\nuser root\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             persistence false\nlog_dest none\nset_tcp_nodelay true\n{lines}\n"
        );
        fs::write(folder.path().join("mosquitto.conf"), configuration).expect("a temporary file");
        let mut broker = Self { folder, port, own_port: port, another: None, process: None };
        broker.start();
        broker
    }

    /// One that speaks MQTT 3.1.1 only: the one that the variable `BROKER` names (`make conformance` does), or Mosquitto
    /// behind a port at which MQTT 5 is refused.
    pub fn without_5() -> Self {
        let Ok(name) = env::var("BROKER") else {
            let mut broker = Self::new();
            broker.port = without_5::refuse_5(broker.own_port);
            return broker;
        };
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port());
        let mut broker = Self { folder, port, own_port: port, another: Some(name), process: None };
        broker.start();
        broker
    }

    /// One that lets everybody do everything.
    pub fn new() -> Self {
        Self::start_with("")
    }

    /// Where it can be reached.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts it (again), and waits until it listens.
    #[allow(clippy::disallowed_methods, reason = "a limit, not a measurement")]
    pub fn start(&mut self) {
        let mut command = match &self.another {
            None => {
                let mut mosquitto = Command::new(mosquitto());
                mosquitto.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
                mosquitto
            }
            Some(name) => {
                let mut serve = Command::new(root().join("tests/brokers/serve"));
                serve.arg(name).arg(self.own_port.to_string()).arg(self.folder.path());
                serve
            }
        };
        // A group of its own: one of them starts others.
        let started = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = self.process.insert(started.expect("the broker is not installed: run `make setup`"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.own_port)).is_err() {
            assert_eq!(process.try_wait().expect("it was started"), None, "the broker does not start");
            assert!(Instant::now() < until, "the broker does not listen on port {}", self.own_port);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Publishes a message, with arguments of `mosquitto_pub`.
    pub fn publish(&self, arguments: &[&str]) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        let status = command.status().expect("mosquitto_pub is not installed: run `make setup`");
        assert!(status.success(), "{arguments:?}");
    }

    /// Ends it in an orderly way.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it at once, with all that it has in memory.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Lets it answer nobody until it goes on: what is sent to it waits in its sockets.
    pub fn hold(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process_group(Pid::from_child(process), signal).expect("it runs");
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            let _ = kill_process_group(Pid::from_child(&process), signal);
            let _ = process.wait();
        }
    }
}

fn mosquitto() -> &'static str {
    let paths = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "mosquitto"];
    let found = paths.into_iter().find(|path| !path.starts_with('/') || fs::exists(path).unwrap_or(false));
    found.expect("the last one is always tried")
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
