//! The plugin's log: `log::info!("{} zones", zones.len())`.
//!
//! At most 4 KiB of a line are kept, and at most 1,000 lines a minute. In a plugin's own tests the lines are written to
//! standard error, where `cargo test` shows them if a test fails.
//!
//! ```
//! use roost_plugin_sdk::log;
//!
//! log::info!("zone {} is off this month", 3);
//! log::warn!("`pump` is not a known valve");
//! ```

/// The severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every detail.
    Trace,
    /// For debugging the plugin.
    Debug,
    /// For the operator.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something does not work.
    Error,
}

/// Writes a line to the log. The macros of this module format it.
pub fn write(level: Level, line: &str) {
    crate::host::log(level, line);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Trace, &::std::format!($($line)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($line)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($line)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($line)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($line:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($line)*)) };
}

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace, __log_warn as warn,
};
