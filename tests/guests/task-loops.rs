//! Has a plan, but its task never returns.

use std::hint::black_box;

use roost_plugin_sdk::{Context, Device, Job, Reply, Result, Task, TaskDescription, Tasks, hours};

#[derive(serde::Deserialize)]
struct TaskLoops {}

impl Device for TaskLoops {
    fn schedule_jobs(&self, _: &Context) -> Result<Vec<Job>> {
        Ok(vec![Job::every("ask", hours(6)).task("wait", ()).attempts(2)])
    }
}

impl Tasks for TaskLoops {
    fn list() -> Vec<TaskDescription> {
        vec![TaskDescription::new("wait", "Never works")]
    }

    fn run_task(&self, _: &Context, _: &Task) -> Result<Reply> {
        loop {
            black_box(());
        }
    }
}

roost_plugin_sdk::export!(TaskLoops, tasks);
