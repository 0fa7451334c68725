//! What a plugin declares: jobs, built so that they read like what they mean.

mod policy;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{
    Error, Instant, Matches, Result, Span, SunEvent, Time,
    bindings::{
        exports::roost::device::schedule as wit,
        roost::device::types::{Confirm, Message, MessageProperties, Step},
    },
};

/// Something the device should do, once or again and again: when it is due, what it publishes then, and how it is
/// treated when things do not go to plan.
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
/// A mistake, such as `Job::daily("water", "25:00")`, is an error of the plan, not a panic: people are told the job
/// and what is wrong with it.
#[derive(Clone, Debug)]
#[must_use = "a job counts when it is in the list that `schedule_jobs` returns"]
pub struct Job {
    id: String,
    label: Option<String>,
    trigger: wit::Trigger,
    steps: Vec<Step>,
    policy: wit::Policy,
    /// The first one: the others may be its consequences.
    mistake: Option<Error>,
}

/// When it is due. Each takes the job's id: unique within the device and the same from plan to plan, because it ties a
/// run to its past. 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit.
impl Job {
    /// Once. A time that has passed is made up for within the [grace](Self::grace).
    pub fn at(id: impl Into<String>, at: Instant) -> Self {
        Self::new(id, wit::Trigger::At(at.millis()))
    }

    /// Again and again, at multiples of this length of time in UTC: every 15 minutes is :00, :15, :30 and :45. At least
    /// a second. Summer time makes no difference; for a time of day there is [`daily`](Self::daily).
    pub fn every(id: impl Into<String>, period: Span) -> Self {
        let mut job = Self::new(id, wit::Trigger::Every(wit::Every { period_ms: 0, anchor: None }));
        let period_ms = job.length("every", period);
        job.trigger = wit::Trigger::Every(wit::Every { period_ms, anchor: None });
        job
    }

    /// Every day at this time, where the device is: `"06:30"`, or a [`Time`].
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

    /// By the calendar and the clock on the wall: `"30 6 * * MON-FRI"`. Five fields (minute, hour, day of month, month,
    /// day of week), or six with seconds first, as in Debian's cron(8).
    pub fn cron(id: impl Into<String>, expression: impl Into<String>) -> Self {
        Self::new(id, wit::Trigger::Cron(wit::Cron { expression: expression.into(), time_zone: None }))
    }

    /// When the sun rises, at the device's location.
    pub fn sunrise(id: impl Into<String>) -> Self {
        Self::sun(id, SunEvent::Sunrise)
    }

    /// When the sun sets, at the device's location.
    pub fn sunset(id: impl Into<String>) -> Self {
        Self::sun(id, SunEvent::Sunset)
    }

    /// When the sun does this, at the device's location. Not on days when it does not.
    pub fn sun(id: impl Into<String>, event: SunEvent) -> Self {
        let sun = wit::Sun { event: event.into(), offset_ms: 0, not_before: None, not_after: None };
        Self::new(id, wit::Trigger::Sun(sun))
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
        Self { id: id.into(), label: None, trigger, steps: Vec::new(), policy, mistake: None }
    }

    /// Of [`every`](Self::every): counts from here instead of 1970. One in the future is the first due time.
    pub fn anchor(mut self, anchor: Instant) -> Self {
        match &mut self.trigger {
            wit::Trigger::Every(every) => every.anchor = Some(anchor.millis()),
            _ => self.misplaced("anchor", "`Job::every`"),
        }
        self
    }

    /// Of [`cron`](Self::cron) and [`daily`](Self::daily): in this IANA time zone instead of the device's.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        match &mut self.trigger {
            wit::Trigger::Cron(cron) => cron.time_zone = Some(name.into()),
            _ => self.misplaced("time_zone", "`Job::cron` and `Job::daily`"),
        }
        self
    }

    /// Of the sun: this much later, or earlier if negative; at most 12 hours.
    pub fn offset(mut self, offset: Span) -> Self {
        match (&mut self.trigger, i32::try_from(offset.millis())) {
            (wit::Trigger::Sun(sun), Ok(offset_ms)) => sun.offset_ms = offset_ms,
            (wit::Trigger::Sun(_), Err(_)) => self.wrong(format!("`offset` {offset} is more than 12 hours")),
            _ => self.misplaced("offset", "a sun event"),
        }
        self
    }

    /// Of the sun: if that is earlier, then at this time.
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

    /// Of the sun: if that is later, then at this time.
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
}

/// What it publishes. A run publishes its messages one after the other; once the first was sent the others are sent
/// too, whatever happens: a crash, an update, the plugin's removal.
impl Job {
    /// Publishes a message, at QoS 1: together with the one before it, if there is one.
    pub fn publish(self, topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        self.then(Span::default(), topic, payload)
    }

    /// Publishes a message this long after the one before it.
    pub fn then(mut self, after: Span, topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        let before = self.steps.last().map_or(0, |step| step.after_ms);
        let wait = self.length("then", after);
        let Some(after_ms) = before.checked_add(wait) else {
            self.wrong("its messages go on for more than 49 days".into());
            return self;
        };
        let (topic, payload) = (topic.into(), payload.into());
        let message = Message { topic, payload, qos: 1, retain: false, properties: None };
        self.steps.push(Step { after_ms, message, once: false, confirm: None });
        self
    }

    /// Of the message before this: 0, sent once; 1, acknowledged by the broker, may be repeated; 2, exactly once between
    /// host and broker.
    pub fn qos(self, qos: u8) -> Self {
        self.message("qos", |message| message.qos = qos)
    }

