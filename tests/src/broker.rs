//! Debian's Mosquitto, on a port of its own.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{PATIENCE, free_port};

/// A broker that can be stopped, killed and started again on the same port.
pub struct Broker {
    folder: TempDir,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    process: Option<Child>,
}

impl Broker {
    /// One that lets everybody do everything, with more lines for its configuration.
    pub fn start_with(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let configuration = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             persistence false\nlog_dest none\nset_tcp_nodelay true\n{lines}\n"
        );
        fs::write(folder.path().join("mosquitto.conf"), configuration).expect("a temporary file");
        let mut broker = Self { folder, port, process: None };
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
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "mosquitto"]
            .into_iter()
            .find(|path| !path.starts_with('/') || fs::exists(path).unwrap_or(false))
            .expect("the last one is always tried");
        let started = Command::new(program)
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(started.expect("mosquitto is not installed: run `make setup`"));
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "mosquitto does not listen on port {}", self.port);
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
        kill_process(Pid::from_child(process), signal).expect("it runs");
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            let _ = kill_process(Pid::from_child(&process), signal);
            let _ = process.wait();
        }
    }
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
