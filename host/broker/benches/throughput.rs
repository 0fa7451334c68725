//! Measures the messages per second: `cargo bench -p roost-broker`, or with the port of another broker after `--`.

#![allow(clippy::print_stdout, reason = "it is what it is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use support::{Connect, Message, Target, packet};

const MESSAGES: usize = 1_000_000;
const WINDOW: usize = 100;

fn main() {
    let port = std::env::args().skip(1).find_map(|argument| argument.parse::<u16>().ok());
    let target = port.is_none().then(Target::built_in);
    let port = port.or(target.as_ref().map(|target| target.port)).expect("one of them");
    for qos in [0, 1, 2] {
        let (messages, lost, took) = one_to_one(port, qos);
        let rate = messages as f64 / took.as_secs_f64() / 1_000.0;
        println!("QoS {qos}, one to one, 64 bytes: {rate:.0}k/s, {lost} of {MESSAGES} lost");
    }
    println!("memory: {}", memory());
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect::<Vec<_>>().join(", ")
}

/// Connects, and sends further bytes together with CONNECT.
fn connect(port: u16, id: &str, more: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(&[&Connect::three(id).packet(), more].concat()).expect("it is connected");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    stream
}

fn one_to_one(port: u16, qos: u8) -> (usize, usize, Duration) {
    let subscribe = packet(0x82, &[&[0, 1, 0, 5], &b"bench"[..], &[qos]].concat());
    let mut subscriber = connect(port, "subscriber", &subscribe);
    subscriber.read_exact(&mut [0; 5]).expect("SUBACK");
    subscriber.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket");
    let mut publisher = connect(port, "publisher", &[]);
    let start = Instant::now();
    let writing = thread::spawn(move || publish(&mut publisher, qos));
    let mut received = 0;
    let mut last = start;
    frames(&mut subscriber, |first, body, answers| {
        if first >> 4 == 3 {
            received += 1;
            last = Instant::now();
            match qos {
                0 => {}
                1 => answers.extend([0x40, 2, body[7], body[8]]),
                _ => answers.extend([0x50, 2, body[7], body[8]]),
            }
        } else if first == 0x62 {
            answers.extend([0x70, 2, body[0], body[1]]);
        }
        received < MESSAGES
    });
    writing.join().expect("it writes");
    (received, MESSAGES - received, last - start)
}

fn publish(stream: &mut TcpStream, qos: u8) {
    let of = |number: usize| {
        let id = (number % 60_000 + 1) as u16;
        Message::new("bench", &[b'x'; 64]).qos(qos).id(id).packet(4)
    };
    if qos == 0 {
        let batch: Vec<u8> = (0..100).flat_map(of).collect();
        for _ in 0..MESSAGES / 100 {
            stream.write_all(&batch).expect("it is connected");
        }
        return;
    }
    let first: Vec<u8> = (0..WINDOW).flat_map(of).collect();
    stream.write_all(&first).expect("it is connected");
    let (mut next, mut done) = (WINDOW, 0);
    frames(stream, |first, body, answers| {
        match first {
            0x50 => answers.extend([0x62, 2, body[0], body[1]]),
            _ => {
                done += 1;
                if next < MESSAGES {
                    answers.extend(of(next));
                    next += 1;
                }
            }
        }
        done < MESSAGES
    });
}

/// Reads packets until the last one or a timeout, and writes the answers to packets that arrived together.
fn frames(stream: &mut TcpStream, mut each: impl FnMut(u8, &[u8], &mut Vec<u8>) -> bool) {
    let (mut read, mut buffer, mut answers) = (Vec::new(), vec![0; 65_536], Vec::new());
    loop {
        let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
        read.extend_from_slice(&buffer[..length]);
        let mut at = 0;
        // All packets here are shorter than 128 bytes.
        while at + 2 <= read.len() && at + 2 + usize::from(read[at + 1]) <= read.len() {
            let end = at + 2 + usize::from(read[at + 1]);
            if !each(read[at], &read[at + 2..end], &mut answers) {
                let _ = stream.write_all(&answers);
                return;
            }
            at = end;
        }
        read.drain(..at);
        if stream.write_all(&answers).is_err() {
            return;
        }
        answers.clear();
    }
}
