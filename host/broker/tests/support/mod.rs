//! Brokers under test.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

mod client;
mod packets;

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use roost_broker::{Broker, Settings, StartError};
use roost_tests::free_port;
use tempfile::TempDir;

use self::packets::properties;
pub use self::{
    client::Client,
    packets::{Connect, Message, packet},
};

/// A long limit, which only ends a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Held while a process starts: until it runs its own program it has copies of the listeners of other tests, whose ports are
/// not free before.
static STARTING: Mutex<()> = Mutex::new(());

fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
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
    Mosquitto(roost_tests::Broker),
}

impl Target {
    pub fn built_in() -> Self {
        let mut target = Self { port: free_port(), is_built_in: true, running: Running::Nothing, folder: folder() };
        target.start();
        target
    }

    /// Starts or restarts the broker with its stored state.
    pub fn start(&mut self) {
        let settings = || Settings::new(vec![([127, 0, 0, 1], self.port).into()], self.file(), "host".to_owned());
        let broker = loop {
            match Broker::start(settings()) {
                // A process that another test has just started closes its copy of the old listener only after `spawn`.
                Err(StartError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {
                    thread::sleep(Duration::from_millis(1));
                }
                started => break started.expect("it starts"),
            }
        };
        self.running = Running::BuiltIn(broker);
    }

    /// Starts the broker in a process that can be killed: this test program runs the test `serve`.
    pub fn start_process(&mut self) {
        self.start_by(Command::new(std::env::current_exe().expect("it has a path")));
    }

    /// Starts the broker in a process with a limit of open files.
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
        let starting = starting();
        self.running = Running::Process(command.spawn().expect("it starts"));
        drop(starting);
        self.listens();
    }

    pub fn mosquitto() -> Self {
        let starting = starting();
        let broker = roost_tests::Broker::start_with("max_topic_alias 16");
        drop(starting);
        Self { port: broker.port, is_built_in: false, running: Running::Mosquitto(broker), folder: folder() }
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
            Running::BuiltIn(broker) => {
                block_on(broker.stop());
                drop(starting());
            }
            Running::Process(mut child) => {
                drop(child.stdin.take());
                child.wait().expect("it ends");
            }
            Running::Mosquitto(mut broker) => broker.stop(),
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

    /// Connects, and returns the return code and the properties of CONNACK.
    pub fn try_connect(&self, connect: &Connect) -> (Client, u8, Vec<(u8, Vec<u8>)>) {
        let mut client = self.open(connect.version);
        client.send(&connect.packet());
        let connack = client.next();
        assert_eq!(connack.first, 0x20);
        client.session_present = connack.body[0] == 1;
        let code = connack.body[1];
        (client, code, if connect.version == 5 { properties(&connack.body[2..]).0 } else { Vec::new() })
    }

    /// Opens a connection without CONNECT.
    pub fn open(&self, version: u8) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client { stream, read: Vec::new(), version, session_present: false }
    }

    /// Checks that the broker serves a client.
    pub fn check_alive(&self) {
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

/// Runs the broker of [`Target::start_process`].
pub fn serve_if_requested() {
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
