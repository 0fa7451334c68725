//! Jobs, and their builder.

mod policy;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{
    Days, Error, Instant, JsonValue, Matches, Messages, Result, Span, SunEvent, Time,
    bindings::{exports::roost::device::schedule as wit, roost::device::types},
    messages::message_builders,
};

/// A job of the device: a trigger that makes it due once or repeatedly, the messages that it publishes then, and the
/// policy for its runs.
///
/// ```
/// use roost_plugin_sdk::{Job, hours, minutes, seconds};
///
/// let morning = Job::sunrise("open").not_before("06:30").publish("coop-door/north/door/set", "OPEN");
/// let evening = Job::sunset("close").offset(minutes(20)).grace(hours(4)).publish("coop-door/north/door/set", "CLOSE");
/// let watering = Job::daily("water", "05:00")
///     .publish("sprinkler/lawn/valve/set", "ON")
///     .then(minutes(10), "sprinkler/lawn/valve/set", "OFF");
/// let heartbeat = Job::every("heartbeat", seconds(30)).publish("coop-door/north/host/heartbeat", "").qos(0);
/// ```
///
/// A mistake, such as `Job::daily("water", "25:00")`, is an error of the plan, not a panic: the error names the job and
/// what is wrong with it.
#[derive(Clone, Debug)]
#[must_use = "a job counts when it is in the list that `schedule_jobs` returns"]
pub struct Job {
    id: String,
    label: Option<String>,
    trigger: wit::Trigger,
    /// The messages, and the first mistake in the job.
    messages: Messages,
    task: Option<types::Task>,
    policy: wit::Policy,
}

/// The triggers. Each constructor takes the job's id: unique within the device and the same from plan to plan, because
/// it connects runs to their history. 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit.
impl Job {
    /// Due once. A time that has passed is caught up within the [grace](Self::grace).
    pub fn at(id: impl Into<String>, at: Instant) -> Self {
        Self::new(id, wit::Trigger::At(at.millis()))
    }

    /// Due repeatedly, at multiples of this period in UTC: every 15 minutes is :00, :15, :30 and :45. At least a
    /// second. Summer time makes no difference; for a time of day use [`daily`](Self::daily).
    pub fn every(id: impl Into<String>, period: Span) -> Self {
        let mut job = Self::new(id, wit::Trigger::Every(wit::Every { period_ms: 0, anchor: None }));
        let period_ms = job.length("every", period);
        job.trigger = wit::Trigger::Every(wit::Every { period_ms, anchor: None });
        job
    }

