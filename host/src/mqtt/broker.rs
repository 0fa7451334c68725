//! The built-in broker: rumqttd on this machine's loopback, where no other broker is named.
//!
//! It keeps everything in memory, so nothing that Roost promises rests on it.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::{net::TcpStream, time::sleep};

use super::url::BrokerUrl;
use crate::report::Report;

/// Of a packet, either way: a payload at its limit, and what goes with it.
const PACKET_BYTES: usize = 1 << 20;
/// Clients at once.
const CONNECTIONS: usize = 10_000;
/// Messages for one subscriber that wait to be sent; a new subscriber gets no more retained messages than that.
const WAITING_MESSAGES: u64 = 100_000;
/// Memory for the messages of one topic filter, in segments of which the oldest is dropped.
const SEGMENT_BYTES: usize = 1 << 20;
const SEGMENTS: usize = 10;
/// For both listeners to come up.
const START: Duration = Duration::from_secs(5);

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// MQTT 3.1.1: what people's tools and devices speak unless told otherwise.
    pub(crate) devices: u16,
    /// MQTT 5: Roost itself. The broker cannot do both on one port.
    pub(crate) roost: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { devices: 1883, roost: 1884 }
    }
}

/// A built-in broker that runs. It ends with the process.
#[derive(Clone, Debug)]
pub(crate) struct BuiltIn {
    /// For the link.
    pub(crate) url: BrokerUrl,
    /// For everybody else.
    pub(crate) devices: SocketAddr,
}

impl BuiltIn {
    /// Starts it and waits until it can be reached.
    ///
    /// # Errors
    /// Where a port is taken: most likely there is a broker already.
    pub(crate) async fn start(ports: Ports) -> Result<Self, Report> {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (devices, roost) = (address(ports.devices), address(ports.roost));
        // rumqttd only logs that a port is taken.
        for address in [devices, roost] {
            TcpListener::bind(address).map_err(|error| not_started(address, &error))?;
        }
        let run = move || {
            if let Err(error) = Broker::new(config(devices, roost)).start() {
                tracing::error!("the built-in broker has ended: {error}");
            }
        };
        let spawned = thread::Builder::new().name("broker".to_owned()).spawn(run);
        spawned.map_err(|error| not_started(devices, &error))?;
        for address in [devices, roost] {
            reached(address).await.map_err(|error| not_started(address, &error))?;
        }
        tracing::info!(
            "built-in broker: devices and people at {devices} (MQTT 3.1.1), Roost at {roost} (MQTT 5); good for trying \
             out and for small sites, but it forgets retained messages and queues when it stops; for more, run a broker \
             such as Mosquitto and name it with `--mqtt`"
        );
        let url =
            BrokerUrl { tls: false, host: roost.ip().to_string(), port: roost.port(), user: None, password: None };
        Ok(Self { url, devices })
    }
}

fn not_started(address: SocketAddr, error: &io::Error) -> Report {
    let report = Report::new(format!("the built-in broker was not started at `{address}`")).cause(error);
    if error.kind() == io::ErrorKind::AddrInUse {
        report.hint("if the broker that is already there is to be used, say so: `--mqtt mqtt://127.0.0.1:1883`")
    } else {
        report.hint("use a broker of your own: `--mqtt mqtt://127.0.0.1:1883`")
    }
}

async fn reached(address: SocketAddr) -> io::Result<()> {
    let knock = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(5)).await
        }
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", START.as_secs()));
    tokio::time::timeout(START, knock).await.map_err(late)
}

fn config(devices: SocketAddr, roost: SocketAddr) -> Config {
    let listener = |name: &str, listen| {
        let connections = ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: PACKET_BYTES,
            max_inflight_count: 1_000,
            auth: None,
            external_auth: None,
            // Otherwise a message to a topic that nobody has subscribed to ends its sender's connection.
            dynamic_filters: true,
        };
        let settings =
            ServerSettings { name: name.to_owned(), listen, tls: None, next_connection_delay_ms: 0, connections };
        Some(HashMap::from([(name.to_owned(), settings)]))
    };
    Config {
        router: RouterConfig {
            max_connections: CONNECTIONS,
            max_outgoing_packet_count: WAITING_MESSAGES,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: listener("mqtt-3", devices),
        v5: listener("mqtt-5", roost),
        ..Config::default()
    }
}
