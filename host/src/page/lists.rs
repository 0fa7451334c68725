//! The entries of a timeline in lists: the messages of each run together, and the jobs that are due often.

use roost_scheduler::time::Instant;

use super::Failed;
use crate::http::{ApiState, CollapsedRecord, OwnerFilter, Page, TimelineEntry, TimelineRecord, collapsed};

/// A job with more runs in the period is one line.
const COLLAPSE: u32 = 6;
/// The status of a timeline with too many jobs.
const TOO_MANY: u16 = 422;

/// The entries of a period: runs with their messages, and jobs that are due often.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) runs: Vec<Vec<TimelineRecord>>,
    pub(super) repeated: Vec<CollapsedRecord>,
    /// Whether there are more.
    pub(super) is_cut: bool,
    /// Whether there are too many jobs for a list.
    pub(super) is_too_long: bool,
}

/// Reads at most `most` entries of a period: a run of several messages that are to be sent has one for each.
pub(super) async fn lists(
    state: &ApiState,
    owner: OwnerFilter,
    window: (Instant, Instant),
    most: usize,
) -> Result<Lists, Failed> {
    match collapsed(state, owner, window, COLLAPSE, most).await {
        // The faults are what matters where there are so many jobs.
        Err(problem) if problem.status == TOO_MANY => Ok(Lists { is_too_long: true, ..Lists::default() }),
        page => Ok(Lists::from(page?)),
    }
}

impl From<Page<TimelineEntry>> for Lists {
    fn from(page: Page<TimelineEntry>) -> Self {
        let mut lists = Self { is_cut: page.next.is_some(), ..Self::default() };
        for entry in page.items {
            match entry {
                TimelineEntry::Collapsed(repeated) => lists.repeated.push(*repeated),
                TimelineEntry::One(record) => lists.add(*record),
            }
        }
        lists
    }
}

impl Lists {
    /// Adds a message to its run.
    pub(super) fn add(&mut self, record: TimelineRecord) {
        // A replay has the occurrence of the run that it repeats.
        let name = |one: &TimelineRecord| one.run.as_ref().map(|run| run.run.clone());
        let is_of = |run: &&mut Vec<TimelineRecord>| {
            run.first().is_some_and(|first| {
                (&first.plugin, &first.device, &first.job) == (&record.plugin, &record.device, &record.job)
                    && first.occurrence == record.occurrence
                    && name(first) == name(&record)
            })
        };
        match self.runs.iter_mut().rev().find(is_of) {
            Some(run) => run.push(record),
            None => self.runs.push(vec![record]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_messages_of_a_run_are_together_and_a_replay_is_a_run_of_its_own() {
        let entry = |step: u32, run: Option<&str>| -> TimelineRecord {
            let run = run.map(|run| {
                json!({ "run": run, "plugin": "coop", "device": "north", "job": "close",
                "occurrence": "2027-03-01T16:44:00Z", "state": "failed" })
            });
            serde_json::from_value(json!({
                "time": "2027-03-01T16:44:00Z", "plugin": "coop", "device": "north", "job": "close", "step": step,
                "time_zone": "Europe/London", "occurrence": "2027-03-01T16:44:00Z", "state": "expected", "run": run,
            }))
            .unwrap()
        };
        let mut lists = Lists::default();
        for one in [
            entry(1, None),
            entry(2, None),
            entry(1, Some("coop/north/close/2027-03-01T16:44:00Z")),
            entry(1, Some("coop/north/close/2027-03-01T16:44:00Z/replay-2027-03-02T10:00:00Z")),
        ] {
            lists.add(one);
        }
        assert_eq!(lists.runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    }
}
