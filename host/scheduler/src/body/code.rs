//! The encoding of a body.

use std::sync::Arc;

use crate::{
    model::{Confirm, Matches, Message, MessageProperties, Misfire, Overlap, Policy, Retry, Step},
    names::{GroupName, ResourceName},
    topic::Topic,
};

/// Bits of the byte that describes a message; the lowest two are its QoS.
pub(super) mod how {
    pub(crate) const QOS: u8 = 3;
    pub(crate) const RETAIN: u8 = 4;
    pub(crate) const PROPERTIES: u8 = 8;
    pub(crate) const ONCE: u8 = 16;
    pub(crate) const CONFIRM: u8 = 32;
}

/// A value with an encoding.
pub(super) trait Code {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Self;
}

/// Encodes structs field by field.
macro_rules! code_of_structs {
    ($($name:ident { $($field:ident),+ })+) => {$(
        impl Code for $name {
            fn write(&self, to: &mut Writer) {
                $(self.$field.write(to);)+
            }

            fn read(from: &mut Reader<'_>) -> Self {
                Self { $($field: Code::read(from)),+ }
            }
        }
    )+};
}

/// Encodes enums: the number of the variant, then its fields.
macro_rules! code_of_enums {
    ($($name:ident { $($number:literal $variant:ident { $($field:tt: $value:ident),* }),+ })+) => {$(
        impl Code for $name {
            fn write(&self, to: &mut Writer) {
                match self {
                    $(Self::$variant { $($field: $value),* } => {
                        to.0.push($number);
                        $($value.write(to);)*
                    })+
                }
            }

            fn read(from: &mut Reader<'_>) -> Self {
                match from.byte() {
                    $($number => Self::$variant { $($field: Code::read(from)),* },)+
                    other => unreachable!("a body holds variants that there are, not {other}"),
                }
            }
        }
    )+};
}

/// Encodes types that have no fields of their own.
macro_rules! code_of_values {
    ($($type:ty: |$value:ident, $to:ident| $write:expr, |$from:ident| $read:expr;)+) => {$(
        impl Code for $type {
            fn write(&self, $to: &mut Writer) {
                let $value = self;
                $write;
            }

            fn read($from: &mut Reader<'_>) -> Self {
                $read
            }
        }
    )+};
}

code_of_enums! {
    Misfire { 0 RunOnce {}, 1 RunAll {}, 2 LatestOfGroup { 0: group } }
    Overlap { 0 Skip {}, 1 Queue { 0: most }, 2 Allow { 0: most }, 3 Replace {} }
    Matches {
        0 Any {},
        1 Bytes { 0: bytes },
        2 Json { pointer: pointer, value: value },
        3 JsonRange { pointer: pointer, min: min, max: max }
    }
}

code_of_structs! {
    Policy { misfire, grace_ms, overlap, jitter_ms, priority, retry, needs }
    Retry { attempts, give_up_after_ms, backoff_ms }
    Confirm { topic, matches, within_ms, already }
    MessageProperties { expiry_ms, content_type, response_topic, user }
}

code_of_values! {
    u32: |value, to| to.number(*value), |from| from.number();
    i8: |value, to| to.0.push(value.cast_unsigned()), |from| from.byte().cast_signed();
    bool: |value, to| to.0.push(u8::from(*value)), |from| from.byte() != 0;
    f64: |value, to| to.0.extend(value.to_le_bytes()), |from| Self::from_le_bytes(from.take(8).try_into().expect("8 bytes"));
    String: |value, to| to.bytes(value.as_bytes()), |from| from.text().to_owned();
    Arc<[u8]>: |value, to| to.bytes(value), |from| from.bytes().into();
    GroupName: |value, to| to.bytes(value.as_str().as_bytes()), |from| Self::unchecked(from.text());
    ResourceName: |value, to| to.bytes(value.as_str().as_bytes()), |from| Self::unchecked(from.text());
    Topic: |value, to| to.bytes(value.as_str().as_bytes()), |from| Self::unchecked(from.text());
}

impl<T: Code> Code for Option<T> {
    fn write(&self, to: &mut Writer) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Self {
        bool::read(from).then(|| T::read(from))
    }
}

impl<A: Code, B: Code> Code for Vec<(A, B)> {
    fn write(&self, to: &mut Writer) {
        to.number(length(self.len()));
        for (a, b) in self {
            a.write(to);
            b.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        (0..from.number()).map(|_| (A::read(from), B::read(from))).collect()
    }
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

    /// Writes a value after its length, so that it can be skipped.
    fn block(&mut self, value: &impl Code) {
        let mut inner = Self::default();
        value.write(&mut inner);
        self.bytes(&inner.0);
    }

    /// Writes a policy; the default one has no bytes.
    pub(super) fn policy(&mut self, policy: &Policy) {
        if *policy == Policy::default() { self.bytes(&[]) } else { self.block(policy) }
    }

    pub(super) fn step(&mut self, step: &Step) {
        let Message { topic, payload, qos, retain, properties } = &step.message;
        self.number(step.after_ms);
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let with = bit(properties.is_some(), how::PROPERTIES) | bit(step.confirm.is_some(), how::CONFIRM);
        self.0.push(*qos as u8 | bit(*retain, how::RETAIN) | bit(step.once, how::ONCE) | with);
        topic.write(self);
        payload.write(self);
        properties.iter().for_each(|properties| self.block(&**properties));
        step.confirm.iter().for_each(|confirm| self.block(&**confirm));
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
        match self.bytes() {
            [] => Policy::default(),
            block => Self(block).value(),
        }
    }

    /// Reads the value of a block.
    pub(super) fn value<T: Code>(mut self) -> T {
        T::read(&mut self)
    }
}

pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a body holds text where it was text")
}

#[cfg(test)]
mod tests {
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
