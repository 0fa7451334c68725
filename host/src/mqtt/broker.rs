//! The built-in broker, where no other broker is named: `roost-broker`, on this machine's loopback.
//!
//! It keeps sessions and retained messages beside the store, in a database of its own. Nothing that Roost promises rests
//! on it: an owed step is tried until a broker has it, whatever that broker remembers.

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

/// What it remembers, in the data folder.
const FILE: &str = "broker.db";

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// For everything that speaks MQTT, 3.1.1 or 5: where tools look by default.
    pub(crate) devices: u16,
    /// Another one, which does the same.
    pub(crate) roost: Option<u16>,
}

/// Starts it, and says where the link finds it. `client_id` is the link's: it gets in even where too many clients are
/// connected.
///
/// # Errors
/// Where a port is taken: most likely there is a broker already. Where its database cannot be used.
pub(crate) fn start_built_in(ports: Ports, data: &Path, client_id: &str) -> Result<(Broker, BrokerUrl), Report> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let own = address(ports.devices);
    let addresses: BTreeSet<_> = [Some(ports.devices), ports.roost].into_iter().flatten().map(address).collect();
    let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let settings = Settings::new(addresses.into_iter().collect(), data.join(FILE), client_id.to_owned());
    let broker = Broker::start(settings).map_err(|error| not_started(&error, own))?;
    tracing::info!(
        "built-in broker: at {listed}, for MQTT 3.1.1 and 5; it can be reached from this machine only, and keeps \
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
            "if the broker that is already there is to be used, say so: `--mqtt mqtt://127.0.0.1:1883`, or \
             `ROOST_MQTT=mqtt://127.0.0.1:1883` in the environment",
        ),
        StartError::Disk(_) => report.hint(
            "see that the data folder can be written to; or use a broker of your own: `--mqtt mqtt://127.0.0.1:1883`",
        ),
        _ => report.hint("use a broker of your own: `--mqtt mqtt://127.0.0.1:1883`"),
    }
}

/// An address is named already where it cannot be listened at.
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
