//! The host's functions from its library, for a plugin's own tests: the same calendar and sun, at the site that the
//! test configures.

use std::{cell::RefCell, rc::Rc};

use chrono::{Datelike, NaiveDate, NaiveTime, Timelike};
use roost_scheduler::{calendar, time, trigger};

use crate::{Date, Error, Instant, Local, Result, SunEvent, Time, bindings::roost::device::types as wit, log::Level};

#[derive(Clone, Debug)]
pub(crate) struct Host {
    site: time::Site,
    almanac: Rc<RefCell<trigger::Almanac>>,
}

impl Host {
    pub(crate) fn at(site: time::Site) -> Self {
        Self { site, almanac: Rc::default() }
    }

    pub(crate) fn to_local(&self, at: Instant) -> Result<Local> {
        let (date, time) = calendar::to_local(instant(at)?, self.site.zone);
        Ok(Local { date: from_chrono(date)?, time: time_from_chrono(time)? })
    }

    pub(crate) fn to_instant(&self, date: Date, time: Time) -> Result<Instant> {
        let at = calendar::to_instant(to_chrono(date)?, time_to_chrono(time)?, self.site.zone);
        Ok(Instant::from_millis(at.millis()))
    }

    pub(crate) fn sun(&self, event: SunEvent, on: Date) -> Result<Vec<Instant>> {
        let location = self
            .site
            .location
            .ok_or_else(|| Error::new("the device has no location; its settings need `latitude` and `longitude`"))?;
        let times = self.almanac.borrow_mut().times(
            wit::SunEvent::from(event).into(),
            to_chrono(on)?,
            location,
            self.site.zone,
        );
        Ok(times.into_iter().map(|at| Instant::from_millis(at.millis())).collect())
    }
}

pub(crate) fn instant(at: Instant) -> Result<time::Instant> {
    time::Instant::from_millis(at.millis())
        .ok_or_else(|| Error::new(format!("{} ms is out of the range of instants", at.millis())))
}

fn time_to_chrono(time: Time) -> Result<NaiveTime> {
    NaiveTime::from_hms_opt(time.hour().into(), time.minute().into(), time.second().into())
        .ok_or_else(|| Error::new(format!("there is no time of day `{time}`")))
}

fn to_chrono(date: Date) -> Result<NaiveDate> {
    NaiveDate::from_ymd_opt(date.year().into(), date.month().into(), date.day().into())
        .ok_or_else(|| Error::new(format!("there is no day `{date}`")))
}

fn from_chrono(date: NaiveDate) -> Result<Date> {
    Date::new(u16::try_from(date.year())?, u8::try_from(date.month())?, u8::try_from(date.day())?)
}

fn time_from_chrono(time: NaiveTime) -> Result<Time> {
    Time::new(u8::try_from(time.hour())?, u8::try_from(time.minute())?, u8::try_from(time.second())?)
}

#[allow(clippy::print_stderr, reason = "`cargo test` shows it where a test fails")]
pub(crate) fn log(level: Level, line: &str) {
    eprintln!("{level:?}: {line}");
}
