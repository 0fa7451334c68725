//! Opens connections. The results are the payload of its only job; `to` in its settings is an address and a port.

use std::net::{TcpStream, ToSocketAddrs, UdpSocket};

use roost_plugin_sdk::{Context, Device, Job, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct WantsSockets {
    #[serde(default = "broker")]
    to: String,
}

fn broker() -> String {
    "127.0.0.1:1883".into()
}

impl Device for WantsSockets {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        let tcp = TcpStream::connect(&self.to);
        let udp = UdpSocket::bind("0.0.0.0:0");
        let name = "example.org:80".to_socket_addrs().map(Iterator::count);
        let outcome = format!("tcp {tcp:?}, udp {udp:?}, name {name:?}");
        Ok(vec![Job::daily("report", "12:00").publish(ctx.topic("report"), outcome)])
    }
}

roost_plugin_sdk::export!(WantsSockets);
