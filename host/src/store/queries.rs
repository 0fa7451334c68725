//! What is asked of the stored runs, and the answers.

use roost_scheduler::{names::RunId, outcome::RunState, scheduler::NextStep, time::Instant, zone::Zone};

/// A filter for runs, with the order and the size of the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFilter {
    /// The states of the runs; empty for all.
    pub(crate) states: Vec<RunState>,
    pub(crate) plugin: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) job: Option<String>,
    /// Of ended runs, only occurrences from here on.
    pub(crate) since: Option<Instant>,
    /// Of ended runs, only occurrences before.
    pub(crate) until: Option<Instant>,
    /// Only runs that are listed after this one.
    pub(crate) after: Option<RunCursor>,
    /// The largest number of runs.
    pub(crate) limit: usize,
    /// Whether all runs are listed by occurrence, the oldest first.
    pub(crate) in_order: bool,
}

/// A place in a list: that of its last run.
#[derive(Clone, Debug)]
pub(crate) struct RunCursor {
    /// When the run's next step is due, if it is under way.
    pub(crate) due: Option<Instant>,
    pub(crate) run: RunId,
}

/// A run in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunView {
    pub(crate) id: RunId,
    pub(crate) state: RunState,
    /// The reason for its state; of a run that is under way, why it was cut short, or its first failed step.
    pub(crate) reason: Option<String>,
    pub(crate) started: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    /// The attempts at its last step.
    pub(crate) attempts: Option<u32>,
    /// The device's time zone, if it is known.
    pub(crate) zone: Option<Zone>,
    /// The plugin's note.
    pub(crate) note: Option<String>,
    /// The outcome as JSON, with all values; `None` if the run succeeded without remarks.
    pub(crate) why: Option<String>,
    /// The label of its job.
    pub(crate) label: Option<String>,
    /// The first of its messages as JSON, if it has started and ended.
    pub(crate) messages: Option<String>,
    /// The next step, if it is under way.
    pub(crate) next: Option<NextStep>,
}

/// The runs of a job around an instant.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// The run of an occurrence of the job's trigger.
    pub(crate) of_occurrence: Option<RunView>,
    /// If there is none, the first run after it, which may stand for several.
    pub(crate) behind: Option<RunView>,
    /// The nearest runs of any origin: one up to the instant, one after it, and one replay.
    pub(crate) nearest: Vec<RunView>,
    /// The oldest occurrence of any run of any job.
    pub(crate) oldest: Option<Instant>,
}

/// The period of counted runs, and their plugin and device.
#[derive(Clone, Debug)]
pub(crate) struct CountFilter {
    pub(crate) window: (Instant, Instant),
    pub(crate) plugin: Option<String>,
    pub(crate) device: Option<String>,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedRun<'r> {
    pub(crate) plugin: &'r str,
    pub(crate) device: &'r str,
    pub(crate) job: &'r str,
    pub(crate) state: &'r str,
    pub(crate) occurrence: Instant,
    /// Whether a trigger made it, not a request.
    pub(crate) of_trigger: bool,
    pub(crate) label: Option<&'r str>,
}

/// By what runs are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountBy {
    Plugin,
    Device,
    Reason,
}

/// The number of runs of a bucket and a group with the same outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<'r> {
    /// The number of the bucket, counted from 0.
    pub(crate) bucket: usize,
    pub(crate) plugin: &'r str,
    /// The device or the reason; empty where runs are counted by plugin, or have no reason.
    pub(crate) group: &'r str,
    pub(crate) state: &'r str,
    pub(crate) count: u32,
}

impl RunFilter {
    /// Selects one run.
    pub(super) fn of_run(run: &RunId) -> Self {
        Self {
            plugin: Some(run.plugin.to_string()),
            device: Some(run.device.to_string()),
            job: Some(run.job.to_string()),
            since: Some(run.occurrence),
            until: Some(run.occurrence.plus_ms(1)),
            limit: usize::MAX,
            ..Self::default()
        }
    }

    /// Selects all runs under way of those that are asked for; `None` if they have been listed.
    pub(super) fn under_way(&self) -> Option<Self> {
        let are_listed = self.after.as_ref().is_some_and(|after| after.due.is_none());
        (!are_listed).then(|| Self { since: None, until: None, after: None, limit: usize::MAX, ..self.clone() })
    }

    /// Leaves the page of runs under way that is asked for, the longest due first.
    pub(super) fn page_of_those_under_way(&self, runs: &mut Vec<RunView>) {
        let due = |run: &RunView| run.next.map(|next| next.due);
        if let Some(RunCursor { due: place, run: last }) = &self.after {
            runs.retain(|run| (due(run), &run.id) > (*place, last));
        }
        runs.sort_by(|one, other| (due(one), &one.id).cmp(&(due(other), &other.id)));
        runs.truncate(self.limit);
    }
}

impl CountBy {
    /// Returns the expressions for the plugin and the group of a count.
    pub(super) const fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Plugin => ("plugin", "''"),
            Self::Device => ("plugin", "device"),
            Self::Reason => ("''", "coalesce(reason, '')"),
        }
    }
}
