//! What a plugin declares: jobs, built so that they read like what they mean.

use std::fmt;

use crate::{
    Error, Instant, Result, Span, SunEvent, Time,
    bindings::{
        exports::roost::device::schedule as wit,
        roost::device::types::{Message, MessageProperties, Step},
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

const EMPTY_RETRY: wit::Retry = wit::Retry { attempts: None, give_up_after_ms: None, backoff_ms: None };

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
}

/// How it is treated.
impl Job {
    /// For people: `Open the north door`. Else they see the id.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// How late a run may start, whatever held it up: the host was down, the broker away. Later than that it is missed.
    /// Else 5 minutes; at least a second.
    pub fn grace(mut self, grace: Span) -> Self {
        self.policy.grace_ms = Some(self.length("grace", grace));
        self
    }

    /// Starts each run up to this much late, a different but fixed time for each.
    pub fn jitter(mut self, jitter: Span) -> Self {
        self.policy.jitter_ms = Some(self.length("jitter", jitter));
        self
    }

    /// Of runs that could start at the same time, the higher goes first. Else 0.
    pub fn priority(mut self, priority: i8) -> Self {
        self.policy.priority = Some(priority);
        self
    }

    /// Gives a message up after this many attempts. Else there is no such limit.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.retry.get_or_insert(EMPTY_RETRY).attempts = Some(attempts);
        self
    }

    /// Gives a message up this long after the first attempt. Else 15 minutes.
    pub fn give_up_after(mut self, after: Span) -> Self {
        let after_ms = self.length("give_up_after", after);
        self.policy.retry.get_or_insert(EMPTY_RETRY).give_up_after_ms = Some(after_ms);
        self
    }

    /// Pauses this long before the second attempt, then twice as long each time, up to 5 minutes. Else a second.
    pub fn backoff(mut self, pause: Span) -> Self {
        let pause_ms = self.length("backoff", pause);
        self.policy.retry.get_or_insert(EMPTY_RETRY).backoff_ms = Some(pause_ms);
        self
    }
}

impl Job {
    /// The job as the contract has it, or the first mistake that was made with it.
    pub(crate) fn finish(self) -> Result<wit::Job> {
        let Self { id, label, trigger, steps, policy, mistake } = self;
        let mistake = mistake.or_else(|| {
            steps.is_empty().then(|| Error::new("it has nothing to do, give it a message with `.publish(topic, payload)`"))
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

    fn message(mut self, method: &str, change: impl FnOnce(&mut Message)) -> Self {
        match self.steps.last_mut() {
            Some(step) => change(&mut step.message),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{days, hours, minutes, seconds};

    #[test]
    fn a_mistake_is_told_with_its_job() {
        let cases = [
            (Job::daily("a", "25:00").publish("t", ""), "job `a`: `daily`: `25:00` is not a time of day, write it like `06:30` or `06:30:15`"),
            (Job::daily("a", "05:00"), "job `a`: it has nothing to do, give it a message with `.publish(topic, payload)`"),
            (Job::daily("a", "05:00").qos(1).publish("t", ""), "job `a`: `qos` is said of a message, so it comes after `publish`"),
            (Job::daily("a", "05:00").not_before("06:00").publish("t", ""), "job `a`: `not_before` belongs to a sun event"),
            (Job::sunrise("a").offset(days(60)).publish("t", ""), "job `a`: `offset` 60d is more than 12 hours"),
            (Job::every("a", minutes(-1)).publish("t", ""), "job `a`: `every` -1m is negative"),
            (Job::every("a", minutes(1)).grace(days(50)).publish("t", ""), "job `a`: `grace` 50d is more than 49 days"),
            (Job::every("a", minutes(1)).publish("t", "").then(days(40), "t", "").then(days(40), "t", ""), "job `a`: its messages go on for more than 49 days"),
        ];
        for (job, expected) in cases {
            assert_eq!(job.finish().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_time_between_messages_adds_up() {
        let job = Job::daily("a", "05:00:30").publish("t", "1").then(minutes(10), "t", "2").publish("t", "3").then(seconds(5), "t", "4");
        let job = job.label("Four").priority(-1).attempts(3).backoff(seconds(2)).grace(hours(1)).finish().expect("valid");
        let wit::Action::Steps(steps) = job.action else { panic!("it publishes") };
        assert_eq!(steps.iter().map(|step| step.after_ms).collect::<Vec<_>>(), [0, 600_000, 600_000, 605_000]);
        let wit::Trigger::Cron(cron) = job.trigger else { panic!("it is daily") };
        assert_eq!(cron.expression, "30 0 5 * * *");
    }
}
