//! The thread that starts the broker, asks it again and again whether it works, and starts it again when it does not.

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
    server::{NotStarted, Plan, Server, first_reserved_file},
};

/// The topic over which the broker is asked: clients that subscribe to `#` do not see it.
const TOPIC: &str = "$roost-broker/watch";

/// What is wrong where it answers and does not acknowledge what it has to keep.
const CANNOT_WRITE: &str = "the built-in broker cannot write to its database";

/// The state of the broker, which can be read at any time.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    problem: Option<String>,
    restarts: u64,
    totals: Totals,
}

impl Health {
    /// What is wrong with it, if something is.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// How often it was started again, because it did not answer.
    pub fn restarts(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).restarts
    }

    /// What it is busy with, as of a few seconds ago.
    pub fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Watches until it is stopped. `every`: how often it asks.
pub(crate) fn watch(
    plan: &Plan,
    mut server: Server,
    address: SocketAddr,
    client_id: &str,
    health: &Health,
    stop: &Receiver<()>,
    every: Duration,
) {
    let (mut misses, mut pause) = (0, every);
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
        let asked = if server.has_ended() {
            misses = limits::WATCH_MISSES;
            Err(io::Error::other("its thread has ended"))
        } else {
            ask(address, client_id, every.min(limits::WATCH_TIMEOUT))
        };
        match asked {
            Ok(()) => {
                if std::mem::take(&mut misses) > 0 {
                    tracing::info!("built-in broker: it answers again");
                }
                let totals = server.totals();
                let problem = server.cannot_write().then(|| CANNOT_WRITE.to_owned());
                health.change(|state| (state.problem, state.totals) = (problem, totals));
                pause = every;
                continue;
            }
            Err(error) => {
                misses += 1;
                pause = every.min(limits::WATCH_AGAIN);
                tracing::error!("built-in broker: it does not answer: {error}");
                health.change(|state| state.problem = Some(format!("the built-in broker does not answer: {error}")));
            }
        }
        if misses < limits::WATCH_MISSES {
            continue;
        }
        tracing::error!("built-in broker: it is started again, with its sessions and retained messages from disk");
        health.change(|state| state.restarts += 1);
        let Some(next) = restart(plan, server, health, stop) else { return };
        (server, misses, pause) = (next, 0, Duration::ZERO);
    }
    if !server.stop() {
        tracing::warn!(
            "built-in broker: it did not end within {} s; what was not on disk yet is lost",
            limits::TIME_TO_STOP.as_secs()
        );
    }
}

/// `None`: it was stopped meanwhile.
fn restart(plan: &Plan, old: Server, health: &Health, stop: &Receiver<()>) -> Option<Server> {
    if !old.abandon() {
        tracing::error!("built-in broker: the thread that writes its messages does not end");
    }
    let mut pause = Duration::from_secs(1);
    loop {
        let error = match Server::start(plan) {
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

/// Connects as a client does, subscribes, publishes, and waits for the message and its acknowledgement.
fn ask(address: SocketAddr, client_id: &str, within: Duration) -> io::Result<()> {
    let until = clock::now().monotonic + within;
    let mut stream = match TcpStream::connect_timeout(&address, within) {
        // There is no file left to ask with, which is no fault of the broker's.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => return Ok(()),
        stream => stream?,
    };
    // Its other end is not accepted.
    if stream.as_raw_fd().unsigned_abs() as usize + 1 >= first_reserved_file() {
        return Ok(());
    }
    let mut question = vec![0x10, (13 + client_id.len()) as u8, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0];
    question.extend([0, client_id.len() as u8]);
    question.extend(client_id.as_bytes());
    question.extend([0x82, (6 + TOPIC.len()) as u8, 0, 1, 0, 0, TOPIC.len() as u8]);
    question.extend(TOPIC.as_bytes());
    question.push(0);
    question.extend([0x32, (5 + TOPIC.len()) as u8, 0, TOPIC.len() as u8]);
    question.extend(TOPIC.as_bytes());
    question.extend([0, 2, 0]);
    stream.set_write_timeout(Some(within))?;
    stream.write_all(&question)?;
    // CONNACK, SUBACK, PUBLISH and PUBACK, by their first bytes.
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
            // On Linux, a read that takes too long says that it would block.
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
    // DISCONNECT: it has done its work even if that is not taken any more.
    let _ = stream.write_all(&[0xE0, 0]);
    Ok(())
}
