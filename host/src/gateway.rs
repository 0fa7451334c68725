//! The gateway of a host that shares a database with others: it answers all requests, whichever host works.
//!
//! It is a process of its own, which starts another one for the cell (`cell_process.rs`). That one begins anew whenever it
//! loses the cell; the gateway keeps the ports and the logins of browsers meanwhile. It reads from the database which host
//! owns the cell (`view.rs`), checks who may ask, and passes requests on to the owner (`forward.rs`).

mod cell_process;
mod forward;
mod limits;
mod routes;
mod view;

use std::{
    net::SocketAddr,
    process::{ExitCode, ExitStatus},
    sync::Arc,
};

use tokio::time::sleep;

pub(crate) use self::cell_process::{end_with_gateway, folder as cell_folder};
use self::{
    cell_process::{CellProcess, hangs},
    forward::Forwarder,
    routes::{Gateway, routers},
};
use crate::{
    config::Config,
    http::{self, Access, socket_path},
    report::Report,
    service::{self, Watchdog},
    store::{self, DataFolder, DatabaseUrl, Hosts, OwnHost},
};

/// The exit code of a process that has reported an error.
const REPORTED: i32 = 1;

/// Runs the gateway and the process of the cell until `stop` completes.
pub(crate) async fn run(
    config: &Config,
    (url, cell): (DatabaseUrl, i64),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    if config.broker.is_none() {
        let report = Report::new("`[store]` is for several hosts, and `[mqtt]` names no broker that they share");
        tracing::warn!(
            "{}",
            report
                .cause("each owner starts the built-in broker on its own machine, which devices do not find after a takeover")
                .hint("add `url = \"mqtt://broker.example\"` below `[mqtt]` in `roost.toml` of each host")
        );
    }
    let folder = DataFolder::open(&config.data).map_err(|error| Report::from(&error))?;
    let listening = http::listen(&config.data, &config.http)?;
    let guard = listening.guard();
    let address = config.advertise.clone().or_else(|| guard.address().map(advertised));
    let own = OwnHost { id: folder.host.clone(), name: config.name.clone(), address };
    let view = view::watch(Hosts::new(url, own), cell)?;
    let forwarder = Forwarder {
        view: view.clone(),
        own: folder.host.as_str().into(),
        cell,
        socket: Arc::new(socket_path(&cell_folder(&config.data, cell))),
    };
    let socket = forwarder.socket.clone();
    let access = Access { guard, zone: config.site.zone };
    let [on_tcp, on_socket] = routers(&Gateway { forwarder, access, name: config.name.clone() });
    let _serving = listening.serve_routers(on_tcp, on_socket)?;
    service::started();
    let mut watchdog = Watchdog::new();
    tokio::pin!(stop);
    loop {
        let mut process = CellProcess::start(cell)?;
        let mut hanging = Box::pin(hangs(view.clone(), (&folder.host, cell), &socket));
        let (mut is_stopping, mut is_hanging) = (false, false);
        let ended = loop {
            tokio::select! {
                ended = process.ended() => break ended?,
                () = &mut stop, if !is_stopping => {
                    is_stopping = true;
                    service::stopping();
                    process.stop();
                }
                () = &mut hanging, if !is_hanging => {
                    is_hanging = true;
                    tracing::error!("the process of the cell does not respond, and is killed");
                    process.kill();
                }
                () = watchdog.sign() => {}
            }
        };
        match after(ended, is_stopping) {
            Some(code) => return Ok(code),
            None => tracing::error!("the process of the cell has ended ({ended}), and is started again"),
        }
        tokio::select! {
            () = sleep(limits::RESTART) => {}
            () = &mut stop => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Returns the exit code of the gateway after the process of the cell has ended; nothing if that is started again. What it
/// has reported itself would only be repeated.
fn after(ended: ExitStatus, is_stopping: bool) -> Option<ExitCode> {
    match ended.code() {
        Some(REPORTED) => Some(ExitCode::FAILURE),
        Some(0) if is_stopping => Some(ExitCode::SUCCESS),
        _ if is_stopping => Some(ExitCode::FAILURE),
        _ => None,
    }
}

/// Returns where other hosts reach this one if nothing is configured: at the address that it listens on, or at the
/// machine's name if that is every address.
fn advertised(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://{}:{}", store::machine_name(), address.port())
    } else {
        format!("http://{address}")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_process_that_crashes_is_started_again_and_one_that_reports_an_error_is_not() {
        let shown = |status: i32, is_stopping| format!("{:?}", after(ExitStatus::from_raw(status), is_stopping));
        let [success, failure] = [ExitCode::SUCCESS, ExitCode::FAILURE].map(|code| format!("{:?}", Some(code)));
        let (signal, panic) = (9, 101 << 8);
        for status in [signal, panic, 0] {
            assert_eq!(shown(status, false), "None");
        }
        assert_eq!(shown(1 << 8, false), failure);
        assert_eq!(shown(0, true), success);
        assert_eq!(shown(signal, true), failure);
    }

    #[test]
    fn a_host_that_listens_everywhere_is_known_by_the_name_of_its_machine() {
        assert_eq!(advertised("10.0.0.5:8080".parse().unwrap()), "http://10.0.0.5:8080");
        assert_eq!(advertised("[fd00::1]:80".parse().unwrap()), "http://[fd00::1]:80");
        let name = store::machine_name();
        assert_eq!(advertised("0.0.0.0:8080".parse().unwrap()), format!("http://{name}:8080"));
        assert_eq!(advertised("[::]:8080".parse().unwrap()), format!("http://{name}:8080"));
    }
}
