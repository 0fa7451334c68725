//! Runs under way, from the scheduler. A run of a single message is not on disk while it waits for the broker or for
//! its turn.

use std::collections::HashSet;

use roost_scheduler::{
    names::RunId,
    outcome::RunState,
    scheduler::{NextStep, RunStatus, Scheduler},
    time::Instant,
};

use super::super::{problem::Problem, state::ApiState};
use crate::{
    job_json::messages_to_json,
    store::{RunFilter, RunView},
};

/// Returns the runs under way that match a filter, longest due first. Queries the scheduler in batches, to not hold up
/// the loop.
pub(super) async fn in_memory(state: &ApiState, filter: &RunFilter) -> Result<Vec<RunView>, Problem> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    let is_running = filter.states.is_empty() || filter.states.contains(&RunState::Running);
    while let Some(first) = from.filter(|_| is_running) {
        let (limit, filter) = (filter.limit, filter.clone());
        let batch = state.inspect(move |scheduler| {
            let (runs, next) = scheduler.runs_from(first);
            let runs = runs.iter().filter(|run| matches(run, &filter)).map(|run| view(scheduler, run));
            (runs.collect::<Vec<_>>(), next)
        });
        let (runs, next) = batch.await?;
        found.extend(runs);
        found.sort_by(|one, other| sort_key(one).cmp(&sort_key(other)));
        found.truncate(limit);
        from = next;
    }
    Ok(found)
}

/// Finds a run under way, with its messages.
pub(super) async fn find(state: &ApiState, run: RunId) -> Result<Option<RunView>, Problem> {
    let name = run.clone().into_job_name();
    let query = state.inspect(move |scheduler| {
        let mut runs = scheduler.runs_named(&name);
        runs.find(|found| found.id == run).map(|found| (view(scheduler, &found), found.body))
    });
    let found = query.await?;
    Ok(found.map(|(view, body)| RunView { messages: messages_to_json(&body).ok(), ..view }))
}

/// Merges saved runs with those in memory: first those under way, longest due first. A saved run takes precedence,
/// because it has more details.
pub(super) fn merge(saved: Vec<RunView>, mut in_memory: Vec<RunView>) -> Vec<RunView> {
    let known: HashSet<RunId> = saved.iter().map(|run| run.id.clone()).collect();
    in_memory.retain(|run| !known.contains(&run.id));
    let (mut runs, ended): (Vec<_>, Vec<_>) = saved.into_iter().partition(|run| run.next.is_some());
    runs.append(&mut in_memory);
    runs.sort_by(|one, other| sort_key(one).cmp(&sort_key(other)));
    runs.extend(ended);
    runs
}

fn sort_key(run: &RunView) -> (Option<Instant>, &RunId) {
    (run.next.as_ref().map(|next| next.due), &run.id)
}

fn matches(run: &RunStatus, filter: &RunFilter) -> bool {
    let RunStatus { id, next: NextStep { due, .. }, .. } = run;
    let is = |expected: &Option<String>, name: &str| expected.as_deref().is_none_or(|expected| expected == name);
    // All runs under way precede those that have ended.
    let is_after = filter.after.as_ref().is_none_or(|after| after.due.is_some_and(|at| (*due, id) > (at, &after.run)));
    is_after
        && is(&filter.plugin, id.plugin.as_str())
        && is(&filter.device, id.device.as_str())
        && is(&filter.job, id.job.as_str())
}

fn view(scheduler: &Scheduler, run: &RunStatus) -> RunView {
    let RunStatus { id, started, body, next, attempts, last, held_by, .. } = run;
    let reasons = [last.as_ref().map(ToString::to_string), held_by.as_ref().map(ToString::to_string)];
    RunView {
        id: id.clone(),
        state: RunState::Running,
        reason: reasons.into_iter().flatten().next(),
        started: *started,
        ended: None,
        attempts: Some(*attempts),
        zone: scheduler.device(&id.plugin, &id.device).map(|device| device.site.zone),
        note: None,
        why: None,
        label: body.label().map(str::to_owned),
        messages: None,
        next: Some(NextStep { of: next.of.max(1), ..*next }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(minute: i64, due: Option<i64>) -> RunView {
        let at = |minute: i64| Instant::from_millis(1_803_859_200_000 + minute * 60_000).unwrap();
        RunView {
            id: format!("coop/north/open/{}", at(minute)).parse().unwrap(),
            state: RunState::Running,
            reason: None,
            started: None,
            ended: None,
            attempts: None,
            zone: None,
            note: None,
            why: None,
            label: None,
            messages: None,
            next: due.map(|due| NextStep { step: 1, of: 1, due: at(due) }),
        }
    }

    #[test]
    fn runs_in_memory_are_merged_in_order_and_without_duplicates() {
        let saved = vec![run(1, Some(1)), run(9, Some(9)), run(8, None), run(0, None)];
        let in_memory = vec![run(2, Some(3)), run(7, Some(7)), run(9, Some(9)), run(8, Some(8))];
        let shown =
            |runs: Vec<RunView>| runs.iter().map(|run| run.id.occurrence.millis() / 60_000 % 60).collect::<Vec<_>>();
        // The run of minute 8 has just ended.
        assert_eq!(shown(merge(saved, in_memory)), [1, 2, 7, 9, 8, 0]);
    }
}
