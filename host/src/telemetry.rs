//! The log: on standard error, as text or as JSON.
#![allow(
    clippy::disallowed_methods,
    reason = "the log is written to standard error, and `fields.rs` and `stderr_thread.rs` escape it"
)]

mod fields;
mod stderr_thread;

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

use self::{
    fields::Fields,
    stderr_thread::{Flush, Lines},
};
use crate::{config::LogFormat, terminal};

/// Silences the folder watcher's message that its folder was removed, which Roost itself reports.
const QUIET: &str = "notify=warn";

/// Starts the log. `level` is `error`, `warn`, `info`, `debug` or `trace`, or a filter such as
/// `info,roost::mqtt=debug`. The last lines are written when the returned value is dropped.
pub(crate) fn start(level: &str, format: LogFormat) -> io::Result<Flush> {
    let (lines, flush) = Lines::to(io::stderr(), format)?;
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"));
    // Reporting a fault of standard error to standard error would end the host when its reader has gone.
    let builder = fmt().with_env_filter(filter).with_writer(move || lines.clone()).log_internal_errors(false);
    match format {
        LogFormat::Human => {
            builder.fmt_fields(Fields).with_target(false).with_ansi(terminal::stderr_has_colours()).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(flush)
}
