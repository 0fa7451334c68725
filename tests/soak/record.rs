//! What is known of each run: its row and its messages.

use std::collections::BTreeMap;

use roost_scheduler::names::RunId;

use crate::{
    disk::Row,
    history::{History, Kill, Received},
    load::jobs,
};

/// The rows and the messages by run.
pub(crate) struct Record<'a> {
    history: &'a History,
    pub(crate) rows: BTreeMap<&'a RunId, &'a Row>,
    /// In the order of arrival.
    pub(crate) messages: BTreeMap<RunId, Vec<&'a Received>>,
    /// Messages without a run.
    pub(crate) of_no_run: Vec<&'a Received>,
}

impl<'a> Record<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let rows = history.rows.iter().map(|row| (&row.run, row)).collect();
        let mut record = Self { history, rows, messages: BTreeMap::new(), of_no_run: Vec::new() };
        for received in &history.messages {
            match received.message.property("roost-run").map(str::parse) {
                Some(Ok(run)) => record.messages.entry(run).or_default().push(received),
                _ => record.of_no_run.push(received),
            }
        }
        record
    }

    /// Returns the messages of a run.
    pub(crate) fn messages(&self, run: &RunId) -> &[&'a Received] {
        self.messages.get(run).map_or(&[], Vec::as_slice)
    }

    /// Returns the first message of a run with a payload.
    pub(crate) fn first(&self, run: &RunId, word: &str) -> Option<&'a Received> {
        self.messages(run).iter().find(|received| received.message.payload == word).copied()
    }

    /// Returns the newer run of its group that has replaced a run.
    pub(crate) fn newer(&self, run: &RunId) -> Option<RunId> {
        let row = self.rows.get(run).filter(|row| row.state == "cancelled")?;
        let (job, rest) = row.reason.strip_prefix("a newer run of its group, `")?.split_once("` of ")?;
        let at = rest.strip_suffix(", replaced it")?;
        Some(format!("{}/{}/{job}/{at}", run.plugin, run.device).parse().expect("a run"))
    }

    /// Checks whether a step of a run was received, after all messages of an earlier run. An owed one may be left to a
    /// newer run that owes the same (I5): then it must be a message of that run, after all messages of this one. A step
    /// marked `once` may be missing if the host was killed when it was armed (I4).
    pub(crate) fn is_kept(&self, run: &RunId, word: &str, after: usize) -> bool {
        let own = self.messages(run);
        if own.iter().any(|received| received.place >= after && received.message.payload == word) {
            return true;
        }
        if word == "once" && self.was_armed(run) {
            return true;
        }
        let owes = |newer: &RunId| owed(run).contains(&word) && owed(newer).contains(&word);
        let after = own.last().map_or(after, |last| after.max(last.place));
        self.newer(run).filter(owes).is_some_and(|newer| self.is_kept(&newer, word, after))
    }

    /// Checks whether a run that did not succeed was armed on disk when a host was killed: its step marked `once` counts as
    /// possibly sent.
    pub(crate) fn was_armed(&self, run: &RunId) -> bool {
        let row = self.rows.get(run);
        let may_be_armed = |kill: &Kill| match &kill.disk {
            Some(disk) => disk.get(run).is_some_and(|kept| kept.armed),
            None => row.is_some_and(|row| kill.is_during(row)),
        };
        row.is_none_or(|row| row.state != "succeeded") && self.history.kills.iter().any(may_be_armed)
    }
}

/// Returns the payloads of the steps that a run owes after its first one.
pub(crate) fn owed(run: &RunId) -> &'static [&'static str] {
    words(run).get(1..).unwrap_or_default()
}

/// Returns the payloads of a run's steps.
pub(crate) fn words(run: &RunId) -> &'static [&'static str] {
    jobs().into_iter().find(|job| job.id == run.job.as_str()).map_or(&[], |job| job.words)
}
