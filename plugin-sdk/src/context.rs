//! The device a plan is for, and what its plugin may ask of the host.

use crate::{
    Date, Instant, Local, Location, Result, SunEvent, Time, bindings::roost::device::types as wit, host::Host,
};

/// Which device a plan is for, when, and where. And the host's calendar and sun, which need no data of the plugin's.
#[derive(Clone, Debug)]
pub struct Context {
    call: wit::Context,
    host: Host,
}

impl Context {
    pub(crate) fn new(call: wit::Context, host: Host) -> Self {
        Self { call, host }
    }

    /// The settings, as JSON text: what [`Device`](crate::Device) was read from.
    pub(crate) fn config(&self) -> &str {
        &self.call.config
    }

    /// The plugin's name, that is its file's: `coop-door` for `coop-door.wasm`.
    #[must_use]
    pub fn plugin(&self) -> &str {
        &self.call.plugin
    }

    /// The device's name, unique within the plugin.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.call.device
    }

    /// A topic of this device's own: `coop-door/north/door/set` for `door/set`, by the convention
    /// `<plugin>/<device>/<thing>/<verb>`. A plugin may publish there unless its operator says otherwise.
    #[must_use]
    pub fn topic(&self, thing_and_verb: &str) -> String {
        format!("{}/{}/{thing_and_verb}", self.call.plugin, self.call.device)
    }

    /// The device's IANA time zone: `Europe/London`.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.call.time_zone
    }

    /// Where the device is, if its operator has said so.
    #[must_use]
    pub fn location(&self) -> Option<Location> {
        self.call.location.map(|wit::Location { latitude, longitude }| Location { latitude, longitude })
    }

    /// The moment of this call. Clocks stand still while it lasts.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_millis(self.call.now)
    }

    /// How far ahead the plan must reach: the end of tomorrow. Only jobs made with [`Job::at`](crate::Job::at) need it;
    /// the others go on by themselves.
    #[must_use]
    pub fn until(&self) -> Instant {
        Instant::from_millis(self.call.until)
    }

    /// Today's date, where the device is.
    ///
    /// # Errors
    /// None while `now` is between 1970 and 9999.
    pub fn today(&self) -> Result<Date> {
        Ok(self.local(self.now())?.date)
    }

    /// What calendar and clock show at an instant, where the device is. Milliseconds are cut off.
    ///
    /// # Errors
    /// If the instant is before 1970 or after 9999.
    pub fn local(&self, at: Instant) -> Result<Local> {
        self.host.to_local(at)
    }

    /// When calendar and clock show this, where the device is. A time that summer time skips is the first instant after
    /// the gap; of a time that comes twice it is the earlier.
    ///
    /// # Errors
    /// If it is out of the range of instants.
    pub fn instant(&self, date: Date, time: Time) -> Result<Instant> {
        self.host.to_instant(date, time)
    }

    /// When the sun does something on a date, at the device's location: once on most days, near the poles perhaps
    /// never or twice.
    ///
    /// # Errors
    /// If the device has no location.
    pub fn sun(&self, event: SunEvent, on: Date) -> Result<Vec<Instant>> {
        self.host.sun(event, on)
    }

    /// When the sun rises on a date, if it does.
    ///
    /// # Errors
    /// If the device has no location.
    pub fn sunrise(&self, on: Date) -> Result<Option<Instant>> {
        Ok(self.sun(SunEvent::Sunrise, on)?.first().copied())
    }

    /// When the sun sets on a date, if it does.
    ///
    /// # Errors
    /// If the device has no location.
    pub fn sunset(&self, on: Date) -> Result<Option<Instant>> {
        Ok(self.sun(SunEvent::Sunset, on)?.last().copied())
    }
}
