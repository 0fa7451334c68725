//! A network between clients and a server, which fails when a test wants it to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Runtime},
    sync::watch,
    time::sleep,
};

use crate::free_port;

/// How long a server may take to act on the last bytes that it gets before a connection is cut.
const ACT: Duration = Duration::from_millis(100);

/// A proxy, which ends with all its connections when it is dropped.
pub struct Proxy {
    /// The port at which clients reach it, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// What the network does to bytes. Blocked bytes arrive when it works again, as TCP sends them once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Whether bytes to the server are blocked.
    pub blocks_requests: bool,
    /// Whether bytes to the client are blocked.
    pub blocks_answers: bool,
    /// How long bytes take.
    pub delay: Duration,
}

/// What happens to the bytes at which a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// They are lost.
    Before,
    /// The server acts on them, and its answer is lost.
    After,
}

struct Shared {
    server: u16,
    network: watch::Sender<Network>,
    /// The number of times that all connections were cut.
    cuts: watch::Sender<u32>,
    trap: Mutex<Option<(&'static str, Cut)>>,
    /// What clients have sent since it was asked for first.
    sent: Mutex<Option<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

impl Network {
    const fn passes(&self, way: Way) -> bool {
        match way {
            Way::Request => !self.blocks_requests,
            Way::Answer => !self.blocks_answers,
        }
    }
}

impl Proxy {
    /// Starts a proxy for a server that listens, or will listen, on a port of 127.0.0.1.
    pub fn to(server: u16) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let shared = Arc::new(Shared {
            server,
            network: watch::Sender::default(),
            cuts: watch::Sender::default(),
            trap: Mutex::default(),
            sent: Mutex::default(),
        });
        let port = free_port();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port))).expect("a free port");
        runtime.spawn(accept(listener, shared.clone()));
        Self { port, shared, _runtime: runtime }
    }

    /// Changes what the network does from now on.
    pub fn set(&self, network: Network) {
        self.shared.network.send_replace(network);
    }

    /// Ends all connections; new ones can be made.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Ends all connections when a client next sends a text.
    pub fn cut_at(&self, text: &'static str, cut: Cut) {
        *self.shared.trap.lock().unwrap() = Some((text, cut));
    }

    /// Returns whether the connections have not been cut yet at the text of [`Self::cut_at`].
    pub fn is_set_to_cut(&self) -> bool {
        self.shared.trap.lock().unwrap().is_some()
    }

    /// Cuts nothing any more at the text of [`Self::cut_at`].
    pub fn forget_cut(&self) {
        *self.shared.trap.lock().unwrap() = None;
    }

    /// Takes what clients have sent since the last call. The first call returns nothing.
    pub fn take_sent(&self) -> Vec<u8> {
        self.shared.sent.lock().unwrap().replace(Vec::new()).unwrap_or_default()
    }
}

impl Shared {
    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Records a client's bytes, and returns how connections are cut at them, if they are.
    fn sees(&self, bytes: &[u8]) -> Option<Cut> {
        if let Some(sent) = &mut *self.sent.lock().unwrap() {
            sent.extend_from_slice(bytes);
        }
        self.springs(bytes)
    }

    /// Returns how connections are cut at these bytes, if they are, once.
    fn springs(&self, bytes: &[u8]) -> Option<Cut> {
        let mut trap = self.trap.lock().unwrap();
        let is_it = |(text, _): &mut (&str, Cut)| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        trap.take_if(is_it).map(|(_, cut)| cut)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, shared.clone()));
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let (mut network, mut cuts) = (shared.network.subscribe(), shared.cuts.subscribe());
    let _ = network.wait_for(|network| network.passes(Way::Request)).await;
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(Way::Request, from_client, to_server, &shared) => {}
        () = carry(Way::Answer, from_server, to_client, &shared) => {}
        _ = cuts.changed() => {}
    }
}

async fn carry(way: Way, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut network = shared.network.subscribe();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let _ = network.wait_for(|network| network.passes(way)).await;
        let read = tokio::select! {
            _ = network.changed() => continue,
            read = from.read(&mut bytes) => read,
        };
        let Ok(count @ 1..) = read else { return };
        let delay = network.borrow().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let _ = network.wait_for(|network| network.passes(way)).await;
        let bytes = &bytes[..count];
        let cut = if way == Way::Request { shared.sees(bytes) } else { None };
        match cut {
            Some(Cut::Before) => return shared.cut(),
            Some(Cut::After) => return cut_after(bytes, to, shared).await,
            // A client may go on when the server has ended the connection, and the end is blocked.
            None => drop(to.write_all(bytes).await),
        }
    }
}

async fn cut_after(bytes: &[u8], mut to: OwnedWriteHalf, shared: &Shared) {
    let before = shared.network.send_replace(Network { blocks_answers: true, ..Network::default() });
    let _ = to.write_all(bytes).await;
    sleep(ACT).await;
    shared.cut();
    shared.network.send_replace(before);
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net, thread,
    };

    use super::*;

    /// Starts a server that answers each byte with `b`, but ends a connection at `q`. Returns its port.
    fn server() -> u16 {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && byte != *b"q" {
                        stream.write_all(b"b").unwrap();
                    }
                });
            }
        });
        port
    }

    fn client(proxy: &Proxy) -> net::TcpStream {
        net::TcpStream::connect(("127.0.0.1", proxy.port)).unwrap()
    }

    /// Reads a byte; none if the connection has ended.
    fn read(stream: &mut net::TcpStream) -> Option<u8> {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    #[test]
    fn blocked_bytes_arrive_when_the_network_works_again() {
        let proxy = Proxy::to(server());
        let mut client = client(&proxy);
        for network in [
            Network { blocks_requests: true, ..Network::default() },
            Network { blocks_answers: true, ..Network::default() },
            Network { delay: Duration::from_millis(1), ..Network::default() },
        ] {
            proxy.set(network);
            client.write_all(b"a").unwrap();
            proxy.set(Network::default());
            assert_eq!(read(&mut client), Some(b'b'));
        }
    }

    #[test]
    fn a_cut_ends_connections_and_new_ones_can_be_made() {
        let proxy = Proxy::to(server());
        let mut first = client(&proxy);
        first.write_all(b"a").unwrap();
        assert_eq!(read(&mut first), Some(b'b'));
        proxy.cut();
        assert_eq!(read(&mut first), None);
        for cut in [Cut::Before, Cut::After] {
            let mut next = client(&proxy);
            proxy.cut_at("x", cut);
            next.write_all(b"a").unwrap();
            assert_eq!(read(&mut next), Some(b'b'));
            assert!(proxy.is_set_to_cut());
            next.write_all(b"x").unwrap();
            assert_eq!(read(&mut next), None);
            assert!(!proxy.is_set_to_cut());
        }
    }

    #[test]
    fn what_clients_send_is_recorded_also_if_the_server_is_gone() {
        let proxy = Proxy::to(server());
        let mut client = client(&proxy);
        client.write_all(b"a").unwrap();
        assert_eq!(read(&mut client), Some(b'b'));
        assert_eq!(proxy.take_sent(), b"");
        proxy.set(Network { blocks_answers: true, ..Network::default() });
        let mut sent = Vec::new();
        for byte in [b"q", b"c", b"d"] {
            client.write_all(byte).unwrap();
            while sent.last() != Some(&byte[0]) {
                thread::yield_now();
                sent.extend(proxy.take_sent());
            }
        }
        assert_eq!(sent, b"qcd");
    }
}
