//! The connections of the API: their number and their timeouts.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::Request};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::limits;

/// A listener for connections over TCP or on the Unix socket.
pub(super) enum Listener {
    Tcp(TcpListener),
    Socket(UnixListener),
    /// A socket by which a gateway passes on what comes over TCP.
    Gateway(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A response is written in one piece, so delaying it gains nothing.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Socket(listener) | Self::Gateway(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    fn most(&self) -> usize {
        match self {
            Self::Tcp(_) | Self::Gateway(_) => {
                let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                limits::TCP_CONNECTIONS.min(usize::try_from(files / limits::FILES_EACH).unwrap_or(usize::MAX)).max(1)
            }
            Self::Socket(_) => limits::SOCKET_CONNECTIONS,
        }
    }
}

/// Accepts and serves connections until `stopped` fires; then finishes the requests under way.
pub(super) async fn serve(listener: Listener, router: Router, mut stopped: watch::Receiver<()>) {
    let slots = Arc::new(Connections { most: listener.most(), taken: Mutex::default() });
    let mut connections = JoinSet::new();
    for number in 0.. {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                sleep(limits::ACCEPT_DELAY).await;
                continue;
            }
        };
        if !slots.make_room() {
            continue;
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let connection = serve_connection(stream, router.clone(), is_busy.clone(), stopped.clone());
        let guard = SlotGuard { slots: slots.clone(), number };
        let handle = connections.spawn(async move {
            // Also dropped when the connection is evicted.
            let _guard = guard;
            connection.await;
        });
        slots.take(number, ConnectionSlot { is_busy, handle });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(
    stream: Box<dyn Stream>,
    router: Router,
    is_busy: Arc<AtomicBool>,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        is_busy.store(true, Ordering::Relaxed);
        let (router, busy) = (router.clone(), Busy(is_busy.clone()));
        async move {
            let response = router.oneshot(request).await;
            // Its connection is busy, and so not evicted, until the body is sent: a stream may take days.
            let hold = move |error| {
                let _busy = &busy;
                error
            };
            response.map(|response| response.map(|body| body.map_err(hold)))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits::HEAD).max_buf_size(limits::HEAD_BYTES);
    let mut stream = TimeoutStream::new(stream);
    // hyper has no timeout for writes, and would wait for ever for a client that does not read.
    stream.set_write_timeout(Some(limits::WRITE_TIMEOUT));
    let mut connection = pin!(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection failed: {error}");
    }
}

/// Marks a connection as busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The open connections.
struct Connections {
    most: usize,
    taken: Mutex<BTreeMap<u64, ConnectionSlot>>,
}

struct ConnectionSlot {
    /// Whether a request is being processed.
    is_busy: Arc<AtomicBool>,
    handle: AbortHandle,
}

impl Connections {
    /// Makes room for a connection, if necessary by closing the oldest idle one. Returns whether there is room.
    fn make_room(&self) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() < self.most {
            return true;
        }
        let idle = taken.iter().find(|(_, slot)| !slot.is_busy.load(Ordering::Relaxed)).map(|(number, _)| *number);
        let evicted = idle.and_then(|number| taken.remove(&number));
        evicted.inspect(|slot| slot.handle.abort()).is_some()
    }

    fn take(&self, number: u64, slot: ConnectionSlot) {
        // The connection may have ended already.
        if !slot.handle.is_finished() {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, slot);
        }
    }
}

/// Frees the slot of a connection when dropped.
struct SlotGuard {
    slots: Arc<Connections>,
    number: u64,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