    /// Of the message before this: the broker keeps it for those who subscribe later. Right for a state, wrong for most
    /// commands: a device that comes back would carry out an old one.
    pub fn retain(self) -> Self {
        self.message("retain", |message| message.retain = true)
    }

    /// Of the message before this: how long the broker may hold it for a device that is away.
    pub fn expiry(mut self, expiry: Span) -> Self {
        let expiry_ms = self.length("expiry", expiry);
        self.property("expiry", |properties| properties.expiry_ms = Some(expiry_ms))
    }

    /// Of the message before this: its payload's media type, such as `application/json`.
    pub fn content_type(self, media_type: impl Into<String>) -> Self {
        self.property("content_type", |properties| properties.content_type = Some(media_type.into()))
    }

    /// Of the message before this: where a device is to answer.
    pub fn response_topic(self, topic: impl Into<String>) -> Self {
        self.property("response_topic", |properties| properties.response_topic = Some(topic.into()))
    }

    /// Of the message before this: a name and a value of the plugin's own; at most 16 of them.
    pub fn user_property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.property("user_property", |properties| {
            properties.user.get_or_insert_default().push((name.into(), value.into()));
        })
    }

    /// Of the message before this: sent once and never again, even if it is not known to have arrived. For feeders and
    /// dispensers, where twice is worse than not at all. Else it is tried until it is done or given up, and may arrive
    /// more than once.
    ///
    /// ```
    /// # use roost_plugin_sdk::Job;
    /// let feed = Job::daily("feed", "07:00").publish("feeder/cat/portion/drop", "1").once();
    /// ```
    pub fn once(self) -> Self {
        self.step("once", |step| step.once = true)
    }

    /// Of the message before this: it is done when the device has reported so on a topic, this long after it was
    /// published at the latest. Else when the broker has it. If the report does not come in time the attempt has failed,
    /// and is repeated as [`attempts`](Self::attempts), [`give_up_after`](Self::give_up_after) and
    /// [`backoff`](Self::backoff) say, unless the message is sent [`once`](Self::once).
    ///
    /// A plugin may read what is below `<plugin>/`, unless its operator says otherwise.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, Matches, minutes};
    /// let close = Job::sunset("close")
    ///     .publish("coop-door/north/door/set", "CLOSE")
    ///     .confirm("coop-door/north/door/state", Matches::json("/state", "closed"), minutes(1))
    ///     .attempts(3);
    /// ```
    pub fn confirm(mut self, topic: impl Into<String>, matches: impl Into<Matches>, within: Span) -> Self {
        let within_ms = self.length("confirm", within);
        let confirm = Confirm { topic: topic.into(), matches: matches.into().0, within_ms, already: false };
        self.step("confirm", |step| step.confirm = Some(confirm))
    }

    /// Of the report before this: one from before will do, retained or already heard. Then nothing is sent: a door that
    /// is closed is not closed again.
    ///
    /// ```
    /// # use roost_plugin_sdk::{Job, seconds};
    /// let lamp = Job::sunset("lamp").publish("lamp/set", "ON").confirm("lamp/state", "ON", seconds(5)).already();
    /// ```
    pub fn already(mut self) -> Self {
        match self.steps.last_mut().and_then(|step| step.confirm.as_mut()) {
            Some(confirm) => confirm.already = true,
            None => self.wrong("`already` is said of a report, so it comes after `confirm`".into()),
        }
        self
    }
}

impl Job {
    /// The job as the contract has it, or the first mistake that was made with it.
    pub(crate) fn finish(self) -> Result<wit::Job> {
        let Self { id, label, trigger, steps, policy, mistake } = self;
        let mistake = mistake.or_else(|| {
            steps
                .is_empty()
                .then(|| Error::new("it has nothing to do, give it a message with `.publish(topic, payload)`"))
        });
        match mistake {
            Some(mistake) => Err(mistake.context(format!("job `{id}`"))),
            None => Ok(wit::Job { id, label, trigger, action: wit::Action::Steps(steps), policy: Some(policy) }),
        }
    }

    fn wrong(&mut self, sentence: String) {
        self.mistake.get_or_insert(Error::new(sentence));
    }

    fn misplaced(&mut self, method: &str, of: &str) {
        self.wrong(format!("`{method}` belongs to {of}"));
    }

    /// A length of time in the contract's milliseconds.
    fn length(&mut self, of: &str, span: Span) -> u32 {
        u32::try_from(span.millis()).unwrap_or_else(|_| {
            let rule = if span < Span::default() { "is negative" } else { "is more than 49 days" };
            self.wrong(format!("`{of}` {span} {rule}"));
            0
        })
    }

    fn time<T>(&mut self, of: &str, time: T) -> Option<Time>
    where
        T: TryInto<Time, Error: fmt::Display>,
    {
        time.try_into().map_err(|error| self.wrong(format!("`{of}`: {error}"))).ok()
    }

    fn message(self, method: &str, change: impl FnOnce(&mut Message)) -> Self {
        self.step(method, |step| change(&mut step.message))
    }

    fn step(mut self, method: &str, change: impl FnOnce(&mut Step)) -> Self {
        match self.steps.last_mut() {
            Some(step) => change(step),
            None => self.wrong(format!("`{method}` is said of a message, so it comes after `publish`")),
        }
        self
    }

    fn property(self, method: &str, change: impl FnOnce(&mut MessageProperties)) -> Self {
        self.message(method, |message| {
            change(message.properties.get_or_insert(MessageProperties {
                expiry_ms: None,
                content_type: None,
                response_topic: None,
                user: None,
            }));
        })
    }
}
