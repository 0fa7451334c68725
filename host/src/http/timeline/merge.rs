//! Runs, collapsed entries and expected messages as one list.

use std::collections::HashMap;

use roost_scheduler::{body::Body, names::RunId, outcome::RunState, scheduler::JobStatus, time::Instant};

use super::{
    super::{
        jobs::TaskRecord,
        limits,
        pagination::{Page, cursor},
        pauses::PauseRecord,
        runs::RunRecord,
        state::ApiState,
    },
    EXPECTED, TimelineEntry, TimelineRecord,
    ahead::{Expected, Planned, SortKey},
    collapse::{CollapsedKey, CollapsedRecord},
    progress::Progress,
};
use crate::{clock, job_json, store::RunView};

/// Merges runs, collapsed entries and expected messages in the order of time, up to the end of the expected messages if
/// these are not complete.
pub(super) fn merge(
    state: &ApiState,
    jobs: &[Planned],
    (expected, is_all): (Vec<Expected>, bool),
    runs: &[RunView],
    collapsed: Vec<(CollapsedKey, CollapsedRecord)>,
    mut progress: Progress,
    limit: usize,
) -> Page<TimelineEntry> {
    let known: HashMap<&RunId, bool> = runs.iter().map(|run| (&run.id, run.next.is_none())).collect();
    let end = expected.last().filter(|_| !is_all).map(|last| last.key.at);
    let mut expected = expected.into_iter().peekable();
    let mut runs = runs.iter().peekable();
    let mut collapsed = collapsed.into_iter().peekable();
    let (mut items, mut bytes) = (Vec::new(), 0);
    let is_more = loop {
        let next_run = runs.peek().map(|run| run.id.occurrence);
        let next_collapsed = collapsed.peek().map(|((at, _), _)| *at);
        let next_expected = expected.peek().map(|one| one.key.at);
        let Some(next) = [next_run, next_collapsed, next_expected].into_iter().flatten().min() else { break !is_all };
        if next_expected.is_none() && end.is_some_and(|end| next > end) {
            break true;
        }
        if items.len() == limit || bytes > limits::PAGE_BYTES {
            break true;
        }
        if let Some(run) = runs.next_if(|run| run.id.occurrence == next) {
            progress.run = Some(run.id.clone());
            items.push(TimelineEntry::One(Box::new(run_record(state, run))));
        } else if let Some((key, record)) = collapsed.next_if(|((at, _), _)| *at == next) {
            progress.collapse = progress.collapse.map(|(above, _)| (above, Some(key)));
            items.push(TimelineEntry::Collapsed(Box::new(record)));
        } else if let Some(one) = expected.next() {
            let job = &jobs[one.job];
            // A run that was decided meanwhile, or is on disk, is among the runs.
            let run = one.run.as_ref().map_or_else(|| job.status.run(one.key.occurrence), |run| run.id.clone());
            let is_known = known.get(&run).is_some_and(|has_ended| *has_ended || one.key.step == 0);
            if !is_known {
                let (record, length) = expected_record(&job.status, one.body(jobs), &one);
                bytes += length;
                items.push(TimelineEntry::One(Box::new(record)));
            }
            progress.expected = Some(one.key);
        }
    };
    Page { items, next: is_more.then(|| cursor(&progress.to_string())) }
}

fn run_record(state: &ApiState, run: &RunView) -> TimelineRecord {
    let record = RunRecord::new(run, state.zone(), clock::now());
    TimelineRecord {
        time: record.occurrence.clone(),
        plugin: record.plugin.clone(),
        device: record.device.clone(),
        job: record.job.clone(),
        time_zone: run.zone.unwrap_or_else(|| state.zone()).name().to_owned(),
        occurrence: record.occurrence.clone(),
        state: record.state.clone(),
        label: record.label.clone(),
        step: None,
        message: None,
        task: None,
        paused: None,
        pause: None,
        skipped: false,
        run: Some(record),
    }
}

/// Returns the record of an expected message, and the size of the message in bytes.
fn expected_record(job: &JobStatus, body: &Body, one: &Expected) -> (TimelineRecord, usize) {
    let SortKey { at, occurrence, step, .. } = one.key;
    let has_begun = one.run.as_ref().is_some_and(|run| run.started.is_some());
    let text = |at: Instant| at.in_zone(job.site.zone);
    let paused = job.pauses.at(one.start).filter(|_| step > 0 && !has_begun);
    let number = step.checked_sub(1).map(|step| step as usize);
    let step_ref = number.and_then(|number| body.step(number));
    let length = step_ref.as_ref().map_or(0, |step| step.payload.len() + step.topic().len());
    let record = TimelineRecord {
        time: text(at),
        plugin: job.plugin.to_string(),
        device: job.device.to_string(),
        job: job.job.body.id().to_owned(),
        time_zone: job.site.zone.name().to_owned(),
        occurrence: text(occurrence),
        state: if step == 0 { RunState::Running.as_str() } else { EXPECTED }.into(),
        label: job.job.body.label().map(str::to_owned),
        step: number.and_then(|_| step_ref.map(|_| step)),
        message: step_ref.map(|step| serde_json::to_value(job_json::step(&step)).unwrap_or_default()),
        task: number.and_then(|_| body.task()).map(|task| TaskRecord {
            task: task.name.to_string(),
            args: serde_json::from_str(&task.args).unwrap_or_default(),
        }),
        paused: paused.map(|by| by.what.as_str().to_owned()),
        pause: paused.map(|by| PauseRecord::new(by, job.site.zone)),
        skipped: one.run.is_none() && job.job_override.skip == Some(occurrence),
        run: one.run.as_ref().map(|run| RunRecord::under_way(&run.id, run.body.label(), run.started, job.site.zone)),
    };
    (record, length)
}
