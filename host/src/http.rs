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
    auth::{Guard, LOGIN, comes_from_elsewhere, is_page, is_secure},
    codes::CodeRecord,
    devices::{
        DeviceFilter, DeviceRecord, LastOutcomeRecord, NamePart, find as find_device, list as list_devices,
        plugin_names,
    },
    explain::{Explanation, Remedy, explain_id, explain_run},
    extract::{NoParameters, Query},
    faults::{FaultGroup, Faults, Faulty, grouped},
    host_events::{GapRecord, HostEventRecord},
    jobs::{JobRecord, list as list_jobs, record as job_record},
    limits::{COLLAPSED_BUCKETS, DEVICES_PAUSED, NEXT_BYTES, REQUEST, UPLOAD},
    login::Login,
    logs::{Logs, newest as newest_logs},
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
    status::{CalendarStatus, HomeAssistantStatus, LinkStatus, Paused, Status, host_status},
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
    Ok(Listening { tcp, socket: Socket::bind(data), guard })
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
    pub(crate) fn serve(self, state: ApiState, others: Router<ApiState>) -> anyhow::Result<Serving> {
        let Self { tcp, mut socket, guard: _ } = self;
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
            runtime.block_on(run_servers(tcp, on_socket, (state, others), stopped));
            // Does not wait for threads that still read the database.
            runtime.shutdown_background();
            drop(ended_in);
        };
        thread::Builder::new().name("http".into()).spawn(serve).context("the thread `http` cannot be started")?;
        Ok(Serving { socket, stop: Some(stop), ended })
    }
}

/// Runs the servers until `stopped` completes or the event log ends.
async fn run_servers(
    tcp: Option<TcpListener>,
    socket: Option<UnixListener>,
    (state, others): (ApiState, Router<ApiState>),
    stopped: oneshot::Receiver<()>,
) {
    let (stop, on_stop) = watch::channel(());
    let mut servers = JoinSet::new();
    if let Some(listener) = tcp {
        let router = api::router(state.clone(), others.clone(), Some(state.guard().clone()));
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(Listener::Tcp(listener), router, on_stop.clone()))),
            Err(error) => tracing::error!("the HTTP API cannot listen\n  caused by: {error}"),
        }
    }
    if let Some(listener) = socket {
        let router = api::router(state.clone(), others, None);
        match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => drop(servers.spawn(serve(Listener::Socket(listener), router, on_stop))),
            Err(error) => tracing::error!("the socket in the data folder cannot be listened on\n  caused by: {error}"),
        }
    }
    let event_log = state.event_log().clone();
    tokio::select! {
        _ = stopped => {}
        () = event_log.wake_subscribers() => {}
    }
    event_log.close();
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
