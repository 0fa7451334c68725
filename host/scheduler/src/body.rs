//! What a job says beside when, as bytes: a million jobs wait at a time, and a waiting one is not looked into.

mod code;

use std::sync::Arc;

use self::code::{Reader, Writer, length, text};
use crate::{
    model::{Action, Confirm, Job, Message, MessageProperties, Policy, Qos, Step, Task},
    names::{JobId, TaskName},
    topic::Topic,
    trigger::Trigger,
};

/// A job as it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedJob {
    /// When.
    pub trigger: Trigger,
    /// The rest.
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
            Action::Task(task) => Self::of_task(&job.id, job.label.as_deref(), &job.policy, task),
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

/// A job's id, label, policy and action, in one piece of memory, which the job shares with its runs and with what is to be
/// kept of it. Equal bodies have equal bytes.
///
/// ```text
/// id · label · policy · count of steps · { after_ms · how · topic · payload · properties? · confirm? }
/// id · label · policy · 0              · name of the task · arguments
/// ```
///
/// Numbers take 7 bits a byte, the lowest first; texts and payloads have their length in front. Of the policy, only what is
/// not the default is there, behind a byte that tells what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(Arc<[u8]>);

/// A step as it lies in a [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRef<'a> {
    /// Milliseconds after the run's start.
    pub after_ms: u32,
    /// Text, but who asks for a step's time does not want that checked.
    topic: &'a [u8],
    /// What.
    pub payload: &'a [u8],
    /// How it is acknowledged.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Sent once and never again.
    pub once: bool,
    /// Encoded.
    properties: Option<Reader<'a>>,
    /// Encoded.
    confirm: Option<Reader<'a>>,
}

impl Body {
    /// Of a job's parts.
    #[must_use]
    pub fn new(id: &JobId, label: Option<&str>, policy: &Policy, steps: &[Step]) -> Self {
        let mut to = Self::begin(id, label, policy);
        to.number(length(steps.len()));
        steps.iter().for_each(|step| to.step(step));
        Self(to.0.into())
    }

    /// Of the parts of a job that asks its plugin.
    #[must_use]
    pub fn of_task(id: &JobId, label: Option<&str>, policy: &Policy, task: &Task) -> Self {
        let mut to = Self::begin(id, label, policy);
        to.number(0);
        to.bytes(task.name.as_str().as_bytes());
        to.bytes(task.args.as_bytes());
        Self(to.0.into())
    }

    fn begin(id: &JobId, label: Option<&str>, policy: &Policy) -> Writer {
        // Room for an ordinary job.
        let mut to = Writer(Vec::with_capacity(256));
        to.bytes(id.as_str().as_bytes());
        to.optional(label);
        to.policy(policy);
        to
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The job's id, as text.
    #[must_use]
    pub fn id(&self) -> &str {
        self.read().text()
    }

    /// The same where only equality counts.
    pub(crate) fn id_bytes(&self) -> &[u8] {
        self.read().bytes()
    }

    /// The job's id.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        JobId::known(self.id())
    }

    /// For people, where there is one.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        let mut from = self.read();
        from.bytes();
        from.optional()
    }

    /// How its runs are treated.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut from = self.read();
        from.bytes();
        from.optional();
        from.policy()
    }

    /// Its steps, in their order.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = StepRef<'_>> {
        let mut from = self.behind_policy();
        let count = from.number() as usize;
        (0..count).map(move |_| from.step())
    }

    /// What the plugin is asked to do, where it is asked; then there are no steps.
    #[must_use]
    pub fn task(&self) -> Option<Task> {
        let mut from = self.behind_policy();
        (from.number() == 0).then(|| Task { name: TaskName::known(from.text()), args: from.text().to_owned() })
    }

    /// Whether the plugin is asked for its steps.
    #[must_use]
    pub fn asks_plugin(&self) -> bool {
        self.behind_policy().number() == 0
    }

    /// The same with the steps that the plugin has answered.
    #[must_use]
    pub fn with_steps(&self, steps: &[Step]) -> Self {
        Self::new(&self.job_id(), self.label(), &self.policy(), steps)
    }

    /// How many steps there are; none as long as the plugin has not been asked.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.steps().len()
    }

    /// One of them, counted from 0.
    #[must_use]
    pub fn step(&self, number: usize) -> Option<StepRef<'_>> {
        self.steps().nth(number)
    }

    /// The same run cut short: the steps before `step` stay, and the later ones are due as soon as `after_ms` has passed,
    /// those that somebody else may take over last.
    pub(crate) fn cut(&self, step: usize, after_ms: u32, is_taken_over: impl Fn(&StepRef<'_>) -> bool) -> Self {
        let at_once = |owed: StepRef<'_>| Step { after_ms, ..owed.to_step() };
        let (last, first): (Vec<StepRef<'_>>, Vec<StepRef<'_>>) = self.steps().skip(step).partition(is_taken_over);
        let done = self.steps().take(step).map(|done| done.to_step());
        let steps: Vec<Step> = done.chain(first.into_iter().chain(last).map(at_once)).collect();
        self.with_steps(&steps)
    }

    fn behind_policy(&self) -> Reader<'_> {
        let mut from = self.read();
        from.bytes();
        from.optional();
        from.policy();
        from
    }

    fn read(&self) -> Reader<'_> {
        Reader(&self.0)
    }
}

impl<'a> StepRef<'a> {
    /// Where to.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        text(self.topic)
    }

    /// What MQTT 5 can say besides.
    #[must_use]
    pub fn properties(&self) -> Option<MessageProperties> {
        self.properties.map(Reader::properties)
    }

    /// The device's report that is waited for, if one is.
    #[must_use]
    pub fn confirm(&self) -> Option<Confirm> {
        self.confirm.map(Reader::confirm)
    }

    /// A copy.
    #[must_use]
    pub fn to_step(&self) -> Step {
        let message = Message {
            topic: Topic::known(self.topic()),
            payload: self.payload.into(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties().map(Arc::new),
        };
        let confirm = self.confirm().map(Arc::new);
        Step { after_ms: self.after_ms, message, once: self.once, confirm }
    }
}
