//! Has a plan, but returns an error from its task.

use roost_plugin_sdk::{Context, Device, Error, Job, Reply, Result, Task, TaskDescription, Tasks, hours};

#[derive(serde::Deserialize)]
struct TaskErrors {}

impl Device for TaskErrors {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Ok(vec![Job::every("ask", hours(6)).task("rinse", ()).attempts(2)])
    }
}

impl Tasks for TaskErrors {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("rinse", "Never works")]
    }

    fn run_task(&self, _: &Context, task: &Task) -> Result<Reply> {
        Err(Error::new(format!("there is no water to {} with", task.name())))
    }
}

roost_plugin_sdk::export!(TaskErrors, tasks);
