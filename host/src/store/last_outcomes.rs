//! The last outcome of each device and, of the jobs, those whose last run failed, was missed or was denied: in memory,
//! because the table of runs is in the order of time, not of jobs.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use roost_scheduler::{
    event::Change,
    names::{DeviceName, JobId, JobName, PluginName, RunId},
    outcome::{Outcome, RunState},
    time::Instant,
};

use super::limits;

/// How the last run of a job or a device ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastOutcome {
    pub(crate) run: RunId,
    pub(crate) state: RunState,
    pub(crate) ended: Instant,
    /// The reason of a fault, as `roost runs` shows it but for the other occurrences that it stands for.
    pub(crate) reason: Option<Arc<str>>,
}

/// Passes on how each run of a store ended, in any order.
pub(super) type Source =
    Box<dyn FnOnce(&mut dyn FnMut(LastOutcome)) -> Result<(), Box<dyn Error + Send + Sync>> + Send>;

impl LastOutcome {
    /// Makes it from what the store has: the outcome, or the text that an older version kept instead.
    pub(super) fn new(
        run: RunId,
        state: RunState,
        ended: Instant,
        outcome: Option<&Outcome>,
        kept_reason: Option<&str>,
    ) -> Self {
        let text = |outcome: &Outcome| outcome.reason(&|at| at.to_string()).to_string();
        let reason = outcome.map(text).or_else(|| kept_reason.map(str::to_owned));
        Self { run, state, ended, reason: reason.filter(|_| is_fault(state)).map(Arc::from) }
    }
}

/// A shared handle to the last outcomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastOutcomes(Arc<Mutex<Table>>);

type Devices = BTreeMap<(PluginName, DeviceName), OfDevice>;

#[derive(Debug, Default)]
struct Table {
    devices: Devices,
    /// The number of faults of all devices.
    faults: usize,
    /// While the runs on disk are read, the jobs whose runs have ended since: their outcomes are newer.
    ended_meanwhile: Option<HashSet<JobName>>,
}

#[derive(Debug)]
struct OfDevice {
    last: LastOutcome,
    /// The jobs whose last run failed, was missed or was denied.
    faults: BTreeMap<JobId, LastOutcome>,
}

impl LastOutcomes {
    /// Returns the last outcome of a device, if one is known, and the newest fault of its jobs.
    pub(crate) fn of_device(
        &self,
        plugin: &PluginName,
        device: &DeviceName,
    ) -> (Option<LastOutcome>, Option<LastOutcome>) {
        let table = self.table();
        let of = table.devices.get(&(plugin.clone(), device.clone()));
        let newest = of.and_then(|of| of.faults.values().max_by_key(|fault| fault.ended));
        (of.map(|of| of.last.clone()), newest.cloned())
    }

    /// Returns some of the jobs whose last run failed, was missed or was denied, by device: those of devices after one.
    /// Returns the device to continue after, unless those were the last. Bounded, because the store waits meanwhile.
    pub(crate) fn faults_after(
        &self,
        after: Option<&(PluginName, DeviceName)>,
    ) -> (Vec<LastOutcome>, Option<(PluginName, DeviceName)>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let table = self.table();
        let mut faults = Vec::new();
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        for (index, (device, of)) in table.devices.range(from).enumerate() {
            faults.extend(of.faults.values().cloned());
            if index + 1 == limits::DEVICES_AT_ONCE || faults.len() >= limits::DEVICES_AT_ONCE {
                return (faults, Some(device.clone()));
            }
        }
        (faults, None)
    }

    /// Forgets faults of jobs that are gone.
    pub(crate) fn forget(&self, gone: &[LastOutcome]) {
        let mut table = self.table();
        for LastOutcome { run, ended, .. } in gone {
            let is_same = |fault: &LastOutcome| fault.run == *run && fault.ended == *ended;
            table.clear(run, is_same);
        }
    }

