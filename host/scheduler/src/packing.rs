//! The encoding of values in a [`Body`](crate::body::Body), in memory alone: numbers take 7 bits a byte, the lowest first; texts are
//! preceded by their length. Each type states its fields with a macro of this file.

use std::sync::Arc;

use crate::{
    names::{GroupName, ResourceName},
    topic::Topic,
};

/// A value with an encoding.
pub(crate) trait Code {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Self;
}

/// Encodes structs field by field.
macro_rules! encoded_structs {
    ($($name:ident { $($field:ident),+ })+) => {$(
        impl $crate::packing::Code for $name {
            fn write(&self, to: &mut $crate::packing::Writer) {
                $($crate::packing::Code::write(&self.$field, to);)+
            }

            fn read(from: &mut $crate::packing::Reader<'_>) -> Self {
                Self { $($field: $crate::packing::Code::read(from)),+ }
            }
        }
    )+};
}
pub(crate) use encoded_structs;

/// Encodes an enum: the number of the variant, then its fields.
macro_rules! encoded_enum {
    ($name:ident { $($number:literal $variant:ident { $($field:tt: $value:ident),* }),+ }) => {
        impl $crate::packing::Code for $name {
            fn write(&self, to: &mut $crate::packing::Writer) {
                match self {
                    $(Self::$variant { $($field: $value),* } => {
                        to.0.push($number);
                        $($crate::packing::Code::write($value, to);)*
                    })+
                }
            }

            fn read(from: &mut $crate::packing::Reader<'_>) -> Self {
                match from.byte() {
                    $($number => Self::$variant { $($field: $crate::packing::Code::read(from)),* },)+
                    other => unreachable!("a body holds variants that there are, not {other}"),
                }
            }
        }
    };
}
pub(crate) use encoded_enum;

/// Encodes types that have no fields of their own.
macro_rules! encoded_values {
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

encoded_values! {
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

pub(crate) fn length(of: usize) -> u32 {
    u32::try_from(of).expect("nothing in a job is 4 GiB long")
}

/// Writes a body.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(length(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    /// Writes an optional text: its length plus one, or 0 for none.
    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| length(text.len()) + 1));
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    /// Writes a value after its length, so that it can be skipped.
    pub(crate) fn block(&mut self, value: &impl Code) {
        let mut inner = Self::default();
        value.write(&mut inner);
        self.bytes(&inner.0);
    }
}

/// Reads the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().expect("a body is complete");
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> u32 {
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

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let count = self.number();
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> &'a str {
        text(self.bytes())
    }

    /// Reads the bytes of an optional text.
    pub(crate) fn optional(&mut self) -> Option<&'a [u8]> {
        let count = self.number().checked_sub(1)?;
        Some(self.take(count))
    }

    /// Reads the value of a block.
    pub(crate) fn value<T: Code>(mut self) -> T {
        T::read(&mut self)
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a body holds text where it was text")
}
