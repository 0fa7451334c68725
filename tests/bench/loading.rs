//! The time from a file to a running plugin.

use std::{path::PathBuf, process::Stdio};

use roost_tests::{Broker, Roost, Site, figure::Figure, guest, root, sample};

use crate::{
    clock::{ms_between, now_ns},
    components::{distinct, drop_bytes},
    log::took_ms,
    subscriber::Subscriber,
};

/// The number of rounds, which are short.
const ROUNDS: usize = 9;

/// Measures the parts of loading a sample, as the host logs them.
pub(crate) fn samples() -> Vec<Figure> {
    let broker = Broker::new();
    let site = Site::new();
    let start = || site.start_with(&["--mqtt", &broker.url(), "--log", "info,roost::plugins=debug"]);
    let mut host = start();
    let mut figures = Vec::new();
    for name in sample_names() {
        let settings = std::fs::read_to_string(root().join(format!("plugins/{name}.toml"))).expect("its settings");
        let (mut compiled, mut cached, mut planned) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let bytes = distinct(&sample(&name));
            for again in ["new", "known"] {
                if again == "known" {
                    // The components that were called last are still in memory.
                    host.stop();
                    host = start();
                }
                let plugin = format!("{name}-{again}-{round}");
                let from = host.log.count();
                site.settings(&plugin, &settings.replace(&format!("\"{name}/"), &format!("\"{plugin}/")));
                drop_bytes(&site, &bytes, &plugin);
                host.log.wait_for(from, &format!("jobs of `{plugin}`"));
                let lines = host.log.after(from);
                compiled.extend(took_ms(&lines, "compiled"));
                cached.extend(took_ms(&lines, "loaded from the cache"));
                let plans: Vec<_> = lines.into_iter().filter(|line| line.contains("schedule-jobs")).collect();
                planned.extend(took_ms(&plans, "called"));
            }
        }
        figures.push(Figure::lower(format!("{name}: compiled, in a process of its own"), "ms", compiled));
        figures.push(Figure::lower(format!("{name}: taken from the cache"), "ms", cached));
        figures.push(Figure::lower(format!("{name}: a plan, from a fresh instance"), "ms", planned));
    }
    for (format, flags) in [("text", &[][..]), ("JSON", &["--json"])] {
        let years = (0..3).map(|_| simulated_s(&site, flags)).collect();
        figures.push(Figure::lower(format!("a year of all of them, simulated, as {format}"), "s", years));
    }
    figures
}

/// Measures `roost simulate` for a year of the samples, compiling them included.
fn simulated_s(site: &Site, flags: &[&str]) -> f64 {
    let plugins = sample_names().into_iter().map(|name| sample(&name).to_str().expect("a path").to_owned());
    let plugins: Vec<String> = plugins.collect();
    let mut arguments = vec!["simulate", "--from", "2027-01-01", "--days", "365"];
    arguments.extend(plugins.iter().map(String::as_str).chain(flags.iter().copied()));
    let begun = now_ns();
    let status = site.command(&arguments).current_dir(root()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "it simulates");
    ms_between(begun, now_ns()) / 1e3
}

/// Returns the names of the built samples.
fn sample_names() -> Vec<String> {
    let files = std::fs::read_dir(root().join("plugins")).expect("a folder").flatten();
    let wasm = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    let mut names: Vec<String> = files
        .map(|entry| entry.path())
        .filter(wasm)
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Measures the time from copying a file into the folder to a message that is due at once.
pub(crate) fn dropped() -> Vec<Figure> {
    let broker = Broker::new();
    let site = Site::new();
    let host = site.start(&broker);
    let subscriber = Subscriber::new(broker.port, "#");
    // The first one includes one-time costs.
    drop_one(&site, &host, &subscriber, &distinct(&guest("at-once")), "first");
    let (mut new, mut known) = (Vec::new(), Vec::new());
    let mut size = 0;
    for round in 0..ROUNDS {
        let bytes = distinct(&guest("at-once"));
        size = bytes.len();
        new.push(drop_one(&site, &host, &subscriber, &bytes, &format!("new-{round}")));
        known.push(drop_one(&site, &host, &subscriber, &bytes, &format!("known-{round}")));
    }
    vec![
        Figure::lower("a new plugin to its first message", "ms", new),
        Figure::lower("one whose bytes are known", "ms", known),
        Figure::lower("size of this plugin", "KB", vec![size as f64 / 1e3]),
    ]
}

fn drop_one(site: &Site, host: &Roost, subscriber: &Subscriber, bytes: &[u8], name: &str) -> f64 {
    let from = now_ns();
    drop_bytes(site, bytes, name);
    let arrivals = subscriber.take(1);
    host.wait_for_log(&format!("jobs of `{name}`"));
    ms_between(from, arrivals[0].at_ns)
}
