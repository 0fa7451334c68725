//! Drafts: jobs, tasks and replies as they were proposed. Nothing in a draft is checked.

use std::sync::Arc;

use crate::{
    model::{Matches, Misfire, Overlap, Task},
    trigger::{SunEvent, Trigger, Unit},
};

/// The draft of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDraft {
    /// Its id, unique within the device.
    pub id: String,
    /// The label that users see.
    pub label: Option<String>,
    /// When it is due.
    pub trigger: TriggerDraft,
    /// What its runs do.
    pub action: ActionDraft,
    /// How its runs are treated.
    pub policy: PolicyDraft,
}

/// The draft of a trigger. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerDraft {
    /// Once, at this time.
    At(i64),
    /// Periodically.
    Every {
        /// The period, in milliseconds.
        period_ms: u32,
        /// The time from which the periods are counted; 1970 if there is none.
        anchor: Option<i64>,
    },
    /// By a cron expression.
    Cron {
        /// The expression.
        expression: String,
        /// The name of its time zone; that of the device if there is none.
        time_zone: Option<String>,
        /// The days to which it is limited.
        days: DaysDraft,
        /// Whether runs end at its times, instead of starting then.
        finish: bool,
    },
    /// By the sun.
    Sun(SunDraft),
    /// As users write it.
    Text(String),
    /// A trigger that was parsed from text.
    Parsed(Trigger),
}

/// The draft of a trigger that follows the sun.
#[derive(Clone, Debug, PartialEq)]
pub struct SunDraft {
    /// The event.
    pub event: SunEventDraft,
    /// Milliseconds after the event, or before if negative.
    pub offset_ms: i32,
    /// The earliest time of day.
    pub not_before: Option<TimeDraft>,
    /// The latest time of day.
    pub not_after: Option<TimeDraft>,
    /// The time of day on days without the event.
    pub otherwise: Option<TimeDraft>,
    /// The days to which it is limited.
    pub days: DaysDraft,
    /// Whether runs end at its times, instead of starting then.
    pub finish: bool,
}

/// The draft of a sun event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SunEventDraft {
    /// One with a name.
    Named(SunEvent),
    /// The sun's centre rises above so many degrees.
    Rising(f64),
    /// The sun's centre sinks below so many degrees.
    Setting(f64),
}

/// The draft of the days to which a trigger is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaysDraft {
    /// Only these; all if there are none.
    pub on: Vec<DayRangeDraft>,
    /// And only within these; all if there are none.
    pub within: Vec<DayRangeDraft>,
    /// And only every nth day or week.
    pub every: Option<IntervalDraft>,
    /// But not these.
    pub except: Vec<DayRangeDraft>,
}

/// The draft of some days: from and to, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DayRangeDraft {
    /// Days of the week; Monday is 0.
    Weekdays(u8, u8),
    /// Days of the month.
    OfMonth(u8, u8),
    /// A part of each year: month and day.
    Season((u8, u8), (u8, u8)),
    /// Dates.
    Dates(DateDraft, DateDraft),
    /// The days of a calendar.
    Calendar(String),
}

/// The draft of a date: the year, the month and the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateDraft(pub u16, pub u8, pub u8);

/// The draft of an interval between days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalDraft {
    /// How many of them.
    pub count: u16,
    /// What is counted.
    pub unit: Unit,
    /// The first day, or a day of the first week.
    pub from: DateDraft,
}

/// The draft of a time of day: the hour, the minute and the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeDraft(pub u8, pub u8, pub u8);

/// The draft of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionDraft {
    /// Publishes messages.
    Steps(Vec<StepDraft>),
    /// Calls a task.
    Task(TaskDraft),
}

/// The draft of a step, with its message.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDraft {
    /// Milliseconds after the run's start.
    pub after_ms: u32,
    /// The topic to publish to.
    pub topic: String,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// The quality of service.
    pub qos: u8,
    /// Whether the broker retains the message.
    pub retain: bool,
    /// The MQTT 5 properties of the message.
    pub properties: Option<PropertiesDraft>,
    /// Whether it is sent at most once.
    pub once: bool,
    /// The report by which the device confirms the step.
    pub confirm: Option<ConfirmDraft>,
}

/// The draft of MQTT 5 properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertiesDraft {
    /// The message expiry, in milliseconds.
    pub expiry_ms: Option<u32>,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// The topic for the device's response.
    pub response_topic: Option<String>,
    /// User properties.
    pub user: Vec<(String, String)>,
}

/// The draft of a confirmation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfirmDraft {
    /// The topic of the report.
    pub topic: String,
    /// The condition that the report must meet.
    pub matches: Matches,
    /// How long to wait for the report, in milliseconds.
    pub within_ms: u32,
    /// Whether an earlier report counts.
    pub already: bool,
}

/// The draft of a policy. What is missing has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyDraft {
    /// Which missed runs are caught up.
    pub misfire: Misfire<String>,
    /// How late a run may start, in milliseconds.
    pub grace_ms: Option<u32>,
    /// What happens to a run that is due before the previous one has ended.
    pub overlap: Overlap,
    /// The largest random delay of a run's start, in milliseconds.
    pub jitter_ms: Option<u32>,
    /// Among runs that could start at the same time, the higher priority goes first.
    pub priority: Option<i8>,
    /// The largest number of attempts of a step.
    pub attempts: Option<u32>,
    /// How long after its first attempt a step is given up, in milliseconds.
    pub give_up_after_ms: Option<u32>,
    /// The pause before the second attempt, in milliseconds.
    pub backoff_ms: Option<u32>,
    /// The name of the resource that a run holds.
    pub needs: Option<String>,
}

/// The draft of a call of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDraft {
    /// The task's name.
    pub name: String,
    /// The arguments, as JSON text.
    pub args: String,
}

impl From<Task> for TaskDraft {
    fn from(Task { name, args }: Task) -> Self {
        Self { name: name.to_string(), args }
    }
}

/// The draft of a reply to the call of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyDraft {
    /// The messages to publish.
    pub steps: Vec<StepDraft>,
    /// Whether the device's plan is to be requested now.
    pub replan: bool,
    /// A note for users that explains the reply.
    pub note: Option<String>,
}

/// The draft of a plugin's list of tasks.
pub type TaskListDraft = Vec<TaskDescriptionDraft>;

/// The draft of the description of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDescriptionDraft {
    /// The task's name.
    pub name: String,
    /// The plugin's summary of the task.
    pub summary: String,
    /// The JSON Schema of the arguments, as JSON text.
    pub args_schema: Option<String>,
}
