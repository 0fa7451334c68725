//! A proxy that refuses CONNECT in MQTT 5, like a broker that knows only 3.1.1.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

/// CONNACK of MQTT 3.1.1, section 3.2.2.3: the protocol level is not supported.
const UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 2, 0, 1];
/// The protocol level of MQTT 3.1.1.
const LEVEL: u8 = 4;

/// Starts the proxy, which runs until the process ends. Returns its port.
pub(crate) fn refuse_5(broker: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client, broker));
        }
    });
    port
}

fn serve(mut client: TcpStream, broker: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut first = [0; 1_024];
    let length = client.read(&mut first)?;
    let first = &first[..length];
    // The level follows the protocol's name.
    let level = first.windows(5).find(|bytes| bytes.starts_with(b"MQTT")).map(|bytes| bytes[4]);
    if level != Some(LEVEL) {
        return client.write_all(&UNACCEPTABLE_VERSION);
    }
    let mut broker = TcpStream::connect(("127.0.0.1", broker))?;
    broker.set_nodelay(true)?;
    broker.write_all(first)?;
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_broker, to_broker) = (broker.try_clone()?, broker);
    thread::spawn(move || carry(from_client, to_broker));
    carry(from_broker, to_client)
}

fn carry(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let carried = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Both)?;
    carried.map(drop)
}
