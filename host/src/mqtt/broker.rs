//! The built-in broker: rumqttd on this machine's loopback, where no other broker is named.
//!
//! It keeps everything in memory, so nothing that Roost promises rests on it.

mod versions;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::{net::TcpStream, time::sleep};

use self::versions::EitherVersion;
use super::url::BrokerUrl;
use crate::report::Report;

/// Of a packet, either way: a payload at its limit, and what goes with it.
const PACKET_BYTES: usize = 1 << 20;
/// Clients at once.
const CONNECTIONS: usize = 10_000;
/// Messages for one subscriber at QoS 0 that wait to be sent; a new one gets no more retained messages than that.
const WAITING_MESSAGES: u64 = 100_000;
/// Memory for the messages of one topic filter, in segments of which the oldest is dropped.
const SEGMENT_BYTES: usize = 1 << 20;
const SEGMENTS: usize = 10;
/// For both listeners to come up.
const START: Duration = Duration::from_secs(5);

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// For people and devices: where their tools look unless told otherwise.
    pub(crate) devices: u16,
    /// For Roost itself.
    pub(crate) roost: u16,
}

/// Starts it, waits until it can be reached, and says where the link finds it. It ends with the process.
///
/// # Errors
/// Where a port is taken: most likely there is a broker already.
pub(crate) async fn start_built_in(ports: Ports) -> Result<BrokerUrl, Report> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (devices, roost) = (address(ports.devices), address(ports.roost));
    // rumqttd only logs that a port is taken.
    for address in [devices, roost] {
        TcpListener::bind(address).map_err(|error| not_started(address, &error))?;
    }
    let spawned = thread::Builder::new().name("broker".to_owned()).spawn(move || serve(devices, roost));
    spawned.map_err(|error| not_started(devices, &error))?;
    for address in [devices, roost] {
        reached(address).await.map_err(|error| not_started(address, &error))?;
    }
    tracing::info!(
        "built-in broker: people and devices at {devices}, Roost at {roost}; good for trying out and for small \
         sites, but it forgets retained messages and queues when it stops; for more, run a broker such as Mosquitto \
         and name it with `--mqtt`"
    );
    Ok(BrokerUrl { tls: false, host: roost.ip().to_string(), port: roost.port(), user: None, password: None })
}

fn not_started(address: SocketAddr, error: &io::Error) -> Report {
    let report = Report::new(format!("the built-in broker was not started at `{address}`")).cause(error);
    if error.kind() == io::ErrorKind::AddrInUse {
        report.hint(
            "if the broker that is already there is to be used, say so: `--mqtt mqtt://127.0.0.1:1883`, or \
             `ROOST_MQTT=mqtt://127.0.0.1:1883` in the environment",
        )
    } else {
        report.hint("use a broker of your own: `--mqtt mqtt://127.0.0.1:1883`")
    }
}

async fn reached(address: SocketAddr) -> io::Result<()> {
    let knock = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", START.as_secs()));
    tokio::time::timeout(START, knock).await.map_err(late)
}

/// Runs until the process ends: rumqttd cannot be stopped. Apart from the runtime that keeps time.
fn serve(devices: SocketAddr, roost: SocketAddr) {
    let router = Router::new(0, router_config()).spawn();
    let mut servers = [("devices", devices), ("roost", roost)]
        .map(|(name, address)| Server::new(server_settings(name, address), router.clone(), EitherVersion::default()));
    let [devices, roost] = &mut servers;
    let why = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            let ended = tokio::select! {
                ended = devices.start(LinkType::Remote) => ended,
                ended = roost.start(LinkType::Remote) => ended,
            };
            ended.map_or_else(|error| error.to_string(), |()| "it stopped".to_owned())
        }),
        Err(error) => error.to_string(),
    };
    tracing::error!("the built-in broker has ended: {why}");
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: CONNECTIONS,
        max_outgoing_packet_count: WAITING_MESSAGES,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    }
}

fn server_settings(name: &str, listen: SocketAddr) -> ServerSettings {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: PACKET_BYTES,
        max_inflight_count: 1_000,
        auth: None,
        external_auth: None,
        // Otherwise a message to a topic that nobody has subscribed to ends its sender's connection.
        dynamic_filters: true,
    };
    ServerSettings { name: name.to_owned(), listen, tls: None, next_connection_delay_ms: 0, connections }
}
