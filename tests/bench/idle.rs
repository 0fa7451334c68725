//! The cost of an idle host.

use std::{fs, thread, time::Duration};

use roost_tests::{Broker, Roost, Site, figure::Figure, free_port, root};

use crate::process::Process;

/// How long a host may take to start and to settle: threads that were needed only for the start end after 10 seconds,
/// and their CPU time is no longer counted then.
const SETTLE: Duration = Duration::from_secs(12);
/// How long it is measured.
const WATCH: Duration = Duration::from_secs(20);

/// Measures two hosts with the sample plugins, with Mosquitto and with the built-in broker, at the same time.
pub(crate) fn idle() -> Vec<Figure> {
    let broker = Broker::new();
    let (with_mosquitto, built_in) = (samples(), samples());
    let ports = format!("[built_in_broker]\ndevices = {}\nroost = {}\n", free_port(), free_port());
    fs::write(built_in.path().join("roost.toml"), ports).expect("a file");
    let hosts = [("Mosquitto", with_mosquitto.start(&broker)), ("built-in broker", built_in.start_with(&[]))];
    thread::sleep(SETTLE);
    let processes = hosts.each_ref().map(|(_, host): &(_, Roost)| Process(host.id()));
    let before = processes.map(Process::cpu_ns);
    thread::sleep(WATCH);
    let after = processes.map(Process::cpu_ns);
    let mut figures = Vec::new();
    for (index, (named, _)) in hosts.iter().enumerate() {
        let memory = processes[index].memory();
        let cpu = 100.0 * (after[index] - before[index]) / WATCH.as_nanos() as f64;
        figures.push(Figure::lower(format!("{named}: CPU, of a core"), "%", vec![cpu]));
        figures.push(Figure::lower(format!("{named}: PSS"), "MB", vec![memory.pss_bytes / 1e6]));
        figures.push(Figure::lower(format!("{named}: RSS"), "MB", vec![memory.rss_bytes / 1e6]));
    }
    figures
}

/// Makes a site with all sample plugins and their settings.
fn samples() -> Site {
    let site = Site::new();
    for file in fs::read_dir(root().join("plugins")).expect("a folder").flatten() {
        if file.path().extension().is_some_and(|extension| extension == "wasm" || extension == "toml") {
            fs::copy(file.path(), site.plugin(&file.file_name().to_string_lossy())).expect("a copy");
        }
    }
    site
}