    /// Due every day at this time in the device's time zone: `"06:30"`, or a [`Time`].
    pub fn daily<T>(id: impl Into<String>, time: T) -> Self
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        let mut job = Self::cron(id, "");
        if let Some(time) = job.time("daily", time)
            && let wit::Trigger::Cron(cron) = &mut job.trigger
        {
            cron.expression = match time.second() {
                0 => format!("{} {} * * *", time.minute(), time.hour()),
                second => format!("{second} {} {} * * *", time.minute(), time.hour()),
            };
        }
        job
    }

    /// Due by the calendar and the wall clock: `"30 6 * * MON-FRI"`. Five fields (minute, hour, day of month, month,
    /// day of week), or six with seconds first, as in Debian's cron(8).
    pub fn cron(id: impl Into<String>, expression: impl Into<String>) -> Self {
        let expression = expression.into();
        Self::new(id, wit::Trigger::Cron(wit::Cron { expression, time_zone: None, days: None, finish: false }))
    }

    /// Due when the sun rises at the device's location.
    pub fn sunrise(id: impl Into<String>) -> Self {
        Self::sun(id, SunEvent::Sunrise)
    }

    /// Due when the sun sets at the device's location.
    pub fn sunset(id: impl Into<String>) -> Self {
        Self::sun(id, SunEvent::Sunset)
    }

    /// Due at a sun event at the device's location. On days without the event it is not due, unless
    /// [`otherwise`](Self::otherwise) sets a time.
    pub fn sun(id: impl Into<String>, event: SunEvent) -> Self {
        let sun = wit::Sun {
            event: event.into(),
            offset_ms: 0,
            not_before: None,
            not_after: None,
            otherwise: None,
            days: None,
            finish: false,
        };
        Self::new(id, wit::Trigger::Sun(sun))
    }

    /// Due as users write it: `"sunset -20m on MON-FRI"`, `"daily 05:30 every 3 days from 2027-03-17"`. For triggers
    /// that come from the settings: the host parses them, and reports what is wrong.
    pub fn when(id: impl Into<String>, trigger: impl Into<String>) -> Self {
        Self::new(id, wit::Trigger::Text(trigger.into()))
    }

    fn new(id: impl Into<String>, trigger: wit::Trigger) -> Self {
        let policy = wit::Policy {
            misfire: None,
            grace_ms: None,
            overlap: None,
            jitter_ms: None,
            priority: None,
            retry: None,
            needs: None,
        };
        Self { id: id.into(), label: None, trigger, messages: Messages::new(), task: None, policy }
    }

    /// For [`every`](Self::every): counts periods from this instant instead of 1970. If it is in the future, it is the
    /// first due time.
    pub fn anchor(mut self, anchor: Instant) -> Self {
        match &mut self.trigger {
            wit::Trigger::Every(every) => every.anchor = Some(anchor.millis()),
            _ => self.misplaced("anchor", "`Job::every`"),
        }
        self
    }

    /// For [`cron`](Self::cron) and [`daily`](Self::daily): uses this IANA time zone instead of the device's.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        match &mut self.trigger {
            wit::Trigger::Cron(cron) => cron.time_zone = Some(name.into()),
            _ => self.misplaced("time_zone", "`Job::cron` and `Job::daily`"),
        }
        self
    }

    /// For times of day and sun events: limits them to some days.
    pub fn days(mut self, days: Days) -> Self {
        let days = days.into_contract();
        match &mut self.trigger {
            wit::Trigger::Cron(cron) => cron.days = Some(days),
            wit::Trigger::Sun(sun) => sun.days = Some(days),
            _ => self.misplaced("days", "`Job::cron`, `Job::daily` and sun events"),
        }
        self
    }

    /// For times of day and sun events: makes the job due as much earlier as its last message is sent after the first,
    /// so that its runs end then instead of starting.
    pub fn finish(mut self) -> Self {
        match &mut self.trigger {
            wit::Trigger::Cron(cron) => cron.finish = true,
            wit::Trigger::Sun(sun) => sun.finish = true,
            _ => self.misplaced("finish", "`Job::cron`, `Job::daily` and sun events"),
        }
        self
    }

    /// For sun events: moves the due time by this much, later or, if negative, earlier; at most 12 hours.
    pub fn offset(mut self, offset: Span) -> Self {
        match (&mut self.trigger, i32::try_from(offset.millis())) {
            (wit::Trigger::Sun(sun), Ok(offset_ms)) => sun.offset_ms = offset_ms,
            (wit::Trigger::Sun(_), Err(_)) => self.set_mistake(format!("`offset` {offset} is more than 12 hours")),
            _ => self.misplaced("offset", "a sun event"),
        }
        self
    }

    /// For sun events: the earliest time of day, on the event's morning or evening.
    ///
    /// An evening may last beyond midnight: a time of day means the one within half a day of 18:00 on the evening that
    /// the event belongs to, or of 06:00 on its morning.
    pub fn not_before<T>(mut self, time: T) -> Self
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        let time = self.time("not_before", time).map(Into::into);
        match &mut self.trigger {
            wit::Trigger::Sun(sun) => sun.not_before = time,
            _ => self.misplaced("not_before", "a sun event"),
        }
        self
    }

    /// For sun events: the latest time of day, on the event's morning or evening, as with
    /// [`not_before`](Self::not_before): `"22:00"` is never after midnight.
    pub fn not_after<T>(mut self, time: T) -> Self
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        let time = self.time("not_after", time).map(Into::into);
        match &mut self.trigger {
            wit::Trigger::Sun(sun) => sun.not_after = time,
            _ => self.misplaced("not_after", "a sun event"),
        }
        self
    }

    /// For sun events: the time of day on days without the event: far in the north there are nights without dusk in
    /// summer, and days without sunrise in winter. Between [`not_before`](Self::not_before) and
    /// [`not_after`](Self::not_after).
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, SunEvent};
    /// let evening = Job::sun("close", SunEvent::CivilDusk).not_after("22:00").otherwise("22:00");
    /// ```
    pub fn otherwise<T>(mut self, time: T) -> Self
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        let time = self.time("otherwise", time).map(Into::into);
        match &mut self.trigger {
            wit::Trigger::Sun(sun) => sun.otherwise = time,
            _ => self.misplaced("otherwise", "a sun event"),
        }
        self
    }
}

