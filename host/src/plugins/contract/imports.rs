//! The functions that a plugin imports from the host.

use chrono::{Datelike as _, NaiveDate, NaiveTime, Timelike as _};
use roost_scheduler::{accept, calendar, time::Instant};
use tracing::Level;
use wasmtime::Result;

use super::{super::guest::Guest, wit};

impl wit::types::Host for Guest {}

impl wit::log::Host for Guest {
    fn write(&mut self, level: wit::log::Level, line: String) -> Result<()> {
        let level = match level {
            wit::log::Level::Trace => Level::TRACE,
            wit::log::Level::Debug => Level::DEBUG,
            wit::log::Level::Info => Level::INFO,
            wit::log::Level::Warn => Level::WARN,
            wit::log::Level::Error => Level::ERROR,
        };
        self.call_output.write(level, &line);
        Ok(())
    }
}

impl wit::calendar::Host for Guest {
    fn to_local(&mut self, at: i64) -> Result<Result<wit::calendar::DateTime, String>> {
        let Some(at) = Instant::from_millis(at) else {
            return Ok(Err(format!("`{at}` is not an instant: it must be 0 to 253,402,300,799,999")));
        };
        let (date, time) = calendar::to_local(at, self.site.zone);
        let Some(date) = from_date(date) else {
            return Ok(Err(format!("`{at}` is on a local date outside 1970 to 9999")));
        };
        // Within range by construction: hours, minutes and seconds fit a byte.
        let time = wit::Time { hour: time.hour() as u8, minute: time.minute() as u8, second: time.second() as u8 };
        Ok(Ok(wit::calendar::DateTime { date, time }))
    }

    fn to_instant(&mut self, local: wit::calendar::DateTime) -> Result<Result<i64, String>> {
        let wit::Time { hour, minute, second } = local.time;
        let time = NaiveTime::from_hms_opt(hour.into(), minute.into(), second.into())
            .ok_or_else(|| format!("there is no time of day `{hour}:{minute:02}:{second:02}`"));
        let at = to_date(local.date)
            .and_then(|date| time.map(|time| calendar::to_instant(date, time, self.site.zone).millis()));
        Ok(at)
    }
}

impl wit::sun::Host for Guest {
    fn times(&mut self, what: wit::SunEvent, on: wit::Date) -> Result<Result<Vec<i64>, String>> {
        let Some(location) = self.site.location else {
            return Ok(Err("the device has no location, which the times of the sun require".into()));
        };
        let event = accept::sun_event(what.into()).map_err(|fault| fault.to_string());
        let times = event.and_then(|event| Ok((event, to_date(on)?))).map(|(event, date)| {
            let times = self.trigger_cache.sun().times(event, date, location, self.site.zone);
            times.iter().map(|at| at.millis()).collect()
        });
        Ok(times)
    }
}

fn to_date(date: wit::Date) -> Result<NaiveDate, String> {
    let wit::Date { year, month, day } = date;
    NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())
        .filter(|_| (1970..=9999).contains(&year))
        .ok_or_else(|| format!("there is no date `{year}-{month:02}-{day:02}` from 1970 to 9999"))
}

fn from_date(date: NaiveDate) -> Option<wit::Date> {
    let year = u16::try_from(date.year()).ok()?;
    Some(wit::Date { year, month: date.month() as u8, day: date.day() as u8 })
}
