//! Pauses: how they are shown.

use chrono::DateTime;
use roost_scheduler::{
    pause::{Pause, PausedBy, Pauses},
    time::Instant,
    zone::Zone,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A pause that is in force or will be: what is due from its beginning on and before its end is skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PauseRecord {
    /// When it begins, or has begun; omitted if it began when it was set, and also covers what had not started then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) from: Option<String>,
    /// When it ends; omitted if it lasts until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) until: Option<String>,
    /// Why it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "rain", max_length = 200)]
    pub(crate) reason: Option<String>,
    /// What it was set on: `all`, the `plugin`, the `device` or the `job`.
    #[schema(pattern = "^(all|plugin|device|job)$")]
    pub(crate) by: String,
}

impl PauseRecord {
    pub(crate) fn new(by: &PausedBy, zone: Zone) -> Self {
        let (what, pause): (_, &Pause) = (by.what, &by.pause);
        let text = |at: Instant| at.in_zone(zone);
        Self {
            from: pause.from().map(text),
            until: pause.until().map(text),
            reason: pause.reason().map(str::to_owned),
            by: what.as_str().to_owned(),
        }
    }

    /// Writes it for users, after the name of what is paused: `paused until 08:00 (rain)`.
    pub(crate) fn in_words(&self, now: Instant, time: impl Fn(&str) -> String) -> String {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).map_or(Instant::MIN, Into::into);
        let from = self.from.as_deref().filter(|from| at(from) > now);
        let from = from.map(|from| format!(" from {}", time(from))).unwrap_or_default();
        let until = self.until.as_deref().map(|until| format!(" until {}", time(until))).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("paused{from}{until}{reason}")
    }

    /// Returns the pause to show of those that apply: the one in force, or the next one.
    pub(crate) fn shown(pauses: &Pauses, now: Instant, zone: Zone) -> Option<Self> {
        pauses.shown(now).map(|by| Self::new(by, zone))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use roost_scheduler::pause::Level;

    use super::*;

    /// Returns a pause, for a reason.
    pub(in super::super) fn paused_by(what: Level, from: Option<Instant>, until: Option<Instant>) -> PausedBy {
        PausedBy { what, pause: Pause::new(from, until, Some("rain")).unwrap().into() }
    }

    /// Returns a pause that lasts until it is removed.
    pub(in super::super) fn until_resumed(what: Level) -> PausedBy {
        PausedBy { what, pause: Pause::UNTIL_RESUMED.into() }
    }
}
