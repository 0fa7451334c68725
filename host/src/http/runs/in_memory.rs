//! Runs as the scheduler knows them that have not ended. Not all of them are on disk: those with one message to send are not, as
//! long as they wait for the broker or for their turn.

use std::collections::HashSet;

use roost_scheduler::{
    names::RunId,
    scheduler::{RunUnderWay, Scheduler},
    time::Instant,
};

use super::super::{problem::Problem, state::ApiState};
use crate::store::{Owed, RunFilter, RunView};

/// Those that are wanted, the longest due first; in pieces, for the loop has other things to do.
pub(super) async fn in_memory(state: &ApiState, wanted: &RunFilter) -> Result<Vec<RunView>, Problem> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    let is_running = wanted.state.as_deref().is_none_or(|state| state == "running");
    while let Some(first) = from.filter(|_| is_running) {
        let (limit, wanted) = (wanted.limit, wanted.clone());
        let look = state.inspect(move |scheduler| {
            let (runs, next) = scheduler.runs_from(first);
            let runs = runs.iter().filter(|run| is_wanted(run, &wanted)).map(|run| view(scheduler, run));
            (runs.collect::<Vec<_>>(), next)
        });
        let (some, next) = look.await?;
        found.extend(some);
        found.sort_by(|one, other| place(one).cmp(&place(other)));
        found.truncate(limit);
        from = next;
    }
    Ok(found)
}

/// One of them.
pub(super) async fn one(state: &ApiState, run: RunId) -> Result<Option<RunView>, Problem> {
    let name = run.clone().of_job();
    let look = state.inspect(move |scheduler| {
        let mut runs = scheduler.runs_named(&name);
        runs.find(|found| *found.id == run).map(|found| view(scheduler, &found))
    });
    look.await
}

/// A list with them in it, in its order: first those under way, the longest due first. Of those that are on disk, that says more.
pub(super) fn merged(saved: Vec<RunView>, mut in_memory: Vec<RunView>) -> Vec<RunView> {
    let known: HashSet<RunId> = saved.iter().map(|run| run.id.clone()).collect();
    in_memory.retain(|run| !known.contains(&run.id));
    let (mut runs, ended): (Vec<_>, Vec<_>) = saved.into_iter().partition(|run| run.owed.is_some());
    runs.append(&mut in_memory);
    runs.sort_by(|one, other| place(one).cmp(&place(other)));
    runs.extend(ended);
    runs
}

fn place(run: &RunView) -> (Option<Instant>, &RunId) {
    (run.owed.as_ref().map(|owed| owed.due), &run.id)
}

fn is_wanted(run: &RunUnderWay<'_>, wanted: &RunFilter) -> bool {
    let RunUnderWay { id, due, .. } = *run;
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    // Behind one that has ended, there is none.
    let is_behind = wanted.after.as_ref().is_none_or(|after| after.due.is_some_and(|at| (due, id) > (at, &after.run)));
    is_behind
        && is(&wanted.plugin, id.plugin.as_str())
        && is(&wanted.device, id.device.as_str())
        && is(&wanted.job, id.job.as_str())
}

fn view(scheduler: &Scheduler, run: &RunUnderWay<'_>) -> RunView {
    let RunUnderWay { id, due, started, step, of, attempts, .. } = *run;
    let told = [run.last.map(ToString::to_string), run.held_by.map(ToString::to_string)];
    RunView {
        id: id.clone(),
        state: "running".into(),
        reason: told.into_iter().flatten().next(),
        started,
        ended: None,
        attempts: Some(attempts),
        zone: scheduler.job(&id.plugin, &id.device, &id.job).map(|job| job.site.zone),
        note: None,
        why: None,
        owed: Some(Owed { step, of: of.max(1), due, has_started: started.is_some() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(minute: i64, due: Option<i64>) -> RunView {
        let at = |minute: i64| Instant::from_millis(1_803_859_200_000 + minute * 60_000).unwrap();
        RunView {
            id: format!("coop/north/open/{}", at(minute)).parse().unwrap(),
            state: String::new(),
            reason: None,
            started: None,
            ended: None,
            attempts: None,
            zone: None,
            note: None,
            why: None,
            owed: due.map(|due| Owed { step: 1, of: 1, due: at(due), has_started: false }),
        }
    }

    #[test]
    fn what_is_not_on_disk_has_its_place_in_the_list_and_is_there_once() {
        let saved = vec![run(1, Some(1)), run(9, Some(9)), run(8, None), run(0, None)];
        let in_memory = vec![run(2, Some(3)), run(7, Some(7)), run(9, Some(9)), run(8, Some(8))];
        let shown =
            |runs: Vec<RunView>| runs.iter().map(|run| run.id.occurrence.millis() / 60_000 % 60).collect::<Vec<_>>();
        // That one has just ended.
        assert_eq!(shown(merged(saved, in_memory)), [1, 2, 7, 9, 8, 0]);
    }
}
