//! The permanent names of plugins, devices, jobs, tasks, groups, resources, calendars and runs.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{limits, text::excerpt, time::Instant};

/// A text that is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

const PLUGIN_RULE: &str = "1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`";
const NAME_RULE: &str = "1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit";

fn is_plugin_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= limits::PLUGIN_NAME_BYTES
        && !["roost", "api"].contains(&name)
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
            /// Parses a name.
            ///
            /// # Errors
            /// Returns an error if a character or the length is not allowed.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                if $valid(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { what: $what, name: excerpt(name), rule: $rule })
                }
            }

            /// Returns the name as text.
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
    /// A plugin's name: the stem of its file. `coop-door` is `coop-door.wasm`.
    PluginName, "plugin name", is_plugin_name, PLUGIN_RULE
);
impl PluginName {
    /// Returns the name of the host itself, which owns ad-hoc jobs that belong to no plugin.
    #[must_use]
    pub fn host() -> Self {
        Self("roost".into())
    }

    /// Parses the name of an owner of jobs and runs: a plugin, or the host itself.
    ///
    /// # Errors
    /// Returns an error if a character or the length is not allowed.
    pub fn parse_owner(name: &str) -> Result<Self, NameError> {
        if name == "roost" { Ok(Self::host()) } else { Self::parse(name) }
    }
}

name!(
    /// A device's name, unique within its plugin.
    DeviceName, "device name", is_name, NAME_RULE
);
name!(
    /// A job's id, unique within its device and constant from plan to plan.
    JobId, "job id", is_name, NAME_RULE
);

name!(
    /// The name of a task, which a plugin runs when a job is due.
    TaskName, "task name", is_name, NAME_RULE
);
name!(
    /// The name of a group of jobs of a device, of which only the newest run counts: `open` and `close` of a door.
    GroupName, "group name", is_name, NAME_RULE
);
name!(
    /// The name of a resource of which the operator has a limited number, such as a pump.
    ResourceName, "resource name", is_name, NAME_RULE
);

const CALENDAR_RULE: &str = "1 to 63 of `a-z 0-9 -`, the first one a letter, and not like days (`may`, `mon-fri`), nor `on`, `in`, `every` or `except`";

fn is_calendar_name(name: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    // These begin the lists in which calendars are named.
    const CLAUSES: [&str; 4] = ["on", "in", "every", "except"];
    let is_short = |part: &str| DAYS.contains(&part) || MONTHS.contains(&part);
    name.len() <= limits::PLUGIN_NAME_BYTES
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        // `mon-fri` and `mar-15` are days, too.
        && !name.split('-').next().is_some_and(is_short)
        && !CLAUSES.contains(&name)
}

name!(
    /// The name of a calendar that the operator has configured, such as `holidays`.
    CalendarName, "calendar name", is_calendar_name, CALENDAR_RULE
);

macro_rules! unchecked {
    ($($type:ident)+) => {$(
        impl $type {
            /// Returns the name for a text that was checked before.
            pub(crate) fn unchecked(name: &str) -> Self {
                Self(name.into())
            }
        }
    )+};
}

unchecked! { GroupName JobId ResourceName TaskName }

/// The permanent id of a run: one occurrence of one job (I2).
///
/// As text it is `coop-door/north/open/2027-03-01T06:30:00Z`, which a message carries as `roost-run`. If the origin is
/// not the trigger, `/series-2`, `/manual` or `/replay-2027-03-02T10:00:00Z` follows (with `-2` appended if the clock
/// had been set back twice by then).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// The plugin's name.
    pub plugin: PluginName,
    /// The device's name.
    pub device: DeviceName,
    /// The job's id.
    pub job: JobId,
    /// The nominal time, before jitter.
    pub occurrence: Instant,
    /// What made the run.
    pub origin: Origin,
}

/// The origin of a run: each origin has occurrences of its own, so that none is confused with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The job's trigger.
    #[default]
    Trigger,
    /// The job's trigger after the clock was set back for this number of times: an occurrence may come again, as
    /// another run.
    Series(u32),
    /// A request to run it now.
    Manual {
        /// How many times the clock had been set back.
        series: u32,
    },
    /// A request to replay a failed run.
    Replay {
        /// When it was requested.
        at: Instant,
        /// How many times the clock had been set back.
        series: u32,
    },
}

impl Origin {
    /// Returns whether a trigger made it, not a request.
    #[must_use]
    pub const fn is_trigger(self) -> bool {
        matches!(self, Self::Trigger | Self::Series(_))
    }
}

