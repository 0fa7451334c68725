//! A plugin that publishes every 10 milliseconds, which shows from when on the host is on time, and how late it is.

use roost_tests::{Roost, Site};

use crate::{
    clock::{ms_between, now_ns, sleep_until},
    subscriber::{Arrival, Subscriber},
    work::Work,
};

/// The interval of its jobs.
const EVERY_MS: u32 = 10;
/// The largest lateness that counts as on time.
const ON_TIME_MS: f64 = 5.0;
/// The number of ticks on time, a second's, after which the host counts as on time.
const STEADY: usize = 100;
/// The time limit for a starting host.
const PATIENCE_MS: f64 = 60_000.0;

/// Returns ticks for a number of seconds.
pub(crate) const fn ticks(plugin: &'static str, seconds: u32) -> Work {
    Work { plugin, jobs: seconds * 1_000 / EVERY_MS, spread_ms: seconds * 1_000, per_device: 10_000, then_ms: None }
}

/// Installs ticks, and waits until they have begun.
pub(crate) fn begin(work: &Work, site: &Site, host: &Roost) {
    let t0_ns = work.drop_into(site, 2_000);
    work.planned(host);
    sleep_until(t0_ns + 200_000_000);
}

/// Waits until a restarted host is on time. Returns when it sent its first message, and from when on it was on time, in
/// milliseconds after its start. Ticks are due all the while.
pub(crate) fn first_and_on_time(subscriber: &Subscriber, started_ns: i64) -> (f64, f64) {
    loop {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let mut arrivals = subscriber.so_far();
        arrivals.sort_by_key(|arrival| arrival.due_ns);
        let late = arrivals.iter().rposition(|arrival| arrival.late_ms() > ON_TIME_MS);
        let on_time = &arrivals[late.map_or(0, |index| index + 1)..];
        let after_start = || on_time.iter().find(|arrival| arrival.due_ns > started_ns);
        if let Some(on_time_from) = after_start().filter(|_| on_time.len() >= STEADY) {
            let first = arrivals.iter().map(|arrival| arrival.at_ns).min().unwrap_or(on_time_from.at_ns);
            return (ms_between(started_ns, first), ms_between(started_ns, on_time_from.at_ns));
        }
        assert!(ms_between(started_ns, now_ns()) < PATIENCE_MS, "the host is never on time");
    }
}

/// Returns the messages that were due between two instants.
pub(crate) fn due_between(arrivals: &[Arrival], from_ns: i64, to_ns: i64) -> Vec<Arrival> {
    arrivals.iter().filter(|arrival| (from_ns..=to_ns).contains(&arrival.due_ns)).copied().collect()
}
