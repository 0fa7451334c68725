//! Packed jobs: everything but the trigger as bytes, because a million jobs may wait at a time, and a waiting one is
//! not read.

mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::step::StepRef;
use crate::{
    model::{Action, Job, Policy, Step, Task},
    names::{JobId, TaskName},
    packing::{Reader, Writer, length, text},
    trigger::Trigger,
};

/// A packed job, as it is kept while it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedJob {
    /// When it is due.
    pub trigger: Trigger,
    /// Everything else.
    pub body: Body,
}

impl From<&Job> for PackedJob {
    fn from(job: &Job) -> Self {
        Self { trigger: job.trigger.clone(), body: job.into() }
    }
}

impl From<&Job> for Body {
    fn from(job: &Job) -> Self {
        match &job.action {
            Action::Steps(steps) => Self::new(&job.id, job.label.as_deref(), &job.policy, steps),
            Action::Task(task) => Self::from_task(&job.id, job.label.as_deref(), &job.policy, task),
        }
    }
}

impl From<&PackedJob> for Job {
    fn from(PackedJob { trigger, body }: &PackedJob) -> Self {
        Self {
            id: body.job_id(),
            label: body.label().map(Arc::from),
            trigger: trigger.clone(),
            action: match body.task() {
                Some(task) => Action::Task(task.into()),
                None => Action::Steps(body.steps().map(|step| step.to_step()).collect()),
            },
            policy: body.policy(),
        }
    }
}

/// A job's id, label, policy and action in one allocation, which the job shares with its runs and with the changes to
/// store. Equal bodies have equal bytes.
///
/// ```text
/// id · label · policy · count of steps · { after_ms · how · topic · payload · properties? · confirm? }
/// id · label · policy · 0              · name of the task · arguments
/// ```
///
/// Values are encoded by `packing.rs`; payloads, policies, properties and confirmations are preceded by their
/// length. The default policy has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

impl Body {
    /// Packs a job with steps.
    #[must_use]
    pub fn new(id: &JobId, label: Option<&str>, policy: &Policy, steps: &[Step]) -> Self {
        let mut to = Self::begin(id, label, policy);
        to.number(length(steps.len()));
        steps.iter().for_each(|step| step::write(step, &mut to));
        Self(to.0.into())
    }

    /// Packs a job with a task.
    #[must_use]
    pub fn from_task(id: &JobId, label: Option<&str>, policy: &Policy, task: &Task) -> Self {
        let mut to = Self::begin(id, label, policy);
        to.number(0);
        to.bytes(task.name.as_str().as_bytes());
        to.bytes(task.args.as_bytes());
        Self(to.0.into())
    }

    fn begin(id: &JobId, label: Option<&str>, policy: &Policy) -> Writer {
        // Enough for an ordinary job.
        let mut to = Writer(Vec::with_capacity(256));
        to.bytes(id.as_str().as_bytes());
        to.optional(label);
        if *policy == Policy::default() {
            to.bytes(&[]);
        } else {
            to.block(policy);
        }
        to
    }

    /// Returns its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Returns the job's id as text.
    #[must_use]
    pub fn id(&self) -> &str {
        self.read().text()
    }

    /// Returns the bytes of the job's id, for comparisons.
    pub(crate) fn id_bytes(&self) -> &[u8] {
        self.read().bytes()
    }

    /// Returns the job's id.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        JobId::unchecked(self.id())
    }

    /// Returns the label for users, if there is one.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        let mut from = self.read();
        from.bytes();
        from.optional().map(text)
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut from = self.read();
        from.bytes();
        from.optional();
        match from.bytes() {
            [] => Policy::default(),
            block => Reader(block).value(),
        }
    }

    /// Returns the steps, in their order; none for a task.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = StepRef<'_>> {
        let mut from = self.after_policy();
        let count = from.number() as usize;
        (0..count).map(move |_| StepRef::read(&mut from))
    }

    /// Returns the task, if there is one; then there are no steps.
    #[must_use]
    pub fn task(&self) -> Option<Task> {
        let mut from = self.after_policy();
        (from.number() == 0).then(|| Task { name: TaskName::unchecked(from.text()), args: from.text().to_owned() })
    }

    /// Returns whether it has a task.
    #[must_use]
    pub fn asks_plugin(&self) -> bool {
        self.after_policy().number() == 0
    }

    /// Returns a copy with the steps of a plugin's reply.
    #[must_use]
    pub fn with_steps(&self, steps: &[Step]) -> Self {
        Self::new(&self.job_id(), self.label(), &self.policy(), steps)
    }

    /// Returns the number of steps; 0 for a task.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.steps().len()
    }

    /// Returns a step, counted from 0.
    #[must_use]
    pub fn step(&self, number: usize) -> Option<StepRef<'_>> {
        self.steps().nth(number)
    }

    /// Returns whether a run of it will owe a step on a topic.
    pub(crate) fn owes(&self, topic: &str) -> bool {
        self.steps().skip(1).any(|step| step.topic() == topic)
    }

    /// Returns the body of a run that is cut short: the steps before `first` stay, and the later ones are due as soon as
    /// `after_ms` has passed; those that another run may take over come last.
    pub(crate) fn cut(&self, first: usize, after_ms: u32, is_taken_over: impl Fn(&usize) -> bool) -> Self {
        let (last, at_once): (Vec<usize>, Vec<usize>) = (first..self.step_count()).partition(is_taken_over);
        let owed = at_once.into_iter().chain(last).filter_map(|step| self.step(step));
        let owed = owed.map(|step| Step { after_ms, ..step.to_step() });
        let steps: Vec<Step> = self.steps().take(first).map(|done| done.to_step()).chain(owed).collect();
        self.with_steps(&steps)
    }

    fn after_policy(&self) -> Reader<'_> {
        let mut from = self.read();
        from.bytes();
        from.optional();
        from.bytes();
        from
    }

    fn read(&self) -> Reader<'_> {
        Reader(&self.0)
    }
}
