//! Tasks: calls to a plugin when a job is due, and their replies.

use serde::de::DeserializeOwned;

use crate::{
    Context, Device, Error, Instant, Messages, Result,
    bindings::{roost::device::types as wit, with_tasks::exports::roost::device::tasks as wit_tasks},
    config,
};

/// A device with tasks, which are called when a job is due, because the messages are known only then: water as much as
/// the soil needs now. Export it with `export!(Sprinkler, tasks)`.
///
/// A job calls one with [`Job::task`](crate::Job::task), and users may call one at any time. The reply is published as
/// a [run](crate#words) like any other: retried, completed and recorded.
///
/// ```
/// use roost_plugin_sdk::{Context, Device, Job, Messages, Reply, Result, Span, Task, TaskDescription, Tasks, minutes};
/// use serde::Deserialize;
///
/// /// Settings of one bed.
/// #[derive(Deserialize)]
/// struct Bed {
///     water: Span,
/// }
///
/// /// Arguments of the task `water`.
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Water {
///     minutes: i64,
/// }
///
/// impl Bed {
///     fn water(&self, ctx: &Context, time: Span) -> Messages {
///         let valve = ctx.topic("valve/set");
///         Messages::new().publish(&valve, "ON").then(time, &valve, "OFF")
///     }
/// }
///
/// impl Device for Bed {
///     fn schedule_jobs(&self, ctx: &Context) -> Result<Vec<Job>> {
///         Ok(vec![Job::daily("water", "05:00").messages(self.water(ctx, self.water))])
///     }
/// }
///
/// impl Tasks for Bed {
///     fn list() -> Vec<TaskDescription> {
///         let args = r#"{ "type": "object", "properties": { "minutes": { "type": "integer" } }, "required": ["minutes"] }"#;
///         vec![TaskDescription::new("water", "Water the bed").args_schema(args)]
///     }
///
///     fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply> {
///         match task.name() {
///             "water" => match task.args::<Water>()?.minutes {
///                 0 => Ok(Reply::nothing("no minutes, no water")),
///                 time => Ok(self.water(ctx, minutes(time)).into()),
///             },
///             _ => Err(task.unknown()),
///         }
///     }
/// }
///
/// roost_plugin_sdk::export!(Bed, tasks);
///
/// # fn main() -> Result<()> {
/// use roost_plugin_sdk::testing::TestHost;
/// use serde_json::json;
///
/// let bed = TestHost::new("bed", "roses").config(json!({ "water": "10m" }));
/// let answer = bed.run_task::<Bed>("water", json!({ "minutes": 3 }))?;
/// assert_eq!(answer.messages(), ["0s bed/roses/valve/set ON", "3m bed/roses/valve/set OFF"]);
/// let error = bed.run_task::<Bed>("water", json!({ "minutes": "three" })).unwrap_err();
/// assert_eq!(error.to_string(), "args `minutes`: `\"three\"` is not a whole number");
/// # Ok(())
/// # }
/// ```
pub trait Tasks: Device {
    /// Returns the tasks, the same for all devices: at most 100.
    fn list() -> Vec<TaskDescription>;

    /// Returns the messages for a task to publish now.
    ///
    /// Called when the task is due, again if it failed, and to preview the reply: the call has no other effect.
    ///
    /// # Errors
    /// Return an error if the task cannot be done. The run is retried by its job's policy. If there is nothing to do,
    /// return [`Reply::nothing`] instead.
    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply>;
}

/// The description of a task.
#[derive(Clone, Debug)]
pub struct TaskDescription(wit_tasks::TaskDescription);

impl TaskDescription {
    /// Describes a task: a name, which follows the rules of a job's id, and a sentence for users.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self(wit_tasks::TaskDescription { name: name.into(), summary: summary.into(), args_schema: None })
    }

    /// Sets the JSON Schema of its arguments. It is shown to users and clients, but not enforced: [`Task::args`] checks
    /// the arguments.
    #[must_use]
    pub fn args_schema(mut self, schema: impl Into<String>) -> Self {
        self.0.args_schema = Some(schema.into());
        self
    }

    pub(crate) fn finish(self) -> wit_tasks::TaskDescription {
        self.0
    }
}

/// A task that is called.
#[derive(Clone, Debug)]
pub struct Task {
    task: wit::Task,
    due: Instant,
}

impl Task {
    pub(crate) fn new(task: wit::Task, due: i64) -> Self {
        Self { task, due: Instant::from_millis(due) }
    }

    /// Returns its name, one of those in [`Tasks::list`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.task.name
    }

    /// Returns when it was due: before [`Context::now`] if something held it up.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Deserializes the arguments.
    ///
    /// # Errors
    /// Returns an error that names the wrong argument: ``args `minutes`: `-1` is not a whole number, not negative``.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        config::read("args", &self.task.args)
    }

    /// Returns the error for a name that `match` has no arm for.
    #[must_use]
    pub fn unknown(&self) -> Error {
        Error::new(format!("there is no task `{}`", self.name()))
    }
}

/// The reply to a task: messages, or why there are none.
#[derive(Clone, Debug, Default)]
#[must_use = "a reply counts when `run_task` returns it"]
pub struct Reply {
    messages: Messages,
    replan: bool,
    note: Option<String>,
}

impl From<Messages> for Reply {
    fn from(messages: Messages) -> Self {
        Self { messages, ..Self::default() }
    }
}

impl Reply {
    /// Replies that there is nothing to do, and why: `7 mm of rain since yesterday`.
    pub fn nothing(note: impl Into<String>) -> Self {
        Self::default().note(note)
    }

    /// Adds a note for users, in one sentence, which is shown with the run.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Requests a new plan of the device now, because its current plan is outdated.
    pub fn replan(mut self) -> Self {
        self.replan = true;
        self
    }

    /// Returns the reply in the contract's types, or its first mistake.
    fn finish(self) -> Result<wit::Reply> {
        Ok(wit::Reply { steps: self.messages.finish()?, replan: self.replan, note: self.note })
    }
}

/// Returns the tasks of an exported plugin.
pub(crate) fn list<D: Tasks>() -> Vec<wit_tasks::TaskDescription> {
    D::list().into_iter().map(TaskDescription::finish).collect()
}

/// Deserializes the settings and runs a task: the entry point of an exported plugin.
pub(crate) fn run<D: Tasks>(ctx: &Context, task: &Task) -> Result<wit::Reply> {
    let device: D = config::read("config", ctx.config())?;
    let reply = device.run_task(ctx, task)?;
    reply.finish().map_err(|mistake| mistake.context(format!("task `{}`", task.name())))
}
