//! Messages in order, as jobs and replies to tasks publish them.

use crate::{
    Error, Matches, Result, Span,
    bindings::roost::device::types::{Confirm, Message, MessageProperties, Step},
};

/// The methods for building messages, which jobs and `Messages` share.
macro_rules! message_builders {
    ($type:ident) => {
        /// Messages. They are sent one after the other; once the first was sent the others are sent too, regardless of
        /// a crash, an update or the plugin's removal.
        impl $type {
            /// Publishes a message at QoS 1, together with the previous one, if there is one.
            pub fn publish(self, topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
                self.then(Span::default(), topic, payload)
            }

            /// Publishes a message this long after the previous one.
            pub fn then(mut self, after: Span, topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
                self.messages_mut().push(after, topic.into(), payload.into());
                self
            }

            /// For the previous message: 0, sent once; 1, acknowledged by the broker, may be repeated; 2, exactly once
            /// between host and broker.
            pub fn qos(mut self, qos: u8) -> Self {
                self.messages_mut().step("qos", |step| step.message.qos = qos);
                self
            }

            /// For the previous message: the broker retains it for later subscribers. Right for a state, wrong for most
            /// commands: a device that reconnects would execute an old one.
            pub fn retain(mut self) -> Self {
                self.messages_mut().step("retain", |step| step.message.retain = true);
                self
            }

            /// For the previous message: how long the broker may hold it for a device that is offline.
            pub fn expiry(mut self, expiry: Span) -> Self {
                let expiry_ms = self.messages_mut().length("expiry", expiry);
                self.messages_mut().property("expiry", |properties| properties.expiry_ms = Some(expiry_ms));
                self
            }

            /// For the previous message: the media type of its payload, such as `application/json`.
            pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
                let media_type = media_type.into();
                self.messages_mut().property("content_type", |properties| properties.content_type = Some(media_type));
                self
            }

            /// For the previous message: the topic for the device's response.
            pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
                let topic = topic.into();
                self.messages_mut().property("response_topic", |properties| properties.response_topic = Some(topic));
                self
            }

            /// For the previous message: a user property; at most 16 of them.
            pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                let pair = (name.into(), value.into());
                self.messages_mut()
                    .property("user_property", |properties| properties.user.get_or_insert_default().push(pair));
                self
            }

            /// For the previous message: it is sent at most once, even if it may not have arrived. For feeders and
            /// dispensers, where twice is worse than not at all. Otherwise it is tried until it is done or given up,
            /// and may arrive more than once.
            ///
            /// ```
            /// # use roost_plugin_sdk::Job;
            /// let feed = Job::daily("feed", "07:00").publish("feeder/cat/portion/drop", "1").once();
            /// ```
            pub fn once(mut self) -> Self {
                self.messages_mut().step("once", |step| step.once = true);
                self
            }

            /// For the previous message: it is done when the device has reported so on a topic, at most this long after
            /// it was published; otherwise when the broker has it. If the report does not arrive in time, the attempt
            /// has failed, and is repeated by the job's [`attempts`](crate::Job::attempts),
            /// [`give_up_after`](crate::Job::give_up_after) and [`backoff`](crate::Job::backoff), unless the message is
            /// sent [`once`](Self::once).
            ///
            /// A plugin may subscribe below `<plugin>/`, unless configured otherwise.
            ///
            /// ```
            /// # use roost_plugin_sdk::{Job, Matches, minutes};
            /// let close = Job::sunset("close")
            ///     .publish("coop-door/north/door/set", "CLOSE")
            ///     .confirm("coop-door/north/door/state", Matches::json("/state", "closed"), minutes(1))
            ///     .attempts(3);
            /// ```
            pub fn confirm(mut self, topic: impl Into<String>, matches: impl Into<Matches>, within: Span) -> Self {
                let (topic, matches) = (topic.into(), matches.into());
                self.messages_mut().confirm_last(topic, matches, within);
                self
            }

            /// For the previous confirmation: an earlier report counts, retained or already received. Then nothing is
            /// sent: a door that is closed is not closed again.
            ///
            /// ```
            /// # use roost_plugin_sdk::{Job, seconds};
            /// let lamp = Job::sunset("lamp").publish("lamp/set", "ON").confirm("lamp/state", "ON", seconds(5)).already();
            /// ```
            pub fn already(mut self) -> Self {
                self.messages_mut().already_last();
                self
            }
        }
    };
}
pub(crate) use message_builders;

