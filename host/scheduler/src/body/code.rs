//! The encoding of a body.

use crate::{
    model::{Confirm, Matches, Message, MessageProperties, Misfire, Overlap, Policy, Retry, Step},
    names::{GroupName, ResourceName},
    topic::Topic,
};

/// Bits of the byte that states which values of a policy follow.
mod policy {
    pub(super) const GRACE: u8 = 1;
    pub(super) const JITTER: u8 = 2;
    pub(super) const PRIORITY: u8 = 4;
    pub(super) const ATTEMPTS: u8 = 8;
    pub(super) const GIVE_UP: u8 = 16;
    pub(super) const BACKOFF: u8 = 32;
    /// The bits above: a number follows for each.
    pub(super) const NUMBERS: u8 = 63;
    /// Another byte follows, with the bits below.
    pub(super) const MORE: u8 = 64;

    pub(super) const RUN_ALL: u8 = 1;
    pub(super) const GROUP: u8 = 2;
    pub(super) const QUEUE: u8 = 4;
    pub(super) const ALLOW: u8 = 8;
    pub(super) const REPLACE: u8 = 16;
    pub(super) const NEEDS: u8 = 32;
}

/// Bits of the byte that describes a message; the lowest two are its QoS.
pub(super) mod how {
    pub(crate) const QOS: u8 = 3;
    pub(crate) const RETAIN: u8 = 4;
    pub(crate) const PROPERTIES: u8 = 8;
    pub(crate) const ONCE: u8 = 16;
    pub(crate) const CONFIRM: u8 = 32;
}

/// The kinds of conditions on a report.
mod matches {
    pub(super) const ANY: u8 = 0;
    pub(super) const BYTES: u8 = 1;
    pub(super) const JSON: u8 = 2;
    pub(super) const JSON_RANGE: u8 = 3;
}

pub(super) fn length(of: usize) -> u32 {
    u32::try_from(of).expect("nothing in a job is 4 GiB long")
}

