//! A million waiting jobs.

use std::{thread, time::Duration};

use roost_tests::{Broker, Site, figure::Figure};

use crate::{
    clock::{ms_between, now_ns, sleep_until},
    disk::folder_bytes,
    end_to_end::{by_publisher, late_figures},
    process::{Memory, Process},
    subscriber::{Subscriber, assert_complete, lateness},
    ticks::{begin, first_and_on_time, ticks},
    work::Work,
};

const JOBS: u32 = 1_000_000;
/// They are due during the day after tomorrow.
const FAR_MS: i64 = 48 * 3_600_000;
const DAY_MS: u32 = 86_400_000;
/// How long a host is left alone before its memory is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures their memory, other jobs beside them, and a restart.
pub(crate) fn million() -> Vec<Figure> {
    let broker = Broker::new();
    let empty = empty_host(&broker);
    let site = Site::new();
    let mut host = site.start(&broker);
    let begun = now_ns();
    let far = Work { plugin: "far", jobs: JOBS, spread_ms: DAY_MS, per_device: 10_000, then_ms: None };
    far.drop_into(&site, FAR_MS);
    far.planned(&host);
    let mut figures =
        vec![Figure::lower("planned and kept, all of them", "s", vec![ms_between(begun, now_ns()) / 1e3])];
    thread::sleep(SETTLE);
    figures.extend(memory_figures("after planning", Process(host.id()).memory(), empty));
    let on_disk = folder_bytes(&site.path().join("data")) / f64::from(JOBS);
    figures.push(Figure::lower("on disk, for each", "bytes", vec![on_disk]));

    let (mut hosts, mut bares) = (Vec::new(), Vec::new());
    for plugin in ["near", "near-too"] {
        let near = Work { plugin, jobs: 10_000, spread_ms: 10_000, per_device: 10_000, then_ms: None };
        bares.push(lateness(&by_publisher(&broker, &near).0));
        let subscriber = Subscriber::new(broker.port, &near.filter());
        let t0_ns = near.drop_into(&site, 2_500);
        near.planned(&host);
        sleep_until(t0_ns);
        let arrivals = subscriber.take(near.messages());
        assert_complete(&arrivals, near.messages());
        hosts.push(lateness(&arrivals));
    }
    figures.extend(late_figures("1,000/s beside them", &hosts));
    figures.extend(late_figures("1,000/s, bare publisher", &bares));

    let (mut firsts, mut on_times) = (Vec::new(), Vec::new());
    for plugin in ["tick", "tick-2", "tick-3"] {
        let ticks = ticks(plugin, 15);
        begin(&ticks, &site, &host);
        host.stop();
        let subscriber = Subscriber::new(broker.port, &ticks.filter());
        let started = now_ns();
        host = site.start(&broker);
        let (first, on_time) = first_and_on_time(&subscriber, started);
        firsts.push(first / 1e3);
        on_times.push(on_time / 1e3);
    }
    figures.push(Figure::lower("restart to the first message", "s", firsts));
    figures.push(Figure::lower("restart to the first message on time", "s", on_times));
    thread::sleep(SETTLE);
    figures.extend(memory_figures("after a restart", Process(host.id()).memory(), empty));
    figures
}

/// Returns the memory of a host without plugins.
pub(crate) fn empty_host(broker: &Broker) -> Memory {
    let site = Site::new();
    let host = site.start(broker);
    host.wait_for_log("connected");
    thread::sleep(SETTLE);
    Process(host.id()).memory()
}

fn memory_figures(when: &str, memory: Memory, empty: Memory) -> [Figure; 2] {
    let each = |bytes: f64| vec![bytes / f64::from(JOBS)];
    [
        Figure::lower(format!("{when}: RSS for each"), "bytes", each(memory.rss_bytes - empty.rss_bytes)),
        Figure::lower(format!("{when}: PSS for each"), "bytes", each(memory.pss_bytes - empty.pss_bytes)),
    ]
}
