//! A broker on a port of its own: Debian's Mosquitto, or another one.

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
    /// The port at which clients reach it, on 127.0.0.1.
    pub port: u16,
    /// The port at which the broker itself listens.
    own_port: u16,
    /// The broker that `tests/brokers/serve` is to run, if it is not Mosquitto.
    another: Option<String>,
    process: Option<Child>,
}

impl Broker {
    /// Starts a broker without access control, with further lines of configuration.
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

    /// Starts a broker for MQTT 3.1.1 only: the one that the variable `BROKER` names (`make conformance` sets it), or
    /// Mosquitto behind a port at which MQTT 5 is refused.
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

    /// Starts a broker without access control.
    pub fn new() -> Self {
        Self::start_with("")
    }

    /// Returns its address.
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
        // In a process group of its own, because one of the brokers starts further processes.
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

    /// Stops it in an orderly way.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Kills it, so that its memory is lost.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Suspends it: until it is resumed, messages to it wait in its sockets.
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it.
    pub fn resume(&self) {
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
