//! Runs that are not on disk: those with one message to send, as long as they wait for the broker or for their turn.

use std::collections::HashSet;

use roost_scheduler::{
    names::RunId,
    scheduler::{RunUnderWay, Scheduler},
    time::Instant,
};

use super::super::{desk::Desk, limits, problem::Problem};
use crate::store::{Owed, RunView, Wanted};

/// Those that are wanted.
pub(super) async fn unsaved(desk: &Desk, wanted: &Wanted) -> Result<Vec<RunView>, Problem> {
    let (mut found, mut from) = (Vec::new(), Some(0));
    let is_running = wanted.state.as_deref().is_none_or(|state| state == "running");
    while let Some(place) = from.filter(|_| is_running && found.len() < limits::UNSAVED_RUNS) {
        let wanted = wanted.clone();
        let look = desk.look(move |scheduler| {
            let (runs, next) = scheduler.unsaved_runs(place);
            let runs = runs.iter().filter(|run| is_wanted(run.id, &wanted)).map(|run| view(scheduler, run));
            (runs.collect::<Vec<_>>(), next)
        });
        let (some, next) = look.await?;
        found.extend(some);
        from = next;
    }
    Ok(found)
}

/// One of them.
pub(super) async fn one(desk: &Desk, run: RunId) -> Result<Option<RunView>, Problem> {
    let name = run.clone().of_job();
    let look = desk.look(move |scheduler| {
        let mut runs = scheduler.runs_named(&name);
        runs.find(|found| *found.id == run).map(|found| view(scheduler, &found))
    });
    look.await
}

/// A list with them in it, in its order: first those under way, the longest due first.
pub(super) fn merged(saved: Vec<RunView>, mut unsaved: Vec<RunView>, wanted: &Wanted) -> Vec<RunView> {
    let is_behind = |run: &RunView| match &wanted.after {
        None => true,
        Some(after) => after.due.is_some() && place(run) > (after.due, &after.run),
    };
    let known: HashSet<RunId> = saved.iter().map(|run| run.id.clone()).collect();
    unsaved.retain(|run| is_behind(run) && !known.contains(&run.id));
    let (mut runs, ended): (Vec<_>, Vec<_>) = saved.into_iter().partition(|run| run.owed.is_some());
    runs.append(&mut unsaved);
    runs.sort_by(|one, other| place(one).cmp(&place(other)));
    runs.extend(ended);
    runs
}

fn place(run: &RunView) -> (Option<Instant>, &RunId) {
    (run.owed.as_ref().map(|owed| owed.due), &run.id)
}

fn is_wanted(run: &RunId, wanted: &Wanted) -> bool {
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    is(&wanted.plugin, run.plugin.as_str())
        && is(&wanted.device, run.device.as_str())
        && is(&wanted.job, run.job.as_str())
}

fn view(scheduler: &Scheduler, run: &RunUnderWay<'_>) -> RunView {
    let RunUnderWay { id, start, started, step, of, attempts, .. } = *run;
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
        owed: Some(Owed { step, of, due: start, has_started: started.is_some() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::After;

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
        let saved = || vec![run(1, Some(1)), run(9, Some(9)), run(8, None), run(0, None)];
        let unsaved = || vec![run(7, Some(7)), run(9, Some(9)), run(2, Some(3))];
        let shown =
            |runs: Vec<RunView>| runs.iter().map(|run| run.id.occurrence.millis() / 60_000 % 60).collect::<Vec<_>>();
        let all = merged(saved(), unsaved(), &Wanted::default());
        assert_eq!(shown(all), [1, 2, 7, 9, 8, 0]);
        let last = run(2, Some(3));
        let after = |due| Wanted { after: Some(After { due, run: last.id.clone() }), ..Wanted::default() };
        let page =
            merged(vec![run(9, Some(9)), run(8, None)], unsaved(), &after(last.owed.as_ref().map(|owed| owed.due)));
        assert_eq!(shown(page), [7, 9, 8]);
        assert_eq!(shown(merged(vec![run(0, None)], unsaved(), &after(None))), [0], "those have been listed");
    }
}
