//! Measures how long the host and an ordinary client wait while many clients send the most expensive packets:
//! `cargo bench -p roost-broker --bench hostile -- [CLIENTS]`. The watchdog must not restart the broker.

#![allow(clippy::print_stdout, reason = "it is what it is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use support::{Client, Connect, Message, Target, packet};

/// How long each attack lasts.
const ATTACK: Duration = Duration::from_secs(20);
/// Levels of the topics: filters of `a` and `+` in all combinations match each of them.
const DEPTH: usize = 13;

fn main() {
    let clients = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(300);
    let passing = format!("{}b", "a/".repeat(DEPTH));
    let matching = format!("{}a", "a/".repeat(DEPTH - 1));
    let publish = |topic: &str| Message::new(topic, b"").packet(5).repeat(1_000);
    attack("publish to topics that pass 16,000 levels of filters", clients, &publish(&passing), subscribe_to_all);
    attack("publish to topics with 8,000 subscriptions", clients, &publish(&matching), subscribe_to_all);
    let filters = [0, 1, b'#', 0].repeat(100);
    let subscribe = packet(0x82, &[&[0, 1, 0], &filters[..]].concat());
    attack("subscribe 100 times to 10,000 retained topics", clients, &subscribe, retain_all);
    attack("the same with a filter that none matches", clients, &subscribe_to_none(), retain_all);
    attack("subscribe and unsubscribe with 500 long filters", clients, &subscribe_and_unsubscribe(), |_| Vec::new());
    let large = Message::new("large", &vec![b'x'; 900_000]).qos(1).packet(5);
    attack("publish large messages for 1,000 sessions that are away", clients.min(30), &large, go_away);
}

fn go_away(target: &Target) -> Vec<Client> {
    for number in 0..1_000 {
        let mut client = target.connect(&Connect::five(&format!("away-{number}")).lasting());
        client.subscribe(&[("large", 1)]);
        client.disconnect(&[]);
    }
    Vec::new()
}

/// Long filters, made and removed.
fn subscribe_and_unsubscribe() -> Vec<u8> {
    let mut filters = Vec::new();
    let mut subscriptions = Vec::new();
    for number in 0..500 {
        let filter = format!("{number:03}{}", "/".repeat(200));
        filters.extend([0, filter.len() as u8]);
        filters.extend(filter.as_bytes());
        subscriptions.extend([0, filter.len() as u8]);
        subscriptions.extend(filter.as_bytes());
        subscriptions.push(0);
    }
    [packet(0x82, &[&[0, 1, 0], &subscriptions[..]].concat()), packet(0xA2, &[&[0, 1, 0], &filters[..]].concat())]
        .concat()
}

fn subscribe_to_none() -> Vec<u8> {
    let filters = b"\0\x07+/+/+/x\0".repeat(100);
    packet(0x82, &[&[0, 1, 0], &filters[..]].concat())
}

fn subscribe_to_all(target: &Target) -> Vec<Client> {
    let mut client = target.connect(&Connect::five("subscriber"));
    for number in 0..1_usize << DEPTH {
        let levels: Vec<_> = (0..DEPTH).map(|bit| if number >> bit & 1 == 0 { "+" } else { "a" }).collect();
        client.subscribe(&[(&levels.join("/"), 0)]);
    }
    vec![client]
}

fn retain_all(target: &Target) -> Vec<Client> {
    let mut client = target.connect(&Connect::five("retainer"));
    for number in 0..10_000 {
        client.publish(&Message::new(&format!("home/{number}/state"), b"on").qos(1).retain());
    }
    vec![client]
}

fn attack(what: &str, clients: usize, bytes: &[u8], prepare: fn(&Target) -> Vec<Client>) {
    let target = Target::built_in();
    let drains: Vec<_> = prepare(&target).into_iter().map(|client| drain(client.into_stream())).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut attackers = Vec::new();
    for _ in 0..clients {
        attackers.push(attacker(target.port, bytes.to_owned(), Arc::clone(&is_over)));
    }
    let measured: Vec<_> = ["host", "ordinary"]
        .map(|id| {
            let client = target.connect(&Connect::five(id));
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || (id, round_trips(client, id, &is_over)))
        })
        .into_iter()
        .collect();
    let end = Instant::now() + ATTACK;
    let mut last = None;
    while Instant::now() < end {
        let problem = target.broker().health().problem();
        if problem != last {
            println!("  {problem:?}");
            last = problem;
        }
        thread::sleep(Duration::from_millis(100));
    }
    is_over.store(true, Ordering::Relaxed);
    println!("{clients} clients {what}:");
    for one in measured {
        let (id, mut times) = one.join().expect("it is served");
        times.sort_unstable();
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        println!("  {id}: {} round trips, median {median:?}, longest {most:?}", times.len());
    }
    println!("  started again: {} times", target.broker().health().restarts());
    drop(target);
    for one in attackers.into_iter().chain(drains) {
        let _ = one.join();
    }
}

/// Sends the same bytes repeatedly, and reads all answers.
fn attacker(port: u16, bytes: Vec<u8>, is_over: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let Ok(reading) = stream.try_clone() else { continue };
            let drain = drain(reading);
            if stream.write_all(&Connect::five("").packet()).is_err() {
                continue;
            }
            while !is_over.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {}
            let _ = stream.shutdown(std::net::Shutdown::Both);
            let _ = drain.join();
        }
    })
}

fn drain(mut stream: TcpStream) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    })
}

/// Measures the round trips of a client's messages to itself.
fn round_trips(mut client: Client, id: &str, is_over: &AtomicBool) -> Vec<Duration> {
    let topic = format!("$trip/{id}");
    client.subscribe(&[(&topic, 1)]);
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        client.publish(&Message::new(&topic, b"x").qos(1));
        client.message();
        times.push(start.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    times
}
