//! The ends of the jobs' occurrences.

use std::collections::BTreeMap;

use roost_scheduler::{names::RunId, time::Instant};

use crate::{
    disk::Row,
    load::{DEVICES, Job, jobs},
};

/// An occurrence of a job of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) device: String,
    pub(crate) job: String,
    pub(crate) at: Instant,
}

/// The stored runs by occurrence.
pub(crate) struct Ends<'a> {
    own: BTreeMap<Due, Vec<&'a Row>>,
    /// Rows that stand for several occurrences: the first and the last.
    several: Vec<(Due, Instant)>,
}

/// The end of an occurrence.
pub(crate) enum End<'a> {
    /// Its own rows: one, without faults.
    Own(&'a [&'a Row]),
    /// It is one of several that were missed together.
    OneOfSeveral,
    /// There is no record of it.
    Unknown,
}

impl Due {
    pub(crate) fn of(run: &RunId) -> Self {
        Self { device: run.device.to_string(), job: run.job.to_string(), at: run.occurrence }
    }
}

/// Returns the occurrences of all jobs from one instant to another.
pub(crate) fn due(since: Instant, until: Instant) -> impl Iterator<Item = (Due, Job)> {
    DEVICES.into_iter().flat_map(move |(device, offset_ms)| {
        jobs().into_iter().flat_map(move |job| {
            let due = |at| (Due { device: device.into(), job: job.id.clone(), at }, job.clone());
            job.occurrences(offset_ms, since, until).map(due).collect::<Vec<_>>()
        })
    })
}

impl<'a> Ends<'a> {
    pub(crate) fn of(rows: &'a [Row]) -> Self {
        let mut ends = Self { own: BTreeMap::new(), several: Vec::new() };
        for row in rows {
            let due = Due::of(&row.run);
            if let Some(since) = since(row) {
                ends.several.push((Due { at: since, ..due.clone() }, due.at));
            }
            ends.own.entry(due).or_default().push(row);
        }
        ends
    }

    pub(crate) fn end(&self, due: &Due) -> End<'_> {
        if let Some(rows) = self.own.get(due) {
            return End::Own(rows);
        }
        let stands_for = |(from, to): &(Due, Instant)| {
            (&from.device, &from.job) == (&due.device, &due.job) && from.at <= due.at && due.at <= *to
        };
        if self.several.iter().any(stands_for) { End::OneOfSeveral } else { End::Unknown }
    }

    /// Returns the occurrences without any record.
    pub(crate) fn unaccounted(&self, since: Instant, until: Instant) -> Vec<Due> {
        let is_unknown = |due: &Due| matches!(self.end(due), End::Unknown);
        due(since, until).map(|(due, _)| due).filter(is_unknown).collect()
    }
}

/// Parses `3 missed since 2027-03-01T06:30:00Z; …`.
fn since(row: &Row) -> Option<Instant> {
    let (_, since) = row.reason.split_once(" missed since ").filter(|_| row.state == "missed")?;
    let at = since.split(';').next()?;
    // Parsed as part of a run's id.
    let run: RunId = format!("soak/one/since/{at}").parse().expect("an instant");
    Some(run.occurrence)
}
