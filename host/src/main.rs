//! Roost: a host for device plugins.

mod app;
mod cli;
mod clock;
mod config;
mod event_log;
mod files;
mod hex;
mod http;
mod metrics;
mod mqtt;
mod plugins;
mod process;
mod records;
mod report;
mod service;
mod simulation;
mod store;
mod telemetry;
mod when;
mod zones;

fn main() -> std::process::ExitCode {
    give_large_blocks_back();
    cli::main()
}

/// What a large plan leaves behind, when its jobs are taken up, is free for all again, and not kept by the thread that
/// asked for it: of a million jobs that is a quarter of the memory.
fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "nothing else can say it; it is said before any other thread is there")]
    // SAFETY: it sets a number in the allocator.
    unsafe {
        // As it is at first; said like this, it does not grow.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}
