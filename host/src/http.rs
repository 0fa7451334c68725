//! The HTTP API, served over TCP and over a Unix socket in the data folder. Like `cli`, it depends on the edges; none
//! of them depends on it.

mod api;
mod auth;
mod codes;
mod connections;
mod device_pauses;
mod devices;
mod events;
mod explain;
mod extract;
mod faults;
mod faulty_jobs;
mod health;
mod host_events;
mod hosts;
mod jobs;
mod limits;
mod links;
mod login;
mod logs;
mod metrics;
mod not_found;
mod overrides;
mod pagination;
mod params;
pub(crate) mod pauses;
mod plugins;
mod preconditions;
mod problem;
mod reason_template;
pub(crate) mod runs;
mod schedule;
mod session;
mod socket;
mod state;
mod status;
mod sun;
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
use axum::Router;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

pub(crate) use self::{
    api::{BodyBounds, buffer_body, limit_time, unknown},
    auth::{
        Access, Guard, LOGIN, check as check_access, comes_from_elsewhere, content_type, is_page, is_secure,
        security_headers,
    },
    codes::{CodeRecord, PATH as CODES, make as make_code},
    devices::{
        DeviceFilter, DeviceRecord, LastOutcomeRecord, NamePart, find as find_device, list as list_devices,
        plugin_names,
    },
    explain::{Explanation, Remedy, explain_id, explain_run},
    extract::{NoParameters, Query},
    faults::{FaultGroup, Faults, Faulty, grouped},
    health::Health,
    host_events::{GapRecord, HostEventRecord},
    hosts::{HostRecord, Role},
    jobs::{JobRecord, list as list_jobs, record as job_record},
    limits::{COLLAPSED_BUCKETS, DEVICES_PAUSED, NEXT_BYTES, REQUEST, UPLOAD},
    login::Login,
    logs::{Logs, newest as newest_logs},
    metrics::{HostFigures, host_metrics},
    pagination::Page,
    plugins::{
        ChangedMessageRecord, DeviceDifferencesRecord, DifferencesRecord, FaultRecord, GrantRecord, InstalledRecord,
        LimitsRecord, MessageChangesRecord, PluginRecord, RemovedRecord, RolledBackRecord, SettingsRecord,
        TaskDescriptionRecord, TrialRecord, UsedRecord, list as list_plugins, record as plugin_record,
        settings::{
            check as check_settings, file as settings_file, has_file as has_settings, receive as receive_settings,
        },
        tasks as plugin_tasks,
        uploads::{Days, parse_name as plugin_name, try_upload},
    },
    preconditions::tag,
    problem::Problem,
    schedule::{NewJobRecord, make_job},
    session::{Found, Session},
    socket::path as socket_path,
    state::ApiState,
    status::{AnsweringHost, CalendarStatus, HomeAssistantStatus, LinkStatus, Paused, Status, host_status},
    sun::skies,
    timeline::{
        CollapsedRecord, OwnerFilter, TimelineEntry, TimelineRecord, collapsed,
        density::{By, DensityRecord, GroupRecord, Spread, count as count_runs},
        stem,
    },
};
use self::{
    connections::{Listener, serve},
    socket::Socket,
};
use crate::{
    config::{Http, Listen},
    report::Report,
};

/// The bound listeners of the API. Connections queue until [`Listening::serve`] is called.
pub(crate) struct Listening {
    tcp: Option<TcpListener>,
    socket: Option<Socket>,
    /// Whether the socket is for a gateway.
    is_behind_gateway: bool,
    guard: Guard,
}

/// The running server of the API. Dropping it stops the server.
pub(crate) struct Serving {
    socket: Option<Socket>,
    /// Dropped to signal the server to stop.
    stop: Option<oneshot::Sender<()>>,
    /// Disconnects when the server has stopped.
    ended: mpsc::Receiver<()>,
}

