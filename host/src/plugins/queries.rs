//! What people want to know of plugins. Nothing comes of it but the answer.

use std::sync::Arc;

use roost_scheduler::{
    model::{Reply, Task},
    names::{DeviceName, PluginName},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{contract::tasks::TaskDescription, limits, load::TaskCall, registry::Question};

/// Who asks for people.
#[derive(Clone, Debug)]
pub(crate) struct PluginQueries {
    questions: mpsc::UnboundedSender<Question>,
    turns: Arc<Semaphore>,
}

impl PluginQueries {
    pub(super) fn new(questions: mpsc::UnboundedSender<Question>) -> Self {
        Self { questions, turns: Arc::new(Semaphore::new(limits::QUERIES)) }
    }

    /// What a plugin can be asked to do, in its own order; nothing, if it has no tasks.
    pub(crate) async fn tasks(&self, plugin: PluginName) -> Result<Vec<TaskDescription>, String> {
        self.ask(|answer| Question::Tasks { plugin, answer }).await
    }

    /// What a device would answer to a task now: nothing is published, and no plan is asked for.
    pub(crate) async fn rehearse_task(
        &self,
        plugin: PluginName,
        device: DeviceName,
        name: String,
        args: String,
    ) -> Result<Reply, String> {
        let task_call = TaskCall { name, args, due: None };
        self.ask(|answer| Question::Simulation { plugin, device, task_call, answer }).await
    }

    /// A task as a plugin takes it, for a job that asks for it; or why it does not.
    pub(crate) async fn task(&self, plugin: PluginName, name: String, args: String) -> Result<Task, String> {
        self.ask(|answer| Question::Check { plugin, name, args, answer }).await
    }

    async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<Result<A, String>>) -> Question) -> Result<A, String> {
        let _turn = self.turns.acquire().await;
        let (sender, answer) = oneshot::channel();
        // Nobody listens only while the host stops, and then nobody answers.
        let _ = self.questions.send(question(sender));
        answer.await.unwrap_or_else(|_| Err("Roost is being stopped".into()))
    }
}
