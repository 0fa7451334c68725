//! The built-in broker, used if no other broker is configured: `roost-broker` on the loopback interface.
//!
//! It keeps sessions and retained messages in its own database next to the store. Roost's guarantees do not depend on
//! that data: an owed step is retried until a broker acknowledges it.

use std::{
    collections::BTreeSet,
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use roost_broker::{Broker, Settings, StartError};

use super::url::BrokerUrl;
use crate::report::Report;

/// The broker's database in the data folder.
const FILE: &str = "broker.db";

/// The ports that the broker listens on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// The port for all clients, 3.1.1 or 5: the default port of MQTT tools.
    pub(crate) devices: u16,
    /// An additional port with the same function.
    pub(crate) roost: Option<u16>,
}

/// Starts the built-in broker and returns its address for the link. `client_id` is the link's: the broker accepts it
/// even at its limit of clients.
///
/// # Errors
/// Returns an error if a port is in use, most likely by another broker, or if the broker's database cannot be used.
pub(crate) fn start_built_in(ports: Ports, data: &Path, client_id: &str) -> Result<(Broker, BrokerUrl), Report> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let own = address(ports.devices);
    let addresses: BTreeSet<_> = [Some(ports.devices), ports.roost].into_iter().flatten().map(address).collect();
    let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let settings = Settings::new(addresses.into_iter().collect(), data.join(FILE), client_id.to_owned());
    let broker = Broker::start(settings).map_err(|error| not_started(&error, own))?;
    tracing::info!(
        "built-in broker: listens at {listed} for MQTT 3.1.1 and 5, reachable from this machine only; it keeps \
         sessions and retained messages in `{}`",
        data.join(FILE).display()
    );
    let url = BrokerUrl { tls: false, host: own.ip().to_string(), port: own.port(), user: None, password: None };
    Ok((broker, url))
}

fn not_started(error: &StartError, own: SocketAddr) -> Report {
    let (address, taken) = match error {
        StartError::Listen { address, source } => (*address, source.kind() == io::ErrorKind::AddrInUse),
        _ => (own, false),
    };
    let report = Report::new(format!("the built-in broker was not started at `{address}`")).cause(causes(error));
    match error {
        StartError::Listen { .. } if taken => report.hint(
            "to use the broker that already listens there, pass `--mqtt mqtt://127.0.0.1:1883`, or set \
             `ROOST_MQTT=mqtt://127.0.0.1:1883` in the environment",
        ),
        StartError::Disk(_) => report
            .hint("check that the data folder is writable, or use your own broker: `--mqtt mqtt://127.0.0.1:1883`"),
        _ => report.hint("use your own broker: `--mqtt mqtt://127.0.0.1:1883`"),
    }
}

/// Returns the error with its sources. The address is left out: the report names it already.
fn causes(error: &StartError) -> String {
    let mut next = match error {
        StartError::Listen { source, .. } => return source.to_string(),
        error => Some(error as &dyn Error),
    };
    let mut texts = Vec::new();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}
