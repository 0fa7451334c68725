//! The HTTP API: what people and programs ask a running host for, over TCP, and over a socket in the data folder. It stands
//! above the edges, as `cli` does; none of them knows it.

mod api;
mod auth;
mod connections;
mod devices;
mod events;
mod explain;
mod extract;
mod health;
mod host_events;
mod jobs;
mod limits;
mod logs;
mod metrics;
mod missing;
mod overrides;
mod page;
mod params;
mod plugins;
mod problem;
pub(crate) mod runs;
mod schedule;
mod socket;
mod state;
mod status;
mod timeline;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::mpsc,
    thread,
};

use anyhow::Context as _;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use self::{
    auth::Guard,
    connections::{Listener, serve},
    socket::Socket,
};
pub(crate) use self::{
    devices::DeviceRecord,
    explain::Explanation,
    host_events::{GapRecord, HostEventRecord},
    jobs::JobRecord,
    logs::Logs,
    page::Page,
    plugins::{
        DifferencesRecord, GrantRecord, InstalledRecord, PluginRecord, RemovedRecord, RolledBackRecord, TrialRecord,
    },
    problem::Problem,
    schedule::NewJobRecord,
    socket::path as socket_path,
    state::ApiState,
    status::Status,
    timeline::TimelineRecord,
};
use crate::{
    config::{Http, Listen},
    report::Report,
};

/// Where the host can be asked. It listens already: what is asked waits until somebody serves.
pub(crate) struct Listening {
    tcp: Option<(TcpListener, Guard)>,
    socket: Option<Socket>,
}

/// As long as it is there, the host can be asked.
pub(crate) struct Serving {
    socket: Option<Socket>,
    /// Dropped, it says that it is time to end.
    stop: Option<oneshot::Sender<()>>,
    /// Ends when everything is answered that can be.
    ended: mpsc::Receiver<()>,
}

/// Takes its places. A host that cannot be asked runs all the same, unless somebody has said where it is to listen.
pub(crate) fn listen(data: &Path, http: &Http) -> Result<Listening, Report> {
    let tcp = match http.listen {
        Listen::Off => None,
        Listen::At(address) => match bind(address) {
            Ok((listener, address)) => {
                tracing::info!("listening on http://{address}");
                Some((listener, Guard::new(http.token.clone(), http.hosts.clone())))
            }
            Err(error) => {
                let report = Report::new(format!("the HTTP API cannot listen on `{address}`")).cause(&error);
                let report = report.hint("name another address by `--http ADDRESS`, or leave it out by `--http off`");
                if http.is_configured {
                    return Err(report);
                }
                tracing::warn!("{report}");
                None
            }
        },
    };
    Ok(Listening { tcp, socket: Socket::bind(data) })
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Listening {
    /// Serves on a thread of its own, which what keeps time does not wait for.
    pub(crate) fn serve(self, desk: ApiState) -> anyhow::Result<Serving> {
        let Self { tcp, mut socket } = self;
        let on_socket = socket.as_mut().and_then(Socket::listener);
        let (stop, stopped) = oneshot::channel();
        let (ended_in, ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::BLOCKING_THREADS)
            .thread_name("http")
            .build()
            .context("the runtime of the HTTP API cannot be started")?;
        let serve = move || {
            let _ = rustix::process::nice(limits::NICE);
            runtime.block_on(attend(tcp, on_socket, desk, stopped));
            // Whoever still reads the database is not waited for.
            runtime.shutdown_background();
            drop(ended_in);
        };
        thread::Builder::new().name("http".into()).spawn(serve).context("the thread `http` cannot be started")?;
        Ok(Serving { socket, stop: Some(stop), ended })
    }
}

async fn attend(
    tcp: Option<(TcpListener, Guard)>,
    socket: Option<UnixListener>,
    desk: ApiState,
    stopped: oneshot::Receiver<()>,
) {
    let (stop, told) = watch::channel(());
    let mut servers = JoinSet::new();
    if let Some((listener, guard)) = tcp {
        let router = api::router(desk.clone(), Some(guard));
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(Listener::Tcp(listener), router, told.clone()))),
            Err(error) => tracing::error!("the HTTP API cannot listen\n  caused by: {error}"),
        }
    }
    if let Some(listener) = socket {
        let router = api::router(desk.clone(), None);
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(Listener::Socket(listener), router, told))),
            Err(error) => tracing::error!("the socket in the data folder cannot be listened on\n  caused by: {error}"),
        }
    }
    let feed = desk.feed().clone();
    tokio::select! {
        _ = stopped => {}
        () = feed.wake_subscribers() => {}
    }
    feed.close();
    drop(stop);
    let _ = tokio::time::timeout(limits::FAREWELL, async { while servers.join_next().await.is_some() {} }).await;
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Nobody new finds it.
        self.socket.take();
        self.stop.take();
        let _ = self.ended.recv_timeout(2 * limits::FAREWELL);
    }
}
