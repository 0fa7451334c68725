//! The gate for jobs: turns drafts of jobs, tasks and replies into valid ones, or returns the first fault.
//!
//! Plans of plugins, jobs of clients and the plugins' own tests pass it, so that a fault has one wording everywhere. Each
//! fills in a [`draft`]; the bindings of the contract do it with [`drafts_from_bindings!`](crate::drafts_from_bindings).

mod days;
pub mod draft;
mod fault;
mod from_bindings;
mod parse;
mod permission;
mod rules;
mod terms;

use std::collections::HashSet;

use self::draft::{ActionDraft, JobDraft, ReplyDraft, StepDraft, TaskDraft, TaskListDraft};
pub use self::{
    fault::{Fault, FaultKind, Permission},
    parse::{policy, step, sun_event},
    rules::text,
    terms::{Owner, Syntax, TaskDescription, Terms},
};
use crate::{
    limits,
    model::{Action, Job, Reply, Step, Task},
    names::{JobId, TaskName},
};

/// Accepts a plan. It is refused as a whole.
///
/// # Errors
/// Returns the first fault.
pub fn plan(drafts: Vec<JobDraft>, terms: &Terms<'_>) -> Result<Vec<Job>, Fault> {
    let count = drafts.len();
    if count > terms.jobs {
        return Err(Fault::new("jobs", count, format!("the plan of this device may have {}", terms.jobs)));
    }
    let mut ids = HashSet::with_capacity(count);
    let mut jobs = Vec::with_capacity(count);
    for (index, draft) in drafts.into_iter().enumerate() {
        let id = JobId::parse(&draft.id)
            .map_err(|error| Fault::malformed("id", &error).within(format!("job number {}", index + 1)))?;
        let within = |fault: Fault| fault.within(format!("job `{id}`"));
        if !ids.insert(id.clone()) {
            return Err(within(Fault::new("id", "", "another job of the device has it already")));
        }
        jobs.push(valid_job(id.clone(), draft, terms).map_err(within)?);
    }
    Ok(jobs)
}

/// Accepts a job.
///
/// # Errors
/// Returns the first fault.
pub fn job(draft: JobDraft, terms: &Terms<'_>) -> Result<Job, Fault> {
    let id = JobId::parse(&draft.id).map_err(|error| Fault::malformed("id", &error))?;
    valid_job(id, draft, terms)
}

fn valid_job(id: JobId, draft: JobDraft, terms: &Terms<'_>) -> Result<Job, Fault> {
    let JobDraft { label, trigger, action, policy, .. } = draft;
    let mut job = Job {
        id,
        label: label.map(Into::into),
        trigger: parse::trigger(trigger, terms)?,
        action: match action {
            ActionDraft::Steps(drafts) => Action::Steps(steps(drafts, terms)?.into()),
            ActionDraft::Task(draft) => Action::Task(task(draft, terms)?.into()),
        },
        policy: parse::policy(policy)?,
    };
    if let (Some(_), Some(last)) = (job.trigger.finish(), job.steps().last()) {
        let length = last.after_ms;
        job.trigger.set_finish(Some(length));
    }
    rules::job(&job)?;
    // The steps of a task are known only when it is due; its reply is checked then.
    permission::check(job.steps(), job.policy.needs.as_ref(), terms)?;
    Ok(job)
}

fn steps(drafts: Vec<StepDraft>, terms: &Terms<'_>) -> Result<Vec<Step>, Fault> {
    let numbered = |(index, draft)| {
        let step = parse::step(draft).and_then(|step| parse::condition(&step, terms).map(|()| step));
        step.map_err(|fault| fault.within_step(index))
    };
    drafts.into_iter().enumerate().map(numbered).collect()
}

/// Accepts the call of a task.
///
/// # Errors
/// Returns the first fault.
pub fn task(draft: TaskDraft, terms: &Terms<'_>) -> Result<Task, Fault> {
    let TaskDraft { name, args } = draft;
    let name = parse::task_name(&name, terms)?;
    if args.len() > limits::ARGS_BYTES {
        let value = format!("of {} bytes", args.len());
        return Err(Fault::new("task.args", value, "they may have 16,384 (16 KiB)"));
    }
    if let Err(error) = terms.syntax.json(&args) {
        let rule = format!("they are not JSON: {error}; write `null` for no arguments");
        return Err(Fault::new("task.args", "", rule));
    }
    Ok(Task { name, args })
}

/// Accepts the reply of a plugin to the call of a task.
///
/// # Errors
/// Returns the first fault.
pub fn reply(task: &TaskName, draft: ReplyDraft, terms: &Terms<'_>) -> Result<Reply, Fault> {
    let ReplyDraft { steps, replan, note } = draft;
    let reply = self::steps(steps, terms).and_then(|steps| {
        let reply = Reply { steps, replan, note: note.filter(|note| !note.is_empty()) };
        rules::reply(&reply)?;
        permission::check(&reply.steps, None, terms)?;
        Ok(reply)
    });
    reply.map_err(|fault| fault.within(format!("task `{task}`")))
}

/// Accepts a plugin's list of tasks. It is refused as a whole.
///
/// # Errors
/// Returns the first fault.
pub fn tasks(drafts: TaskListDraft, syntax: &dyn Syntax) -> Result<Vec<TaskDescription>, Fault> {
    let count = drafts.len();
    if count > limits::TASKS_PER_PLUGIN {
        return Err(Fault::new("tasks", count, format!("a plugin may have {}", limits::TASKS_PER_PLUGIN)));
    }
    let mut tasks: Vec<TaskDescription> = Vec::with_capacity(count);
    for (index, draft) in drafts.into_iter().enumerate() {
        let name = TaskName::parse(&draft.name)
            .map_err(|error| Fault::malformed("name", &error).within(format!("task number {}", index + 1)))?;
        let within = |fault: Fault| fault.within(format!("task `{name}`"));
        if tasks.iter().any(|task| task.name == name) {
            return Err(within(Fault::new("name", "", "another task of the plugin has it already")));
        }
        rules::summary(&draft.summary).map_err(within)?;
        draft.args_schema.as_deref().map_or(Ok(()), |schema| args_schema(schema, syntax)).map_err(within)?;
        tasks.push(TaskDescription { name, summary: draft.summary, args_schema: draft.args_schema });
    }
    Ok(tasks)
}

fn args_schema(text: &str, syntax: &dyn Syntax) -> Result<(), Fault> {
    let field = "args-schema";
    if text.len() > limits::SCHEMA_BYTES {
        return Err(Fault::new(field, format!("of {} bytes", text.len()), "it may have 16,384 (16 KiB)"));
    }
    syntax.json(text).map_err(|error| Fault::new(field, "", format!("it is not JSON: {error}")))?;
    if text.trim_start().starts_with(['{', 't', 'f']) {
        return Ok(());
    }
    Err(Fault::new(field, "", "a JSON Schema must be an object, `true` or `false`"))
}
