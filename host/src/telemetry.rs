//! What Roost says of itself: on standard error, for people or for programs.

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// The built-in broker calls every client that leaves an error, and the watcher that its folder was removed.
const QUIET: &str = "rumqttd=off,notify=warn";

/// Starts to write the log. `level` is `error`, `warn`, `info`, `debug` or `trace`, or a filter such as
/// `info,roost::mqtt=debug`.
pub(crate) fn start(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"));
    // Complaining about standard error on standard error would end the host when its reader has gone.
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Human => {
            use std::io::IsTerminal as _;
            builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
        }
        LogFormat::Json => builder.json().init(),
    }
}
