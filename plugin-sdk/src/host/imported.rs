//! The host's functions, imported by the component.

use crate::{
    Date, Error, Instant, Local, Result, SunEvent, Time,
    bindings::roost::device::{calendar, log as wit_log, sun},
    log::Level,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Host;

impl Host {
    #[allow(clippy::unused_self, reason = "the native one has a site")]
    pub(crate) fn to_local(self, at: Instant) -> Result<Local> {
        let local = calendar::to_local(at.millis()).map_err(Error::new)?;
        Ok(Local { date: local.date.into(), time: local.time.into() })
    }

    #[allow(clippy::unused_self, reason = "the native one has a site")]
    pub(crate) fn to_instant(self, date: Date, time: Time) -> Result<Instant> {
        let local = calendar::DateTime { date: date.into(), time: time.into() };
        calendar::to_instant(local).map(Instant::from_millis).map_err(Error::new)
    }

    #[allow(clippy::unused_self, reason = "the native one has a site")]
    pub(crate) fn sun(self, event: SunEvent, on: Date) -> Result<Vec<Instant>> {
        let times = sun::times(event.into(), on.into()).map_err(Error::new)?;
        Ok(times.into_iter().map(Instant::from_millis).collect())
    }
}

pub(crate) fn log(level: Level, line: &str) {
    let level = match level {
        Level::Trace => wit_log::Level::Trace,
        Level::Debug => wit_log::Level::Debug,
        Level::Info => wit_log::Level::Info,
        Level::Warn => wit_log::Level::Warn,
        Level::Error => wit_log::Level::Error,
    };
    wit_log::write(level, line);
}
