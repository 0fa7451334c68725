//! Components that are new to the host.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use roost_tests::Site;

use crate::clock::now_ns;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Returns a component with a custom section at its end that makes its bytes unique.
pub(crate) fn distinct(component: &Path) -> Vec<u8> {
    let mut bytes = fs::read(component).expect("a component");
    let mark = format!("{:016x}{:016x}", now_ns(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let (name, id) = ("bench", 0);
    let length = u8::try_from(1 + name.len() + mark.len()).expect("a short section");
    bytes.extend([id, length, name.len() as u8]);
    bytes.extend(name.bytes().chain(mark.bytes()));
    bytes
}

/// Writes a component into `plugins/`, as `cp` does.
pub(crate) fn drop_bytes(site: &Site, bytes: &[u8], name: &str) {
    fs::write(site.plugin(&format!("{name}.wasm")), bytes).expect("a file");
}