/// Writes what follows in a run's id; nothing for a trigger: `series-2`, `replay-2027-03-02T10:00:00Z`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger => Ok(()),
            Self::Series(number) => write!(f, "series-{number}"),
            Self::Manual { series: 0 } => f.write_str("manual"),
            Self::Manual { series } => write!(f, "manual-{series}"),
            Self::Replay { at, series: 0 } => write!(f, "replay-{at}"),
            Self::Replay { at, series } => write!(f, "replay-{at}-{series}"),
        }
    }
}

/// Text that is not a run's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id: it must be like `coop-door/north/open/2027-03-01T06:30:00Z`")]
pub struct RunIdError(String);

impl FromStr for Origin {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let origin = match text.split_once('-') {
            None if text.is_empty() => Some(Self::Trigger),
            None if text == "manual" => Some(Self::Manual { series: 0 }),
            Some(("manual", number)) => {
                number.parse().ok().filter(|number| *number > 0).map(|series| Self::Manual { series })
            }
            Some(("series", number)) => number.parse().ok().filter(|number| *number > 0).map(Self::Series),
            Some(("replay", text)) => replay(text),
            _ => None,
        };
        origin.ok_or_else(|| RunIdError(excerpt(text)))
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let mut parts = text.splitn(5, '/');
        let mut next = || parts.next().ok_or_else(|| RunIdError(excerpt(text)));
        let wrong = |_| RunIdError(excerpt(text));
        Ok(Self {
            plugin: PluginName::parse_owner(next()?).map_err(wrong)?,
            device: DeviceName::parse(next()?).map_err(wrong)?,
            job: JobId::parse(next()?).map_err(wrong)?,
            occurrence: parse_instant(next()?).ok_or_else(|| RunIdError(excerpt(text)))?,
            origin: parts.next().unwrap_or_default().parse().map_err(|_| RunIdError(excerpt(text)))?,
        })
    }
}

/// Parses `2027-03-02T10:00:00Z`, with `-2` appended after the clock was set back.
fn replay(text: &str) -> Option<Origin> {
    let (at, series) = match text.rsplit_once("Z-") {
        None => (parse_instant(text), Some(0)),
        Some((at, series)) => (parse_instant(&format!("{at}Z")), series.parse().ok().filter(|series| *series > 0)),
    };
    Some(Origin::Replay { at: at?, series: series? })
}

fn parse_instant(text: &str) -> Option<Instant> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Instant::from_millis(at.timestamp_millis())
}

/// A job's full name: its plugin, its device and its id.
pub type JobName = (PluginName, DeviceName, JobId);

impl RunId {
    /// Returns when it was due, or when the replay was requested.
    #[must_use]
    pub const fn moment(&self) -> Instant {
        match self.origin {
            Origin::Replay { at, .. } => at,
            Origin::Trigger | Origin::Series(_) | Origin::Manual { .. } => self.occurrence,
        }
    }

    /// Returns the full name of its job.
    #[must_use]
    pub fn into_job_name(self) -> JobName {
        (self.plugin, self.device, self.job)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.plugin, self.device, self.job, self.occurrence)?;
        if self.origin == Origin::Trigger { Ok(()) } else { write!(f, "/{}", self.origin) }
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
        for bad in ["", "roost", "api", "Coop", "-a", "a_b", "a.b", &"a".repeat(64), "ä"] {
            assert!(PluginName::parse(bad).is_err(), "{bad}");
        }
        for good in ["open", "A.b_c-1", &"z".repeat(64)] {
            assert!(JobId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "a b", "a/b", "a+", &"z".repeat(65)] {
            assert!(DeviceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_runs_id_comes_back_from_its_text() {
        for text in [
            "coop-door/north/open/2027-03-01T06:30:00Z",
            "coop-door/north/open/2027-03-01T06:30:00.250Z",
            "coop-door/north/tick/2027-03-01T06:30:00Z/series-2",
            "coop-door/north/tick/2027-03-01T06:30:00.017Z/manual",
            "coop-door/north/tick/2027-03-01T06:30:00Z/manual-3",
            "roost/api/siesta/2027-03-01T06:30:00Z",
            "coop-door/north/open/2027-03-01T06:30:00Z/replay-2027-03-02T10:00:00.001Z",
            "coop-door/north/open/2027-03-01T06:30:00Z/replay-2027-03-02T10:00:00Z-2",
        ] {
            assert_eq!(text.parse::<RunId>().map(|run| run.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "a/b/c", "a/b/c/d", "a/b/c/2027-03-01T06:30:00Z/x", "a/b/c/2027-03-01T06:30:00Z/series-0"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
