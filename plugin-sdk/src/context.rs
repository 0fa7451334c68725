//! The device that a call is about, and the host's functions for it.

use crate::{
    Date, Instant, Local, Location, Result, SunEvent, Time, bindings::roost::device::types as wit, host::Host,
};

/// The device that a plan or a task is for, with the time and the location; and the host's calendar and sun, so that a
/// plugin needs no data of its own.
#[derive(Clone, Debug)]
pub struct Context {
    call: wit::Context,
    host: Host,
}

impl Context {
    pub(crate) fn new(call: wit::Context, host: Host) -> Self {
        Self { call, host }
    }

    /// Returns the settings as JSON text, from which the [`Device`](crate::Device) was deserialized.
    pub(crate) fn config(&self) -> &str {
        &self.call.config
    }

    /// Returns the plugin's name, the stem of its file: `coop-door` for `coop-door.wasm`.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.call.plugin
    }

    /// Returns the device's name, unique within the plugin.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.call.device
    }

    /// Returns a topic of this device: `coop-door/north/door/set` for `door/set`, by the convention
    /// `<plugin>/<device>/<thing>/<verb>`. A plugin may publish there unless configured otherwise.
    #[must_use]
    pub fn topic(&self, thing_and_verb: &str) -> String {
        format!("{}/{}/{thing_and_verb}", self.call.plugin, self.call.device)
    }

    /// Returns the device's IANA time zone: `Europe/London`.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.call.time_zone
    }

    /// Returns the device's location, if it is configured.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.call.location.map(|wit::Location { latitude, longitude }| Location { latitude, longitude })
    }

    /// Returns the time of this call. Clocks stand still during the call.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_millis(self.call.now)
    }

    /// Returns how far ahead the plan must reach: the end of tomorrow. Only jobs made with [`Job::at`](crate::Job::at)
    /// need it; the others continue by themselves.
    #[must_use]
    pub fn until(&self) -> Instant {
        Instant::from_millis(self.call.until)
    }

    /// Returns today's date in the device's time zone.
    ///
    /// # Errors
    /// Never fails while `now` is between 1970 and 9999.
    pub fn today(&self) -> Result<Date> {
        Ok(self.local(self.now())?.date)
    }

    /// Returns the date and time at an instant in the device's time zone. Milliseconds are cut off.
    ///
    /// # Errors
    /// Fails if the instant is before 1970 or after 9999.
    pub fn local(&self, at: Instant) -> Result<Local> {
        self.host.to_local(at)
    }

    /// Returns the instant of a date and time in the device's time zone. For a time that summer time skips it is the
    /// first instant after the gap; for a time that occurs twice it is the earlier one.
    ///
    /// # Errors
    /// Fails if it is out of the range of instants.
    pub fn instant(&self, date: Date, time: Time) -> Result<Instant> {
        self.host.to_instant(date, time)
    }

    /// Returns the times of a sun event on a date at the device's location: one on most days, near the poles perhaps
    /// none or two.
    ///
    /// # Errors
    /// Fails if the device has no location.
    pub fn sun(&self, event: SunEvent, on: Date) -> Result<Vec<Instant>> {
        self.host.sun(event, on)
    }

    /// Returns when the sun rises on a date, if it does.
    ///
    /// # Errors
    /// Fails if the device has no location.
    pub fn sunrise(&self, on: Date) -> Result<Option<Instant>> {
        Ok(self.sun(SunEvent::Sunrise, on)?.first().copied())
    }

    /// Returns when the sun sets on a date, if it does.
    ///
    /// # Errors
    /// Fails if the device has no location.
    pub fn sunset(&self, on: Date) -> Result<Option<Instant>> {
        Ok(self.sun(SunEvent::Sunset, on)?.last().copied())
    }
}
