//! Has a good plan, and two tasks of the same name.

use roost_plugin_sdk::{Context, Device, Job, Reply, Result, Task, TaskDescription, Tasks, hours};

#[derive(serde::Deserialize)]
struct BadTasks {}

impl Device for BadTasks {
    fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
        Ok(vec![Job::every("fine", hours(1)).publish(ctx.topic("x"), "")])
    }
}

impl Tasks for BadTasks {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("water", "Water the lawn"), TaskDescription::new("water", "Water the beds")]
    }

    fn run_task(&self, _: &Context, task: &Task) -> Result<Reply> {
        Err(task.unknown())
    }
}

roost_plugin_sdk::export!(BadTasks, tasks);
