//! The status of each plugin, for the HTTP edge and the metrics. It can be read from any thread, and nothing else
//! depends on it.

mod usage;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roost_scheduler::{
    event::{Digest, Version},
    names::PluginName,
    time::Instant,
};

pub(crate) use self::usage::Usage;
pub(super) use self::usage::{Call, UsageCounter};
use super::{first_loads::FirstLoads, limits};
use crate::{clock, config::call_limits::CallLimits, report::Report};

/// The statuses of all plugins that have a file in the folder or a running version. Each takes a few kilobytes at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct PluginStatuses {
    entries: Arc<Mutex<BTreeMap<PluginName, Entry>>>,
    pub(crate) first_loads: FirstLoads,
}

/// The state of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The version in the folder runs.
    Running,
    /// A version runs, but the newest files were refused.
    Outdated,
    /// No version runs yet: the first one is being loaded.
    Loading,
    /// No version runs, because the newest files were refused.
    Refused,
}

/// The status of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct PluginStatus {
    pub(crate) state: State,
    /// When it entered that state.
    pub(crate) since: Instant,
    /// Whether a version is being loaded.
    pub(crate) is_loading: bool,
    /// The running version, and the limits of its calls.
    pub(crate) running: Option<(Version, CallLimits)>,
    /// The component before the running one.
    pub(crate) previous: Option<Digest>,
    /// Why the newest files were refused.
    pub(crate) fault: Option<Fault>,
    /// The usage of its calls since the host started, for all versions.
    pub(crate) used: Usage,
}

/// Why files were refused.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) report: Report,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    is_loading: bool,
    running: Option<(Version, CallLimits)>,
    previous: Option<Digest>,
    fault: Option<Fault>,
    usage: Arc<UsageCounter>,
}

impl Entry {
    fn new() -> Self {
        let (running, previous, fault) = (None, None, None);
        Self { since: clock::now(), is_loading: false, running, previous, fault, usage: Arc::default() }
    }

    fn state(&self) -> State {
        match (&self.running, &self.fault) {
            (Some(_), None) => State::Running,
            (Some(_), Some(_)) => State::Outdated,
            (None, Some(_)) => State::Refused,
            (None, None) => State::Loading,
        }
    }

    fn status(&self) -> PluginStatus {
        PluginStatus {
            state: self.state(),
            since: self.since,
            is_loading: self.is_loading,
            running: self.running,
            previous: self.previous,
            fault: self.fault.clone(),
            used: self.usage.used(),
        }
    }
}

impl PluginStatuses {
    /// Returns the status of a plugin.
    pub(crate) fn plugin(&self, name: &PluginName) -> Option<PluginStatus> {
        self.entries().get(name).map(Entry::status)
    }

    /// Returns at most `most` plugins by name, those after `after`.
    pub(crate) fn plugins_after(&self, after: Option<&PluginName>, most: usize) -> Vec<(PluginName, PluginStatus)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let entries = self.entries();
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        let found = entries.range::<PluginName, _>(from).take(most);
        found.map(|(name, entry)| (name.clone(), entry.status())).collect()
    }

    /// The number of plugins whose newest files were refused.
    pub(crate) fn faults(&self) -> usize {
        self.entries().values().filter(|entry| entry.fault.is_some()).count()
    }

    /// The running versions.
    pub(crate) fn versions(&self) -> Vec<(PluginName, Version)> {
        let entries = self.entries();
        let versions = entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.running?.0)));
        versions.collect()
    }

    /// The plugins with a running version.
    pub(super) fn running(&self) -> Vec<PluginName> {
        self.entries().iter().filter(|(_, entry)| entry.running.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the counter of a plugin's calls, which all its versions share.
    pub(super) fn usage(&self, name: &PluginName) -> Arc<UsageCounter> {
        self.entries().entry(name.clone()).or_insert_with(Entry::new).usage.clone()
    }

    /// Records that a version is being loaded.
    pub(super) fn set_loading(&self, name: &PluginName) {
        self.change(name, |entry| entry.is_loading = true);
    }

    /// Records that the version in the folder runs.
    pub(super) fn set_running(
        &self,
        name: &PluginName,
        version: Version,
        limits: CallLimits,
        previous: Option<Digest>,
    ) {
        self.change(name, |entry| {
            entry.running = Some((version, limits));
            (entry.is_loading, entry.previous, entry.fault) = (false, previous, None);
        });
    }

    /// Records that the newest files were refused.
    pub(super) fn set_refused(&self, name: &PluginName, report: Report) {
        let fault = Fault { report: bounded(report), at: clock::now() };
        self.change(name, |entry| (entry.is_loading, entry.fault) = (false, Some(fault)));
    }

    /// Records that the files in the folder are those of the running version.
    pub(super) fn clear_fault(&self, name: &PluginName) {
        self.change(name, |entry| (entry.is_loading, entry.fault) = (false, None));
    }

    /// Removes a plugin.
    pub(super) fn remove(&self, name: &PluginName) {
        self.entries().remove(name);
    }

    fn change(&self, name: &PluginName, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries();
        let entry = entries.entry(name.clone()).or_insert_with(Entry::new);
        let (state, version) = (entry.state(), entry.running.map(|(version, _)| version));
        change(entry);
        if entry.state() != state || entry.running.map(|(version, _)| version) != version {
            entry.since = clock::now();
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<PluginName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// CallLimits the length of a report, which may contain a guest's text.
fn bounded(report: Report) -> Report {
    let cut = |text: String| {
        let kept = text.floor_char_boundary(limits::REPORT_BYTES);
        if kept < text.len() { format!("{} …", &text[..kept]) } else { text }
    };
    let Report { what, causes, hint } = report;
    let causes = causes.into_iter().take(limits::REPORT_CAUSES).map(cut).collect();
    Report { what: cut(what), causes, hint: hint.map(cut) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_from_what_runs_and_what_was_refused() {
        let (statuses, name) = (PluginStatuses::default(), PluginName::parse("porch").unwrap());
        let state = || statuses.plugin(&name).map(|status| (status.state, status.is_loading));
        let (version, no) = (Version::NONE, || Report::new("no"));
        assert_eq!(state(), None);
        statuses.set_loading(&name);
        assert_eq!(state(), Some((State::Loading, true)));
        statuses.set_refused(&name, no());
        assert_eq!(state(), Some((State::Refused, false)));
        statuses.set_loading(&name);
        assert_eq!(state(), Some((State::Refused, true)));
        statuses.set_running(&name, version, CallLimits::default(), None);
        assert_eq!(state(), Some((State::Running, false)));
        statuses.set_refused(&name, no());
        assert_eq!(state(), Some((State::Outdated, false)));
        statuses.clear_fault(&name);
        assert_eq!(state(), Some((State::Running, false)));
        statuses.remove(&name);
        assert_eq!(state(), None);
    }

    #[test]
    fn a_report_is_bounded() {
        let long = || "é".repeat(1 << 20);
        let report = (0..100).fold(Report::new(long()).hint(long()), |report, _| report.cause(long()));
        let Report { what, causes, hint } = bounded(report);
        assert!(what.len() + hint.unwrap().len() < 3 * limits::REPORT_BYTES);
        assert_eq!(causes.len(), limits::REPORT_CAUSES);
    }
}
