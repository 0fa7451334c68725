//! A time without the broker: how long to wait before the next try, and what to say meanwhile.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use roost_scheduler::time::Instant;

use super::{Settings, connection::Verdict, failure::Failure, url::BrokerUrl, wire::Version};
use crate::{clock, report::Report};

/// How many of the longest pauses lie between two tries where only a person can help: some brokers lock out clients that
/// often come with a wrong password.
const FOR_A_PERSON: u32 = 6;

#[derive(Default)]
pub(super) struct Reconnect {
    /// Tries since the broker was last well: the exponent of the pause.
    tries: u32,
    /// Failures since the last connection.
    failures: u32,
    /// When the first of them was.
    since: Option<Instant>,
    /// What was logged last of each address.
    logged: HashMap<String, String>,
}

/// Whether there was a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Until now, and what its end says.
    Now(Verdict),
    /// There was none.
    Never {
        /// Whether that was so at all addresses, one after the other.
        is_round_over: bool,
    },
}

impl Reconnect {
    /// Logs that a connection failed or was lost, unless that was logged just before; returns how long to wait.
    pub(super) fn failed(&mut self, settings: &Settings, url: &BrokerUrl, failure: &Failure, lost: Lost) -> Duration {
        let now = clock::now();
        self.since.get_or_insert(now);
        if lost == Lost::Now(Verdict::Named) {
            // The next connection leaves out what this one may have ended at.
            self.tries = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let what = match lost {
            Lost::Now(_) => "lost the connection to the broker",
            Lost::Never { .. } => "no connection to the broker",
        };
        let (pause, next) = if lost == (Lost::Never { is_round_over: false }) {
            (Duration::ZERO, "the next address is tried at once".to_owned())
        } else {
            let pause = self.pause(settings, failure, now);
            self.tries = self.tries.saturating_add(1);
            (pause, format!("next try in {:.1} s", pause.as_secs_f32()))
        };
        let why = failure.to_string();
        let mut report = Report::new(format!("{what} `{url}`, {next}")).cause(&why);
        if let Some(hint) = failure.hint(url.tls) {
            report = report.hint(hint);
        }
        let said = self.logged.insert(url.to_string(), why.clone());
        if said == Some(why) {
            tracing::debug!("{report}");
        } else if failure.needs_a_person() {
            tracing::error!("{report}");
        } else {
            tracing::warn!("{report}");
        }
        pause
    }

    /// Logs that there is a connection.
    pub(super) fn ended(&mut self, url: &BrokerUrl, version: Version, credit: u16) {
        let how = if url.tls { format!("{version} over TLS") } else { version.to_string() };
        match self.since {
            Some(since) => {
                let (failures, seconds) = (self.failures, clock::now().ms_since(since).max(0) / 1_000);
                let tries = if failures == 1 { "1 failure".to_owned() } else { format!("{failures} failures") };
                tracing::info!(credit, "connected to the broker `{url}`, {how}, after {tries} in {seconds} s");
            }
            None => tracing::info!(credit, "connected to the broker `{url}`, {how}"),
        }
        *self = Self { tries: self.tries, ..Self::default() };
    }

    /// The connection held for a while: the next pause is short again. A broker that lets us in and out again would
    /// otherwise be called on without end.
    pub(super) const fn was_steady(&mut self) {
        self.tries = 0;
    }

    /// Between half of it and all of it, so that many hosts do not come back at the same moment.
    fn pause(&self, settings: &Settings, failure: &Failure, now: Instant) -> Duration {
        let pace = &settings.pace;
        let doubled = pace.first_pause.saturating_mul(2_u32.saturating_pow(self.tries.min(16)));
        let full = if failure.needs_a_person() {
            pace.longest_pause.saturating_mul(FOR_A_PERSON)
        } else {
            doubled.min(pace.longest_pause)
        };
        let mut hasher = DefaultHasher::new();
        (&settings.client_id, self.tries, now).hash(&mut hasher);
        let share = (hasher.finish() % 1_000) as u32;
        full / 2 + full / 2 * share / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{reason::Reason, tests::settings};

    const NEVER: Lost = Lost::Never { is_round_over: true };

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_steady_connection() {
        let settings = settings(1883);
        let (first, longest) = (settings.pace.first_pause, settings.pace.longest_pause);
        let mut outage = Reconnect::default();
        for expected in (0..40).map(|n| first.saturating_mul(1 << n.min(20)).min(longest)) {
            let pause = outage.failed(&settings, &settings.urls[0], &Failure::Closed, NEVER);
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} for {expected:?}");
        }
        outage.ended(&settings.urls[0], Version::Five, 1);
        assert!(
            outage.failed(&settings, &settings.urls[0], &Failure::Closed, Lost::Now(Verdict::Nothing)) > first,
            "a short connection changes nothing"
        );
        outage.was_steady();
        assert!(outage.failed(&settings, &settings.urls[0], &Failure::Closed, Lost::Now(Verdict::Nothing)) <= first);
    }

    #[test]
    fn what_needs_a_person_is_tried_seldom() {
        let settings = settings(1883);
        let login = Failure::Login(Reason { code: 0x86, text: None });
        assert!(
            Reconnect::default().failed(&settings, &settings.urls[0], &login, NEVER)
                >= settings.pace.longest_pause * FOR_A_PERSON / 2
        );
    }
}
