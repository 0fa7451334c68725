//! Whether clients of the HTTP API delay messages: the same host alone, and with 200 open event streams and 500
//! requests a second.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use roost_tests::{Broker, figure::Figure};

use crate::{
    clock::{ms_between, now_ns, sleep_until},
    end_to_end::late_figures,
    subscriber::{Subscriber, assert_complete, lateness},
    ticks::due_between,
    work::Work,
};

/// How long each half takes.
const HALF_S: u32 = 10;
/// Open event streams.
const STREAMS: usize = 200;
/// Connections with requests, and the interval of each.
const REQUESTERS: usize = 10;
const EVERY_MS: i64 = 20;
/// The pause between the halves, in which all clients connect.
const REST_MS: u32 = 2_000;

/// The requested paths, in turns.
const PATHS: [&str; 4] =
    ["/api/v1/status", "/api/v1/jobs?plugin=burst&limit=100", "/api/v1/jobs/burst/at-0/job-7", "/api/v1/plugins"];

pub(crate) fn under_load() -> Vec<Figure> {
    let broker = Broker::new();
    let spread_ms = 2 * HALF_S * 1_000 + REST_MS;
    let work = Work { plugin: "burst", jobs: spread_ms / 10, spread_ms, per_device: 10_000, then_ms: None };
    let (mut alone, mut loaded, mut ratios, mut request_rates, mut event_rates, mut slowest) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (_site, host, t0_ns) = work.ready_with(&broker, &["--http", "127.0.0.1:0"]);
        let subscriber = Subscriber::new(broker.port, &work.filter());
        let half_ns = i64::from(HALF_S) * 1_000_000_000;
        let middle_ns = t0_ns + half_ns + i64::from(REST_MS) * 1_000_000;
        sleep_until(t0_ns + half_ns);
        let clients = Clients::connect(&host.address(), middle_ns, middle_ns + half_ns);
        let arrivals = subscriber.take(work.jobs as usize);
        assert_complete(&arrivals, work.jobs as usize);
        let Totals { responses, events, slowest_ms } = clients.disconnect();
        let before = lateness(&due_between(&arrivals, t0_ns, t0_ns + half_ns));
        let during = lateness(&due_between(&arrivals, middle_ns, middle_ns + half_ns));
        ratios.push(during[1] / before[1]);
        alone.push(before);
        loaded.push(during);
        request_rates.push(responses as f64 / f64::from(HALF_S));
        event_rates.push(events as f64 / f64::from(HALF_S));
        slowest.push(slowest_ms);
    }
    let mut figures = late_figures("100 runs/s alone", &alone);
    figures.extend(late_figures("100 runs/s, asked and followed", &loaded));
    figures.push(Figure::lower("p99, asked and followed to alone", "x", ratios));
    figures.push(Figure::higher("requests answered", "/s", request_rates));
    figures.push(Figure::higher("events sent to 200 streams", "/s", event_rates));
    figures.push(Figure::lower("slowest answer", "ms", slowest));
    figures
}

/// The clients of the HTTP API.
struct Clients {
    is_over: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    streams: Vec<TcpStream>,
    subscribers: Vec<JoinHandle<()>>,
    requesters: Vec<JoinHandle<(u64, f64)>>,
}

/// The totals of all clients.
struct Totals {
    responses: u64,
    events: u64,
    slowest_ms: f64,
}

impl Clients {
    fn connect(address: &str, from_ns: i64, to_ns: i64) -> Self {
        let (is_over, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let streams: Vec<TcpStream> = (0..STREAMS).map(|_| open(address, "/api/v1/events")).collect();
        let follow = |stream: &TcpStream| {
            let (stream, events) = (stream.try_clone().expect("a socket"), events.clone());
            thread::Builder::new().stack_size(64 << 10).spawn(move || follow(stream, &events)).expect("a thread")
        };
        let subscribers = streams.iter().map(follow).collect();
        let requester = |number: usize| {
            let (address, is_over) = (address.to_owned(), is_over.clone());
            thread::spawn(move || send_requests(&address, number, from_ns, to_ns, &is_over))
        };
        let requesters = (0..REQUESTERS).map(requester).collect();
        Self { is_over, events, streams, subscribers, requesters }
    }

    fn disconnect(self) -> Totals {
        self.is_over.store(true, Ordering::Relaxed);
        let done: Vec<(u64, f64)> =
            self.requesters.into_iter().map(|requester| requester.join().expect("it does not panic")).collect();
        for stream in &self.streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.subscribers.into_iter().for_each(|subscriber| subscriber.join().expect("it does not panic"));
        Totals {
            responses: done.iter().map(|(count, _)| count).sum(),
            events: self.events.load(Ordering::Relaxed),
            slowest_ms: done.iter().map(|(_, slowest)| *slowest).fold(0.0, f64::max),
        }
    }
}

/// Nices a client's thread, because real clients are on other machines.
fn run_niced() {
    let _ = rustix::process::nice(19);
}

fn open(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the host listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.write_all(request(address, path).as_bytes()).expect("the host reads");
    stream
}

fn request(address: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n")
}

fn follow(mut stream: TcpStream, events: &AtomicU64) {
    run_niced();
    let mut piece = [0; 32 << 10];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        let count = piece[..read].windows(7).filter(|bytes| *bytes == b"\ndata: ").count();
        events.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Sends requests at fixed times. Returns their number, and the time of the slowest response in milliseconds.
fn send_requests(address: &str, number: usize, from_ns: i64, to_ns: i64, is_over: &AtomicBool) -> (u64, f64) {
    run_niced();
    let mut stream = BufReader::new(open(address, PATHS[0]));
    read(&mut stream);
    let (mut count, mut slowest_ms) = (0, 0.0);
    let shift_ns = number as i64 * EVERY_MS * 1_000_000 / REQUESTERS as i64;
    let mut at_ns = from_ns + shift_ns;
    while at_ns < to_ns && !is_over.load(Ordering::Relaxed) {
        let left_ns = at_ns - now_ns();
        thread::sleep(Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)));
        let path = PATHS[count as usize % PATHS.len()];
        let sent_ns = now_ns();
        stream.get_mut().write_all(request(address, path).as_bytes()).expect("the host reads");
        read(&mut stream);
        slowest_ms = f64::max(slowest_ms, ms_between(sent_ns, now_ns()));
        count += 1;
        at_ns += EVERY_MS * 1_000_000;
    }
    (count, slowest_ms)
}

fn read(stream: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).expect("a response");
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("a response");
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a response");
}
