//! Roost: a host for device plugins.

mod app;
mod cli;
mod clock;
mod config;
mod mqtt;
mod plugins;
mod rehearsal;
mod report;
mod store;
mod telemetry;

fn main() -> std::process::ExitCode {
    cli::main()
}