/// Messages, each with its time: at most 100.
///
/// ```
/// use roost_plugin_sdk::{Job, Messages, Reply, minutes};
///
/// fn water(valve: &str) -> Messages {
///     Messages::new().publish(valve, "ON").then(minutes(10), valve, "OFF")
/// }
///
/// let by_the_clock = Job::daily("water", "05:00").messages(water("sprinkler/lawn/set"));
/// let when_asked = Reply::from(water("sprinkler/lawn/set"));
/// ```
///
/// A mistake is an error of the plan or the reply that contains them, not a panic.
#[derive(Clone, Debug, Default)]
#[must_use = "messages are published when a job or a reply has them"]
pub struct Messages {
    steps: Vec<Step>,
    /// The first mistake: later ones may be its consequences.
    mistake: Option<Error>,
}

message_builders!(Messages);

impl Messages {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    fn messages_mut(&mut self) -> &mut Self {
        self
    }

    /// Returns the messages in the contract's types, or the first mistake.
    pub(crate) fn finish(self) -> Result<Vec<Step>> {
        self.mistake.map_or(Ok(self.steps), Err)
    }

    pub(crate) fn set_mistake(&mut self, sentence: String) {
        self.mistake.get_or_insert(Error::new(sentence));
    }

    /// Converts a length of time to the contract's milliseconds.
    pub(crate) fn length(&mut self, of: &str, span: Span) -> u32 {
        u32::try_from(span.millis()).unwrap_or_else(|_| {
            let rule = if span < Span::default() { "is negative" } else { "is more than 49 days" };
            self.set_mistake(format!("`{of}` {span} {rule}"));
            0
        })
    }

    /// Appends messages; their times count from the last message before them.
    pub(crate) fn append(&mut self, others: Self) {
        if let Some(mistake) = others.mistake {
            self.mistake.get_or_insert(mistake);
        }
        let before = self.steps.last().map_or(0, |step| step.after_ms);
        for step in others.steps {
            self.push_step(before, step);
        }
    }

    pub(crate) fn push(&mut self, after: Span, topic: String, payload: Vec<u8>) {
        let before = self.steps.last().map_or(0, |step| step.after_ms);
        let after_ms = self.length("then", after);
        let message = Message { topic, payload, qos: 1, retain: false, properties: None };
        self.push_step(before, Step { after_ms, message, once: false, confirm: None });
    }

    fn push_step(&mut self, before: u32, step: Step) {
        match before.checked_add(step.after_ms) {
            Some(after_ms) => self.steps.push(Step { after_ms, ..step }),
            None => self.set_mistake("its messages take more than 49 days".into()),
        }
    }

    pub(crate) fn step(&mut self, method: &str, change: impl FnOnce(&mut Step)) {
        match self.steps.last_mut() {
            Some(step) => change(step),
            None => self.set_mistake(format!("`{method}` applies to a message, so it comes after `publish`")),
        }
    }

    pub(crate) fn property(&mut self, method: &str, change: impl FnOnce(&mut MessageProperties)) {
        let none = MessageProperties { expiry_ms: None, content_type: None, response_topic: None, user: None };
        self.step(method, |step| change(step.message.properties.get_or_insert(none)));
    }

    pub(crate) fn confirm_last(&mut self, topic: String, matches: Matches, within: Span) {
        let within_ms = self.length("confirm", within);
        let confirm = Confirm { topic, matches: matches.0, within_ms, already: false };
        self.step("confirm", |step| step.confirm = Some(confirm));
    }

    pub(crate) fn already_last(&mut self) {
        match self.steps.last_mut().and_then(|step| step.confirm.as_mut()) {
            Some(confirm) => confirm.already = true,
            None => self.set_mistake("`already` applies to a confirmation, so it comes after `confirm`".into()),
        }
    }
}
