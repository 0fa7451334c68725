//! The broker's thread, which accepts and runs connections on its own runtime, so that clients do not delay the host.

use std::{
    cell::RefCell,
    io, net,
    os::fd::AsRawFd as _,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::{JoinSet, LocalSet, spawn_local, yield_now},
    time::{sleep, timeout},
};

use crate::{
    clock,
    connection::{self, Shared},
    core::{Admission, Core, Totals},
    disk::{self, CommitToken, DiskError, Writer},
    limits,
    sockets::Sockets,
};

/// A handle to the broker's thread.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<()>,
    writer: Writer,
    sockets: Arc<Sockets>,
    totals: Arc<Mutex<Totals>>,
}

/// The configuration for starting and restarting the broker.
pub(crate) struct ServerConfig {
    pub(crate) listeners: Vec<net::TcpListener>,
    pub(crate) file: std::path::PathBuf,
    pub(crate) privileged: Vec<String>,
}

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("its thread cannot be started")]
    Thread(#[source] io::Error),
}

impl Server {
    /// Starts the broker with the stored state. Clients can connect from then on.
    pub(crate) fn start(config: &ServerConfig) -> Result<Self, NotStarted> {
        let (database, saved) = disk::open(&config.file)?;
        let (durable_in, durable) = mpsc::unbounded_channel();
        let writer = Writer::start(database, move |token| {
            // The broker may have ended before its writer.
            let _ = durable_in.send(token);
        })?;
        let listeners = config.listeners.iter().map(net::TcpListener::try_clone).collect::<io::Result<Vec<_>>>();
        let listeners = listeners.map_err(NotStarted::Thread)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(NotStarted::Thread)?;
        let (sockets, totals) = (Arc::new(Sockets::default()), Arc::new(Mutex::new(Totals::default())));
        let (shared_sockets, shared_totals) = (Arc::clone(&sockets), Arc::clone(&totals));
        let (disk, admission) = (writer.disk(), admission(config.privileged.clone()));
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let shared = Shared {
                core: RefCell::new(Core::new(saved, disk, admission, clock::now())),
                scratch: RefCell::new(vec![0; limits::READ_BYTES].into()),
                reading: Arc::new(Semaphore::new(limits::READING_BYTES / 1_024)),
                sockets: shared_sockets,
                heavy: Semaphore::new(1),
                round: Notify::new(),
            };
            let serving = serve(Rc::new(shared), listeners, durable, shared_totals, stopped);
            LocalSet::new().block_on(&runtime, serving);
        };
        let thread = thread::Builder::new().name("broker".to_owned()).spawn(run).map_err(NotStarted::Thread)?;
        Ok(Self { stop: Some(stop), thread, writer, sockets, totals })
    }

    /// Checks whether the thread has ended by itself, which is a fault.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Checks whether writing to the database fails.
    pub(crate) fn is_write_failing(&self) -> bool {
        self.writer.is_failing()
    }

    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Disconnects clients, and waits until everything is on disk. Returns whether that succeeded.
    pub(crate) fn stop(mut self) -> bool {
        self.stop = None;
        let has_ended = wait(|| self.thread.is_finished());
        self.writer.close();
        has_ended & wait(|| self.writer.is_closed())
    }

    /// Abandons a broker that does not respond: ends its connections, and waits until it writes nothing more. Returns
    /// whether that succeeded.
    pub(crate) fn abandon(mut self) -> bool {
        self.stop = None;
        self.sockets.end_all();
        self.writer.close();
        wait(|| self.writer.is_closed())
    }
}

fn wait(is_done: impl Fn() -> bool) -> bool {
    let pause = Duration::from_millis(5);
    for _ in 0..limits::TIME_TO_STOP.as_millis() / pause.as_millis() {
        if is_done() {
            return true;
        }
        thread::sleep(pause);
    }
    is_done()
}

/// Returns the limits of connections according to the limit of open files, of which some are reserved for the host.
fn admission(privileged: Vec<String>) -> Admission {
    let files = open_files();
    let most_silent = limits::SILENT_CONNECTIONS.min(files / 8);
    let most = limits::CONNECTIONS.min(files.saturating_sub(reserved(files) + most_silent));
    Admission { most, most_silent, privileged }
}

