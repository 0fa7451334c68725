//! The calendars, for commands that need no running host.

use std::io::{self, Write as _};

use roost_scheduler::time::Instant;

use super::output;
use crate::{
    calendars::{self, Reader},
    config::Config,
};

/// Reads the calendars, as a host would at that time. Warnings go to standard error.
pub(super) fn read(config: &Config, now: Instant) -> io::Result<()> {
    Reader::open(&config.rules.calendars, &config.data, config.site.zone, now);
    let mut out = output::stderr();
    calendars::states()
        .iter()
        .flat_map(|state| state.warnings().collect::<Vec<_>>())
        .try_for_each(|warning| writeln!(out, "warning: {warning}"))
}
