//! What a plugin can be asked when it is due, and what it answers.

use serde::de::DeserializeOwned;

use crate::{
    Context, Device, Error, Instant, Messages, Result,
    bindings::{roost::device::types as wit, with_tasks::exports::roost::device::tasks as wit_tasks},
    config,
};

/// A device that can be asked when it is due, because what it publishes is known only then: water as much as the soil
/// needs now. Export it with `export!(Sprinkler, tasks)`.
///
/// A job asks with [`Job::task`](crate::Job::task), and people may ask at any time. What is asked is published as a
/// [run](crate#words) like any other: tried again, closed again, and recorded.
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
/// use roost_plugin_sdk::testing::Bench;
/// use serde_json::json;
///
/// let bed = Bench::new("bed", "roses").config(json!({ "water": "10m" }));
/// let answer = bed.run_task::<Bed>("water", json!({ "minutes": 3 }))?;
/// assert_eq!(answer.messages(), ["0s bed/roses/valve/set ON", "3m bed/roses/valve/set OFF"]);
/// let error = bed.run_task::<Bed>("water", json!({ "minutes": "three" })).unwrap_err();
/// assert_eq!(error.to_string(), "args `minutes`: `\"three\"` is not a whole number");
/// # Ok(())
/// # }
/// ```
pub trait Tasks: Device {
    /// What a device can be asked to do, the same for all of them: at most 100 tasks.
    fn list() -> Vec<TaskDescription>;

    /// What to publish for one of them, now.
    ///
    /// Called when it is due, again if it failed, and when somebody only wants to know: nothing but the answer comes of it.
    ///
    /// # Errors
    /// Whatever keeps it from being done. The run is tried again as its job says. That there is nothing to do is no
    /// error, but [`Reply::nothing`].
    fn run_task(&self, ctx: &Context, task: &Task) -> Result<Reply>;
}

/// One thing that a device can be asked to do.
#[derive(Clone, Debug)]
pub struct TaskDescription(wit_tasks::TaskDescription);

impl TaskDescription {
    /// With a name that is made like a job's id, and a sentence for people that says what it does.
    pub fn new(name: impl Into<String>, summary: impl Into<String>) -> Self {
        Self(wit_tasks::TaskDescription { name: name.into(), summary: summary.into(), args_schema: None })
    }

    /// What its arguments are, as a JSON Schema. It is shown to those who ask, people and programs; nobody checks it:
    /// [`Task::args`] does that.
    #[must_use]
    pub fn args_schema(mut self, schema: impl Into<String>) -> Self {
        self.0.args_schema = Some(schema.into());
        self
    }

    pub(crate) fn finish(self) -> wit_tasks::TaskDescription {
        self.0
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Task {
    task: wit::Task,
    due: Instant,
}

impl Task {
    pub(crate) fn new(task: wit::Task, due: i64) -> Self {
        Self { task, due: Instant::from_millis(due) }
    }

    /// One of those that [`Tasks::list`] has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.task.name
    }

    /// When it should have been done: before [`Context::now`] if something held it up.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The arguments.
    ///
    /// # Errors
    /// What does not fit, with the argument that is wrong: ``args `minutes`: `-1` is not a whole number, not negative``.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        config::read("args", &self.task.args)
    }

    /// What to say where `match` has no arm for it.
    #[must_use]
    pub fn unknown(&self) -> Error {
        Error::new(format!("there is no task `{}`", self.name()))
    }
}

/// What a task answers: messages, or why there are none.
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
    /// Nothing is to be done, and this is why: `7 mm of rain since yesterday`.
    pub fn nothing(note: impl Into<String>) -> Self {
        Self::default().note(note)
    }

    /// For people, in one sentence: why this. Shown with the run.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Asks the device for its plan now, because it is no longer what it would be.
    pub fn replan(mut self) -> Self {
        self.replan = true;
        self
    }

    /// As the contract has it, or the first mistake that was made with it.
    fn finish(self) -> Result<wit::Reply> {
        Ok(wit::Reply { steps: self.messages.finish()?, replan: self.replan, note: self.note })
    }
}

/// What an exported plugin can be asked to do.
pub(crate) fn list<D: Tasks>() -> Vec<wit_tasks::TaskDescription> {
    D::list().into_iter().map(TaskDescription::finish).collect()
}

/// Settings and a task in, a reply out: what an exported plugin does when it is asked.
pub(crate) fn run<D: Tasks>(ctx: &Context, task: &Task) -> Result<wit::Reply> {
    let device: D = config::read("config", ctx.config())?;
    let reply = device.run_task(ctx, task)?;
    reply.finish().map_err(|mistake| mistake.context(format!("task `{}`", task.name())))
}
