//! Roost: a host for device plugins.

mod app;
mod calendars;
mod cli;
mod clock;
mod config;
mod describe;
mod event_log;
mod files;
mod gateway;
mod home_assistant;
mod http;
mod job_json;
mod lease;
mod limits;
mod metrics;
mod mqtt;
mod page;
mod plugins;
mod process;
mod report;
mod service;
mod simulation;
mod store;
mod telemetry;
mod terminal;
mod when;
mod zones;

fn main() -> std::process::ExitCode {
    release_large_blocks();
    cli::main()
}

/// Makes the allocator return large blocks to the system when they are freed, rather than keep them for the thread that
/// allocated them: of a million jobs that is a quarter of the memory.
fn release_large_blocks() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "there is no safe wrapper; no other thread has been started yet")]
    // SAFETY: it sets a number in the allocator.
    unsafe {
        // This is the initial value; setting it keeps it from growing.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}
