//! A thousand distinct plugins.

use std::{thread, time::Duration};

use roost_tests::{Broker, Site, figure::Figure, sample};

use crate::{
    clock::{ms_between, now_ns},
    components::{distinct, drop_bytes},
    log::wait_for_lines,
    million::empty_host,
    process::{Memory, Process},
    subscriber::Subscriber,
    ticks::{begin, first_and_on_time, ticks},
};

const PLUGINS: usize = 1_000;
/// How long a host is left alone before its memory is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures their first load, and a restart of the host.
pub(crate) fn thousand() -> Vec<Figure> {
    let broker = Broker::new();
    let empty = empty_host(&broker);
    let site = Site::new();
    for number in 0..PLUGINS {
        drop_bytes(&site, &distinct(&sample("coop-door")), &format!("door-{number}"));
    }
    let begun = now_ns();
    let mut host = site.start(&broker);
    wait_for_lines(&host, 0, "jobs of `door-", PLUGINS);
    let first_load = ms_between(begun, now_ns()) / 1e3;
    thread::sleep(SETTLE);
    let after_load = Process(host.id()).memory();

    let (mut all, mut on_times) = (Vec::new(), Vec::new());
    for plugin in ["tick", "tick-2", "tick-3"] {
        let ticks = ticks(plugin, 10);
        begin(&ticks, &site, &host);
        host.stop();
        let subscriber = Subscriber::new(broker.port, &ticks.filter());
        let started = now_ns();
        host = site.start_with(&["--mqtt", &broker.url(), "--log", "info,roost::plugins=debug"]);
        wait_for_lines(&host, 0, "its files are unchanged", PLUGINS);
        all.push(ms_between(started, now_ns()) / 1e3);
        on_times.push(first_and_on_time(&subscriber, started).1 / 1e3);
    }
    thread::sleep(SETTLE);
    let after_restart = Process(host.id()).memory();
    let each = |memory: Memory| {
        let each = |bytes: f64| vec![bytes / PLUGINS as f64 / 1e3];
        (each(memory.rss_bytes - empty.rss_bytes), each(memory.pss_bytes - empty.pss_bytes))
    };
    let ((loaded_rss, loaded_pss), (restarted_rss, restarted_pss)) = (each(after_load), each(after_restart));
    vec![
        Figure::lower("first load of all", "s", vec![first_load]),
        Figure::lower("restart until all are there again", "s", all),
        Figure::lower("restart to the first message on time", "s", on_times),
        Figure::lower("after loading: RSS for each", "KB", loaded_rss),
        Figure::lower("after loading: PSS for each", "KB", loaded_pss),
        Figure::lower("after a restart: RSS for each", "KB", restarted_rss),
        Figure::lower("after a restart: PSS for each", "KB", restarted_pss),
    ]
}
