//! The MQTT broker that is built into Roost.
//!
//! It serves MQTT 3.1.1 and 5 on one port, to clients on the same machine. It does not depend on plugins, jobs or the
//! scheduler.
//!
//! # Terms
//!
//! A *client* has a *session*: its subscriptions, and the messages that it has not received yet. A session ends with
//! its *connection*, or persists for a while, as the client requests. A *retained* message is the last one of its
//! topic, which is sent to new subscriptions. A *will* is published when the connection to a client is lost.
//!
//! # Guarantees
//!
//! * A message at QoS 1 or 2 for a persistent session, and a retained message, is on disk before its publisher receives
//!   the acknowledgement. So are a subscription of such a session and every step of QoS 2 before the packet that the
//!   other side relies on. Messages for connected clients without a persistent session are not written to disk.
//! * Everything is bounded (see `limits.rs`). A slow client affects only itself.
//! * A faulty packet ends at most its own connection. A broker that does not respond is restarted.
//!
//! # Limitations
//!
//! There are no passwords, no TLS, no WebSocket and no bridges, because only clients on the same machine can connect.
//! There are no shared subscriptions, as CONNACK states. Retained messages that a new subscription has not received
//! when its connection ends are not sent later, even if the session persists.

mod clock;
mod codec;
mod connection;
mod core;
mod disk;
mod limits;
mod message;
mod queue;
mod rate_limit;
mod retained;
mod server;
mod sockets;
#[cfg(test)]
mod tests;
mod topic;
mod tree;
mod watchdog;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

pub use self::{core::Totals, watchdog::Health};
use self::{
    server::{NotStarted, Server, ServerConfig},
    watchdog::watch,
};

/// The settings of a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses to listen on.
    pub addresses: Vec<SocketAddr>,
    /// The SQLite database for persistent data.
    pub file: PathBuf,
    /// The client identifier of the host itself, which is accepted even at the limit of clients.
    pub host_client: String,
    /// The interval between two health checks.
    pub watch_every: Duration,
}

impl Settings {
    /// Creates settings with the default interval of health checks.
    pub fn new(addresses: Vec<SocketAddr>, file: PathBuf, host_client: String) -> Self {
        Self { addresses, file, host_client, watch_every: limits::WATCH_EVERY }
    }
}

/// A running broker. When it is dropped, it stops in the background.
#[derive(Debug)]
pub struct Broker {
    health: Health,
    stop: mpsc::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on, most likely because another broker uses it.
    #[error("it cannot listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The database cannot be read or written.
    #[error("it cannot use its database")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker's thread cannot be started.
    #[error("its thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Broker {
    /// Starts the broker. When this returns, clients can connect.
    ///
    /// # Errors
    /// Returns an error if an address is in use, or the database cannot be used.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { addresses, file, host_client, watch_every } = settings;
        let mut listeners = Vec::with_capacity(addresses.len());
        for &address in &addresses {
            let listener = TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                rustix::net::listen(&listener, limits::BACKLOG)?;
                Ok(listener)
            });
            listeners.push(listener.map_err(|source| StartError::Listen { address, source })?);
        }
        let bound = listeners.first().map(TcpListener::local_addr).transpose();
        let bound = bound.map_err(StartError::Thread)?;
        let watcher = format!("roost-watch-{:016x}", RandomState::new().build_hasher().finish());
        let config = ServerConfig { listeners, file, privileged: vec![host_client, watcher.clone()] };
        let server = Server::start(&config)?;
        let health = Health::default();
        let (stop, stop_requested) = mpsc::channel();
        let (stopped_in, stopped) = oneshot::channel();
        let watched = health.clone();
        let run = move || {
            match bound {
                Some(address) => {
                    watch(&config, server, address, &watcher, &watched, &stop_requested, watch_every);
                }
                None => {
                    let _ = stop_requested.recv();
                    server.stop();
                }
            }
            // This frees its ports.
            drop(config);
            // The receiver is gone if the broker was dropped.
            let _ = stopped_in.send(());
        };
        thread::Builder::new().name("broker-watch".to_owned()).spawn(run).map_err(StartError::Thread)?;
        Ok(Self { health, stop, stopped })
    }

    /// Returns the broker's health.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Disconnects clients, and returns when everything is on disk.
    pub async fn stop(self) {
        // If the receiver is gone, the broker has stopped already.
        let _ = self.stop.send(());
        let _ = self.stopped.await;
    }
}

impl From<NotStarted> for StartError {
    fn from(error: NotStarted) -> Self {
        match error {
            NotStarted::Disk(error) => Self::Disk(Box::new(error)),
            NotStarted::Thread(error) => Self::Thread(error),
        }
    }
}
