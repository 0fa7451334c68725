//! Converts task lists, task calls and the plugin's replies.

use roost_scheduler::{
    limits as bounds,
    model::{Reply, Task},
    names::TaskName,
    rules,
    text::excerpt,
};
use serde_json::Value;

use super::{Invalid, Terms, steps, wit};

/// A plugin's tasks. A plugin without the export has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Tasks(Vec<TaskDescription>);

/// The description of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskDescription {
    pub(crate) name: TaskName,
    /// The plugin's summary of the task.
    pub(crate) summary: String,
    /// The JSON Schema of the arguments: an object or a boolean. Its contents are not checked.
    pub(crate) args_schema: Option<Value>,
}

/// Converts a plugin's answer to `list-tasks`.
///
/// # Errors
/// Returns the first fault. A list is refused as a whole.
pub(in super::super) fn tasks(list: Vec<wit::TaskDescription>) -> Result<Tasks, Invalid> {
    if list.len() > bounds::TASKS_PER_PLUGIN {
        let what = format!("the plugin has {} tasks, and may have {}", list.len(), bounds::TASKS_PER_PLUGIN);
        return Err(Invalid::new(what));
    }
    let mut tasks = Tasks(Vec::with_capacity(list.len()));
    for (index, proposed) in list.into_iter().enumerate() {
        let numbered = |error| Invalid::new(format!("`name`: {error}")).of(format!("task number {}", index + 1));
        let name = TaskName::parse(&proposed.name).map_err(numbered)?;
        let named = |invalid: Invalid| invalid.of(format!("task `{name}`"));
        if tasks.get(name.as_str()).is_some() {
            return Err(named(Invalid::new("`name`: another task of the plugin has it already")));
        }
        tasks.0.push(description(name.clone(), proposed).map_err(named)?);
    }
    Ok(tasks)
}

fn description(name: TaskName, proposed: wit::TaskDescription) -> Result<TaskDescription, Invalid> {
    let wit::TaskDescription { summary, args_schema, .. } = proposed;
    rules::summary(&summary).map_err(Invalid::broken)?;
    Ok(TaskDescription { name, summary, args_schema: args_schema.as_deref().map(schema).transpose()? })
}

fn schema(text: &str) -> Result<Value, Invalid> {
    if text.len() > bounds::SCHEMA_BYTES {
        let value = format!("of {} bytes", text.len());
        return Err(Invalid::value("args-schema", value, "it may have 16,384 (16 KiB)"));
    }
    match serde_json::from_str(text) {
        Ok(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(schema),
        Ok(_) => {
            Err(Invalid::new("`args-schema` is neither an object nor `true` or `false`, as a JSON Schema must be"))
        }
        Err(error) => Err(Invalid::new(format!("`args-schema` is not JSON: {error}"))),
    }
}

impl Tasks {
    /// The tasks of a plugin that does not export them.
    pub(in super::super) const NONE: &Self = &Self(Vec::new());

    pub(in super::super) fn list(&self) -> &[TaskDescription] {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&TaskDescription> {
        self.0.iter().find(|task| task.name.as_str() == name)
    }

    /// Checks a task call of a job or of the operator. `field` is its place in the request, for errors.
    pub(in super::super) fn task(&self, field: &str, name: &str, args: String) -> Result<Task, Invalid> {
        let Some(TaskDescription { name, .. }) = self.get(name) else {
            return Err(Invalid::new(format!("`{field}.name` `{}`: {}", excerpt(name), self.suggestion())));
        };
        if args.len() > bounds::ARGS_BYTES {
            let value = format!("of {} bytes", args.len());
            return Err(Invalid::value(&format!("{field}.args"), value, "they may have 16,384 (16 KiB)"));
        }
        if let Err(error) = serde_json::from_str::<Value>(&args) {
            let what = format!("`{field}.args`: they are not JSON: {error}; write `null` for no arguments");
            return Err(Invalid::new(what));
        }
        Ok(Task { name: name.clone(), args })
    }

    /// Returns the end of the error for an unknown task.
    fn suggestion(&self) -> String {
        match self.0.iter().map(|task| format!("`{}`", task.name)).collect::<Vec<_>>().join(", ") {
            names if names.is_empty() => "the plugin has no tasks".into(),
            names => format!("the plugin has no such task, only {names}"),
        }
    }
}

/// Converts a plugin's answer to `run-task`.
///
/// # Errors
/// Returns the first fault.
pub(in super::super) fn reply(task: &Task, reply: wit::Reply, terms: &Terms<'_>) -> Result<Reply, Invalid> {
    let named = |invalid: Invalid| invalid.of(format!("task `{}`", task.name));
    let wit::Reply { steps: list, replan, note } = reply;
    let steps = steps::steps(list, terms).map_err(named)?;
    let reply = Reply { steps, replan, note: note.filter(|note| !note.is_empty()) };
    rules::reply(&reply).map_err(Invalid::broken).map_err(named)?;
    Ok(reply)
}
