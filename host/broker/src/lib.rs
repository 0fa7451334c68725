//! The MQTT broker that is built into Roost.
//!
//! It speaks MQTT 3.1.1 and 5 on one port, to whatever connects from this machine. It knows nothing of plugins, jobs or
//! the scheduler.
//!
//! # The words
//!
//! A *client* has a *session*: what it has subscribed to, and the messages that it has yet to get. A session ends with
//! its *connection*, or lasts for a while beyond it, as the client wishes. A *retained* message is the last one of its
//! topic, which new subscriptions get. A *will* is what is published when a client is lost.
//!
//! # The guarantees
//!
//! * A message at QoS 1 or 2 that waits for a session that lasts, or is retained, is on disk before its publisher gets
//!   the acknowledgement. So are a subscription of such a session and every step of QoS 2 before the packet that the
//!   other side relies on. What reaches only clients that are connected and ask for no more is not written at all.
//! * Everything is bounded, and the bounds stand in `limits.rs`. A slow client costs only itself.
//! * Whatever a connection brings ends that connection at most. A broker that does not answer is started again.
//!
//! # What it does not do
//!
//! No passwords, no TLS, no WebSocket, no bridges: it can be reached from its own machine alone. No shared subscriptions:
//! it says so in CONNACK. Retained messages that a new subscription has not got yet when its connection ends are not
//! sent later, even if the session lasts.

mod clock;
mod codec;
mod connection;
mod core;
mod disk;
mod limits;
mod message;
mod queue;
mod rare;
mod retained;
mod server;
mod sockets;
#[cfg(test)]
mod tests;
mod topic;
mod tree;
mod watch;

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

pub use self::{core::Totals, watch::Health};
use self::{
    server::{NotStarted, Plan, Server},
    watch::watch,
};

/// What a broker needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Where it keeps what outlives it: an SQLite database.
    pub file: PathBuf,
    /// The client identifier of the host itself, which is let in even where no other client is.
    pub host_client: String,
    /// How often it is watched.
    pub watch_every: Duration,
}

impl Settings {
    /// As usual.
    pub fn new(addresses: Vec<SocketAddr>, file: PathBuf, host_client: String) -> Self {
        Self { addresses, file, host_client, watch_every: limits::WATCH_EVERY }
    }
}

/// A broker that runs, and is watched. Dropped, it stops in the background.
#[derive(Debug)]
pub struct Broker {
    health: Health,
    stop: mpsc::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Most likely there is another broker.
    #[error("it cannot listen at `{address}`")]
    Listen {
        /// The port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What it remembers cannot be read, or written.
    #[error("it cannot use its database")]
    Disk(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The machine has no thread for it.
    #[error("it has no thread to run on")]
    Thread(#[source] io::Error),
}

impl Broker {
    /// Starts it. When this returns, clients are served.
    ///
    /// # Errors
    /// Where an address is taken, or the database cannot be used.
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
        let plan = Plan { listeners, file, privileged: vec![host_client, watcher.clone()] };
        let server = Server::start(&plan)?;
        let health = Health::default();
        let (stop, asked_to_stop) = mpsc::channel();
        let (stopped_in, stopped) = oneshot::channel();
        let watched = health.clone();
        let run = move || {
            match bound {
                Some(address) => {
                    watch(&plan, server, address, &watcher, &watched, &asked_to_stop, watch_every);
                }
                None => {
                    let _ = asked_to_stop.recv();
                    server.stop();
                }
            }
            // Its ports are free from here on.
            drop(plan);
            // The receiver is gone where the broker was dropped.
            let _ = stopped_in.send(());
        };
        thread::Builder::new().name("broker-watch".to_owned()).spawn(run).map_err(StartError::Thread)?;
        Ok(Self { health, stop, stopped })
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Disconnects clients, and returns when everything is on disk.
    pub async fn stop(self) {
        // Where the other end is gone, it has stopped.
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
