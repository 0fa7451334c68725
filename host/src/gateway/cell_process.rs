//! The process that works for a cell, or waits for it: `roost run --cell N`. It ends with the gateway, which has started it.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::{Request, client::conn::http1::handshake};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::watch,
    time::{sleep, timeout},
};

use super::{limits, view::View};
use crate::report::Report;

/// The service manager's variables: the gateway alone notifies it.
const OF_SERVICE_MANAGER: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// A running process.
pub(super) struct CellProcess(Child);

/// Returns the data folder of a cell.
pub(crate) fn folder(data: &Path, cell: i64) -> PathBuf {
    data.join(format!("cell-{cell}"))
}

/// Makes this process end when the gateway does, whatever ends that.
pub(crate) fn end_with_gateway(gateway: u32) -> Result<(), Report> {
    let failed = |error: io::Error| Report::new("the process cannot be bound to its gateway").cause(error);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed(error.into()))?;
    // It may have ended before.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if parent == Some(gateway) { Ok(()) } else { Err(failed(io::Error::other("it has ended"))) }
}

impl CellProcess {
    /// Starts this program again. The thread that calls this must last as long as the gateway: the kernel takes its end
    /// for that of the parent.
    pub(super) fn start(cell: i64) -> Result<Self, Report> {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "roost".into());
        let own = [
            OsString::from("--cell"),
            cell.to_string().into(),
            "--gateway".into(),
            std::process::id().to_string().into(),
        ];
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).args(arguments).args(own).stdin(Stdio::null());
        for variable in OF_SERVICE_MANAGER.map(OsStr::new) {
            command.env_remove(variable);
        }
        let started = command.kill_on_drop(true).spawn();
        started.map(Self).map_err(|error| Report::new("the process of the cell cannot be started").cause(error))
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Kills it, because it hangs.
    pub(super) fn kill(&mut self) {
        let _ = self.0.start_kill();
    }
}

/// Completes when the process of a cell that this host owns has answered once, and then for long not any more.
pub(super) async fn hangs(view: watch::Receiver<View>, (own, cell): (&str, i64), socket: &Path) {
    let mut epoch = None;
    let mut unanswered = None;
    loop {
        let owned = view.borrow().owner(cell).filter(|owner| owner.host.id == own).map(|owner| owner.epoch);
        if owned != epoch {
            // It loads what may be large, and answers nothing before.
            (epoch, unanswered) = (owned, None);
        }
        if epoch.is_some() {
            match timeout(limits::ASK_EVERY, answers(socket)).await {
                Ok(Ok(())) => unanswered = Some(0),
                // It does not listen: it has lost the cell, or is ending.
                Ok(Err(_)) => unanswered = None,
                Err(_) => {
                    unanswered = unanswered.map(|count: u32| count + 1);
                    if unanswered.is_some_and(|count| count >= limits::UNANSWERED) {
                        return;
                    }
                    continue;
                }
            }
        }
        sleep(limits::ASK_EVERY).await;
    }
}

/// Asks the loop whether it responds.
async fn answers(socket: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get("/healthz").header("host", "localhost").body(Body::empty()).map_err(io::Error::other)?;
    let asked = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        response.into_body().collect().await.map(drop).map_err(io::Error::other)
    };
    tokio::select! {
        answered = asked => answered,
        ended = connection => ended.map_err(io::Error::other),
    }
}
