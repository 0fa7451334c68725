//! The sockets of a broker, so that another thread can close them if the broker itself does not respond.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;

use crate::core::ConnectionId;

/// The sockets of all connections.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<HashMap<ConnectionId, Weak<TcpStream>>>);

impl Sockets {
    pub(crate) fn insert(&self, id: ConnectionId, stream: &Arc<TcpStream>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::downgrade(stream));
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Shuts down all sockets, so that the clients reconnect.
    pub(crate) fn end_all(&self) {
        for stream in self.0.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade) {
            // It may have ended by itself.
            let _ = shutdown(&*stream, Shutdown::Both);
        }
    }
}