#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(length(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    /// Writes an optional text: its length plus one, or 0 for none.
    pub(super) fn optional(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| length(text.len()) + 1));
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn policy(&mut self, of: &Policy) {
        let default = Policy::default();
        let numbers = [
            (policy::GRACE, of.grace_ms, default.grace_ms),
            (policy::JITTER, of.jitter_ms, default.jitter_ms),
            (policy::PRIORITY, u32::from(of.priority.cast_unsigned()), u32::from(default.priority.cast_unsigned())),
            (policy::GIVE_UP, of.retry.give_up_after_ms, default.retry.give_up_after_ms),
            (policy::BACKOFF, of.retry.backoff_ms, default.retry.backoff_ms),
        ];
        let different = || numbers.iter().filter(|(_, number, default)| number != default);
        let attempts = of.retry.attempts.map_or(0, |_| policy::ATTEMPTS);
        let more = Self::more_of_policy(of);
        let more_bit = if more == 0 { 0 } else { policy::MORE };
        self.0.push(different().fold(attempts | more_bit, |bits, (bit, ..)| bits | bit));
        different().for_each(|(_, number, _)| self.number(*number));
        if let Some(attempts) = of.retry.attempts {
            self.number(attempts);
        }
        if more > 0 {
            self.0.push(more);
        }
        if let Some(group) = of.group() {
            self.bytes(group.as_str().as_bytes());
        }
        if let Overlap::Queue(number) | Overlap::Allow(number) = of.overlap {
            self.number(number);
        }
        if let Some(needs) = &of.needs {
            self.bytes(needs.as_str().as_bytes());
        }
    }

    /// Returns the second byte of bits.
    fn more_of_policy(of: &Policy) -> u8 {
        let misfire = match of.misfire {
            Misfire::RunOnce => 0,
            Misfire::RunAll => policy::RUN_ALL,
            Misfire::LatestOfGroup(_) => policy::GROUP,
        };
        let overlap = match of.overlap {
            Overlap::Skip => 0,
            Overlap::Queue(_) => policy::QUEUE,
            Overlap::Allow(_) => policy::ALLOW,
            Overlap::Replace => policy::REPLACE,
        };
        misfire | overlap | if of.needs.is_some() { policy::NEEDS } else { 0 }
    }

    pub(super) fn step(&mut self, step: &Step) {
        let Message { topic, payload, qos, retain, properties } = &step.message;
        self.number(step.after_ms);
        let retain = if *retain { how::RETAIN } else { 0 };
        let with = if properties.is_some() { how::PROPERTIES } else { 0 };
        let once = if step.once { how::ONCE } else { 0 };
        let confirm = if step.confirm.is_some() { how::CONFIRM } else { 0 };
        self.0.push(*qos as u8 | retain | with | once | confirm);
        self.bytes(topic.as_str().as_bytes());
        self.bytes(payload);
        if let Some(properties) = properties {
            let mut inner = Self::default();
            inner.properties(properties);
            self.bytes(&inner.0);
        }
        if let Some(confirm) = &step.confirm {
            let mut inner = Self::default();
            inner.confirm(confirm);
            self.bytes(&inner.0);
        }
    }

    fn confirm(&mut self, of: &Confirm) {
        self.bytes(of.topic.as_str().as_bytes());
        self.number(of.within_ms);
        self.0.push(u8::from(of.already));
        match &of.matches {
            Matches::Any => self.0.push(matches::ANY),
            Matches::Bytes(bytes) => {
                self.0.push(matches::BYTES);
                self.bytes(bytes);
            }
            Matches::Json { pointer, value } => {
                self.0.push(matches::JSON);
                self.bytes(pointer.as_bytes());
                self.bytes(value.as_bytes());
            }
            Matches::JsonRange { pointer, min, max } => {
                self.0.push(matches::JSON_RANGE);
                self.bytes(pointer.as_bytes());
                self.0.extend(min.to_le_bytes());
                self.0.extend(max.to_le_bytes());
            }
        }
    }

    fn properties(&mut self, of: &MessageProperties) {
        self.0.push(u8::from(of.expiry_ms.is_some()));
        self.number(of.expiry_ms.unwrap_or(0));
        self.optional(of.content_type.as_deref());
        self.optional(of.response_topic.as_ref().map(Topic::as_str));
        self.number(length(of.user.len()));
        for (name, value) in &of.user {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}

/// Reads the rest of a body, which was written by [`Body::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().expect("a body is complete");
        self.0 = rest;
        *first
    }

    pub(super) fn number(&mut self) -> u32 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u32::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn take(&mut self, count: u32) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count as usize).expect("a body is complete");
        self.0 = rest;
        taken
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let count = self.number();
        self.take(count)
    }

    pub(super) fn text(&mut self) -> &'a str {
        text(self.bytes())
    }

    pub(super) fn optional(&mut self) -> Option<&'a str> {
        let count = self.number().checked_sub(1)?;
        Some(text(self.take(count)))
    }

    /// Skips an optional text.
    pub(super) fn skip_optional(&mut self) {
        let count = self.number().saturating_sub(1);
        self.take(count);
    }

    pub(super) fn policy(&mut self) -> Policy {
        let bits = self.byte();
        let default = Policy::default();
        let mut number = |bit: u8, default: u32| if bits & bit == 0 { default } else { self.number() };
        let grace_ms = number(policy::GRACE, default.grace_ms);
        let jitter_ms = number(policy::JITTER, default.jitter_ms);
        let priority = number(policy::PRIORITY, u32::from(default.priority.cast_unsigned()));
        let give_up_after_ms = number(policy::GIVE_UP, default.retry.give_up_after_ms);
        let backoff_ms = number(policy::BACKOFF, default.retry.backoff_ms);
        let attempts = (bits & policy::ATTEMPTS != 0).then(|| number(policy::ATTEMPTS, 0));
        let retry = Retry { attempts, give_up_after_ms, backoff_ms };
        let priority = (priority as u8).cast_signed();
        let default = Policy { grace_ms, jitter_ms, priority, retry, ..default };
        if bits & policy::MORE == 0 { default } else { self.more_of_policy(&default) }
    }

    /// Skips the policy.
    pub(super) fn skip_policy(&mut self) {
        let bits = self.byte();
        for _ in 0..(bits & policy::NUMBERS).count_ones() {
            self.number();
        }
        let bits = if bits & policy::MORE == 0 { 0 } else { self.byte() };
        if bits & policy::GROUP != 0 {
            self.bytes();
        }
        if bits & (policy::QUEUE | policy::ALLOW) != 0 {
            self.number();
        }
        if bits & policy::NEEDS != 0 {
            self.bytes();
        }
    }

    fn more_of_policy(&mut self, default: &Policy) -> Policy {
        let bits = self.byte();
        let has = |bit: u8| bits & bit != 0;
        let misfire = match () {
            () if has(policy::GROUP) => Misfire::LatestOfGroup(GroupName::unchecked(self.text())),
            () if has(policy::RUN_ALL) => Misfire::RunAll,
            () => Misfire::RunOnce,
        };
        let overlap = match () {
            () if has(policy::QUEUE) => Overlap::Queue(self.number()),
            () if has(policy::ALLOW) => Overlap::Allow(self.number()),
            () if has(policy::REPLACE) => Overlap::Replace,
            () => Overlap::Skip,
        };
        let needs = has(policy::NEEDS).then(|| ResourceName::unchecked(self.text()));
        Policy { misfire, overlap, needs, ..default.clone() }
    }

    pub(super) fn confirm(mut self) -> Confirm {
        let topic = Topic::unchecked(self.text());
        let within_ms = self.number();
        let already = self.byte() != 0;
        let matches = match self.byte() {
            matches::ANY => Matches::Any,
            matches::BYTES => Matches::Bytes(self.bytes().into()),
            matches::JSON => Matches::Json { pointer: self.text().to_owned(), value: self.text().to_owned() },
            _ => Matches::JsonRange { pointer: self.text().to_owned(), min: self.float(), max: self.float() },
        };
        Confirm { topic, matches, within_ms, already }
    }

    fn float(&mut self) -> f64 {
        f64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    pub(super) fn properties(mut self) -> MessageProperties {
        let expires = self.byte() != 0;
        let expiry_ms = self.number();
        MessageProperties {
            expiry_ms: expires.then_some(expiry_ms),
            content_type: self.optional().map(str::to_owned),
            response_topic: self.optional().map(Topic::unchecked),
            user: (0..self.number()).map(|_| (self.text().to_owned(), self.text().to_owned())).collect(),
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a body holds text where it was text")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::qos::Qos;
    use crate::{body::Body, names::JobId};

    fn policies() -> impl Strategy<Value = Policy> {
        let default = Policy::default();
        let or = |default: u32| prop_oneof![Just(default), any::<u32>()];
        let retry = (option::of(any::<u32>()), or(default.retry.give_up_after_ms), or(default.retry.backoff_ms))
            .prop_map(|(attempts, give_up_after_ms, backoff_ms)| Retry { attempts, give_up_after_ms, backoff_ms });
        let group = "[a-z]{1,64}".prop_map(|text| Misfire::LatestOfGroup(GroupName::unchecked(&text)));
        let misfire = prop_oneof![Just(Misfire::RunOnce), Just(Misfire::RunAll), group];
        let overlap = prop_oneof![
            Just(Overlap::Skip),
            any::<u32>().prop_map(Overlap::Queue),
            any::<u32>().prop_map(Overlap::Allow),
            Just(Overlap::Replace)
        ];
        let needs = option::of("[a-z]{1,64}".prop_map(|text| ResourceName::unchecked(&text)));
        (or(default.grace_ms), or(default.jitter_ms), any::<i8>(), retry, misfire, overlap, needs).prop_map(
            |(grace_ms, jitter_ms, priority, retry, misfire, overlap, needs)| Policy {
                misfire,
                grace_ms,
                overlap,
                jitter_ms,
                priority,
                retry,
                needs,
            },
        )
    }

    fn properties() -> impl Strategy<Value = MessageProperties> {
        let user = vec((".{0,8}", ".{0,300}"), 0..3);
        (option::of(any::<u32>()), option::of(".{0,200}"), option::of("[a-z]{1,8}"), user).prop_map(
            |(expiry_ms, content_type, response_topic, user)| {
                let response_topic = response_topic.map(|text| Topic::parse(&text).expect("valid"));
                MessageProperties { expiry_ms, content_type, response_topic, user }
            },
        )
    }

    fn confirms() -> impl Strategy<Value = Confirm> {
        let matches = prop_oneof![
            Just(Matches::Any),
            vec(any::<u8>(), 0..300).prop_map(|bytes| Matches::Bytes(bytes.into())),
            (".{0,20}", ".{0,200}").prop_map(|(pointer, value)| Matches::Json { pointer, value }),
            (".{0,20}", -1e9..1e9, -1e9..1e9).prop_map(|(pointer, min, max)| Matches::JsonRange { pointer, min, max }),
        ];
        ("[a-z]{1,8}", matches, any::<u32>(), any::<bool>()).prop_map(|(topic, matches, within_ms, already)| Confirm {
            topic: Topic::unchecked(&topic),
            matches,
            within_ms,
            already,
        })
    }

    fn steps() -> impl Strategy<Value = Step> {
        let qos = prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)];
        let payload = vec(any::<u8>(), 0..300);
        let message = ("[a-zß/]{1,200}", payload, qos, any::<bool>(), option::of(properties())).prop_map(
            |(topic, payload, qos, retain, properties)| {
                let topic = Topic::parse(&topic).unwrap_or_else(|_| Topic::unchecked("a"));
                Message { topic, payload: payload.into(), qos, retain, properties: properties.map(Arc::new) }
            },
        );
        (any::<u32>(), message, any::<bool>(), option::of(confirms())).prop_map(|(after_ms, message, once, confirm)| {
            Step { after_ms, message, once, confirm: confirm.map(Arc::new) }
        })
    }

    proptest! {
        #[test]
        fn decoding_returns_what_was_encoded(
            id in "[a-z]{1,64}",
            label in option::of(".{0,200}"),
            policy in policies(),
            steps in vec(steps(), 1..5),
        ) {
            let id = JobId::parse(&id).expect("valid");
            let body = Body::new(&id, label.as_deref(), &policy, &steps);
            prop_assert_eq!(body.job_id(), id);
            prop_assert_eq!(body.label(), label.as_deref());
            prop_assert_eq!(body.policy(), policy);
            prop_assert_eq!(body.step_count(), steps.len());
            prop_assert_eq!(body.step(steps.len()), None);
            let back: Vec<Step> = body.steps().map(|step| step.to_step()).collect();
            prop_assert_eq!(back, steps);
        }
    }

    #[test]
    fn an_ordinary_job_is_small() {
        let topic = Topic::parse("coop/north/door/open").expect("valid");
        let message =
            Message { topic, payload: (*b"{}").into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
        let id = JobId::parse("open").expect("valid");
        let body =
            Body::new(&id, None, &Policy::default(), &[Step { after_ms: 0, message, once: false, confirm: None }]);
        assert_eq!(body.0.len(), 34);
    }
}
