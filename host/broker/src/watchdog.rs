//! The watchdog thread: checks the broker's health periodically, and restarts a broker that does not respond.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use crate::{
    clock,
    codec::{Frame, frame},
    core::Totals,
    limits,
    server::{NotStarted, Server, ServerConfig, first_reserved_file},
};

/// The topic of health checks. Subscriptions to `#` do not match it.
const TOPIC: &str = "$roost-broker/watch";

/// The problem of a broker that responds but cannot acknowledge messages.
const CANNOT_WRITE: &str = "the built-in broker cannot write to its database";

/// The health of the broker, which can be read at any time.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    problem: Option<String>,
    restarts: u64,
    totals: Totals,
}

impl Health {
    /// Returns the current problem, if there is one.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// The number of restarts of the broker because it did not respond.
    pub fn restarts(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).restarts
    }

    /// The totals of the broker, updated by each health check.
    pub fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Runs the watchdog until it is stopped. `every` is the interval between two health checks.
pub(crate) fn watch(
    config: &ServerConfig,
    mut server: Server,
    address: SocketAddr,
    client_id: &str,
    health: &Health,
    stop: &Receiver<()>,
    every: Duration,
) {
    let (mut misses, mut pause) = (0, every);
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
        let result = if server.has_ended() {
            misses = limits::WATCH_MISSES;
            Err(io::Error::other("its thread has ended"))
        } else {
            check(address, client_id, every.min(limits::WATCH_TIMEOUT))
        };
        match result {
            Ok(()) => {
                if std::mem::take(&mut misses) > 0 {
                    tracing::info!("built-in broker: it responds again");
                }
                let totals = server.totals();
                let problem = server.is_write_failing().then(|| CANNOT_WRITE.to_owned());
                health.change(|state| (state.problem, state.totals) = (problem, totals));
                pause = every;
                continue;
            }
            Err(error) => {
                misses += 1;
                pause = every.min(limits::WATCH_AGAIN);
                tracing::error!("built-in broker: it does not respond: {error}");
                health.change(|state| state.problem = Some(format!("the built-in broker does not respond: {error}")));
            }
        }
        if misses < limits::WATCH_MISSES {
            continue;
        }
        tracing::error!("built-in broker: restarting it, with its sessions and retained messages from disk");
        health.change(|state| state.restarts += 1);
        let Some(next) = restart(config, server, health, stop) else { return };
        (server, misses, pause) = (next, 0, Duration::ZERO);
    }
    if !server.stop() {
        tracing::warn!(
            "built-in broker: it did not end within {} s; messages that were not on disk yet are lost",
            limits::TIME_TO_STOP.as_secs()
        );
    }
}

/// Restarts the broker. Returns `None` if the watchdog was stopped meanwhile.
fn restart(config: &ServerConfig, old: Server, health: &Health, stop: &Receiver<()>) -> Option<Server> {
    if !old.abandon() {
        tracing::error!("built-in broker: its disk thread does not end");
    }
    let mut pause = Duration::from_secs(1);
    loop {
        let error = match Server::start(config) {
            Ok(server) => return Some(server),
            Err(error) => error,
        };
        tracing::error!("built-in broker: it does not start: {}", with_causes(&error));
        let problem = format!("the built-in broker does not start: {}", with_causes(&error));
        health.change(|state| state.problem = Some(problem));
        match stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(limits::RESTART_PAUSE),
            _ => return None,
        }
    }
}

fn with_causes(error: &NotStarted) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Checks the broker's health: connects as a client, subscribes, publishes, and waits for the message and its
/// acknowledgement.
fn check(address: SocketAddr, client_id: &str, within: Duration) -> io::Result<()> {
    let until = clock::now().monotonic + within;
    let mut stream = match TcpStream::connect_timeout(&address, within) {
        // No file is left for the check, which is not a fault of the broker.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => return Ok(()),
        stream => stream?,
    };
    // The broker would not accept the connection, because it reserves the remaining files.
    if stream.as_raw_fd().unsigned_abs() as usize + 1 >= first_reserved_file() {
        return Ok(());
    }
    let mut request = vec![0x10, (13 + client_id.len()) as u8, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0];
    request.extend([0, client_id.len() as u8]);
    request.extend(client_id.as_bytes());
    request.extend([0x82, (6 + TOPIC.len()) as u8, 0, 1, 0, 0, TOPIC.len() as u8]);
    request.extend(TOPIC.as_bytes());
    request.push(0);
    request.extend([0x32, (5 + TOPIC.len()) as u8, 0, TOPIC.len() as u8]);
    request.extend(TOPIC.as_bytes());
    request.extend([0, 2, 0]);
    stream.set_write_timeout(Some(within))?;
    stream.write_all(&request)?;
    // The first bytes of CONNACK, SUBACK, PUBLISH and PUBACK.
    let mut missing = vec![0x20, 0x90, 0x30, 0x40];
    let (mut read, mut buffer) = (Vec::new(), [0; 512]);
    while !missing.is_empty() {
        let left = until.saturating_duration_since(clock::now().monotonic);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("it has closed the connection")),
            Ok(length) => read.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // On Linux, a read that times out returns this error.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
        loop {
            match frame(&read, limits::PACKET_BYTES) {
                Ok(Frame::Complete { first, length, .. }) => {
                    missing.retain(|expected| *expected != first);
                    read.drain(..length);
                }
                Ok(Frame::Incomplete(_)) => break,
                Err(fault) => return Err(io::Error::other(fault)),
            }
        }
    }
    // DISCONNECT. The check has succeeded even if this fails.
    let _ = stream.write_all(&[0xE0, 0]);
    Ok(())
}