/// The limit of open files.
fn open_files() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The number of open files that are reserved for the rest of the process.
fn reserved(files: usize) -> usize {
    limits::RESERVED_FILES.min(files / 4)
}

/// The first file descriptor that is reserved for the rest of the process.
pub(crate) fn first_reserved_file() -> usize {
    let files = open_files();
    files - reserved(files) / 2
}

async fn serve(
    shared: Rc<Shared>,
    listeners: Vec<net::TcpListener>,
    mut durable: mpsc::UnboundedReceiver<CommitToken>,
    totals: Arc<Mutex<Totals>>,
    stopped: oneshot::Receiver<()>,
) {
    // These tasks end only because of a fault of the broker. Then it is restarted with the stored state.
    let mut tasks = JoinSet::new();
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => drop(tasks.spawn_local(accept(Rc::clone(&shared), listener))),
            Err(error) => tracing::error!("built-in broker: a port cannot be listened on: {error}"),
        }
    }
    let ticking = Rc::clone(&shared);
    tasks.spawn_local(async move {
        loop {
            let now = {
                let mut core = ticking.core.borrow_mut();
                core.tick(clock::now());
                core.totals()
            };
            *totals.lock().unwrap_or_else(PoisonError::into_inner) = now;
            sleep(Duration::from_secs(1)).await;
        }
    });
    let rounds = Rc::clone(&shared);
    tasks.spawn_local(async move {
        loop {
            rounds.round.notified().await;
            yield_now().await;
            rounds.core.borrow_mut().begin_round();
        }
    });
    let committed = Rc::clone(&shared);
    tasks.spawn_local(async move {
        while let Some(token) = durable.recv().await {
            committed.core.borrow_mut().set_durable(token, clock::now());
        }
    });
    tokio::select! {
        // This includes that the sender is dropped.
        _ = stopped => {}
        ended = tasks.join_next() => {
            let why = ended.and_then(Result::err).map_or_else(|| "it has ended".to_owned(), |error| error.to_string());
            tracing::error!("built-in broker: one of its tasks failed: {why}");
            return;
        }
    }
    shared.core.borrow_mut().shut_down(clock::now());
    let closing = async {
        while shared.core.borrow().has_connections() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(limits::TIME_TO_FLUSH, closing).await;
}

/// Checks whether a connection may be accepted by its file descriptor. The kernel assigns the lowest free number, so
/// that all lower ones are in use. If it is a reserved one, several connections without CONNECT are ended, so that the
/// next connections get lower numbers.
fn has_file(shared: &Shared, stream: &TcpStream) -> bool {
    let file = stream.as_raw_fd().unsigned_abs() as usize;
    let first_reserved = first_reserved_file();
    let last_resort = first_reserved + reserved(open_files()) / 4;
    if file < first_reserved {
        return true;
    }
    let mut core = shared.core.borrow_mut();
    let ended = (0..limits::SILENT_ENDED).filter(|_| core.end_oldest_silent()).count();
    ended > 0 && file < last_resort
}

async fn accept(shared: Rc<Shared>, listener: TcpListener) {
    let mut warnings = crate::rate_limit::RateLimited::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !has_file(&shared, &stream) => {
                warnings.warn(clock::now(), |more| {
                    tracing::warn!(
                        "built-in broker: a connection is not accepted: the limit of open files (`ulimit -n`: {}) is \
                         nearly reached, and the rest is reserved{more}",
                        open_files()
                    );
                });
                drop(stream);
                sleep(limits::ACCEPT_PAUSE).await;
            }
            Ok((stream, _)) => {
                // Without it, the connection is only slower.
                let _ = stream.set_nodelay(true);
                spawn_local(connection::run(Rc::clone(&shared), Arc::new(stream)));
            }
            Err(error) => {
                warnings.warn(clock::now(), |more| {
                    tracing::warn!("built-in broker: a connection cannot be accepted: {error}{more}");
                });
                sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}
