//! What must not happen where several hosts share the work, beyond what holds for one that is killed.

use std::collections::{BTreeMap, BTreeSet};

use roost_scheduler::names::RunId;

use super::past::Past;
use crate::{
    ends::Due,
    history::Received,
    judge::Fault,
    record::{Record, words},
    story::seconds,
};

/// How long after a host's failure messages may be late.
const FAILOVER_S: f64 = 10.0;
/// How late messages may be without any trouble, on a busy machine.
const LATE_S: f64 = 2.0;

pub(crate) fn faults(past: &Past, record: &Record<'_>) -> Vec<Fault> {
    let mut messages: Vec<(&RunId, &Received)> =
        record.messages.iter().flat_map(|(run, all)| all.iter().map(move |received| (run, *received))).collect();
    messages.sort_unstable_by_key(|(_, received)| received.place);
    let mut faults = older_after_newer(&messages);
    faults.extend(beyond_capacity(&messages));
    faults.extend(late(past, record));
    faults
}

fn fault(run: &RunId, what: String) -> Fault {
    Fault { what, due: Some(Due::of(run)) }
}

/// Finds messages of runs after those of a newer run of the same job. A host that takes over may repeat runs of one step
/// that the one before it has sent in its last seconds and could not store: those, in order.
fn older_after_newer(messages: &[(&RunId, &Received)]) -> Vec<Fault> {
    let mut newest: BTreeMap<(&str, &str), (&RunId, usize)> = BTreeMap::new();
    let mut heard: BTreeSet<&RunId> = BTreeSet::new();
    let mut faults = Vec::new();
    for (run, received) in messages {
        let (newest, session) = newest.entry((run.device.as_str(), run.job.as_str())).or_insert((run, received.host));
        let may_repeat = *session < received.host && words(run).len() == 1 && heard.contains(run);
        if run.occurrence < newest.occurrence && !may_repeat {
            faults.push(fault(run, format!("`{}` arrived after a message of {newest}", received.message.payload)));
        }
        (*newest, *session) = (run, received.host);
        heard.insert(run);
    }
    faults
}

/// Finds runs that used the pump while another one did.
fn beyond_capacity(messages: &[(&RunId, &Received)]) -> Vec<Fault> {
    let mut holder: Option<&RunId> = None;
    let mut faults = Vec::new();
    for (run, received) in messages.iter().filter(|(run, _)| run.job.as_str() == "pump") {
        if let Some(other) = holder.filter(|holder| holder != run) {
            faults.push(fault(run, format!("the pump was used beside {other}")));
        }
        holder = (received.message.payload == "on").then_some(run);
    }
    faults
}

/// Finds runs of one step that were later than any trouble explains.
fn late(past: &Past, record: &Record<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (run, messages) in record.messages.iter().filter(|(run, _)| run.job.as_str().starts_with("tick")) {
        let due = seconds(run.occurrence);
        let mut latest = due + LATE_S;
        for trouble in &past.troubles {
            let until = seconds(trouble.ended) + FAILOVER_S;
            if seconds(trouble.begun) <= latest && due <= until {
                latest = latest.max(until);
            }
        }
        let first = messages.first().expect("runs with messages");
        if first.message.at > latest {
            faults.push(fault(run, format!("it was {:.1} s late", first.message.at - due)));
        }
    }
    faults
}
