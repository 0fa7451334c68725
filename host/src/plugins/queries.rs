//! The operator's queries to plugins. They have no effect beyond the answer.

use std::sync::Arc;

use roost_scheduler::{
    accept::{TaskDescription, draft::TaskDraft},
    model::Reply,
    names::{DeviceName, PluginName},
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{limits, load::TaskCall, registry::Question};

/// Sends queries to the registry, and limits how many are under way.
#[derive(Clone, Debug)]
pub(crate) struct PluginQueries {
    questions: mpsc::UnboundedSender<Question>,
    turns: Arc<Semaphore>,
}

impl PluginQueries {
    pub(super) fn new(questions: mpsc::UnboundedSender<Question>) -> Self {
        Self { questions, turns: Arc::new(Semaphore::new(limits::QUERIES)) }
    }

    /// Returns a plugin's tasks in its own order. The list is empty if it has none.
    ///
    /// # Errors
    /// Returns why the plugin did not answer.
    pub(crate) async fn tasks(&self, plugin: PluginName) -> Result<Vec<TaskDescription>, String> {
        self.send(|answer| Question::Tasks { plugin, answer }).await
    }

    /// Returns what a device would reply to a task now. Nothing is published, and no plan is requested.
    ///
    /// # Errors
    /// Returns why the plugin did not answer.
    pub(crate) async fn dry_run_task(
        &self,
        plugin: PluginName,
        device: DeviceName,
        task: TaskDraft,
    ) -> Result<Reply, String> {
        let task_call = TaskCall { task, due: None };
        self.send(|answer| Question::Simulation { plugin, device, task_call, answer }).await
    }

    async fn send<A>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<A, String>>) -> Question,
    ) -> Result<A, String> {
        let _turn = self.turns.acquire().await;
        let (sender, answer) = oneshot::channel();
        // The receiver is gone only while the host stops; then `answer` fails.
        let _ = self.questions.send(question(sender));
        answer.await.unwrap_or_else(|_| Err("Roost is stopping".into()))
    }
}
