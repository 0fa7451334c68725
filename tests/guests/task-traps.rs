//! Has a plan, but panics in its task.

use roost_plugin_sdk::{Context, Device, Job, Reply, Result, Task, TaskDescription, Tasks, hours};

#[derive(serde::Deserialize)]
struct TaskTraps {}

impl Device for TaskTraps {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Ok(vec![Job::every("ask", hours(6)).task("open", ()).attempts(2)])
    }
}

impl Tasks for TaskTraps {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("open", "Never works")]
    }

    fn run_task(&self, _: &Context, _: &Task) -> Result<Reply> {
        panic!("the valve is jammed");
    }
}

roost_plugin_sdk::export!(TaskTraps, tasks);