message_builders!(Job);

/// Further actions.
impl Job {
    /// Appends these messages to the job's own: messages that a job and a [`Reply`](crate::Reply) share are written
    /// once.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, Messages, minutes};
    /// let round = Messages::new().publish("lawn/set", "ON").then(minutes(10), "lawn/set", "OFF");
    /// let water = Job::daily("water", "05:00").messages(round);
    /// ```
    pub fn messages(mut self, messages: Messages) -> Self {
        self.messages.append(messages);
        self
    }

    /// Calls the plugin when the job is due, instead of publishing messages that are known in advance: one of its
    /// [`Tasks`](crate::Tasks), with these arguments, or with `()` if it takes none.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, JsonValue};
    /// let args = JsonValue::object([("zone", 2.into()), ("minutes", 1.5.into())]);
    /// let water = Job::daily("water", "05:00").task("water", args);
    /// let look = Job::daily("look", "12:00").task("look", ());
    /// ```
    pub fn task(mut self, name: impl Into<String>, args: impl Into<JsonValue>) -> Self {
        self.task = Some(types::Task { name: name.into(), args: args.into().into_text() });
        self
    }
}

impl Job {
    /// Returns the job in the contract's types, or its first mistake.
    pub(crate) fn into_contract(self) -> Result<wit::Job> {
        let Self { id, label, trigger, messages, task, policy } = self;
        let action = messages.finish().and_then(|steps| match task {
            None if steps.is_empty() => {
                Err(Error::new("it has nothing to do: give it a message with `.publish(topic, payload)`"))
            }
            None => Ok(wit::Action::Steps(steps)),
            Some(task) if steps.is_empty() => Ok(wit::Action::Task(task)),
            Some(task) => {
                Err(Error::new(format!("it has messages and the task `{}`, and may have only one of them", task.name)))
            }
        });
        match action {
            Err(mistake) => Err(mistake.context(format!("job `{id}`"))),
            Ok(action) => Ok(wit::Job { id, label, trigger, action, policy: Some(policy) }),
        }
    }

    fn messages_mut(&mut self) -> &mut Messages {
        &mut self.messages
    }

    fn set_mistake(&mut self, sentence: String) {
        self.messages.set_mistake(sentence);
    }

    fn misplaced(&mut self, method: &str, of: &str) {
        self.set_mistake(format!("`{method}` belongs to {of}"));
    }

    /// Converts a length of time to the contract's milliseconds.
    fn length(&mut self, of: &str, span: Span) -> u32 {
        self.messages.length(of, span)
    }

    fn time<T>(&mut self, of: &str, time: T) -> Option<Time>
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        time.try_into().map_err(|error| self.set_mistake(format!("`{of}`: {error}"))).ok()
    }
}
