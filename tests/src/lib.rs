//! The harness of the end-to-end tests and of the benchmarks: the real binary in a folder of its own, a real broker,
//! and a subscriber.
//!
//! Tests wait for events, with a generous time limit, rather than for fixed times. All servers listen on loopback, on
//! free ports.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test harness fails by panicking")]

mod broker;
mod chromium;
mod cli;
mod device;
pub mod figure;
mod firmware;
pub mod hostile;
pub mod http;
mod lines;
mod listener;
mod postgres;
mod proxy;
mod redact;
mod roost;
mod without_5;

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use broker::Broker;
pub use chromium::Chromium;
pub use cli::Ran;
pub use device::Device;
pub use firmware::House;
pub use lines::Lines;
pub use listener::{Listener, Message, retained};
pub use postgres::Postgres;
pub use proxy::{Cut, Network, Proxy};
pub use redact::{redact, redact_in};
pub use roost::{Roost, Site};

/// The time limit of every wait: much longer than anything takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Returns a port that is free now.
pub fn free_port() -> u16 {
    // Below the kernel's ephemeral ports, so that no outgoing connection gets it before it is used.
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("it is small");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Returns the wall time in milliseconds since 1970-01-01T00:00:00Z.
#[allow(clippy::disallowed_methods, reason = "jobs are due on the wall clock")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// Returns the root of the project.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project").to_owned()
}

/// Returns the path of a test guest, which `make guests` builds.
pub fn guest(name: &str) -> PathBuf {
    built(root().join(format!("target/guests/{name}.wasm")), "guests")
}

/// Returns the path of a sample plugin, which `make plugins` builds.
pub fn sample(name: &str) -> PathBuf {
    built(root().join(format!("plugins/{name}.wasm")), "plugins")
}

/// Returns the path of the tested binary: beside this test's own, or the value of `ROOST_BIN`.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROOST_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test is a file");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    built(profile.join("roost"), "build")
}

fn built(path: PathBuf, target: &str) -> PathBuf {
    assert!(path.exists(), "{} does not exist: run `make {target}` first", path.display());
    path
}
