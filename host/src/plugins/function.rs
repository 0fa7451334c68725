//! The functions of a plugin, one beside the other: how each is called, and what comes of its answer.

use std::future::Future;

use roost_scheduler::{
    event::Plan,
    model::{Reply, Task},
    time::Instant,
};
use wasmtime::{Result, Store};

use super::{
    contract::{
        self, Invalid, Terms,
        bindings::{self, DevicePluginPre, WithTasksPre},
        tasks::{self, Tasks},
    },
    guest::Guest,
    limits,
};
use crate::config::limits::Limits;

/// A function that plugins export.
pub(super) trait Function: Sync {
    /// As the contract names it.
    const NAME: &'static str;
    /// What it returns.
    type Answer: Send;
    /// The same as the host takes it.
    type Accepted;

    /// How much of an answer is copied out.
    fn lift_mib(&self, _bounds: &Limits) -> u32 {
        limits::LIFT_MIB
    }

    /// Instantiates the plugin, and calls it. The inner error is what the plugin says.
    fn call(
        &self,
        store: &mut Store<Guest>,
        context: bindings::Context,
    ) -> impl Future<Output = Result<Result<Self::Answer, String>>> + Send;

    /// Takes an answer that was given at this moment, or says what is wrong with it.
    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, now: Instant) -> Result<Self::Accepted, Invalid>;
}

/// The plan of a device.
pub(super) struct ScheduleJobs<'a>(pub(super) &'a DevicePluginPre<Guest>);

/// What the plugin can be asked to do, whichever device it is.
pub(super) struct ListTasks<'a>(pub(super) &'a WithTasksPre<Guest>);

/// What to publish for a task.
pub(super) struct RunTask<'a> {
    pub(super) plugin: &'a WithTasksPre<Guest>,
    pub(super) task: &'a Task,
    /// When it should have been done.
    pub(super) due: Instant,
}

impl Function for ScheduleJobs<'_> {
    const NAME: &'static str = "schedule-jobs";
    type Answer = Vec<bindings::Job>;
    type Accepted = Plan;

    fn lift_mib(&self, bounds: &Limits) -> u32 {
        bounds.lift_mib
    }

    async fn call(&self, store: &mut Store<Guest>, context: bindings::Context) -> Result<Result<Self::Answer, String>> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.roost_device_schedule().call_schedule_jobs(store, &context).await
    }

    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, now: Instant) -> Result<Plan, Invalid> {
        Ok(Plan::new(now, &contract::jobs(answer, terms)?))
    }
}

impl Function for ListTasks<'_> {
    const NAME: &'static str = "list-tasks";
    type Answer = Vec<bindings::TaskDescription>;
    type Accepted = Tasks;

    async fn call(&self, store: &mut Store<Guest>, _: bindings::Context) -> Result<Result<Self::Answer, String>> {
        let plugin = self.0.instantiate_async(&mut *store).await?;
        plugin.roost_device_tasks().call_list_tasks(store).await.map(Ok)
    }

    fn accept(&self, answer: Self::Answer, _: &Terms<'_>, _: Instant) -> Result<Tasks, Invalid> {
        tasks::tasks(answer)
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

    fn accept(&self, answer: Self::Answer, terms: &Terms<'_>, _: Instant) -> Result<Reply, Invalid> {
        tasks::reply(self.task, answer, terms)
    }
}
