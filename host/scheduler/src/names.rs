//! The names that identify things for ever.

use std::{fmt, sync::Arc};

use crate::{limits, time::Instant};

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

const PLUGIN_RULE: &str = "1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost`";
const NAME_RULE: &str = "1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit";

fn is_plugin_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= limits::PLUGIN_NAME_BYTES
        && name != "roost"
        && name.bytes().next().is_some_and(allowed)
        && name.bytes().all(|byte| allowed(byte) || byte == b'-')
}

fn is_name(name: &str) -> bool {
    name.len() <= limits::NAME_BYTES
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $valid:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks it.
            ///
            /// # Errors
            /// Where a character or the length is not allowed.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                if $valid(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { what: $what, name: name.into(), rule: $rule })
                }
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A plugin: the stem of its file. `coop-door` is `coop-door.wasm`.
    PluginName, "plugin name", is_plugin_name, PLUGIN_RULE
);
name!(
    /// A device, unique within its plugin.
    DeviceName, "device name", is_name, NAME_RULE
);
name!(
    /// A job, unique within its device, the same from plan to plan.
    JobId, "job id", is_name, NAME_RULE
);

impl JobId {
    /// Of text that was one before.
    pub(crate) fn known(name: &str) -> Self {
        Self(name.into())
    }
}

/// One occurrence of one job, for ever (I2).
///
/// As text `coop-door/north/open/2027-03-01T06:30:00Z`: what a message carries as `roost-run`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// Whose.
    pub plugin: PluginName,
    /// Whose.
    pub device: DeviceName,
    /// Of which job.
    pub job: JobId,
    /// The nominal time, before jitter.
    pub occurrence: Instant,
}

/// A job, among all jobs of all plugins.
pub(crate) type JobName = (PluginName, DeviceName, JobId);

impl RunId {
    /// The job it is a run of.
    pub(crate) fn of_job(self) -> JobName {
        (self.plugin, self.device, self.job)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.plugin, self.device, self.job, self.occurrence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_rules() {
        for good in ["coop-door", "a", "0x", &"a".repeat(63)] {
            assert!(PluginName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "roost", "Coop", "-a", "a_b", "a.b", &"a".repeat(64), "ä"] {
            assert!(PluginName::parse(bad).is_err(), "{bad}");
        }
        for good in ["open", "A.b_c-1", &"z".repeat(64)] {
            assert!(JobId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "a b", "a/b", "a+", &"z".repeat(65)] {
            assert!(DeviceName::parse(bad).is_err(), "{bad}");
        }
    }
}
