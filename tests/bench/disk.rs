//! The disk writes of runs, because every write wears an SD card.

use std::{fs, path::Path, thread, time::Duration};

use roost_tests::{Broker, figure::Figure};

use crate::{
    clock::sleep_until,
    log::took_ms,
    process::Process,
    subscriber::{Subscriber, assert_complete},
    work::Work,
};

/// How long a host may take to store the ends of the last runs.
const RECORDED: Duration = Duration::from_secs(2);

/// Measures 100 runs a second for 6 seconds.
pub(crate) fn disk() -> Vec<Figure> {
    let broker = Broker::new();
    [("one step", None), ("two steps", Some(500))]
        .into_iter()
        .flat_map(|(named, then_ms)| {
            let work = Work { plugin: "burst", jobs: 600, spread_ms: 6_000, per_device: 10_000, then_ms };
            let (runs, messages) = (f64::from(work.jobs), work.messages());
            let (site, host, t0_ns) = work.ready_with(&broker, &["--log", "info,roost::store=debug"]);
            let subscriber = Subscriber::new(broker.port, &work.filter());
            let process = Process(host.id());
            sleep_until(t0_ns - 100_000_000);
            let (written, size, lines) =
                (process.written_bytes(), folder_bytes(&site.path().join("data")), host.log.count());
            assert_complete(&subscriber.take(messages), messages);
            thread::sleep(RECORDED);
            let written = process.written_bytes() - written;
            let grown = folder_bytes(&site.path().join("data")) - size;
            let commits = took_ms(&host.log.after(lines), "committed").len();
            [
                Figure::lower(format!("{named}: commits a run"), "", vec![commits as f64 / runs]),
                Figure::lower(format!("{named}: written a run"), "bytes", vec![written / runs]),
                Figure::lower(format!("{named}: data folder grows by, a run"), "bytes", vec![grown / runs]),
            ]
        })
        .collect()
}

/// Returns the size of all files in a folder.
pub(crate) fn folder_bytes(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(file) if file.is_dir() => folder_bytes(&entry.path()),
        Ok(file) => file.len() as f64,
        Err(_) => 0.0,
    };
    entries.map(size).sum()
}