    /// Checks whether the runs on disk at the start have been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.table().ended_meanwhile.is_none()
    }

    /// Records the runs that ended with a batch of changes.
    pub(super) fn record(&self, changes: &[Change]) {
        let mut table = None;
        for change in changes {
            let Change::RunEnded(ended) = change else { continue };
            let (run, state) = (ended.id.clone(), ended.outcome.state());
            let last = LastOutcome::new(run, state, ended.ended, Some(&ended.outcome), None);
            let table = table.get_or_insert_with(|| self.table());
            if let Some(jobs) = &mut table.ended_meanwhile {
                jobs.insert(ended.id.clone().into_job_name());
            }
            table.put(last);
        }
    }

    /// Reads the runs that had ended on a thread of its own, because a million take a moment. `source` is fixed to the
    /// state before the next commit.
    pub(super) fn start_reading(&self, source: Result<Source, Box<dyn Error + Send + Sync>>) {
        let unknown = |error| {
            tracing::warn!("faults from before the start are unknown, because the runs cannot be read: {error}");
        };
        let outcomes = self.clone();
        let started = source.and_then(|source| {
            self.table().ended_meanwhile = Some(HashSet::new());
            let read = move || {
                let _ = rustix::process::nice(limits::NICE);
                let mut saved = Table::default();
                let done = source(&mut |last| saved.put(last));
                let mut table = outcomes.table();
                match done {
                    Ok(()) => table.merge(saved),
                    Err(error) => {
                        table.ended_meanwhile = None;
                        unknown(error);
                    }
                }
            };
            thread::Builder::new().name("outcomes".into()).spawn(read).map(drop).map_err(Into::into)
        });
        if let Err(error) = started {
            self.table().ended_meanwhile = None;
            unknown(error);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks whether an outcome is a fault that an operator has to know.
const fn is_fault(state: RunState) -> bool {
    matches!(state, RunState::Failed | RunState::Missed | RunState::Denied)
}

impl Table {
    /// Records an outcome that is newer than those before, or of the same end.
    fn put(&mut self, last: LastOutcome) {
        let key = (last.run.plugin.clone(), last.run.device.clone());
        let has_room = self.devices.len() + self.faults < limits::LAST_OUTCOMES;
        if !is_fault(last.state) {
            self.clear(&last.run, |fault| fault.ended <= last.ended);
        }
        let Some(of) = self.devices.get_mut(&key) else {
            if has_room {
                let of = OfDevice { last: last.clone(), faults: BTreeMap::new() };
                self.devices.entry(key).or_insert(of);
                self.put(last);
            }
            return;
        };
        if is_fault(last.state) {
            match of.faults.get_mut(&last.run.job) {
                Some(fault) => *fault = last.clone(),
                None if has_room => {
                    self.faults += 1;
                    of.faults.insert(last.run.job.clone(), last.clone());
                }
                None => {}
            }
        }
        if of.last.ended <= last.ended {
            of.last = last;
        }
    }

    /// Removes the fault of a run's job, if `is_over` returns so.
    fn clear(&mut self, run: &RunId, is_over: impl Fn(&LastOutcome) -> bool) {
        let Some(of) = self.devices.get_mut(&(run.plugin.clone(), run.device.clone())) else { return };
        if of.faults.get(&run.job).is_some_and(is_over) {
            of.faults.remove(&run.job);
            self.faults -= 1;
        }
    }

    /// Adds what was read from the disk. Outcomes since then take precedence.
    fn merge(&mut self, saved: Self) {
        let newer = self.ended_meanwhile.take().unwrap_or_default();
        for OfDevice { last, faults } in saved.devices.into_values() {
            for fault in faults.into_values().filter(|fault| !newer.contains(&fault.run.clone().into_job_name())) {
                self.put(fault);
            }
            self.put_last(last);
        }
    }

    /// Records the last outcome of a device, unless a newer one is known.
    fn put_last(&mut self, last: LastOutcome) {
        let key = (last.run.plugin.clone(), last.run.device.clone());
        let of = self.devices.entry(key).or_insert_with(|| OfDevice { last: last.clone(), faults: BTreeMap::new() });
        if of.last.ended <= last.ended {
            of.last = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(job: &str, state: RunState, ended: i64) -> LastOutcome {
        let run = format!("coop/north/{job}/2027-03-01T06:30:00Z").parse().unwrap();
        let reason = is_fault(state).then(|| Arc::from("a cause"));
        LastOutcome { run, state, ended: Instant::from_millis(ended).unwrap(), reason }
    }

    fn faults(outcomes: &LastOutcomes) -> Vec<String> {
        let (faults, after) = outcomes.faults_after(None);
        assert_eq!(after, None);
        faults.iter().map(|fault| format!("{} {}", fault.run.job, fault.ended.millis())).collect()
    }

    #[test]
    fn a_job_is_faulty_until_a_later_run_of_it_ends_well() {
        let outcomes = LastOutcomes::default();
        let put = |last| outcomes.table().put(last);
        put(last("open", RunState::Failed, 1));
        put(last("close", RunState::Missed, 2));
        put(last("open", RunState::Denied, 3));
        assert_eq!(faults(&outcomes), ["close 2", "open 3"]);
        put(last("open", RunState::Succeeded, 4));
        assert_eq!(faults(&outcomes), ["close 2"]);
        let (plugin, device) = (PluginName::parse("coop").unwrap(), DeviceName::parse("north").unwrap());
        let expected = (Some(last("open", RunState::Succeeded, 4)), Some(last("close", RunState::Missed, 2)));
        assert_eq!(outcomes.of_device(&plugin, &device), expected);
        outcomes.forget(&[last("close", RunState::Missed, 1)]);
        assert_eq!(faults(&outcomes), ["close 2"], "it has failed again since");
        outcomes.forget(&[last("close", RunState::Missed, 2)]);
        assert_eq!((faults(&outcomes).len(), outcomes.table().faults), (0, 0));
    }

    #[test]
    fn outcomes_during_the_reading_take_precedence() {
        let outcomes = LastOutcomes::default();
        let mut saved = Table::default();
        saved.put(last("open", RunState::Failed, 1));
        saved.put(last("close", RunState::Failed, 2));
        let mut table = outcomes.table();
        table.put(last("open", RunState::Succeeded, 3));
        table.ended_meanwhile = Some(HashSet::from([last("open", RunState::Succeeded, 3).run.into_job_name()]));
        table.merge(saved);
        drop(table);
        assert_eq!(faults(&outcomes), ["close 2"]);
        assert!(outcomes.is_complete());
    }
}
