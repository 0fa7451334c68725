//! Whether clients of the HTTP API delay messages: the same host alone, and with open event streams and requests. A page
//! that is open in a browser is a stream and, while things happen, a request a second.

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
/// The pause between the halves, in which all clients connect.
const REST_MS: u32 = 2_000;
const ROUNDS: usize = 3;

/// A host's work, and its clients.
struct Load {
    runs_per_second: u32,
    streams: usize,
    /// The path of a stream.
    events: &'static str,
    /// Connections with requests, and the interval of each.
    requesters: usize,
    every_ms: i64,
    /// The requested paths, in turns.
    paths: &'static [&'static str],
}

const PROGRAMS: Load = Load {
    runs_per_second: 100,
    streams: 200,
    events: "/api/v1/events",
    requesters: 10,
    every_ms: 20,
    paths: &[
        "/api/v1/status",
        "/api/v1/jobs?plugin=burst&limit=100",
        "/api/v1/jobs/burst/at-0/job-7",
        "/api/v1/plugins",
    ],
};

const PAGES: Load = Load {
    runs_per_second: 1_000,
    streams: 20,
    events: "/api/v1/events?kind=run,plan,plugin,link,clock",
    requesters: 20,
    every_ms: 1_000,
    paths: &["/"],
};

pub(crate) fn programs() -> Vec<Figure> {
    measure(&PROGRAMS)
}

pub(crate) fn pages() -> Vec<Figure> {
    measure(&PAGES)
}

fn measure(load: &'static Load) -> Vec<Figure> {
    let broker = Broker::new();
    let spread_ms = 2 * HALF_S * 1_000 + REST_MS;
    let jobs = spread_ms / 1_000 * load.runs_per_second;
    let work = Work { plugin: "burst", jobs, spread_ms, per_device: 10_000, then_ms: None };
    let (mut alone, mut loaded, mut ratios, mut request_rates, mut event_rates, mut slowest) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (_site, host, t0_ns) = work.ready_with(&broker, &["--http", "127.0.0.1:0"]);
        let subscriber = Subscriber::new(broker.port, &work.filter());
        let half_ns = i64::from(HALF_S) * 1_000_000_000;
        let middle_ns = t0_ns + half_ns + i64::from(REST_MS) * 1_000_000;
        sleep_until(t0_ns + half_ns);
        let clients = Clients::connect(&host.address(), load, middle_ns, middle_ns + half_ns);
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
    let Load { runs_per_second, streams, .. } = load;
    let mut figures = late_figures(&format!("{runs_per_second} runs/s alone"), &alone);
    figures.extend(late_figures(&format!("{runs_per_second} runs/s, asked and followed"), &loaded));
    figures.push(Figure::lower("p99, asked and followed to alone", "x", ratios));
    figures.push(Figure::higher("requests answered", "/s", request_rates));
    figures.push(Figure::higher(format!("events sent to {streams} streams"), "/s", event_rates));
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
    fn connect(address: &str, load: &'static Load, from_ns: i64, to_ns: i64) -> Self {
        let (is_over, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let streams: Vec<TcpStream> = (0..load.streams).map(|_| open(address, load.events)).collect();
        let follow = |stream: &TcpStream| {
            let (stream, events) = (stream.try_clone().expect("a socket"), events.clone());
            thread::Builder::new().stack_size(64 << 10).spawn(move || follow(stream, &events)).expect("a thread")
        };
        let subscribers = streams.iter().map(follow).collect();
        let requester = |number: usize| {
            let (address, is_over) = (address.to_owned(), is_over.clone());
            thread::spawn(move || send_requests(&address, load, number, from_ns, to_ns, &is_over))
        };
        let requesters = (0..load.requesters).map(requester).collect();
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
fn send_requests(
    address: &str,
    load: &Load,
    number: usize,
    from_ns: i64,
    to_ns: i64,
    is_over: &AtomicBool,
) -> (u64, f64) {
    run_niced();
    let Load { requesters, every_ms, paths, .. } = load;
    let mut stream = BufReader::new(open(address, paths[0]));
    read(&mut stream);
    let (mut count, mut slowest_ms) = (0, 0.0);
    let shift_ns = number as i64 * every_ms * 1_000_000 / *requesters as i64;
    let mut at_ns = from_ns + shift_ns;
    while at_ns < to_ns && !is_over.load(Ordering::Relaxed) {
        let left_ns = at_ns - now_ns();
        thread::sleep(Duration::from_nanos(u64::try_from(left_ns).unwrap_or(0)));
        let path = paths[count as usize % paths.len()];
        let sent_ns = now_ns();
        stream.get_mut().write_all(request(address, path).as_bytes()).expect("the host reads");
        read(&mut stream);
        slowest_ms = f64::max(slowest_ms, ms_between(sent_ns, now_ns()));
        count += 1;
        at_ns += every_ms * 1_000_000;
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
