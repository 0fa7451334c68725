//! Has tasks that each break the rule of their name when they run.

use roost_plugin_sdk::{Context, Device, Job, Messages, Reply, Result, Task, TaskDescription, Tasks, hours};

const RULES: [&str; 4] = ["outside-grant", "too-much", "many-steps", "long-note"];

#[derive(serde::Deserialize)]
struct TaskOversteps {}

impl Device for TaskOversteps {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Ok(RULES.iter().map(|rule| Job::every(*rule, hours(6)).task(*rule, ()).attempts(1)).collect())
    }
}

impl Tasks for TaskOversteps {
    fn list() -> Vec<TaskDescription> {
        RULES.iter().map(|rule| TaskDescription::new(*rule, "Breaks a rule")).collect()
    }

    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
        let own = ctx.topic("x");
        Ok(match task.name() {
            "outside-grant" => Messages::new().publish("neighbour/door", "OPEN").into(),
            // Each one is small enough.
            "too-much" => (0..5).fold(Messages::new(), |all, _| all.publish(&own, vec![b'x'; 256 << 10])).into(),
            "many-steps" => (0..101).fold(Messages::new(), |all, _| all.publish(&own, "")).into(),
            "long-note" => Reply::nothing("x".repeat(4_097)),
            _ => return Err(task.unknown()),
        })
    }
}

roost_plugin_sdk::export!(TaskOversteps, tasks);