/// Binds the listeners. An address that cannot be bound is an error only if it is configured; otherwise it is logged.
pub(crate) fn listen(data: &Path, http: &Http) -> Result<Listening, Report> {
    let tcp = match http.listen {
        Listen::Off => None,
        Listen::At(address) => match bind(address) {
            Ok((listener, address)) => {
                tracing::info!("listening on http://{address}");
                Some((listener, address))
            }
            Err(error) => {
                let report = Report::new(format!("the HTTP API cannot listen on `{address}`")).cause(&error);
                let report = report.hint(
                    "configure another address with `--http ADDRESS`, or turn the listener off with `--http off`",
                );
                if http.is_configured {
                    return Err(report);
                }
                tracing::warn!("{report}");
                None
            }
        },
    };
    let (tcp, address) = tcp.unzip();
    let port = address.map_or(0, |address| address.port());
    let login = http.token.clone().map(|token| Login::new(token, data, port));
    let guard = Guard::new(login, http.hosts.clone(), address);
    let socket = Socket::bind(data).inspect_err(|report| tracing::warn!("{report}")).ok();
    Ok(Listening { tcp, socket, is_behind_gateway: false, guard })
}

/// Binds the socket of a process whose gateway has all other listeners, and checks who may ask for what.
pub(crate) fn listen_behind_gateway(data: &Path) -> Result<Listening, Report> {
    Ok(Listening { tcp: None, socket: Some(Socket::bind(data)?), is_behind_gateway: true, guard: Guard::none() })
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Listening {
    /// Returns the guard of requests over TCP.
    pub(crate) fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Serves the API and other routes on a thread of its own, so that they do not delay the loop.
    pub(crate) fn serve(self, state: &ApiState, others: &Router<ApiState>) -> anyhow::Result<Serving> {
        let guard = state.guard().clone();
        let routers = [Some(guard), None].map(|guard| api::router(state.clone(), others.clone(), guard));
        let event_log = state.event_log().clone();
        let waiting = event_log.clone();
        self.start(routers, async move { waiting.wake_subscribers().await }, move || event_log.close())
    }

    /// Serves routes over TCP, and others on the socket, on a thread of its own.
    pub(crate) fn serve_routers(self, on_tcp: Router, on_socket: Router) -> anyhow::Result<Serving> {
        self.start([on_tcp, on_socket], std::future::pending(), || {})
    }

    /// Starts the thread. It ends when `ended` completes or the server is dropped; then `close` ends what lasts.
    fn start(
        self,
        routers: [Router; 2],
        ended: impl Future<Output = ()> + Send + 'static,
        close: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Serving> {
        let Self { tcp, mut socket, is_behind_gateway, guard: _ } = self;
        let on_socket = socket.as_mut().and_then(Socket::listener).map(|listener| (listener, is_behind_gateway));
        let (stop, stopped) = oneshot::channel();
        let (ended_in, has_ended) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::BLOCKING_THREADS)
            .thread_name("http")
            .build()
            .context("the runtime of the HTTP API cannot be started")?;
        let serve = move || {
            let _ = rustix::process::nice(limits::NICE);
            let ends = async {
                tokio::select! {
                    _ = stopped => {}
                    () = ended => {}
                }
                close();
            };
            runtime.block_on(run_servers(tcp, on_socket, routers, ends));
            // Does not wait for threads that still read the database.
            runtime.shutdown_background();
            drop(ended_in);
        };
        thread::Builder::new().name("http".into()).spawn(serve).context("the thread `http` cannot be started")?;
        Ok(Serving { socket, stop: Some(stop), ended: has_ended })
    }
}

/// Runs the servers until `ends` completes.
async fn run_servers(
    tcp: Option<TcpListener>,
    socket: Option<(UnixListener, bool)>,
    [on_tcp, on_socket]: [Router; 2],
    ends: impl Future<Output = ()>,
) {
    let (stop, on_stop) = watch::channel(());
    let mut servers = JoinSet::new();
    if let Some(listener) = tcp {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(Listener::Tcp(listener), on_tcp, on_stop.clone()))),
            Err(error) => tracing::error!("the HTTP API cannot listen\n  caused by: {error}"),
        }
    }
    if let Some((listener, is_behind_gateway)) = socket {
        let kind = if is_behind_gateway { Listener::Gateway } else { Listener::Socket };
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(kind(listener), on_socket, on_stop))),
            Err(error) => tracing::error!("the socket in the data folder cannot be listened on\n  caused by: {error}"),
        }
    }
    ends.await;
    drop(stop);
    let _ = tokio::time::timeout(limits::SHUTDOWN, async { while servers.join_next().await.is_some() {} }).await;
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Removed first, so that no new client connects.
        self.socket.take();
        self.stop.take();
        let _ = self.ended.recv_timeout(2 * limits::SHUTDOWN);
    }
}
