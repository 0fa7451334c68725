//! A run's subscription to reports of its device.

use crate::{
    event::WatchId,
    mutants::{Mutation, mutated},
    time::Instant,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) id: WatchId,
    /// Whether the broker has accepted the subscription.
    pub(crate) is_subscribed: bool,
    /// Whether the wait for a retained report has ended, if it counts.
    has_awaited_retained: bool,
    /// Whether an attempt was sent: only then do reports count.
    counts_reports: bool,
    has_reported: bool,
    /// When the wait for the report ends.
    until: Option<Instant>,
    /// The beginning of its last report that did not match.
    last_report: Option<String>,
}

/// A report of a device.
pub(crate) struct Report {
    pub(crate) matches: bool,
    pub(crate) retained: bool,
    pub(crate) excerpt: String,
}

impl Watch {
    pub(crate) const fn new(id: WatchId) -> Self {
        Self {
            id,
            is_subscribed: false,
            has_awaited_retained: false,
            counts_reports: false,
            has_reported: false,
            until: None,
            last_report: None,
        }
    }

    /// Returns whether the step can be sent: an earlier report is waited for where it counts (`already`).
    pub(crate) const fn is_ready(&self, already: bool) -> bool {
        self.is_subscribed && (self.has_awaited_retained || !already)
    }

    pub(crate) const fn retained_awaited(&mut self) {
        self.has_awaited_retained = true;
    }

    /// Subscribes anew, on a new link.
    pub(crate) const fn restart(&mut self) {
        (self.is_subscribed, self.has_awaited_retained) = (false, false);
    }

    /// An attempt is being sent: from here on, reports count.
    pub(crate) fn expect(&mut self, until: Instant) {
        (self.counts_reports, self.has_reported, self.last_report) = (true, false, None);
        self.until = Some(until);
    }

    /// Takes a report. Returns whether it confirms the step.
    pub(crate) fn take(&mut self, already: bool, report: Report) -> bool {
        // An earlier state proves nothing, unless the step accepts it.
        let is_earlier = !self.counts_reports || report.retained;
        if is_earlier && !already && !mutated(Mutation::EarlierReportCounts) {
            return false;
        }
        if report.matches {
            self.has_reported = true;
        } else {
            self.last_report = Some(report.excerpt);
        }
        report.matches
    }

    pub(crate) const fn has_reported(&self) -> bool {
        self.has_reported
    }

    /// Returns when the wait for the report ends, if an attempt was sent.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(crate) const fn take_last_report(&mut self) -> Option<String> {
        self.last_report.take()
    }

    /// Discards reports from before the first attempt.
    pub(crate) const fn discard(&mut self) {
        (self.counts_reports, self.has_reported) = (false, false);
    }

    /// Moves measured times after the clock was set.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.until = self.until.map(|until| until.plus_ms(by_ms));
    }
}
