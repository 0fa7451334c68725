//! Property test of plans: after a new plan, a device has exactly its jobs, unchanged jobs keep their keys, and the
//! same plan again changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use roost_scheduler::model::Job;

use crate::{
    dsl::{START, at, job},
    world::World,
};

/// Returns up to eight jobs with ids from a small set, so that plans share some of them, changed or not.
fn plan() -> impl Strategy<Value = Vec<Job>> {
    let triggers = ["every 10m", "cron 30 6 * * *", "at 2027-03-01T06:20:00Z", "at 2027-03-01T05:00:00Z"];
    let job = (0..8_u8, prop::sample::select(triggers.to_vec()), 0..2_u8)
        .prop_map(|(id, trigger, topic)| job(&format!("job{id}"), trigger, &[(0, ["a", "b"][usize::from(topic)])]));
    prop::collection::vec(job, 0..8).prop_map(|jobs| {
        let by_id: BTreeMap<String, Job> = jobs.into_iter().map(|job| (job.id.to_string(), job)).collect();
        by_id.into_values().collect()
    })
}

/// Returns the stored jobs by id, with their keys.
fn on_disk(world: &World) -> BTreeMap<String, (u32, Job)> {
    let rows = world.disk.jobs.iter();
    rows.map(|(key, row)| (row.job.body.id().to_owned(), (*key, Job::from(&row.job)))).collect()
}

proptest! {
    #[test]
    fn a_new_plan_results_in_its_own_jobs_and_keeps_unchanged_ones(
        plans in prop::collection::vec(plan(), 1..5),
        minutes in prop::collection::vec(0..20_i64, 4),
        crash in any::<bool>(),
    ) {
        let mut world = World::new(at(START));
        world.link_up(100);
        for (version, (plan, minutes)) in plans.iter().zip(minutes).enumerate() {
            let before = on_disk(&world);
            let version = u8::try_from(version).expect("few");
            world.load("coop", 1 + version, &[("north", plan.clone())]);
            world.run_until(world.now);
            let after = on_disk(&world);
            prop_assert_eq!(after.values().map(|(_, job)| job.clone()).collect::<Vec<_>>(), plan.clone());
            for (id, (key, job)) in &after {
                if before.get(id).is_some_and(|(_, known)| known == job) {
                    prop_assert_eq!(before[id].0, *key, "an unchanged job keeps its number");
                }
            }
            if crash {
                world.crash();
                world.link_up(100);
            }
            let runs = world.disk.history.len();
            world.load("coop", 101 + version, &[("north", plan.clone())]);
            world.run_until(world.now);
            prop_assert_eq!(on_disk(&world), after, "the same plan again changes nothing");
            prop_assert_eq!(world.disk.history.len(), runs, "and makes no run");
            let text = format!("coop: 0 new, 0 changed, 0 gone, {} unchanged", plan.len());
            prop_assert!(world.log.last().is_some_and(|line| line.ends_with(&text)), "{:?}", world.log.last());
            world.run_until(world.now.plus_ms(minutes * 60_000));
        }
    }
}
