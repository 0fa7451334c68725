//! A minimal subscriber that stamps the arrivals of messages.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use roost_tests::figure::quantile;

use crate::clock::{ms_between, now_ns};

/// The size of one read, whose messages get the same stamp.
const READ_BYTES: usize = 64 * 1024;
/// How often the number of arrivals is checked: seldom, because waking up disturbs the measurement.
const LOOK: Duration = Duration::from_millis(20);
/// How long no message may arrive before the wait fails.
const SILENCE_MS: f64 = 30_000.0;

/// A subscriber with MQTT 3.1.1, as most devices are, at QoS 1.
pub(crate) struct Subscriber {
    stream: TcpStream,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

/// An arrived message. Its payload has its due time and its number: `1800000000000000000:42`.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at_ns: i64,
    pub(crate) due_ns: i64,
    pub(crate) number: u32,
}

impl Arrival {
    /// Returns its lateness in milliseconds.
    pub(crate) fn late_ms(&self) -> f64 {
        ms_between(self.due_ns, self.at_ns)
    }
}

impl Subscriber {
    /// Subscribes, and waits for the acknowledgement.
    pub(crate) fn new(port: u16, filter: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker listens");
        stream.set_nodelay(true).expect("a TCP socket");
        // CONNECT: protocol 4, a clean session, no keep-alive, no client id.
        stream.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00").expect("the broker reads");
        expect(&mut stream, [0x20, 2, 0, 0]);
        let length = u8::try_from(filter.len()).expect("a short filter");
        let mut subscribe = vec![0x82, length + 5, 0, 1, 0, length];
        subscribe.extend_from_slice(filter.as_bytes());
        subscribe.push(1);
        stream.write_all(&subscribe).expect("the broker reads");
        expect(&mut stream, [0x90, 3, 0, 1]);
        expect(&mut stream, [1]);
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let (reader, shared) = (stream.try_clone().expect("a socket"), arrivals.clone());
        thread::spawn(move || listen(reader, &shared));
        Self { stream, arrivals }
    }

    /// Waits for at least `count` messages, and takes all.
    pub(crate) fn take(&self, count: usize) -> Vec<Arrival> {
        let mut silent_since = now_ns();
        let mut seen = 0;
        loop {
            let mut arrivals = self.arrivals();
            if arrivals.len() >= count {
                return std::mem::take(&mut *arrivals);
            }
            if arrivals.len() > seen {
                (seen, silent_since) = (arrivals.len(), now_ns());
            }
            drop(arrivals);
            assert!(ms_between(silent_since, now_ns()) < SILENCE_MS, "{seen} of {count} messages arrived, and no more");
            thread::sleep(LOOK);
        }
    }

    /// Returns a copy of the messages so far.
    pub(crate) fn so_far(&self) -> Vec<Arrival> {
        self.arrivals().clone()
    }

    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().expect("no thread panics while it holds the lock")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn expect<const N: usize>(stream: &mut TcpStream, answer: [u8; N]) {
    let mut read = [0; N];
    stream.read_exact(&mut read).expect("the broker answers");
    assert_eq!(read, answer, "the broker refuses the subscriber");
}

fn listen(mut stream: TcpStream, shared: &Mutex<Vec<Arrival>>) {
    let (mut buffer, mut filled) = (vec![0; READ_BYTES], 0);
    let (mut arrivals, mut acks) = (Vec::new(), Vec::new());
    loop {
        let read = match stream.read(&mut buffer[filled..]) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let at_ns = now_ns();
        filled += read;
        let mut rest = &buffer[..filled];
        while let Some((packet, after)) = next_packet(rest) {
            rest = after;
            if let Some(message) = Message::of(packet) {
                acks.extend_from_slice(&[0x40, 2, message.packet_id[0], message.packet_id[1]]);
                arrivals.extend(message.arrival(at_ns));
            }
        }
        let left = rest.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
        if stream.write_all(&acks).is_err() {
            return;
        }
        acks.clear();
        shared.lock().expect("no thread panics while it holds the lock").append(&mut arrivals);
    }
}

/// Splits a complete packet off the bytes.
fn next_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0, 0);
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return bytes.split_at_checked(index + 2 + length);
        }
    }
    None
}

struct Message<'a> {
    packet_id: [u8; 2],
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Parses a PUBLISH at QoS 1.
    fn of(packet: &'a [u8]) -> Option<Self> {
        if packet[0] & 0xf6 != 0x32 {
            return None;
        }
        let header = 1 + packet[1..].iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (topic, rest) = packet[header..].split_first_chunk::<2>()?;
        let (packet_id, payload) = rest.get(usize::from(u16::from_be_bytes(*topic))..)?.split_first_chunk::<2>()?;
        Some(Self { packet_id: *packet_id, payload })
    }

    fn arrival(&self, at_ns: i64) -> Option<Arrival> {
        let (due, number) = std::str::from_utf8(self.payload).ok()?.split_once(':')?;
        Some(Arrival { at_ns, due_ns: due.parse().ok()?, number: number.parse().ok()? })
    }
}

/// Returns the lateness of messages in milliseconds: p50, p99 and largest.
pub(crate) fn lateness(arrivals: &[Arrival]) -> [f64; 3] {
    let late: Vec<f64> = arrivals.iter().map(Arrival::late_ms).collect();
    [0.5, 0.99, 1.0].map(|part| quantile(&late, part))
}

/// Returns the messages per second, from the instant at which all were due to the last arrival.
pub(crate) fn rate(arrivals: &[Arrival], due_ns: i64) -> f64 {
    let last = arrivals.iter().map(|arrival| arrival.at_ns).max().expect("some arrived");
    arrivals.len() as f64 / (last - due_ns) as f64 * 1e9
}

/// Asserts that no message was lost or repeated.
pub(crate) fn assert_complete(arrivals: &[Arrival], count: usize) {
    let mut numbers: Vec<u32> = arrivals.iter().map(|arrival| arrival.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((arrivals.len(), numbers.len()), (count, count), "arrived messages, and distinct ones among them");
}
