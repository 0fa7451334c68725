//! The way from a due time to a subscriber, through Mosquitto, at QoS 1: the host and a bare publisher of the same
//! messages, in turns.

use std::{thread, time::Duration};

use roost_tests::{Broker, figure::Figure};

use crate::{
    clock::{in_ms, sleep_until},
    process::Process,
    publisher::{Publisher, prepare},
    subscriber::{Arrival, Subscriber, assert_complete, lateness, rate},
    work::Work,
};

/// How long a host may take to store the ends of the last runs, after their messages have arrived.
const RECORDED: Duration = Duration::from_millis(500);

/// Measures many jobs that are due at one instant.
pub(crate) fn burst() -> Vec<Figure> {
    let broker = Broker::new();
    [(10_000, "10,000", 5), (100_000, "100,000", 3)]
        .into_iter()
        .flat_map(|(jobs, named, rounds)| {
            let work = Work { plugin: "burst", jobs, spread_ms: 0, per_device: 10_000, then_ms: None };
            let (mut hosts, mut bares, mut shares, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let (arrivals, t0_ns) = by_publisher(&broker, &work);
                let bare = rate(&arrivals, t0_ns);
                let Published { arrivals, t0_ns, cpu_ns } = by_host(&broker, &work);
                let host = rate(&arrivals, t0_ns);
                bares.push(bare);
                hosts.push(host);
                shares.push(100.0 * host / bare);
                cpu.push(cpu_ns / 1e3 / f64::from(jobs));
            }
            [
                Figure::higher(format!("{named} due at once"), "/s", hosts),
                Figure::higher(format!("{named}, bare publisher"), "/s", bares),
                Figure::higher(format!("{named}, host to bare publisher"), "%", shares),
                Figure::lower(format!("{named}, host's CPU a message"), "µs", cpu),
            ]
        })
        .collect()
}

/// Measures 500 jobs a second for 10 seconds.
pub(crate) fn lateness_at_500() -> Vec<Figure> {
    let broker = Broker::new();
    let work = Work { plugin: "burst", jobs: 5_000, spread_ms: 10_000, per_device: 10_000, then_ms: None };
    let (mut hosts, mut bares, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        bares.push(lateness(&by_publisher(&broker, &work).0));
        let Published { arrivals, cpu_ns, .. } = by_host(&broker, &work);
        hosts.push(lateness(&arrivals));
        cpu.push(cpu_ns / 1e3 / f64::from(work.jobs));
    }
    let mut figures = late_figures("500/s", &hosts);
    figures.extend(late_figures("500/s, bare publisher", &bares));
    figures.push(Figure::lower("500/s, host's CPU a message", "µs", cpu));
    figures
}

/// Returns figures of the lateness of several rounds: p50, p99 and largest.
pub(crate) fn late_figures(name: &str, rounds: &[[f64; 3]]) -> Vec<Figure> {
    let figure = |(index, part): (usize, &str)| {
        let samples = rounds.iter().map(|round| round[index]).collect();
        Figure::lower(format!("{name}: lateness, {part}"), "ms", samples)
    };
    ["p50", "p99", "largest"].into_iter().enumerate().map(figure).collect()
}

pub(crate) fn by_publisher(broker: &Broker, work: &Work) -> (Vec<Arrival>, i64) {
    let subscriber = Subscriber::new(broker.port, &work.filter());
    let publisher = Publisher::new(broker.port);
    let t0_ns = in_ms(500);
    publisher.publish(prepare(work.jobs, t0_ns, work.spread_ms, work.plugin));
    let arrivals = subscriber.take(work.jobs as usize);
    assert_complete(&arrivals, work.jobs as usize);
    (arrivals, t0_ns)
}

/// A measured round of a host.
struct Published {
    arrivals: Vec<Arrival>,
    /// When the first job was due.
    t0_ns: i64,
    /// The host's CPU time from then on.
    cpu_ns: f64,
}

fn by_host(broker: &Broker, work: &Work) -> Published {
    let (_site, host, t0_ns) = work.ready(broker);
    let subscriber = Subscriber::new(broker.port, &work.filter());
    let process = Process(host.id());
    sleep_until(t0_ns - 50_000_000);
    let before = process.cpu_ns();
    let arrivals = subscriber.take(work.jobs as usize);
    assert_complete(&arrivals, work.jobs as usize);
    thread::sleep(RECORDED);
    Published { arrivals, t0_ns, cpu_ns: process.cpu_ns() - before }
}
