//! Errors of plans and tasks.

use std::fmt;

/// The reason for a failure: a sentence for the operator of the device.
///
/// `?` converts every standard error. The host keeps the device's previous plan, and shows the text.
///
/// ```
/// use roost_plugin_sdk::{Error, Result};
///
/// fn zone(number: &str) -> Result<u8> {
///     let zone: u8 = number.parse()?;
///     if zone == 0 {
///         return Err(Error::new("zone 0 does not exist, they are counted from 1"));
///     }
///     Ok(zone)
/// }
/// assert_eq!(zone("0").unwrap_err().to_string(), "zone 0 does not exist, they are counted from 1");
/// assert_eq!(zone("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

/// A result with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an error from a sentence that states what is wrong and what to do about it.
    pub fn new(sentence: impl fmt::Display) -> Self {
        Self(sentence.to_string())
    }

    /// Adds what was being done: `open the north door: no such door`.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes the sentence, which a failing test shows.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
