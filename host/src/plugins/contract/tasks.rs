//! Tasks: what a plugin can be asked to do, what it is asked, and what it answers.

use roost_scheduler::{
    limits as bounds,
    model::{Reply, Task},
    names::TaskName,
    rules,
    text::excerpt,
};
use serde_json::Value;

use super::{Invalid, Terms, steps, wit};

/// What a plugin can be asked to do; a plugin without the export has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Tasks(Vec<TaskDescription>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskDescription {
    pub(crate) name: TaskName,
    /// The plugin's own words.
    pub(crate) summary: String,
    /// A JSON Schema: an object or a boolean. That it is one in all its parts is for those who use it.
    pub(crate) args_schema: Option<Value>,
}

/// A plugin's answer to `list-tasks`: all of it, or what is wrong with the first one that is wrong.
pub(in super::super) fn tasks(list: Vec<wit::TaskDescription>) -> Result<Tasks, Invalid> {
    if list.len() > bounds::TASKS_PER_PLUGIN {
        let what = format!("there are {} tasks, and a plugin may have {}", list.len(), bounds::TASKS_PER_PLUGIN);
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
        Ok(_) => Err(Invalid::new("`args-schema` is neither an object nor `true` or `false`, as a JSON Schema is")),
        Err(error) => Err(Invalid::new(format!("`args-schema` is not JSON: {error}"))),
    }
}

impl Tasks {
    /// Of a plugin that does not export them.
    pub(in super::super) const NONE: &Self = &Self(Vec::new());

    pub(in super::super) fn list(&self) -> &[TaskDescription] {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&TaskDescription> {
        self.0.iter().find(|task| task.name.as_str() == name)
    }

    /// What the plugin is to be asked, in a job or by a person; `field` says where that stands.
    pub(in super::super) fn task(&self, field: &str, name: &str, args: String) -> Result<Task, Invalid> {
        let Some(TaskDescription { name, .. }) = self.get(name) else {
            return Err(Invalid::new(format!("`{field}.name` `{}`: {}", excerpt(name), self.those_there_are())));
        };
        if args.len() > bounds::ARGS_BYTES {
            let value = format!("of {} bytes", args.len());
            return Err(Invalid::value(&format!("{field}.args"), value, "they may have 16,384 (16 KiB)"));
        }
        if let Err(error) = serde_json::from_str::<Value>(&args) {
            let what = format!("`{field}.args`: they are not JSON: {error}; where there are none, it is `null`");
            return Err(Invalid::new(what));
        }
        Ok(Task { name: name.clone(), args })
    }

    fn those_there_are(&self) -> String {
        match self.0.iter().map(|task| format!("`{}`", task.name)).collect::<Vec<_>>().join(", ") {
            names if names.is_empty() => "the plugin has no tasks".into(),
            names => format!("the plugin has no such task, only {names}"),
        }
    }
}

/// A plugin's answer to `run-task`, as the scheduler takes it, or what is wrong with it.
pub(in super::super) fn reply(task: &Task, reply: wit::Reply, terms: &Terms<'_>) -> Result<Reply, Invalid> {
    let named = |invalid: Invalid| invalid.of(format!("task `{}`", task.name));
    let wit::Reply { steps: list, replan, note } = reply;
    let steps = steps::steps(list, terms).map_err(named)?;
    let reply = Reply { steps, replan, note: note.filter(|note| !note.is_empty()) };
    rules::reply(&reply).map_err(Invalid::broken).map_err(named)?;
    Ok(reply)
}
