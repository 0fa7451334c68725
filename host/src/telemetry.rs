//! What Roost says of itself: on standard error, for people or for programs.
#![allow(
    clippy::disallowed_methods,
    reason = "the log is written to standard error, and `fields.rs` and `lines.rs` escape it"
)]

mod fields;
mod lines;

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

use self::{
    fields::Fields,
    lines::{Flush, Lines},
};
use crate::config::LogFormat;

/// The watcher complains that its folder was removed, which is said by others, and better.
const QUIET: &str = "notify=warn";

/// Starts to write the log. `level` is `error`, `warn`, `info`, `debug` or `trace`, or a filter such as
/// `info,roost::mqtt=debug`. The last lines are written when what it returns is dropped.
pub(crate) fn start(level: &str, format: LogFormat) -> io::Result<Flush> {
    let (lines, flush) = Lines::to(io::stderr(), format)?;
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"));
    // Complaining about standard error on standard error would end the host when its reader has gone.
    let builder = fmt().with_env_filter(filter).with_writer(move || lines.clone()).log_internal_errors(false);
    match format {
        LogFormat::Human => {
            use io::IsTerminal as _;
            builder.fmt_fields(Fields).with_target(false).with_ansi(io::stderr().is_terminal()).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(flush)
}
