//! The functions that plugins export: how each is called, and how its answer is converted.

use std::future::Future;

use roost_scheduler::{
    accept::{self, Fault, TaskDescription, Terms},
    event::Plan,
    model::{Reply, Task},
    time::Instant,
};
use wasmtime::{Result, Store};

use super::{
    contract::{
        bindings::{self, DevicePluginPre, WithTasksPre},
        drafts,
    },
    guest::Guest,
    limits,
};
use crate::config::call_limits::CallLimits;

/// A function that plugins export.
pub(super) trait Function: Sync {
    /// The function's name in the contract.
    const NAME: &'static str;
    /// The type that it returns.
    type Answer: Send;
    /// The host's type for an accepted answer.
    type Accepted;

    /// The largest answer in MiB.
    fn lift_mib(&self, _bounds: &CallLimits) -> u32 {
        limits::LIFT_MIB
    }

    /// Instantiates the plugin and calls the function. The inner error is the plugin's own.
    fn call(
        &self,
        store: &mut Store<Guest>,
        context: bindings::Context,
    ) -> impl Future<Output = Result<Result<Self::Answer, String>>> + Send;

    /// Checks and converts an answer given at `now`.
    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, now: Instant) -> Result<Self::Accepted, Fault>;
}

/// `schedule-jobs`: returns the plan of a device.
pub(super) struct ScheduleJobs<'a>(pub(super) &'a DevicePluginPre<Guest>);

/// `list-tasks`: returns the plugin's tasks, which are the same for all devices.
pub(super) struct ListTasks<'a>(pub(super) &'a WithTasksPre<Guest>);

/// `run-task`: returns the steps of a task.
pub(super) struct RunTask<'a> {
    pub(super) plugin: &'a WithTasksPre<Guest>,
    pub(super) task: &'a Task,
    /// When the task is due.
    pub(super) due: Instant,
}

impl Function for ScheduleJobs<'_> {
    const NAME: &'static str = "schedule-jobs";
    type Answer = Vec<bindings::Job>;
    type Accepted = Plan;

    fn lift_mib(&self, bounds: &CallLimits) -> u32 {
        bounds.lift_mib
    }

    async fn call(&self, store: &mut Store<Guest>, context: bindings::Context) -> Result<Result<Self::Answer, String>> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.roost_device_schedule().call_schedule_jobs(store, &context).await
    }

    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, now: Instant) -> Result<Plan, Fault> {
        Ok(Plan::new(now, &accept::plan(drafts(answer), terms)?))
    }
}

impl Function for ListTasks<'_> {
    const NAME: &'static str = "list-tasks";
    type Answer = Vec<bindings::TaskDescription>;
    type Accepted = Vec<TaskDescription>;

    async fn call(&self, store: &mut Store<Guest>, _: bindings::Context) -> Result<Result<Self::Answer, String>> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.roost_device_tasks().call_list_tasks(store).await.map(Ok)
    }

    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, _: Instant) -> Result<Self::Accepted, Fault> {
        accept::tasks(drafts(answer), terms.syntax)
    }
}

impl Function for RunTask<'_> {
    const NAME: &'static str = "run-task";
    type Answer = bindings::Reply;
    type Accepted = Reply;

    async fn call(&self, store: &mut Store<Guest>, context: bindings::Context) -> Result<Result<Self::Answer, String>> {
        let plugin = self.plugin.instantiate_async(&mut *store).await?;
        let task = bindings::Task { name: self.task.name.to_string(), args: self.task.args.clone() };
        plugin.roost_device_tasks().call_run_task(store, &context, &task, self.due.millis()).await
    }

    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, _: Instant) -> Result<Reply, Fault> {
        accept::reply(&self.task.name, answer.into(), terms)
    }
}
