//! Reconnection: the pauses between tries, and what is logged while there is no connection.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use roost_scheduler::time::Instant;

use super::{Settings, connection::Diagnosis, failure::Failure, limits, url::BrokerUrl, wire::Version};
use crate::{clock, report::Report};

/// The state of the tries to connect.
#[derive(Default)]
pub(super) struct Reconnect {
    /// Ends the first words of log lines: empty, or a purpose such as ` for Home Assistant`.
    suffix: String,
    /// Tries since the last steady connection: the exponent of the pause.
    tries: u32,
    /// Failures since the last connection.
    failures: u32,
    /// The time of the first of these failures.
    since: Option<Instant>,
    /// The failure that was logged last for each address.
    logged: HashMap<String, String>,
}

/// Whether a connection was established before the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// A connection was established and is lost now.
    Now(Diagnosis),
    /// No connection was established.
    Never {
        /// Whether all addresses have failed in this round.
        is_round_over: bool,
    },
}

impl Reconnect {
    /// `purpose` is what the connections are for, in the log.
    pub(super) fn new(purpose: Option<&str>) -> Self {
        Self { suffix: purpose.map(|purpose| format!(" for {purpose}")).unwrap_or_default(), ..Self::default() }
    }

    /// Logs that a connection failed or was lost, at debug level if the same was logged just before. Returns the pause
    /// before the next try.
    pub(super) fn record_failure(
        &mut self,
        settings: &Settings,
        url: &BrokerUrl,
        failure: &Failure,
        lost: Lost,
    ) -> Duration {
        let now = clock::now();
        self.since.get_or_insert(now);
        if lost == Lost::Now(Diagnosis::Suspected) {
            // The next connection holds back the packets at which this one may have ended.
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
        let mut report = Report::new(format!("{what} `{url}`{}, {next}", self.suffix)).cause(&why);
        if let Some(hint) = failure.hint(url.tls) {
            report = report.hint(hint);
        }
        let previous = self.logged.insert(url.to_string(), why.clone());
        if previous == Some(why) {
            tracing::debug!("{report}");
        } else if failure.needs_operator() {
            tracing::error!("{report}");
        } else {
            tracing::warn!("{report}");
        }
        pause
    }

    /// Logs that a connection is established.
    pub(super) fn record_connected(&mut self, url: &BrokerUrl, version: Version, credit: u16) {
        let how = if url.tls { format!("{version} over TLS") } else { version.to_string() };
        let suffix = &self.suffix;
        match self.since {
            Some(since) => {
                let (failures, seconds) = (self.failures, clock::now().ms_since(since).max(0) / 1_000);
                let tries = if failures == 1 { "1 failure".to_owned() } else { format!("{failures} failures") };
                tracing::info!(credit, "connected to the broker `{url}`{suffix}, {how}, after {tries} in {seconds} s");
            }
            None => tracing::info!(credit, "connected to the broker `{url}`{suffix}, {how}"),
        }
        *self = Self { tries: self.tries, suffix: std::mem::take(&mut self.suffix), ..Self::default() };
    }

    /// Makes the next pause short again after a steady connection. A short connection does not: otherwise a broker that
    /// accepts and closes connections would be retried without a pause.
    pub(super) const fn reset_pause(&mut self) {
        self.tries = 0;
    }

    /// Returns the pause before the next try, with jitter of up to half of it, so that many hosts do not reconnect at
    /// the same moment.
    fn pause(&self, settings: &Settings, failure: &Failure, now: Instant) -> Duration {
        let timeouts = &settings.timeouts;
        let doubled = timeouts.first_pause.saturating_mul(2_u32.saturating_pow(self.tries.min(16)));
        let full = if failure.needs_operator() {
            timeouts.longest_pause.saturating_mul(limits::OPERATOR_FACTOR)
        } else {
            doubled.min(timeouts.longest_pause)
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
    fn pauses_double_up_to_a_bound_and_restart_after_a_steady_connection() {
        let settings = settings(1883);
        let (first, longest) = (settings.timeouts.first_pause, settings.timeouts.longest_pause);
        let mut reconnect = Reconnect::default();
        for expected in (0..40).map(|n| first.saturating_mul(1 << n.min(20)).min(longest)) {
            let pause = reconnect.record_failure(&settings, &settings.urls[0], &Failure::Closed, NEVER);
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} for {expected:?}");
        }
        reconnect.record_connected(&settings.urls[0], Version::Five, 1);
        assert!(
            reconnect.record_failure(&settings, &settings.urls[0], &Failure::Closed, Lost::Now(Diagnosis::Unrelated))
                > first,
            "a short connection does not reset the pause"
        );
        reconnect.reset_pause();
        assert!(
            reconnect.record_failure(&settings, &settings.urls[0], &Failure::Closed, Lost::Now(Diagnosis::Unrelated))
                <= first
        );
    }

    #[test]
    fn a_failure_that_needs_the_operator_has_a_long_pause() {
        let settings = settings(1883);
        let login = Failure::Login(Reason { code: 0x86, text: None });
        assert!(
            Reconnect::default().record_failure(&settings, &settings.urls[0], &login, NEVER)
                >= settings.timeouts.longest_pause * limits::OPERATOR_FACTOR / 2
        );
    }
}
