//! Mistakes in settings, with the key where they are.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// A mistake. Boxed, because it is part of every result while settings are deserialized.
#[derive(Debug)]
pub(super) struct Mistake(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// The key, such as `zones[1].minutes`; empty for the settings as a whole.
    key: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Sentence(String),
    /// What should be there; the reader adds what was found instead.
    Expected(String),
}

impl Mistake {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self::of(What::Sentence(sentence.into()))
    }

    fn of(what: What) -> Self {
        Self(Box::new(Inner { key: String::new(), what }))
    }

    /// Adds what was found, if only the expectation is known.
    #[cold]
    pub(super) fn with_found(mut self, found: &dyn fmt::Display) -> Self {
        if let What::Expected(expected) = &self.0.what {
            self.0.what = What::Sentence(format!("{found} is not {}", plain(expected)));
        }
        self
    }

    /// Adds the key of a table.
    #[cold]
    pub(super) fn at_key(mut self, key: &str) -> Self {
        let inner = &mut self.0;
        let dot = if inner.key.is_empty() || inner.key.starts_with('[') { "" } else { "." };
        inner.key = format!("{key}{dot}{}", inner.key);
        self
    }

    /// Adds the index of a list entry.
    #[cold]
    pub(super) fn at_entry(self, index: usize) -> Self {
        self.at_key(&format!("[{index}]"))
    }
}

/// Replaces Rust's names of types by plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65,535",
        "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        Self::new(sentence.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of(What::Expected(expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of(What::Expected(expected.to_string()))
    }
}

impl std::error::Error for Mistake {}

/// Writes what follows the name of the subject: `` `zones[1].minutes`: … ``.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.key.is_empty() {
            write!(f, " `{}`", self.0.key)?;
        }
        match &self.0.what {
            What::Sentence(sentence) => write!(f, ": {sentence}"),
            What::Expected(expected) => write!(f, ": it is not {}", plain(expected)),
        }
    }
}
